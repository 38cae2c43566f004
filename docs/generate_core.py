"""Write the pages of docs/core and the table of shared_core/README.md from the components.

    python docs/generate_core.py

A component's section is its docstring, the defaults of its constructor, where it is tested, and a
configuration that builds it. tests/docs/test_core_pages.py checks that nothing is out of date.
"""

import functools
import inspect
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

import mixtura.core as core
from mixtura.core import (
    Adjustment,
    Edit,
    Experts,
    Loss,
    Score,
    Selection,
    Units,
    to_config,
)
from mixtura.core.dispatch import dispatches
from mixtura.core.dispatch.auto import ROWS_OF_A_LOOP
from mixtura.core.dispatch.node import FEW_ROWS
from mixtura.core.testing import EXPERTS, ROUTERS

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs" / "core"
README = ROOT / "shared_core" / "README.md"
MARKS = ("<!-- components -->", "<!-- end of components -->")
NOT_COMPONENTS = {"SelectionWrapper", "StackedExperts"}

EXAMPLES: list[Any] = [
    core.LoadBalance(0.01, normalization="k"),
    core.RouterZ(),
    core.Importance(),
    core.SmoothLoad(2),
    core.RouterEntropy(),
    core.ExpertOrthogonality(),
    core.RoutingVariance(),
    core.DirichletPrior(0.75),
    core.GroupBalance(4),
    core.GroupedBalance(4),
    core.ActiveScores(2),
    core.MarginalEntropy(),
    core.MixtureFit(),
    core.SelectorEntropy(),
    core.ExpertDiversity(),
    core.ExpertSimplicity(),
    core.CapacityPrediction(),
    core.MutualInformation(num_tasks=3),
    core.RoutingContrastive(),
    core.BiasBalance(),
    core.TopPControl(2.0),
    core.SparsityControl(2),
    core.GateFreeze(1000),
    core.TokenUnits(),
    core.SegmentUnits(4),
    core.SampleUnits(),
    core.AttendedSamples(64),
]

SHARED = core.SharedExpert(core.GLUExperts(1, 64, 128), gate_dim=64)
LAYER = core.MoELayer(
    core.Router(core.LinearScore(64, 8), core.TopK(2), jitter=0.01),
    core.GLUExperts(8, 64, 128),
    shared=SHARED,
    losses=[core.LoadBalance(0.01), core.RouterZ()],
)
EXAMPLES += [
    LAYER,
    LAYER.router,
    SHARED,
    core.SharedExpert(core.OutputBias(64)).module,
    core.Chain(
        [core.Router(core.LinearScore(64, 8), core.TopK(1, renormalize="never")) for _ in "ab"],
        core.GLUExperts(8, 64, 128),
    ),
    core.AttentionMixture(
        core.Router(core.LinearScore(64, 4), core.All()), core.AttentionExperts(4, 64, 8)
    ),
    core.AttentionExperts(4, 64, 8),
    core.StagedTraining(
        [
            core.Stage(until_step=1000, frozen=["attention"]),
            core.Stage(until_step=2000, frozen=["experts"], normalize_gradient=True),
            core.Stage(frozen=["attention"]),
        ]
    ),
    core.Stage(until_below=0.1, trainable=["experts", "router"]),
]

# What a page is about: the subclasses of a base, or a list of classes and functions.
FAMILIES: dict[str, tuple[Any, str, str]] = {
    "layers": (
        [
            core.MoELayer,
            core.Router,
            core.SharedExpert,
            core.OutputBias,
            core.Chain,
            core.AttentionMixture,
            core.AttentionExperts,
        ],
        "Layers",
        "What is put together from a score function, a selection, experts and losses. "
        "`layer(x)` is `layer.compute(x, layer.route(x))`: a routing is a value, so one decision "
        "can be carried out on many inputs.\n\n"
        "**Traps.** A layer in training mode whose losses nobody records warns once: open a "
        "record, and add `record.losses()` to the task loss. A mask is true where a unit is real. "
        "A causal model gives its routers `causal=True`, which refuses every part that lets units "
        "compete. A chain computes its losses once per step.",
    ),
    "scores": (
        Score,
        "Score functions",
        "A score function looks at a unit and gives one logit per expert, in float32 whatever the "
        "precision around. With an activation (softmax, sigmoid, relu, identity) and a "
        "selection it "
        "makes a `Router`; a pair that makes no sense is refused with a sentence.\n\n"
        "**Traps.** Softmax over all experts and then top-k is another model than top-k and then "
        "softmax (`TopK(renormalize='softmax')`). Weights renormalised over one choice are "
        "always 1 "
        "and send the router no gradient. Noise and jitter act in training only, and stop when a "
        "router is frozen. A recurrent state is an explicit input and output: nothing is hidden.",
    ),
    "selections": (
        Selection,
        "Selections",
        "A selection turns scores into a routing. Those that rank experts take edits of their "
        "choice. Wrappers change another selection's decision. A selection that is not `causal` "
        "lets units compete, and a unit's result then depends on the others.\n\n"
        "**Traps.** The number of choices of top-p, percentile, ReLU and threshold differs from "
        "unit "
        "to unit: compare models at equal mean active experts (`record.statistics()`), and bound "
        "shapes with `max_k`. A unit may end without any expert (capacity, ReLU, expert "
        "choice): its "
        "output is exactly zero, plus shared experts.",
    ),
    "adjustments": (
        Adjustment,
        "Adjustments",
        "Steps between the score function and the selection, listed in a router's `adjustments` "
        "and "
        "run in that order: first on the logits, then, after the activation and every edit, on "
        "what "
        "the experts are ranked by. The combine weights are the scores, unless an adjustment says "
        "otherwise.\n\n"
        "**Traps.** List a balance bias before a group limit, or groups are scored without it. "
        "Gumbel noise comes before all else that changes the ranking. Sinkhorn and balanced "
        "assignment act in training only: at inference a unit must not depend on the others.",
    ),
    "losses": (
        Loss,
        "Losses",
        "A loss is a pure function of routings, float32, per layer by default. Configure it on the "
        "layer and add `record.losses()` to the task loss. Padded and forced units count nowhere. "
        "`LoadBalance` is one loss for all published balance losses: its text has the table of "
        "their arguments.\n\n"
        "**Traps.** The transformers form is k times larger than Megatron's. Pooling layers "
        "(`scope='model'`) lets the imbalance of one cancel that of another. Small batches per "
        "process balance too hard: count over all processes with `across_ranks=True`.",
    ),
    "controllers": (
        [
            core.BiasBalance,
            core.TopPControl,
            core.SparsityControl,
            core.GateFreeze,
            core.StagedTraining,
            core.Stage,
        ],
        "Controllers",
        "A controller changes a router's buffers between optimiser steps, from the statistics of "
        "everything since the last one. The buffers stay float32 under `.bfloat16()` and are saved "
        "with the model. Under data parallelism ask for `record.statistics(across_ranks=True)`.\n\n"
        "**Traps.** One update per optimiser step, on the sum over its micro-batches; what "
        "activation checkpointing recomputes is not counted twice. With few units per step a bias "
        "swings: lower the rate, or use `momentum` and `min_units`.",
    ),
    "experts": (
        Experts,
        "Experts",
        "A bank of experts computes rows sorted by expert. Stacked banks have weights (experts, "
        "...) "
        "and write their mathematics once for every dispatch.\n\n"
        "**Traps.** Initialise per expert: the fans of a stacked tensor are wrong. An expert "
        "without "
        "rows still gets a gradient of zeros where the weights are stacked, none in a list of "
        "modules.",
    ),
    "units": (
        Units,
        "Units",
        "What one decision is about, and which rows follow it. Experts and dispatch never know.\n\n"
        "**Traps.** The router sees a pooled unit unless it is given `route_on`; a segment that is "
        "half padding is pooled with it. Rows in any numbers (patch sets, ragged samples) follow "
        "their units by `routing.for_rows(unit_of_row)`.",
    ),
    "edits": (
        Edit,
        "Edits",
        "Reversible changes to a trained router's decision. Whatever the order in which they are "
        "put on, they act at fixed points: logit offset, forbidden experts, (activation), score "
        "override, choice, (normalisation), weight multiplier. With none on, nothing is slower.\n\n"
        "**Traps.** A multiplier is not followed by a renormalisation. An edit of the choice "
        "needs a "
        "selection that ranks experts; others refuse it.\n\n"
        "```python\n"
        "import torch\n"
        "from mixtura.core import Forbid, GLUExperts, LinearScore, MoELayer, Router, TopK\n"
        "from mixtura.core import edit_routing\n\n"
        "layer = MoELayer(Router(LinearScore(8, 4), TopK(2)), GLUExperts(4, 8, 16))\n"
        "with edit_routing(layer, Forbid([3])):\n"
        "    assert layer.route(torch.randn(5, 8)).counts[3] == 0\n"
        "```",
    ),
}


FAMILIES["growing"] = (
    [
        core.upcycle_ffn,
        core.merge_to_dense,
        core.compose,
        core.factorize_experts,
        core.select_experts,
        core.append_experts,
        core.replace_expert,
        core.layer_capacity,
    ],
    "Growing, composing, cutting",
    "Mixtures out of trained dense layers and models, other experts in a trained layer, and "
    "numbers of experts by depth. What comes out is a plain layer: its configuration says the new "
    "numbers, and its state dict is like any other's.\n\n"
    "**Traps.** An upcycled layer equals the dense one at the start only where the weights of a "
    "unit sum up to one for each piece (`gate='scaled'` or `'sum'`), and copies that stay equal "
    "learn nothing new: the router's first rows, `noise` or `drop` break the symmetry. After "
    "`select_experts` the optimiser has to be built anew.",
)


def members(kind: Any) -> list[Any]:
    """The public components of a family, by name."""
    if isinstance(kind, list):
        return kind
    found = [getattr(core, name) for name in core.__all__]
    return [
        item
        for item in found
        if isinstance(item, type)
        and issubclass(item, kind)
        and item is not kind
        and item.__name__ not in NOT_COMPONENTS
    ]


def function_of(item: Any) -> Any:
    """The function that a configured loss computes: `load_balance` of `LoadBalance`."""
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", item.__name__).lower()
    found = getattr(core, name, None)
    return found if inspect.isfunction(found) and inspect.isclass(item) else None


def own_words(item: Any) -> str:
    """A docstring without its arguments."""
    text = inspect.cleandoc(item.__doc__ or "")
    before, *after = re.split(r"\n(?:Args|Attributes|Raises|Returns):\n", text)
    # What follows the arguments at the margin, such as a source, belongs to the text.
    rest = re.findall(
        r"^(?! |Args:|Attributes:|Raises:|Returns:)\S.*(?:\n\S.*)*", "\n".join(after), re.M
    )
    return "\n\n".join([before.strip(), *rest])


def body(item: Any) -> str:
    """What a component is, and the formula of the function behind it."""
    function = function_of(item)
    if function is None:
        return own_words(item)
    rest = re.sub(r"^`\w+` as a configured loss[.;]?\s*", "", own_words(item))
    return f"{own_words(function)}\n\n{rest[:1].upper()}{rest[1:]}".strip()


def arguments(item: Any) -> dict[str, str]:
    """What a docstring says about each argument."""
    text = inspect.cleandoc(item.__doc__ or "")
    section = re.search(r"\nArgs:\n(.*?)(?=\n\S|\Z)", text, re.DOTALL)
    if section is None:
        return {}
    return dict(re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", section[1], re.MULTILINE))


def defaults(item: Any) -> str:
    """The arguments of the constructor with their explanations, as a table."""
    told = arguments(item)
    if not told:
        return ""
    function = function_of(item)
    known = {} if function is None else arguments(function)
    parameters = inspect.signature(item).parameters
    rows = ["| argument | default | |", "|---|---|---|"]
    for name, words in told.items():
        if re.match(r"see `\w+`", words):
            words = known.get(name, words)
        parameter = parameters.get(name)
        default = "required"
        if parameter is not None and parameter.default is not inspect.Parameter.empty:
            default = f"`{parameter.default!r}`"
        rows.append(
            f"| `{name}` | {default} | {' '.join(words.split()).replace('|', chr(92) + '|')} |"
        )
    return "\n".join(rows)


def instances() -> Iterable[Any]:
    """Small instances of everything that a case or an example has."""
    yield from EXAMPLES
    for case in ROUTERS:
        yield from case.seeded().modules()
    for bank in EXPERTS:
        yield from bank.seeded().modules()


def example(item: Any) -> str:
    """A configuration that builds the component."""
    for one in instances():
        if type(one) is item and "_init_arguments" in one.__dict__:
            try:
                config = to_config(one)
            except ValueError:  # it holds plain torch modules, which have no configuration
                continue
            return "```yaml\n" + yaml.safe_dump(config, sort_keys=False) + "```"
    return ""


@functools.cache
def test_texts() -> dict[str, str]:
    """Every test file of the core and of the fixtures, by its path."""
    rooms = ["unit/core", "property/core", "common/core", "distributed/core", "parity", "unit"]
    paths = dict.fromkeys(
        p for room in rooms for p in sorted((ROOT / "tests" / room).rglob("*.py"))
    )
    return {str(path.relative_to(ROOT)): path.read_text() for path in paths}


def tests_of(name: str) -> list[str]:
    """The test files that name a component, where it is named most often first."""
    count = {
        path: len(re.findall(rf"\b{name}\b", text)) * (3 if "unit/core" in path else 1)
        for path, text in test_texts().items()
    }
    return sorted((path for path in count if count[path]), key=lambda path: -count[path])


def sources(item: Any) -> str:
    """The papers that a docstring names."""
    text = " ".join(
        f"{item.__doc__} {function_of(item).__doc__ if function_of(item) else ''}".split()
    )
    found = list(dict.fromkeys(re.findall(r"arXiv[ :]*(\d{4}\.\d{4,5})", text)))
    if found:
        return ", ".join(f"[{number}](https://arxiv.org/abs/{number})" for number in found)
    named = re.search(r"([A-Z][\w&.' -]+(?: et al\.)?,[^.]*?(?:19|20)\d\d)", body(item))
    return " ".join(named[1].split()) if named else "—"


def page(family: str) -> str:
    """One page."""
    kind, title, intro = FAMILIES[family]
    parts = [f"# {title}", intro]
    for item in members(kind):
        parts += [f"## {item.__name__}", body(item), defaults(item), example(item)]
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def dispatch_page() -> str:
    """What each dispatch is, and which one `auto` takes."""
    few, loop = FEW_ROWS, ROWS_OF_A_LOOP
    parts = [
        "# Dispatch",
        "How the rows get to their experts and back. A dispatch has no parameters and changes no "
        "result beyond rounding: a checkpoint written with one is read with any other. A layer "
        "takes it by name, `auto` when not told:",
        "```python\n"
        "import logging\n\n"
        "import torch\n"
        "from mixtura.core import GLUExperts, LinearScore, MoELayer, Router, TopK\n\n"
        "logging.basicConfig(level=logging.INFO)  # auto says once what it takes\n"
        "router, experts = Router(LinearScore(16, 4), TopK(2)), GLUExperts(4, 16, 32)\n"
        "x = torch.randn(100, 16)\n"
        "fast = MoELayer(router, experts)(x)\n"
        'reference = MoELayer(router, experts, dispatch="naive")(x)\n'
        "torch.testing.assert_close(fast, reference)\n"
        "```",
        "## What auto takes",
        "The first line that holds. Rows are assignments, times the positions of a unit that has "
        "some.",
        "| experts, mode and size | dispatch |\n"
        "|---|---|\n"
        "| experts so thin that moving rows costs more than work (LoRA of a small rank, copies, "
        "latent experts) | dense_all |\n"
        "| stacked experts in compiled code | grouped_mm |\n"
        "| torch.export, or other experts in compiled code | dense_all |\n"
        "| experts that are not stacked | sorted_loop |\n"
        "| stacked experts on a GPU | grouped_mm |\n"
        "| on a CPU: no kernel, or a list of assignments (expert choice) | sorted_loop |\n"
        f"| on a CPU: at most {few} rows and 8 experts, float32 | grouped_mm |\n"
        f"| on a CPU: at most {few} rows and 8 experts, bfloat16 or autocast | padded_bmm |\n"
        f"| on a CPU: no gradients, or fewer than {loop} rows for each expert | stacked_loop |\n"
        "| on a CPU: all else | sorted_loop |",
        "The rule follows measurements on one kind of processor; "
        "[benchmarks/results](../../benchmarks/results) has them, and `./just bench core` makes "
        "them where you are. With a few hundred rows calls count more than work: "
        "[a step written by hand](../../benchmarks/results/smallest-xeon-avx512-amx.md) shows how "
        "much of it any layer must pay. **Choose yourself** when yours is another processor, when "
        "memory counts more than time (`stacked_loop` works in pieces and holds least), or when "
        "the load is far from balanced (never `padded_bmm`). Experts spread over processes bring "
        "their own dispatch: see `shard_experts`.",
        "**Traps.** On a CPU the loops ask for the counts of each expert, which on a GPU is a wait "
        "for the device: take `grouped_mm` there. `grouped_mm` needs widths whose rows are "
        "multiples of 16 bytes to be one node of the graph; others cost more. Second derivatives "
        "and `torch.func` transforms work everywhere, and at the speed of plain operations.",
    ]
    for name, kind in dispatches().items():
        summary = inspect.getdoc(inspect.getmodule(kind)) or ""
        parts += [f"## {name}", summary.splitlines()[0], own_words(kind)]
    return "\n\n".join(parts) + "\n"


def table() -> str:
    """Component, paper, test."""
    rows = ["| component | family | source | tested in |", "|---|---|---|---|"]
    for family, (kind, _, _) in FAMILIES.items():
        for item in members(kind):
            name = item.__name__
            where = tests_of(name)[:1] or ["tests/common/core/test_common.py"]
            link = f"[`{name}`](../docs/core/{family}.md#{name.lower()})"
            rows.append(
                f"| {link} | {family} | {sources(item)} | [{Path(where[0]).name}](../{where[0]}) |"
            )
    return "\n".join(rows)


def readme(current: str) -> str:
    """The README with a fresh table between the marks."""
    before, _, rest = current.partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    return f"{before}{MARKS[0]}\n\n{table()}\n\n{MARKS[1]}{after}"


def main() -> None:
    """Write everything."""
    PAGES.mkdir(exist_ok=True)
    for family in FAMILIES:
        (PAGES / f"{family}.md").write_text(page(family))
    (PAGES / "dispatch.md").write_text(dispatch_page())
    README.write_text(readme(README.read_text()))


if __name__ == "__main__":
    main()
