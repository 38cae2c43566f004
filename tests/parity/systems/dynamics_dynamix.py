"""DynaMix: gate, experts, free and teacher-forced runs."""

import re

import torch

from mixtura.dynamics import DynaMix, InContextGate, RecurrentExperts
from mixtura.dynamics.checkpoints import load_dynamix_weights

from ..fixture import Fixture
from ..options import UnknownOption
from ..registry import system
from ..report import Report
from ..tolerance import Tolerance

KINDS = {"almost_linear_rnn": "almost_linear", "clipped_shallow_plrnn": "clipped_shallow"}
FORCED = re.compile(r"out\.gtf_alpha([\d.]+)_interleave(\d+)$")


@system("dynamix")
@torch.no_grad()
def check_dynamix(fixture: Fixture, report: Report) -> None:
    """All stored tensors."""
    o = fixture.options
    o.get("seed")
    kind = o.get("expert_type", "almost_linear_rnn")
    if kind not in KINDS:
        raise UnknownOption(f"expert_type = {kind!r} is not one of {', '.join(KINDS)}")
    experts = RecurrentExperts(
        o["experts"], o["latent_dim"], o["pwl_units"], o["hidden_dim"], KINDS[kind]
    )
    model = DynaMix(
        o["obs_dim"], experts, InContextGate(o["experts"], o["latent_dim"], o["obs_dim"])
    )
    load_dynamix_weights(model, fixture.weights)
    report.tolerance = Tolerance(1e-5, 1e-5)
    context, x = fixture.input("in.context"), fixture.input("in.x")
    z0 = fixture.get("out.z0")
    features = model.gate.features(context)
    report.compare("out.z0", model.initial_state(x[0]))
    report.compare("out.cnn", features)
    routing = model.gate(z0, context, features)
    report.compare("out.expert_weights_t0", routing.dense_weight)
    report.compare("out.expert_out_t0", model.experts.all(z0).transpose(0, 1))
    report.compare("out.free_run", model(context, z0, len(fixture.get("out.free_run"))))
    for name in report.names("out.gtf_"):
        found = FORCED.match(name)
        if found is None:
            continue
        forced = model(
            context,
            z0,
            len(fixture.get(name)),
            teacher=x,
            alpha=float(found[1]),
            interleave=int(found[2]),
        )
        report.compare(name, forced)
