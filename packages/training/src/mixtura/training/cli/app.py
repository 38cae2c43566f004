"""What an app tells about itself; everything else of its command line is shared."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

__all__ = ["App", "Verb"]


@dataclass(frozen=True, kw_only=True)
class Verb:
    """A plain function as a subcommand: its arguments are the options, its docstring the help.

    Attributes:
        name: What the user types.
        summary: One line for the list of subcommands.
        function: Where the function is, as `package.module:function`; imported when used.
        names: Folder of packaged YAML files whose names the first positional argument may be.
    """

    name: str
    summary: str
    function: str
    names: str | None = None


LIGHTNING = {
    "fit": "train a model; checkpoints, logs and the configuration go to a new run folder",
    "validate": "one pass over the validation split of a trained model",
    "test": "one pass over the test split of a trained model; prints the table of metrics",
    "predict": "run a trained model and write what it says",
}

SHARED = (
    Verb(
        name="benchmark",
        summary="run a recipe (models x settings x seeds), or continue it, and write the table",
        function="mixtura.training.benchmark:run_recipe",
        names="recipes",
    ),
    Verb(
        name="export",
        summary="write a trained model as a folder to share: safetensors, config.json, model card",
        function="mixtura.training.sharing.export:export",
    ),
    Verb(
        name="inspect",
        summary="write a page that shows what the experts do",
        function="mixtura.training.inspection.verb:inspect",
    ),
)


@dataclass(frozen=True, kw_only=True)
class App:
    """One app: its name, where its files are, and the classes that its configurations may name.

    Attributes:
        name: Short name; the program is called `mixtura-NAME`.
        summary: One sentence.
        package: Import path of the app's package; `configs/` and `recipes/` lie inside it.
        module: Base class of its LightningModules, as `package.module:Class`.
        data: Base class of its data modules, as `package.module:Class`.
        registry: Modules imported before parsing, so that their classes have short names in YAML.
        classes: By option (`--model`, `--data`): short names that shell completion offers for it.
        verbs: The app's own subcommands.
        distribution: Name of the installed distribution, for `--version`.
        examples: Command lines for the help page.
    """

    name: str
    summary: str
    package: str
    module: str
    data: str
    registry: tuple[str, ...] = ()
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    verbs: tuple[Verb, ...] = ()
    distribution: str = ""
    examples: tuple[str, ...] = ()

    @property
    def program(self) -> str:
        """The console script's name."""
        return f"mixtura-{self.name}"

    def functions(self) -> dict[str, Verb]:
        """The verbs that are functions, the app's own last (they may replace a shared one)."""
        return {verb.name: verb for verb in (*SHARED, *self.verbs)}

    def summaries(self) -> dict[str, str]:
        """Every verb with its line of help, in the order of the help page."""
        functions = {name: verb.summary for name, verb in self.functions().items()}
        return {**LIGHTNING, **functions}

    def folder(self, kind: str) -> Path:
        """Where the packaged YAML files of that kind (`configs`, `recipes`) are."""
        return Path(str(files(self.package).joinpath(kind)))
