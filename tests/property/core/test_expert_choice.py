"""Expert and pool choice over random sizes: empty experts, masks, one unit, no units."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from mixtura.core import ExpertChoice, InputError, LinearScore, PoolChoice, Router

SIZES = {
    "samples": st.integers(1, 4),
    "size": st.integers(0, 9),
    "experts": st.integers(1, 6),
    "capacity": st.floats(0.05, 8.0),
    "seed": st.integers(0, 2**16),
}


def units(samples: int, size: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(samples * size, 3, generator=generator)
    return x, torch.rand(samples * size, generator=generator) < 0.7


@given(**SIZES, over=st.sampled_from(["sample", "pool"]), minimum=st.integers(0, 2))
def test_every_expert_takes_its_share_of_real_units(
    samples, size, experts, capacity, seed, over, minimum
):
    x, mask = units(samples, size, seed)
    selection = ExpertChoice(capacity, over=over, minimum=minimum)
    router = Router(LinearScore(3, experts, std=1.0), selection)
    routing = router(x, mask=mask, num_samples=samples)
    groups = samples if over == "sample" else 1
    chosen = routing.chosen.view(groups, -1, experts)
    real = mask.view(groups, -1).sum(1)
    for group in range(groups):
        share = max(int(int(real[group]) / experts * capacity), minimum)
        assert chosen[group].sum(0).tolist() == [min(share, int(real[group]))] * experts
    assert not routing.chosen[~mask].any()
    assert torch.isfinite(routing.weight).all()
    pairs = torch.stack([routing.unit, routing.expert])[:, routing.expert < experts]
    assert pairs.unique(dim=1).shape == pairs.shape


@given(**SIZES)
def test_padding_changes_nothing(samples, size, experts, capacity, seed):
    x, _ = units(samples, size, seed)
    router = Router(LinearScore(3, experts, std=1.0), ExpertChoice(capacity, normalize="units"))
    plain = router(x, num_samples=samples)
    padded = torch.cat([x.view(samples, size, 3), torch.randn(samples, 2, 3)], 1)
    mask = (torch.arange(size + 2) < size).repeat(samples)
    masked = router(padded.flatten(0, 1), mask=mask, num_samples=samples)
    torch.testing.assert_close(masked.dense_weight[mask], plain.dense_weight)


@given(**SIZES)
def test_reordering_the_units_of_a_sample_reorders_the_decision(
    samples, size, experts, capacity, seed
):
    x, _ = units(samples, size, seed)
    score = LinearScore(3, experts, std=1.0)
    router = Router(score, ExpertChoice(capacity), activation="sigmoid")  # no ties
    order = torch.randperm(size, generator=torch.Generator().manual_seed(seed))
    moved = x.view(samples, size, 3)[:, order].flatten(0, 1)
    expected = router(x, num_samples=samples).dense_weight.view(samples, size, experts)[:, order]
    actual = router(moved, num_samples=samples).dense_weight.view(samples, size, experts)
    torch.testing.assert_close(actual, expected)


@given(**SIZES, inference=st.sampled_from(["topk_by_gate", "mask"]))
def test_the_pool_in_training_and_at_inference(samples, size, experts, capacity, seed, inference):
    x, mask = units(samples, size, seed)
    selection = PoolChoice(experts, capacity, inference=inference, decay=0.5)
    router = Router(LinearScore(3, experts, std=1.0), selection)
    routing = router(x, mask=mask, num_samples=samples)
    real = int(mask.sum())
    share = min(max(int(real / experts * capacity), 1), real)
    assert routing.counts.tolist() == [share] * experts
    assert torch.isfinite(selection.threshold).all()
    assert (selection.threshold >= 0).all()
    router.eval()
    kept = router(x, mask=mask, num_samples=samples)
    fires = (kept.scores > selection.threshold) & mask[:, None]
    assert torch.equal(kept.counts, fires.sum(0))
    assert torch.equal(kept.chosen, fires)  # by its own score both ways mean the same


@given(samples=st.integers(2, 5), units=st.integers(1, 30))
def test_unequal_shares_are_refused(samples, units):
    router = Router(LinearScore(3, 2), ExpertChoice())
    x = torch.randn(units, 3)
    try:
        router(x, num_samples=samples)
    except InputError:
        assert units % samples
    else:
        assert not units % samples
