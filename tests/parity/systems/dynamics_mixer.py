"""MixER: vector fields, gate, solutions, losses, gradients, training steps, one gate update."""

import torch
from torch import Tensor

from mixtura.dynamics import (
    GEPS,
    NCF,
    PAM,
    RK4,
    AdaptiveTsit5,
    ClosedFormGate,
    CoDA,
    MixER,
    Objective,
    Reconstruction,
    Trajectories,
)
from mixtura.dynamics.checkpoints import PREFIX, expert_keys, load_mixer_weights
from mixtura.dynamics.gate.clustering import nearest
from mixtura.dynamics.training.contributors import choose_contributors

from ..fixture import Fixture, as_tensor
from ..options import UnknownOption
from ..registry import system
from ..report import Report
from ..tolerance import Tolerance

CONTEXT_PENALTY = 1e-3
GRADIENT = Tolerance(1e-10, 1e-4)
LOSS = Tolerance(5e-8, 5e-5)
ADAPTIVE = {"1e-3": (1e-3, 1e-6), "1e-6": (1e-6, 1e-8)}


@system("mixer")
def check_mixer(fixture: Fixture, report: Report) -> None:
    """Everything that a MixER fixture may hold."""
    options = fixture.options
    for described in ("seed", "T", "nb_envs", "nb_trajs", "nb_steps"):
        options.get(described)
    options.only("gate_update_strategy", "least_squares", "gradient_descent")
    mixer = build(fixture)
    load_mixer_weights(mixer, fixture.weights)
    contexts = fixture.input("in.contexts")
    data = Trajectories(
        fixture.input("in.targets"),
        fixture.input("in.t_eval").expand(len(contexts), -1),
        fixture.input("in.x0"),
    )
    expansion = fixture.input("in.pool_contexts")
    with torch.no_grad():
        check_fields(fixture, report, mixer, contexts, data, expansion)
        check_solutions(fixture, report, mixer, contexts, data, expansion)
    check_losses(fixture, report, mixer, contexts, data)
    check_gate(fixture, report, mixer, contexts)
    if fixture.options.get("pam", report.names("out.pam_") != []):
        check_training(fixture, report, mixer, contexts, data)


def build(fixture: Fixture) -> MixER:
    """The network that the fixture describes."""
    o = fixture.options
    sizes = (o["nb_experts"], o["data_size"], o["context_size"])
    common = {
        "width": o["width"],
        "depth": o["depth"],
        "activation": o.get("activation", "swish"),
        "split_context": o.get("split_context", True),
        "shift_context": o.get("shift_context", True),
    }
    embeddings = {
        "depth_data": o.get("depth_data", 1),
        "depth_context": o.get("depth_ctx", 1),
        "intermediate_dim": o.get("intermediate_size", 32),
    }
    kind = o["meta_learner"]
    if kind == "GEPS":
        experts = GEPS(*sizes, **common)
    elif kind == "CoDA":
        experts = CoDA(*sizes, **common)
    elif kind == "NCF":
        experts = NCF(*sizes, **common, **embeddings)
    else:
        raise UnknownOption(f"meta_learner = {kind!r} is not GEPS, CoDA or NCF")
    return MixER(experts, gate_bias=o.get("use_gate_bias", True))


def check_fields(
    fixture: Fixture, report: Report, mixer: MixER, contexts: Tensor, data: Trajectories, expansion
) -> None:
    """Gate and vector fields at the initial states."""
    routing = mixer.route(contexts)
    compare(report, "out.gate_logits", routing.logits, 1e-5)
    compare(report, "out.gate_probs", routing.scores, 1e-5)
    if fixture.has("out.expert_index"):
        report.exact("out.expert_index", routing.dense_weight.argmax(1).int())
    k = mixer.num_experts
    alone = torch.stack(
        [
            mixer.field(contexts, routing=mixer.route(contexts, only(e, contexts)))(data.x0)
            for e in range(k)
        ],
        2,
    )
    compare(report, "out.vf_per_expert", alone, 1e-5)
    compare(report, "out.vf", mixer.field(contexts)(data.x0), 1e-5)
    for name in report.names("out.vf_taylor"):
        order = int(name.removeprefix("out.vf_taylor"))
        field = mixer.field(contexts, expansion=expansion, order=order)
        compare(report, name, field(data.x0), 1e-4)


def check_solutions(
    fixture: Fixture, report: Report, mixer: MixER, contexts: Tensor, data: Trajectories, expansion
) -> None:
    """Trajectories by RK4, by adaptive Tsit5 and with the context expanded."""
    rk4 = RK4(fixture.options["rk4_subdivisions"])
    compare(report, "out.traj_rk4", mixer(contexts, data.x0, data.t, solver=rk4).states, 1e-5)
    accurate = fixture.has("out.traj_tsit5_1e-6") and fixture.get("out.traj_tsit5_1e-6")
    for name, (rtol, atol) in ADAPTIVE.items():
        if not fixture.has(f"out.traj_tsit5_{name}"):
            continue
        solution = mixer(contexts, data.x0, data.t, solver=AdaptiveTsit5(rtol, atol))
        assert bool(solution.ok.all())
        if name == "1e-6":
            compare(report, f"out.traj_tsit5_{name}", solution.states, 1e-4)
        else:
            # a coarse solution is only as near to another coarse one as both are to the truth
            coarse = fixture.get(f"out.traj_tsit5_{name}")
            spread = float((coarse - accurate).abs().max())
            allowed = Tolerance(spread + 1e-4 * float(coarse.abs().max()), 1e-4)
            report.compare(f"out.traj_tsit5_{name}", solution.states, allowed)
    taylor = mixer(
        contexts,
        data.x0,
        data.t,
        solver=rk4,
        expansion=expansion,
        order=fixture.options["taylor_order"],
    )
    compare(report, "out.traj_taylor_rk4", taylor.states, 1e-4)


def objective(fixture: Fixture, reweight: bool) -> Objective:
    """The loss that the fixture's options describe."""
    o = fixture.options
    return Objective(
        RK4(o["rk4_subdivisions"]),
        order=o["taylor_order"],
        pool=o["pool"],
        pool_strategy=o.get("pool_filling", "NF"),
        context_penalty=CONTEXT_PENALTY if o.get("context_regularization", True) else 0.0,
        reweight=reweight,
    )


def check_losses(
    fixture: Fixture, report: Report, mixer: MixER, contexts: Tensor, data: Trajectories
) -> None:
    """Losses of all environments and of the first ones, with gradients."""
    contexts = contexts.clone().requires_grad_()
    everything = objective(fixture, reweight=False)(mixer, contexts, data)
    report.compare("out.loss_full", everything.loss.view(1), LOSS)
    compare(report, "out.loss_full_mse_per_env", everything.per_environment, 5e-5)
    count, strategy = (
        fixture.options["loss_contributors"],
        fixture.options.get("loss_filling", "FO"),
    )
    if strategy in ("FO", "NF-B"):
        chosen = choose_contributors(contexts, count, strategy)
    else:  # drawn at random
        chosen = as_tensor(fixture.get("out.loss_env_index")).long()
    report.exact("out.loss_env_index", chosen.int())
    loss = objective(fixture, fixture.options["self_reweighting"])
    value = loss(mixer, contexts[chosen], data.select(chosen))
    report.compare("out.loss", value.loss.view(1), LOSS)
    compare(report, "out.loss_mse_per_env", value.per_environment, 5e-5)
    report.compare("out.multitask_expert_losses", loss.expert_losses(mixer, contexts, data), LOSS)
    parameters = dict(mixer.experts.named_parameters())
    gradients = torch.autograd.grad(value.loss, [contexts, *parameters.values()], allow_unused=True)
    compare(report, "out.grad_contexts", gradients[0], 1e-4)
    keys = expert_keys(mixer.experts)
    for name, gradient in zip(parameters, gradients[1:], strict=True):
        for k in range(mixer.num_experts):
            full = f"gradnorm.{PREFIX}experts.{k}.{keys[name]}"
            norm = torch.zeros(1) if gradient is None else gradient[k].norm().view(1)
            report.compare(full, norm, GRADIENT)
    (gate,) = torch.autograd.grad(
        value.loss, mixer.gate_parameters(), allow_unused=True, materialize_grads=True
    )
    report.exact(f"gradnorm.{PREFIX}gate", gate.norm().view(1))
    for name in report.names("gradnorm."):
        if ".root_utils." in name:  # a template that the reference keeps beside its flat weights
            report.exact(name, torch.zeros(1))


def check_gate(fixture: Fixture, report: Report, mixer: MixER, contexts: Tensor) -> None:
    """One closed-form update with the stored expert losses."""
    if not fixture.has("gate.in_centroids"):
        return
    before = mixer.score.weight.detach().clone()
    gate = ClosedFormGate(noise=fixture.options["gate_noise"])
    gate.remember(fixture.input("gate.in_centroids"))
    fit = gate.fit(
        mixer.score,
        contexts,
        fixture.get("out.multitask_expert_losses"),
        noise_unit=fixture.input("gate.in_noise_unit"),
    )
    report.compare("gate.out_W", mixer.score.weight, Tolerance(5e-5, 1e-4))
    report.compare("gate.out_centroids", gate.centroids, Tolerance(1e-6, 1e-5))
    report.exact("gate.out_assignment", nearest(contexts, gate.centroids).int())
    report.exact("gate.out_targets", fit.targets)
    compare(report, "gate.out_probs", mixer.route(contexts).scores, 1e-5)
    with torch.no_grad():
        mixer.score.weight.copy_(before)


def check_training(
    fixture: Fixture, report: Report, mixer: MixER, contexts: Tensor, data: Trajectories
) -> None:
    """Three steps on the contexts, then three on the weights."""
    options = fixture.options
    outer = options.get("pam_outer", 1)
    recipe = PAM(
        objective(fixture, options["self_reweighting"]),
        outer_steps=options.get("pam_schedule_outer", 10**9),
        context_steps=options.get("pam_ctx_steps", 3),
        model_steps=options.get("pam_model_steps", 3),
        gate_every=10**6,
        beta=options.get("pam_beta", 10.0),
        lr=options.get("pam_lr", 1e-3),
        decay=options.get("pam_decay", 0.4),
        shared_moments=options.get("same_expert_optstate", False),
        contributors=options["loss_contributors"],
        contribution=options.get("loss_filling", "FO"),
        reference_compat=True,
    )
    system_ = Reconstruction(mixer, len(contexts))
    with torch.no_grad():
        system_.contexts.copy_(contexts)
    gate = mixer.score.weight.detach().clone()
    recipe.update_gate = lambda *_: None
    optimisers, losses = recipe.optimisers(system_), []
    for number in range(outer):
        done = recipe.step(number, system_, data, optimisers, torch.Generator())
        losses.append(torch.tensor(done.inner_losses))
    steps = [recipe.context_steps, recipe.model_steps]
    on_contexts, on_weights = zip(*(inner.split(steps) for inner in losses), strict=True)
    report.compare("out.pam_ctx_losses", torch.cat(on_contexts), LOSS)
    report.compare("out.pam_model_losses", torch.cat(on_weights), LOSS)
    compare(report, "out.pam_contexts", system_.contexts.detach(), 1e-4)
    keys = expert_keys(mixer.experts)
    errors = []
    after = {f"after_pam.{PREFIX}gate": mixer.score.weight.detach()}
    for name, parameter in mixer.experts.named_parameters():
        for k in range(mixer.num_experts):
            after[f"after_pam.{PREFIX}experts.{k}.{keys[name]}"] = parameter[k].detach()
    for name, value in after.items():
        expected = as_tensor(fixture.get(name))
        value = value.reshape(expected.shape)
        report.compare(name, value, Tolerance(1e-3, 0.0))
        errors.append((value - expected).abs().flatten())
    share = float((torch.cat(errors) <= 5e-5).float().mean())
    if share < 0.99:
        report.fail("after_pam", f"only {share:.4f} of the elements are within 5e-5")
    with torch.no_grad():
        mixer.score.weight.copy_(gate)


def only(expert: int, contexts: Tensor) -> Tensor:
    """Every environment to one expert."""
    return torch.full((len(contexts),), expert)


def compare(report: Report, name: str, actual: Tensor, relative: float) -> None:
    """Compare relative to the largest expected value."""
    expected = as_tensor(report.fixture.get(name))
    size = float(expected.abs().max())
    report.compare(name, actual, Tolerance(relative * size, relative))
