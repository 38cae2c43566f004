"""Exported layers: torch.export and ONNX, with a batch size that is free."""

from pathlib import Path

import pytest
import torch
from torch import nn

from mixtura.core import (
    Experts,
    GLUExperts,
    LinearScore,
    MLPExperts,
    ModuleExperts,
    MoELayer,
    Router,
    SegmentUnits,
    SharedExpert,
    TopK,
    Units,
)

pytestmark = pytest.mark.compile

EXPORTED = {
    "glu": (lambda: GLUExperts(4, 16, 24, bias=True), None),
    "segments": (lambda: MLPExperts(4, 16, 24), SegmentUnits(3)),
    "modules": (lambda: ModuleExperts([nn.Linear(16, 16) for _ in range(4)]), None),
}


@pytest.mark.parametrize("kind", EXPORTED)
@pytest.mark.filterwarnings("ignore")
def test_export_and_onnx_with_a_free_batch(kind: str, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    make, units = EXPORTED[kind]
    layer = exportable(make(), units)
    x = torch.randn(5, 7, 16)
    batch = torch.export.Dim("batch", min=2, max=64)
    program = torch.export.export(layer, (x,), dynamic_shapes=({0: batch},))
    path = tmp_path / "layer.onnx"
    torch.onnx.export(program, (x,), dynamo=True, verbose=False).save(path)
    session = onnxruntime.InferenceSession(path)
    for given in (x, x[:3]):
        expected = layer(given)
        torch.testing.assert_close(program.module()(given), expected, atol=1e-5, rtol=0)
        (found,) = session.run(None, {session.get_inputs()[0].name: given.numpy()})
        torch.testing.assert_close(torch.from_numpy(found), expected, atol=1e-5, rtol=0)


def exportable(experts: Experts, units: Units | None) -> MoELayer:
    torch.manual_seed(0)
    router = Router(LinearScore(48 if units else 16, 4), TopK(2))
    shared = SharedExpert(nn.Linear(16, 16))
    return MoELayer(router, experts, shared=shared, units=units).eval().requires_grad_(False)
