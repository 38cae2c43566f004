"""Routing units: rows to units and back."""

import pytest
import torch

from mixtura.core import (
    AttendedSamples,
    ExpertChoice,
    InputError,
    LinearScore,
    MLPExperts,
    MoELayer,
    Router,
    SampleUnits,
    SegmentUnits,
    TokenUnits,
    TopK,
    from_config,
    to_config,
)


def test_tokens_are_rows():
    x = torch.arange(24.0).view(2, 3, 4)
    units = TokenUnits()
    assert torch.equal(units.group(x), x.view(6, 4))
    assert torch.equal(units.ungroup(units.group(x), x.shape), x)
    mask = torch.tensor([[True, False, True], [True, True, False]])
    assert torch.equal(units.group_mask(mask, x.shape), mask.view(-1))


@pytest.mark.parametrize("granularity", ["row", "unit"])
def test_segments_are_padded_on_the_right_and_cut_again(granularity):
    x = torch.arange(1.0, 21.0).view(2, 5, 2)
    units = SegmentUnits(3, granularity=granularity)
    grouped = units.group(x)
    assert grouped.shape == ((4, 3, 2) if granularity == "row" else (4, 6))
    assert grouped.reshape(4, 6)[1].tolist() == [7.0, 8.0, 9.0, 10.0, 0.0, 0.0]
    assert torch.equal(units.ungroup(grouped, x.shape), x)
    assert torch.equal(units.pool(grouped), grouped.reshape(4, 6))


def test_a_segment_is_masked_when_all_its_tokens_are():
    units = SegmentUnits(2)
    mask = torch.tensor([[True, False, False, False, True]])
    assert units.group_mask(mask, torch.Size([1, 5, 7])).tolist() == [True, False, True]


def test_pools_of_a_sample():
    x = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    assert SampleUnits(pool="mean").pool(x).tolist() == [[2.0, 3.0]]
    assert SampleUnits(pool="first").pool(x).tolist() == [[1.0, 2.0]]
    assert SampleUnits(pool="flatten").pool(x).tolist() == [[1.0, 2.0, 3.0, 4.0]]
    with pytest.raises(InputError, match="has to be pooled"):
        SampleUnits(pool="none").pool(x)


def test_a_mask_of_another_shape_is_refused():
    for units, shape in [(TokenUnits(), (2, 3)), (SegmentUnits(2), (2, 3)), (SampleUnits(), (2,))]:
        with pytest.raises(InputError, match="the mask must be"):
            units.group_mask(torch.ones(9, dtype=torch.bool), torch.Size([2, 3, 4]))
        units.group_mask(torch.ones(shape, dtype=torch.bool), torch.Size([2, 3, 4]))


def test_a_segment_needs_a_token():
    with pytest.raises(InputError, match="size must be at least 1"):
        SegmentUnits(0)


def test_attention_pooling_starts_as_a_mean_and_learns():
    units = AttendedSamples(4)
    x = torch.randn(3, 5, 4)
    torch.testing.assert_close(units.pool(x), x.mean(1))
    layer = MoELayer(
        Router(LinearScore(4, 2), TopK(1, renormalize="never")), MLPExperts(2, 4, 6), units=units
    )
    layer(x).square().sum().backward()
    assert units.query.grad.abs().sum() > 0
    assert "units.query" in layer.state_dict()
    built = from_config(to_config(layer))
    assert isinstance(built.units, AttendedSamples)


def test_the_first_and_the_last_row():
    x = torch.randn(3, 5, 4)
    assert torch.equal(SampleUnits(pool="first").pool(x), x[:, 0])
    assert torch.equal(SampleUnits(pool="last").pool(x), x[:, -1])


def test_rows_follow_their_units_in_any_numbers():
    torch.manual_seed(0)
    layer = MoELayer(Router(LinearScore(4, 3, std=1.0), TopK(2)), MLPExperts(3, 4, 6))
    patches, unit_of_row = torch.randn(9, 4), torch.tensor([0, 0, 0, 1, 2, 2, -1, 1, 3])
    stand_in = torch.stack([patches[unit_of_row == u].mean(0) for u in range(4)])
    mask = torch.tensor([True, True, True, False])
    routing = layer.route(stand_in, mask=mask)
    y = layer.compute(patches, routing.for_rows(unit_of_row))
    for row, unit in enumerate(unit_of_row.tolist()):
        if unit < 0 or not mask[unit]:
            assert not y[row].any()
            continue
        outputs = layer.experts.all(patches[row : row + 1])[0]
        torch.testing.assert_close(y[row], routing.dense_weight[unit] @ outputs)
    choosing = Router(LinearScore(4, 3), ExpertChoice())(stand_in)
    with pytest.raises(InputError, match="chose their experts"):
        choosing.for_rows(unit_of_row)
