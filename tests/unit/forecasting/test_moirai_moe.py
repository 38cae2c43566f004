"""Moirai-MoE: packing, distributions, sampling, released names."""

import json
from pathlib import Path

import pytest
import torch
from torch.distributions import NegativeBinomial as IntegerNegativeBinomial

from mixtura.core import CentroidDistanceScore, InputError, Router, TopK, from_config, to_config
from mixtura.forecasting.checkpoints import load_moirai_moe, save_moirai_moe
from mixtura.forecasting.networks import MoiraiMoE
from mixtura.forecasting.networks.distributions import MixtureHead, NegativeBinomial
from mixtura.forecasting.networks.packed_series import pack_windows


def tiny(**changes: object) -> MoiraiMoE:
    torch.manual_seed(0)
    settings: dict[str, object] = {
        "patch_sizes": [4], "dim": 64, "hidden_dim": 8, "num_layers": 2, "num_experts": 4,
        "num_samples": 5, "context_length": 40,
    }  # fmt: skip
    return MoiraiMoE(**settings | changes).eval()


def test_the_farthest_centroids_share_by_a_softmax_of_their_distances() -> None:
    score = CentroidDistanceScore(1, 3, distance_mode="largest")
    score.centroids.copy_(torch.tensor([[0.0], [1.0], [5.0]]))
    router = Router(score, TopK(2, renormalize="softmax"), activation="identity")
    routing = router(torch.tensor([[2.0]]))
    assert routing.index.tolist() == [[2, 0]]
    assert torch.allclose(routing.weight, torch.tensor([3.0, 2.0]).softmax(0))
    nearest = CentroidDistanceScore(1, 3, distance_mode="smallest")
    nearest.centroids.copy_(score.centroids)
    assert nearest(torch.tensor([[2.0]]))[0].argmax() == 1


def test_tokens_are_padded_on_the_left_and_time_begins_with_the_first_value() -> None:
    past = torch.arange(12.0).view(1, 2, 6)
    past[..., :3] = torch.nan
    packed = pack_windows(past, 3, 4)
    assert packed.target.shape == (1, 2 * 2 + 2, 4)
    assert packed.time_id.tolist() == [[0, 0, 0, 0, 1, 1]]
    assert packed.sample_id.tolist() == [[0, 1, 0, 1, 1, 1]]
    assert packed.variate_id.tolist() == [[0, 0, 1, 1, 0, 1]]
    assert packed.observed[0, :, :].sum(-1).tolist() == [0, 3, 0, 3, 3, 3]
    assert packed.future.tolist() == [[False] * 4 + [True] * 2]


def test_the_negative_binomial_agrees_with_torch_at_integers() -> None:
    count, logits = torch.tensor([0.7, 3.0]), torch.tensor([-0.3, 0.4])
    value = torch.tensor([2.0, 5.0])
    theirs = IntegerNegativeBinomial(count, logits=logits)
    assert torch.allclose(NegativeBinomial(count, logits).log_prob(value), theirs.log_prob(value))
    assert torch.allclose(NegativeBinomial(count, logits).mean, theirs.mean)


def test_a_mixture_integrates_to_one_and_its_samples_have_its_mean() -> None:
    torch.manual_seed(1)
    head = MixtureHead(8, [1], ["student_t", "normal_fixed_scale(0.1)", "log_normal"])
    loc, scale = torch.tensor([[[2.0]]]), torch.tensor([[[3.0]]])
    with torch.no_grad():
        mixture = head(torch.randn(1, 1, 8), 1, loc, scale)
    grid = torch.linspace(-400, 400, 800_001).view(-1, 1, 1, 1)
    assert mixture.log_prob(grid).exp().sum() * 1e-3 == pytest.approx(1, abs=0.02)
    assert mixture.sample(200_000).mean() == pytest.approx(float(mixture.mean), abs=0.1)


def test_paths_repeat_with_the_seed_and_quantiles_are_ordered() -> None:
    network, past = tiny(), torch.randn(2, 3, 30)
    paths = network.sample(past, 10, 7, generator=torch.Generator().manual_seed(3))
    again = network.sample(past, 10, 7, generator=torch.Generator().manual_seed(3))
    assert torch.equal(paths, again)
    assert torch.equal(network.forecast(past, 10), network.forecast(past, 10))
    assert paths.shape == (7, 2, 3, 10)
    low, high = network.forecast_quantiles(past, 6, [0.1, 0.9])
    assert (low <= high).all()
    assert network.forecast(past, 6).shape == (2, 3, 6)


def test_a_path_goes_on_from_what_was_drawn_as_from_observed_values() -> None:
    network, past = tiny(components=["normal_fixed_scale(1e-9)"]), torch.randn(2, 3, 16) * 5
    whole = network.sample(past, 12, 1)[0]
    first = network.sample(past, 4, 1)[0]
    second = network.sample(torch.cat((past, first), -1), 4, 1)[0]
    third = network.sample(torch.cat((past, first, second), -1), 4, 1)[0]
    assert torch.allclose(whole, torch.cat((first, second, third), -1), atol=1e-4)


def test_covariates_are_further_variates_behind_the_target() -> None:
    past, known, past_only = torch.ones(1, 1, 6), torch.rand(1, 2, 9), torch.rand(1, 1, 6)
    known[0, 1, 8] = torch.nan
    packed = pack_windows(past, 3, 4, known=known, past_only=past_only)
    assert packed.variate_id.tolist() == [[0, 0, 0, 1, 1, 2, 2, 1, 2, 3, 3]]
    assert packed.time_id.tolist() == [[0, 1, 2, 0, 1, 0, 1, 2, 2, 0, 1]]
    assert packed.future.nonzero()[:, 1].tolist() == [2]
    assert torch.equal(packed.target[0, 3:5].flatten()[2:], known[0, 0, :6])
    assert torch.equal(packed.target[0, 7, :3], known[0, 0, 6:])
    assert torch.equal(packed.target[0, 9:].flatten()[2:], past_only[0, 0])
    assert packed.observed.sum(-1).tolist() == [[2, 4, 3, 2, 4, 2, 4, 3, 2, 2, 4]]
    with pytest.raises(InputError, match="known must cover"):
        pack_windows(past, 3, 4, known=known[..., 1:])
    network = tiny()
    paths = network.sample(past, 6, 2, known=torch.rand(1, 2, 12), past_only=past_only)
    assert paths.shape == (2, 1, 1, 6)
    seeds = [torch.Generator().manual_seed(1) for _ in range(2)]
    one = network.sample(past, 6, 2, known=torch.zeros(1, 1, 12), generator=seeds[0])
    other = network.sample(past, 6, 2, known=torch.arange(12.0).view(1, 1, -1), generator=seeds[1])
    assert not torch.allclose(one, other)


def test_a_width_that_64_does_not_divide_has_wider_heads() -> None:
    attention = tiny(dim=160).blocks[0].attention
    assert (attention.num_heads, attention.head_dim) == (2, 80)
    assert tiny(dim=96).forecast(torch.randn(1, 2, 12), 5).isfinite().all()


def test_values_that_are_missing_do_not_matter() -> None:
    network, past = tiny(), torch.randn(1, 2, 24)
    past[0, 0, 5:9] = torch.nan
    assert past.isnan().any()
    forecast = network.forecast(past, 4)
    longer = torch.cat((torch.full((1, 2, 8), torch.nan), past), -1)
    assert torch.allclose(network.forecast(longer, 4), forecast, atol=1e-5)


def test_the_likelihood_trains_every_parameter() -> None:
    network, past, future = tiny().train(), torch.rand(2, 2, 18), torch.rand(2, 2, 6)
    past[0, 0, 3] = future[1, 1, 2] = torch.nan
    loss = network.negative_log_likelihood(past, future)
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_released_names_there_and_back(tmp_path: Path) -> None:
    network = tiny()
    save_moirai_moe(network, tmp_path)
    config = {
        "d_model": 64, "d_ff": 8, "num_layers": 2, "patch_sizes": [4], "num_experts": 4,
        "distr_output": {
            "_target_": "uni2ts.distribution.mixture.MixtureOutput",
            "components": [
                {"_target_": "uni2ts.distribution.student_t.StudentTOutput"},
                {"_target_": "uni2ts.distribution.normal.NormalFixedScaleOutput", "scale": 0.001},
                {"_target_": "uni2ts.distribution.negative_binomial.NegativeBinomialOutput"},
                {"_target_": "uni2ts.distribution.log_normal.LogNormalOutput"},
            ],
        },
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    loaded = load_moirai_moe(tmp_path)
    assert loaded.head.names == network.head.names
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name]), name
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"model\.safetensors"):
        load_moirai_moe(tmp_path)


def test_the_configuration_is_the_constructor() -> None:
    network = tiny(patch_sizes=[4, 8], scaling=False)
    assert to_config(from_config(to_config(network))) == to_config(network)
    assert network.sample(torch.randn(1, 1, 12), 5, 2, patch_width=4).shape == (2, 1, 1, 5)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dim": 65}, "multiple of 4"),
        ({"top_k": 5}, "num_experts"),
        ({"components": ["gamma"]}, "student_t"),
        ({"num_samples": 0}, "at least 1"),
        ({"patch_sizes": []}, "patch_sizes"),
    ],
)
def test_settings_that_cannot_be(changes: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        tiny(**changes)
