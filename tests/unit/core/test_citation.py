"""The papers behind a model."""

from torch import nn

from mixtura.core import (
    ActiveScores,
    BalanceBias,
    GLUExperts,
    LinearScore,
    MoELayer,
    Router,
    TopK,
    cite,
)


def test_parts_and_losses_are_cited() -> None:
    router = Router(LinearScore(4, 3), TopK(1), adjustments=[BalanceBias(3)])
    layer = MoELayer(router, GLUExperts(3, 4, 8), losses=[ActiveScores(1)])
    papers = cite(nn.Sequential(nn.Linear(4, 4), layer))
    assert papers["LinearScore"] == ["1701.06538"]
    assert papers["BalanceBias"] == ["2408.15664"]
    assert papers["GLUExperts"] == ["2002.05202"]
    assert "Linear" not in papers
    assert cite(nn.Linear(2, 2)) == {}
