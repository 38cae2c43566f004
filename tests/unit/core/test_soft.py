"""Soft MoE by its formulas."""

import pytest
import torch

from mixtura.core import (
    InputError,
    MLPExperts,
    MoELayer,
    Router,
    SampleUnits,
    SlotScore,
    SoftSlots,
)


def layer(slots: int = 2) -> MoELayer:
    torch.manual_seed(0)
    router = Router(SlotScore(4, 3, slots), SoftSlots(slots), activation="identity")
    return MoELayer(router, MLPExperts(3, 4, 8))


def test_the_formulas() -> None:
    model, x = layer(), torch.randn(2, 5, 4)
    logits = model.router.score_function(x.reshape(-1, 4))[0].view(2, 5, 6)
    dispatch, mix = logits.softmax(1), logits.softmax(2)
    slots = torch.einsum("bts,btd->bsd", dispatch, x)
    outputs = torch.stack([model.experts.one(s // 2, slots[:, s]) for s in range(6)], 1)
    expected = torch.einsum("bts,bsd->btd", mix, outputs)
    torch.testing.assert_close(model(x), expected)


def test_samples_do_not_mix_and_padding_fills_no_slot() -> None:
    model, x = layer(), torch.randn(2, 5, 4)
    torch.testing.assert_close(model(x)[0], model(x[:1])[0])
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    padded = model(x, mask=mask)
    torch.testing.assert_close(padded[1, :3], model(x[1:, :3])[0])
    assert (padded[1, 3:] == 0).all()
    nobody = model(x, mask=torch.zeros(2, 5, dtype=torch.bool))
    assert (nobody == 0).all()


def test_slots_have_to_agree_and_nobody_can_be_forced() -> None:
    with pytest.raises(InputError, match="numbers of slots equal"):
        Router(SlotScore(4, 3, 2), SoftSlots(1), activation="identity")
    with pytest.raises(InputError, match="cannot be forced"):
        layer()(torch.randn(1, 5, 4), forced=torch.zeros(5, dtype=torch.int64))


def test_samples_as_units() -> None:
    router = Router(SlotScore(4, 3), SoftSlots(), activation="identity")
    model = MoELayer(router, MLPExperts(3, 4, 8), units=SampleUnits())
    assert model(torch.randn(6, 4)).shape == (6, 4)
