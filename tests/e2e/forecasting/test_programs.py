"""A trained forecaster's network as a program: read again, it forecasts what the model does."""

from pathlib import Path
from typing import Any

import pytest
import torch

from mixtura.apps.forecasting.main import main
from mixtura.forecasting import ForecastModule
from mixtura.training.sharing.programs import run_onnx

TINY = str(Path(__file__).with_name("tiny.yaml"))
DLINEAR = str(Path(__file__).with_name("tiny-dlinear.yaml"))


def trained(config: str, folder: Path) -> Path:
    assert main(["fit", "--config", config, f"--trainer.default_root_dir={folder}"]) == 0
    (path,) = folder.rglob("last.ckpt")
    return path


@pytest.mark.compile
@pytest.mark.slow
@pytest.mark.parametrize("config", [TINY, DLINEAR], ids=["segmoe", "dlinear"])
def test_programs_forecast_what_the_model_does(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = trained(config, tmp_path)
    network: Any = ForecastModule.load_from_checkpoint(checkpoint).network.eval()
    for kind in ("pt2", "onnx"):
        path = tmp_path / f"network.{kind}"
        capsys.readouterr()
        status = main(["export", f"--ckpt_path={checkpoint}", f"--to={path}", f"--kind={kind}"])
        assert status == 0
        assert "differs from the model by at most" in capsys.readouterr().out
    assert not list(tmp_path.glob("*.data")), "the ONNX file holds its weights"
    program: Any = torch.export.load(tmp_path / "network.pt2")
    example = program.example_inputs[0]
    other = [
        torch.randn(each.shape, generator=torch.Generator().manual_seed(1)) for each in example
    ]
    with torch.no_grad():
        expected = network(*other)
    expected = expected if isinstance(expected, torch.Tensor) else expected[0]
    torch.testing.assert_close(program.module()(*other), expected, atol=1e-5, rtol=1e-4)
    (found, *_) = run_onnx(tmp_path / "network.onnx", other)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
