"""The catalogue: one file per domain, each a tuple of records and nothing else."""

from mixtura.datasets.catalogue import (
    detection,
    diffusion,
    dynamics,
    forecasting,
    multitask,
    planning,
)

__all__ = ["CATALOGUE"]

CATALOGUE = {
    dataset.name: dataset
    for domain in (forecasting, diffusion, detection, multitask, planning, dynamics)
    for dataset in domain.DATASETS
}
