"""Lightning without what it seldom uses: nothing missing, nothing loaded before its use."""

import subprocess
import sys
from pathlib import Path

import pytest

LOADS_LATE = """
import sys, mixtura.training
assert "torch" not in sys.modules
import pytorch_lightning
from mixtura.training.deferred import is_deferred
for name in ("torch._dynamo", "matplotlib", "scipy.signal"):
    assert is_deferred(name), name
assert "sympy" not in sys.modules and "torch._inductor" not in sys.modules
import torch
net = torch.nn.Linear(3, 3)
optimizer = torch.optim.AdamW(net.parameters())
net(torch.ones(1, 3)).sum().backward()
optimizer.step(); optimizer.zero_grad(); optimizer.state_dict()
assert is_deferred("torch._dynamo"), "an optimiser's step needs no compiler"
import lightning_fabric.wrappers as wrappers
assert not isinstance(net, wrappers.OptimizedModule)
compiled = torch.compile(net, backend="eager")
assert torch.allclose(compiled(torch.ones(1, 3)), net(torch.ones(1, 3)))
assert isinstance(compiled, wrappers.OptimizedModule)
assert not isinstance(net, wrappers.OptimizedModule)
assert not is_deferred("torch._dynamo")
net(torch.ones(1, 3)).sum().backward()
optimizer.step(); optimizer.zero_grad()
import matplotlib
assert matplotlib.__version__ and not is_deferred("matplotlib")
import torchmetrics, scipy.signal, matplotlib.pyplot
metric = torchmetrics.MeanSquaredError()
metric(torch.ones(3), torch.zeros(3))
figure, axes = metric.plot()
assert isinstance(figure, matplotlib.pyplot.Figure)
assert scipy.signal.hilbert([1.0, 2.0, 3.0]).shape == (3,)
"""

SUBMODULE_FIRST = """
import mixtura.training, pytorch_lightning, torch
import torch._dynamo.config
assert hasattr(torch._dynamo.config, "cache_size_limit") or torch._dynamo.config is not None
from torch._dynamo.utils import counters
assert torch._dynamo.utils.counters is counters
"""

PUTS_ANOTHER_IN_ITS_PLACE = """
import sys, tempfile, pathlib
from mixtura.training import deferred
folder = pathlib.Path(tempfile.mkdtemp())
sys.path.insert(0, str(folder))
(folder / "lazy.py").write_text(
    "import sys, types\\n"
    "class Lazy(types.ModuleType):\\n"
    "    def __getattr__(self, name): return name.upper()\\n"
    "sys.modules[__name__] = Lazy(__name__)\\n"
)
(folder / "watched.py").write_text("import lazy\\n")
deferred.DEFERRED += ("lazy",)
deferred.WATCHED += ("watched",)
import watched
assert deferred.is_deferred("lazy")
assert (watched.lazy.first, watched.lazy.second) == ("FIRST", "SECOND")
import lazy
assert lazy.third == "THIRD"
(folder / "drawing.py").write_text(
    "from matplotlib.figure import Figure\\n"
    "import matplotlib as mpl\\n"
    "def draw(figure: Figure | None = None):\\n"
    "    assert mpl.colormaps['viridis'] is not None\\n"
    "    return Figure(figsize=(1, 1))\\n"
)
with deferred.without_pictures():
    import drawing
assert deferred.is_deferred("matplotlib")
assert drawing.draw().subplots() is not None
assert isinstance(drawing.draw(), drawing.Figure)
"""

EAGER = """
import os, sys, mixtura.training, pytorch_lightning
from mixtura.training.deferred import DEFERRED, is_deferred
assert not any(is_deferred(name) for name in DEFERRED)
"""


@pytest.mark.parametrize(
    ("code", "environment"),
    [
        (LOADS_LATE, {}),
        (PUTS_ANOTHER_IN_ITS_PLACE, {}),
        pytest.param(SUBMODULE_FIRST, {}, marks=pytest.mark.slow),
        pytest.param(EAGER, {"MIXTURA_EAGER_IMPORTS": "1"}, marks=pytest.mark.slow),
    ],
    ids=["late", "replaced", "submodule", "eager"],
)
def test_in_a_fresh_process(
    code: str, environment: dict[str, str], repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, cwd=repository
    )
    assert done.returncode == 0, done.stderr[-2000:]
