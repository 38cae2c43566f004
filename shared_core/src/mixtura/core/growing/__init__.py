"""Growing: mixtures out of trained dense layers."""

from mixtura.core.growing.compose import BAM, BAM_SHARED_KV, BTX, compose
from mixtura.core.growing.dense import DenseFFN
from mixtura.core.growing.upcycle import merge_to_dense, upcycle_ffn

__all__ = ["BAM", "BAM_SHARED_KV", "BTX", "DenseFFN", "compose", "merge_to_dense", "upcycle_ffn"]
