"""Lines of progress where there is no terminal."""

import pytest
from pytorch_lightning import Trainer

from mixtura.training.callbacks.progress import LineProgress
from tests.e2e.training.toyapp.model import ToyClassifier, ToyNetwork


@pytest.mark.parametrize("enabled", [True, False])
def test_a_module_may_print_beside_it(enabled: bool, capsys: pytest.CaptureFixture[str]) -> None:
    progress = LineProgress()
    (progress.enable if enabled else progress.disable)()
    assert progress.is_enabled == enabled
    module = ToyClassifier(ToyNetwork())
    module.trainer = Trainer(callbacks=[progress], logger=False, enable_checkpointing=False)
    module.print("seen")
    assert "seen" in capsys.readouterr().out
