"""Routing units: rows to units and back."""

import pytest
import torch

from mixtura.core import InputError, SampleUnits, SegmentUnits, TokenUnits


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
