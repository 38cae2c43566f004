"""The inspection page, opened in a real browser where there is one."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from matplotlib.image import imread

from mixtura.core.errors import InputError
from mixtura.training.inspection import agreement, draw, observe, write_page
from tests.e2e.training.toyapp.main import main
from tests.e2e.training.toyapp.model import ToyClassifier, ToyData, ToyNetwork

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of two trained checkpoints."""
    root = tmp_path_factory.mktemp("inspected")
    quiet = ["--trainer.enable_progress_bar=false", f"--trainer.default_root_dir={root}"]
    for seed in (1, 2):
        assert main(["fit", "--config=tiny", f"--seed_everything={seed}", *quiet]) == 0
    one, two = (root / "tiny" / n / "checkpoints" / "best.ckpt" for n in "01")
    to = root / "page"
    assert main(["inspect", f"--ckpt_path={one}", f"--compare={two}", f"--to={to}"]) == 0
    return to / "index.html"


def test_self_contained(page: Path) -> None:
    text = page.read_text()
    assert not re.search(r'(src|href)="(?!data:)', text)
    assert text.count('src="data:image/png;base64,') == len(list(page.parent.glob("*.png"))) == 4
    assert 'id="layers"' in text
    assert 'id="agreement"' in text
    for picture in page.parent.glob("*.png"):
        assert imread(picture).std() > 0.01, f"{picture} is blank"


@pytest.mark.skipif(BROWSER is None, reason="no headless Chromium is installed")
def test_in_a_browser(page: Path, tmp_path: Path) -> None:
    assert BROWSER is not None
    shot = tmp_path / "shot.png"
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1200,2400"]
    done = subprocess.run(
        [BROWSER, *flags, f"--user-data-dir={tmp_path}", f"--screenshot={shot}", page.as_uri()],
        capture_output=True,
        timeout=90,
    )
    assert done.returncode == 0
    image = imread(shot)
    assert image.shape[:2] == (2400, 1200)
    inked = (image[..., :3].min(-1) < 0.9).mean(1)
    assert (inked > 0).mean() > 0.4, "most of the page is empty"


def test_counts_are_those_of_the_routing() -> None:
    torch.manual_seed(0)
    module = ToyClassifier(ToyNetwork(num_experts=4, top_k=2))
    data = ToyData()
    data.setup("test")
    seen = observe(module, data.test_dataloader(), "toy", num_batches=2)
    layer = seen.layers["moe"]
    assert seen.samples == 16
    assert int(layer.statistics.counts.sum()) == 32
    assert torch.equal(layer.together.diagonal(), layer.statistics.counts)
    assert int(layer.together.sum()) == 16 * 4
    counts, names = layer.aspects["position"]
    assert names == ["0"]
    assert torch.equal(counts[0], layer.statistics.counts)
    assert agreement(seen, seen) == {"moe": 1.0}


def test_the_domain_adds_aspects(tmp_path: Path) -> None:
    class Labelled(ToyClassifier):
        def aspects(self, batch, layer, routing):
            return {"label": batch[1]}

    module = Labelled(ToyNetwork())
    data = ToyData()
    data.setup("test")
    seen = observe(module, data.test_dataloader(), "toy")
    pictures = draw(seen)
    assert "by-label" in pictures
    write_page(tmp_path, seen, pictures, None)
    assert "By label" in (tmp_path / "index.html").read_text()


def test_the_domain_adds_pictures(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pictures(self: ToyClassifier, data: ToyData, folder: Path) -> dict[str, Path]:
        assert not torch.is_grad_enabled()
        assert len(data.held_out) == 16
        shutil.copy(page.with_name("load.png"), folder / "own.png")
        return {"A view of one's own": folder / "own.png"}

    monkeypatch.setattr(ToyClassifier, "pictures", pictures)
    checkpoint = page.parents[1] / "tiny" / "0" / "checkpoints" / "best.ckpt"
    assert main(["inspect", f"--ckpt_path={checkpoint}", f"--to={tmp_path}"]) == 0
    text = (tmp_path / "index.html").read_text()
    assert "A view of one&#x27;s own" in text
    assert text.count("data:image/png") == len(list(tmp_path.glob("*.png")))


def test_a_model_without_experts() -> None:
    module = ToyClassifier(ToyNetwork())
    module.network.moe = torch.nn.Identity()
    with pytest.raises(InputError, match="no MoE layer"):
        observe(module, [], "toy")
