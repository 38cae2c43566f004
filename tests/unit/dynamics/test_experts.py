"""Meta-learners as expert banks: bind, chunks, Taylor expansion, the discrete adjoint."""

from math import factorial

import pytest
import torch

from mixtura.core import InputError, TopK
from mixtura.dynamics import (
    CAVIA,
    GEPS,
    NCF,
    RK4,
    CoDA,
    MixER,
    Objective,
    OfficialGEPS,
    Trajectories,
)
from mixtura.dynamics.experts import VectorFields
from mixtura.dynamics.experts.ncf import embedding_widths
from mixtura.dynamics.mixer import Autonomous, one_expert_each

from .systems import contexts_for, small_mixer

KINDS = [GEPS, OfficialGEPS, NCF, CoDA, CAVIA]


def bank(kind: type[VectorFields], **options) -> VectorFields:
    torch.manual_seed(0)
    return kind(3, 2, 6, width=8, same_init=False, **options).double()


@pytest.mark.parametrize("kind", KINDS)
def test_all_environments_at_once_equal_one_at_a_time(kind) -> None:
    experts = bank(kind)
    contexts, x = torch.randn(5, 6).double(), torch.randn(5, 4, 2).double()
    expert = torch.tensor([0, 2, 1, 1, 0])
    together = experts.bind(one_expert_each(expert, 3), contexts)(x)
    for unit in range(5):
        alone = experts.one(int(expert[unit]), x[unit : unit + 1], contexts[unit : unit + 1])
        torch.testing.assert_close(together[unit], alone[0])


SMOOTH = [(kind, "swish") for kind in KINDS] + [(GEPS, "tanh"), (NCF, "softplus"), (CAVIA, "tanh")]


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # of torch.func.jvp
@pytest.mark.parametrize(("kind", "activation"), SMOOTH)
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_taylor_terms_are_derivatives_in_the_context(kind, activation, order) -> None:
    experts = bank(kind, **({} if activation == "swish" else {"activation": activation}))
    xi, around = torch.randn(2, 4, 6).double().unbind(0)
    x = torch.randn(4, 3, 2).double()
    routing = one_expert_each(torch.tensor([0, 1, 2, 0]), 3)

    def derivative(of):
        return lambda s: torch.func.jvp(of, (s,), (torch.ones_like(s),))[1]

    def term(s: torch.Tensor) -> torch.Tensor:
        return experts.bind(routing, around + s * (xi - around))(x)

    zero = torch.zeros(()).double()
    expected = term(zero)
    for power in range(1, order + 1):
        term = derivative(term)
        expected = expected + term(zero) / factorial(power)
    found = experts.bind(routing, xi, around, order)(x)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("activation", ["swish", "relu", "tanh", "softplus"])
def test_the_discrete_adjoint_is_the_gradient(kind, activation) -> None:
    experts = bank(kind, **({} if kind is OfficialGEPS else {"activation": activation}))
    contexts = (0.3 * torch.randn(4, 6).double()).requires_grad_()
    x0 = torch.randn(4, 2, 2).double().requires_grad_()
    t = torch.tensor([[0.0, 0.2, 0.5, 0.6]]).double().expand(4, -1)
    routing = one_expert_each(torch.tensor([0, 1, 2, 0]), 3)
    results = []
    for fast in (True, False):
        bound = experts.bind(routing, contexts)
        assert bound.chain is not None
        solver = RK4(2, discrete_adjoint=fast)
        loss = solver(Autonomous(bound), x0, t).states.square().sum()
        moved = [contexts, x0, *experts.parameters()]
        results.append([loss.detach(), *torch.autograd.grad(loss, moved)])
    for fast, slow in zip(*results, strict=True):
        torch.testing.assert_close(fast, slow, rtol=1e-9, atol=1e-11)


def test_only_routed_experts_are_computed_and_weights_merged_once_per_solve(monkeypatch) -> None:
    mixer = small_mixer(experts=3)
    merges = []
    original = GEPS.specialise

    def counted(self, context, expert):
        merges.append(len(expert))
        return original(self, context, expert)

    monkeypatch.setattr(GEPS, "specialise", counted)
    contexts = contexts_for(mixer, 7)
    mixer(contexts, torch.randn(7, 2, 2), torch.linspace(0, 1, 6))
    assert merges == [7]
    data = Trajectories(torch.randn(7, 2, 6, 2), torch.linspace(0, 1, 6).expand(7, -1))
    assert Objective().expert_losses(mixer, contexts, data).shape == (7, 3)
    assert merges == [7, 21]


def test_unused_experts_get_zero_gradient() -> None:
    mixer = small_mixer(experts=3)
    routing = one_expert_each(torch.tensor([0, 0]), 3)
    states = mixer(
        contexts_for(mixer, 2), torch.randn(2, 2, 2), torch.linspace(0, 1, 4), routing=routing
    ).states
    states.square().sum().backward()
    gradient = mixer.experts.root.weights[0].grad
    assert float(gradient[0].abs().sum()) > 0
    assert float(gradient[1:].abs().sum()) == 0


def test_exact_ties_add_the_experts() -> None:
    mixer = small_mixer(experts=3)
    with torch.no_grad():
        mixer.score.weight.zero_()
    contexts, x = contexts_for(mixer, 4), torch.randn(4, 2, 2)
    routing = mixer.route(contexts)
    assert routing.dense_weight.tolist() == [[1.0] * 3] * 4
    each = [
        mixer.experts.bind(one_expert_each(torch.full((4,), e), 3), contexts)(x) for e in range(3)
    ]
    torch.testing.assert_close(mixer.field(contexts)(x), sum(each))


def test_the_closed_form_gate_gets_no_gradient_and_the_switch_gate_does() -> None:
    for selection, expected in ((None, False), (TopK(1, renormalize="never"), True)):
        torch.manual_seed(0)
        mixer = MixER(GEPS(3, 2, 6, width=8, same_init=False), selection)
        assert mixer.trained_by_gradient is expected
        states = mixer(contexts_for(mixer, 4), torch.randn(4, 2, 2), torch.linspace(0, 1, 4)).states
        (gradient,) = torch.autograd.grad(
            states.sum(), mixer.gate_parameters(), allow_unused=True, materialize_grads=True
        )
        assert (float(gradient.abs().sum()) > 0) is expected


def test_official_swish() -> None:
    torch.manual_seed(0)
    experts = OfficialGEPS(1, 1, 1, width=3, depth=2)
    root = experts.root
    x = torch.randn(1, 5, 1)
    found = experts.bind(one_expert_each(torch.tensor([0]), 1), torch.zeros(1, 1))(x)
    h = x[0] @ root.weights[0][0].T + root.biases[0][0]
    active = h * torch.sigmoid(h * torch.nn.functional.softplus(torch.tensor(0.5))) / 1.1
    torch.testing.assert_close(found[0], active @ root.weights[1][0].T + root.biases[1][0])


def test_embedding_widths_are_geometric_and_even_inside() -> None:
    assert embedding_widths(2, 8, 1) == [2, 4, 8]
    assert embedding_widths(256, 32, 2) == [256, 128, 64, 32]


def test_bad_sizes_are_refused() -> None:
    with pytest.raises(InputError, match="multiple of num_experts"):
        GEPS(3, 2, 7)
    with pytest.raises(InputError, match="at least 2"):
        GEPS(2, 2, 4, depth=1)
    with pytest.raises(InputError, match="Taylor order"):
        small_mixer().experts.bind(one_expert_each(torch.tensor([0]), 3), order=-1)
