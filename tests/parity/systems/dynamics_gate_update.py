"""MixER's gate update: k-means, assignment and least squares, with skipped updates."""

import torch
from torch import Tensor

from mixtura.dynamics import ClosedFormGate, ContextKMeans, ContextScore
from mixtura.dynamics.gate.clustering import nearest

from ..fixture import Fixture, as_tensor
from ..options import Options
from ..registry import system
from ..report import Report
from ..tolerance import Tolerance


@system("gate-update")
def check_gate_update(fixture: Fixture, report: Report) -> None:
    """Every case of the fixture."""
    for case in fixture.options:
        check_case(case, fixture.options[case], fixture, report)


def check_case(case: str, o: Options, fixture: Fixture, report: Report) -> None:
    """One update."""

    def stored(name: str) -> Tensor:
        return fixture.input(f"{case}.{name}")

    for described in ("mode", "message", "E", "rank_deficient"):
        o.get(described)
    score = ContextScore(o["C"], o["K"], o["use_gate_bias"])
    score.weight.data.copy_(stored("gate_before"))
    gate = ClosedFormGate(ContextKMeans(o["max_iter"], o["tol"]), noise=o["noise_level"])
    gate.remember(stored("init_centroids"))
    contexts = stored("contexts")
    fit = gate.fit(score, contexts, stored("expert_losses"), noise_unit=stored("noise_unit"))
    if fit.updated != o["updated"]:
        report.fail(f"{case}.updated", f"expected {o['updated']}, got {fit.updated}")
    report.exact(f"{case}.targets", fit.targets)
    # a gate is compared by its logits: for few environments its weights are not unique
    features = score.features(contexts)
    expected = as_tensor(fixture.get(f"{case}.gate_after"))
    error = float((features @ (score.weight.detach() - expected)).abs().max())
    if error > 1e-5 * max(1.0, float((features @ expected).abs().max())):
        report.fail(f"{case}.gate_after", f"logits differ by {error:.2e}")
    report.compare(f"{case}.gate_after", score.weight, Tolerance(5e-5, 1e-4))
    if not fit.updated:
        return
    report.compare(f"{case}.centroids", gate.centroids, Tolerance(1e-6, 1e-5))
    report.exact(f"{case}.assignment", nearest(contexts, gate.centroids).int())
    report.exact(f"{case}.cluster_expert", fit.cluster_expert.int())
    probabilities = torch.softmax(score(contexts)[0], -1)
    report.compare(f"{case}.probs_after", probabilities, Tolerance(1e-5, 1e-5))
    if "routing_matches_target" in o:
        share = float((probabilities.argmax(1) == fit.targets.argmax(1)).float().mean())
        if abs(share - o["routing_matches_target"]) > 1e-6:
            report.fail(f"{case}.routing_matches_target", f"got {share}")
