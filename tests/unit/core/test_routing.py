"""Routing: the value itself, by hand-computed numbers."""

import torch

from mixtura.core import Routing, combine


def two_choices() -> Routing:
    """Three units, two choices of three experts; unit 2's second choice does not count."""
    return Routing.from_choices(
        torch.tensor([[2, 0], [1, 2], [0, 1]]),
        torch.tensor([[0.75, 0.25], [0.5, 0.5], [1.0, 9.0]]),
        torch.tensor([[True, True], [True, True], [True, False]]),
        num_experts=3,
    )


def test_rows_are_sorted_by_expert_with_invalid_ones_last():
    routing = two_choices()
    assert routing.counts.tolist() == [2, 1, 2]
    assert routing.offsets.tolist() == [2, 3, 5]
    assert routing.offsets.dtype == torch.int32
    assert routing.sorted_expert.tolist() == [0, 0, 1, 2, 2, 3]
    assert routing.sorted_unit.tolist() == [0, 2, 1, 0, 1, 2]


def test_inverse_undoes_order():
    routing = two_choices()
    assert routing.order[routing.inverse].tolist() == list(range(6))


def test_combine_is_the_weighted_sum_over_valid_assignments():
    routing = two_choices()
    x = torch.tensor([[1.0], [10.0], [100.0]])
    scale = torch.tensor([1.0, 2.0, 3.0, float("nan")])  # what expert 3, which is none, would give
    rows = routing.gather(x) * scale[routing.sorted_expert][:, None]
    expected = torch.tensor([[0.75 * 3 + 0.25 * 1], [0.5 * 20 + 0.5 * 30], [100.0]])
    torch.testing.assert_close(routing.combine(rows), expected)
    torch.testing.assert_close(routing.combine(rows[:5]), expected)


def test_a_list_of_assignments_gives_the_same_as_choices():
    choices = two_choices()
    listed = Routing(
        choices.unit.flip(0), choices.expert.flip(0), choices.weight.flip(0),
        num_units=3, num_experts=3,
    )  # fmt: skip
    x = torch.randn(3, 4, 5)
    assert listed.choices is None
    assert listed.counts.tolist() == choices.counts.tolist()
    both = [r.combine(r.gather(x) * r.sorted_expert.view(-1, 1, 1)) for r in (choices, listed)]
    torch.testing.assert_close(*both)


def test_masked_units_get_no_expert_and_zeros():
    routing = Routing.from_choices(
        torch.tensor([[0], [1]]),
        torch.ones(2, 1),
        num_experts=2,
        mask=torch.tensor([True, False]),
    )
    assert routing.counts.tolist() == [1, 0]
    assert routing.combine(routing.gather(torch.ones(2, 3))).tolist() == [[1.0] * 3, [0.0] * 3]


def test_dense_views_leave_out_what_is_not_valid():
    routing = two_choices()
    expected = torch.tensor([[0.25, 0.0, 0.75], [0.0, 0.5, 0.5], [1.0, 0.0, 0.0]])
    torch.testing.assert_close(routing.dense_weight, expected)
    assert torch.equal(routing.chosen, expected > 0)


def test_one_set_of_outputs_serves_several_routings():
    outputs = torch.tensor([[[1.0], [10.0], [100.0]]]).expand(3, 3, 1)
    expected = torch.tensor([[75.25], [55.0], [1.0]])
    torch.testing.assert_close(combine(outputs, two_choices()), expected)


def test_half_precision_is_accumulated_in_float32():
    routing = Routing.from_choices(
        torch.zeros(1, 2, dtype=torch.int64), torch.tensor([[1.0, 2**-9]]), num_experts=1
    )
    rows = torch.tensor([[1.0], [1.0]], dtype=torch.bfloat16)
    combined = routing.combine(rows)
    assert combined.dtype == torch.bfloat16
    assert combined.item() == torch.tensor(1 + 2**-9).to(torch.bfloat16).item()


def test_no_units_is_a_routing_too():
    routing = Routing.from_choices(
        torch.zeros(0, 2, dtype=torch.int64), torch.zeros(0, 2), num_experts=3
    )
    assert routing.counts.tolist() == [0, 0, 0]
    assert routing.combine(routing.gather(torch.zeros(0, 4))).shape == (0, 4)
