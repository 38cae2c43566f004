"""What `auto` takes is what the page on dispatch says."""

import pytest
import torch

from mixtura.core import Experts, GLUExperts, InputError, LoRAExperts, ModuleExperts, Routing
from mixtura.core.dispatch import dispatch_by_name, dispatches
from mixtura.core.dispatch.auto import ROWS_OF_A_LOOP, choose
from mixtura.core.dispatch.node import FEW_ROWS


def chosen(experts: Experts, units: int, dtype: torch.dtype = torch.float32) -> str:
    index = torch.zeros(units, 1, dtype=torch.int64)
    routing = Routing.from_choices(index, torch.ones(units, 1), num_experts=experts.num_experts)
    return choose(experts, torch.zeros(units, 8, dtype=dtype), routing)


def test_few_rows() -> None:
    experts = GLUExperts(4, 8, 8)
    assert chosen(experts, FEW_ROWS) == "grouped_mm"
    assert chosen(experts, FEW_ROWS, torch.bfloat16) == "padded_bmm"
    with torch.autocast("cpu", torch.bfloat16):
        assert chosen(experts, FEW_ROWS) == "padded_bmm"


def test_many_rows() -> None:
    experts = GLUExperts(20, 8, 8)
    enough = ROWS_OF_A_LOOP * 20
    assert chosen(experts, enough) == "sorted_loop"
    assert chosen(experts, enough - 1) == "stacked_loop"
    with torch.no_grad():
        assert chosen(experts, enough) == "stacked_loop"


def test_other_experts() -> None:
    assert chosen(ModuleExperts([torch.nn.Linear(8, 8)]), 10) == "sorted_loop"
    assert chosen(LoRAExperts(4, 8, 1), 10) == "dense_all"


def test_rows_of_units_with_positions_count_each() -> None:
    experts, index = GLUExperts(4, 8, 8), torch.zeros(300, 1, dtype=torch.int64)
    routing = Routing.from_choices(index, torch.ones(300, 1), num_experts=4)
    assert choose(experts, torch.zeros(300, 8), routing) == "grouped_mm"
    assert choose(experts, torch.zeros(300, 7, 8), routing) == "sorted_loop"


def test_each_is_found_by_its_name() -> None:
    for name, kind in dispatches().items():
        assert type(dispatch_by_name(name)) is kind
    with pytest.raises(InputError, match="did you mean sorted_loop"):
        dispatch_by_name("sorted_lop")
