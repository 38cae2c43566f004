"""Every registered router is one graph for torch.compile."""

import pytest
import torch

from mixtura.core.testing import ROUTERS, RouterCase


@pytest.mark.slow
@pytest.mark.compile
@pytest.mark.parametrize("case", list(ROUTERS), ids=lambda case: case.name)
def test_one_graph(case: RouterCase) -> None:
    torch.compiler.reset()
    router = case.seeded().eval()
    x, context = case.inputs(12), case.context(12, router.num_experts)
    compiled = torch.compile(
        lambda rows: router(rows, **context).dense_weight, fullgraph=True, backend="eager"
    )
    torch.manual_seed(0)
    expected = router(x, **context).dense_weight
    torch.manual_seed(0)
    torch.testing.assert_close(compiled(x), expected, atol=1e-5, rtol=1e-4)
