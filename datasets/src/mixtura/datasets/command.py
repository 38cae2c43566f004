"""`mixtura-data`: list, get, check and find data sets. Loads neither numpy nor torch."""

import argparse
import sys
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mixtura.datasets.errors import InputError
from mixtura.datasets.places import VARIABLE, found_files, missing_file, search_places
from mixtura.datasets.records import Dataset
from mixtura.datasets.registry import dataset, dataset_names
from mixtura.datasets.verification import check_file, data_path

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["main"]

BAD_INPUT = 2
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status (0, or 2 for input that cannot be used)."""
    options = parser().parse_args(arguments)
    try:
        return options.run(options)
    except InputError as error:
        if options.traceback:
            traceback.print_exc()
        print(f"mixtura-data: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("mixtura-data: stopped; a cut download continues next time", file=sys.stderr)
        return INTERRUPTED


def parser() -> argparse.ArgumentParser:
    """The arguments of `mixtura-data`."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--traceback", action="store_true", help="show where an error arose")
    top = argparse.ArgumentParser(
        prog="mixtura-data",
        description="Data sets by name: where they are, where they come from, are they whole.",
        epilog=f"Files are looked for in ${VARIABLE}, then in the cache ($MIXTURA_CACHE or the "
        "user's cache folder), then among the samples of the repository.",
        allow_abbrev=False,
    )
    verbs = top.add_subparsers(metavar="VERB", required=True)

    def verb(name: str, run, about: str) -> argparse.ArgumentParser:
        sub = verbs.add_parser(
            name, help=about, description=about, parents=[common], allow_abbrev=False
        )
        sub.set_defaults(run=run)
        return sub

    shown = verb("list", list_sets, "Show every data set on a line, or all about some of them.")
    shown.add_argument("names", nargs="*", metavar="NAME", help="show all that is known of these")
    shown.add_argument("--domain", help="only those of one domain, for example forecasting")
    got = verb("get", get, "Download data sets into the cache; verified, resumed after a cut.")
    got.add_argument("names", nargs="+", metavar="NAME", help="of a data set, see `list`")
    checked = verb("check", check, "Verify the sha256 of every file that is here.")
    checked.add_argument("names", nargs="*", metavar="NAME", help="of data sets; all by default")
    where = verb("where", show_places, "Print the paths of a data set, or the folders searched.")
    where.add_argument("name", nargs="?", metavar="NAME", help="of a data set")
    return top


def list_sets(options: argparse.Namespace) -> int:
    """`mixtura-data list`."""
    from rich.console import Console

    # A pipe has no width: give it one that cuts no column off.
    console = Console(width=None if sys.stdout.isatty() else 240, highlight=False)
    if options.names:
        for record in [dataset(name) for name in options.names]:
            console.print(details(record))
        return 0
    names = dataset_names(options.domain)
    if not names:
        domains = sorted({dataset(name).domain for name in dataset_names()})
        raise InputError(
            f"no data set belongs to {options.domain!r}; domains are {', '.join(domains)}"
        )
    console.print(overview([dataset(name) for name in names]))
    print("`mixtura-data list NAME` tells all, `mixtura-data get NAME` downloads what can be got")
    return 0


def overview(records: Sequence[Dataset]) -> "Table":
    """One line for each data set."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("name", no_wrap=True, min_width=max(len(record.name) for record in records))
    table.add_column("domain", no_wrap=True, min_width=len("forecasting"))
    table.add_column("MB", no_wrap=True, min_width=4, justify="right")
    table.add_column("here", no_wrap=True, min_width=len("generated"))
    table.add_column("licence", no_wrap=True, max_width=24)
    table.add_column("what it is", no_wrap=True)
    for record in records:
        size = f"{record.size / 1e6:.1f}" if record.files else ""
        about = (record.licence, record.description)
        table.add_row(record.name, record.domain, size, presence(record), *about)
    return table


def details(record: Dataset) -> "Table":
    """All that is known of a data set."""
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for label in ("name", "description", "licence", "citation", "origin", "preparation"):
        table.add_row(label, getattr(record, label))
    table.add_row("here", presence(record))
    if record.obtain:
        table.add_row("to get it", record.obtain)
    for file in record.files:
        for form in file.forms:
            source = form.url or (form.archive.url if form.archive else "")
            table.add_row("file", f"{form.name}, {form.size} bytes, sha256 {form.sha256} {source}")
    table.add_row("")
    return table


def presence(record: Dataset) -> str:
    """In one word: whether the files are here, and if not, whether they can be fetched."""
    if not record.files:
        return "generated"
    here = sum(bool(found_files(record, file)) for file in record.files)
    if here == len(record.files):
        return "yes"
    if here:
        return f"{here} of {len(record.files)}"
    return "get" if record.downloadable else "copy"


def get(options: argparse.Namespace) -> int:
    """`mixtura-data get`."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

    from mixtura.datasets.downloading import download

    records = [dataset(name) for name in options.names]
    console = Console(stderr=True)
    columns = ("{task.description}", BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console) as progress:
        tasks = {}

        def report(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=total)
            progress.update(tasks[name], completed=done)

        paths = [(record, path) for record in records for path in download(record, report)]
    for _, path in paths:
        print(path)
    for record in records:
        console.print(f"{record.name}: licence {record.licence}; cite {record.citation}")
    return 0


def check(options: argparse.Namespace) -> int:
    """`mixtura-data check`."""
    wrong: list[InputError] = []
    whole = 0
    for name in options.names or dataset_names():
        record = dataset(name)
        for file in record.files:
            copies = found_files(record, file)
            if not copies and options.names:
                wrong.append(missing_file(record, file))
            for form, path in copies:
                try:
                    check_file(record, form, path)
                except InputError as error:
                    wrong.append(error)
                    print(f"bad    {record.name:<20} {path}")
                else:
                    whole += 1
                    print(f"whole  {record.name:<20} {path}")
    print(f"{whole} files are whole, {len(wrong)} are not")
    for error in wrong:
        print(f"mixtura-data: {error}", file=sys.stderr)
    return BAD_INPUT if wrong else 0


def show_places(options: argparse.Namespace) -> int:
    """`mixtura-data where`."""
    if options.name is None:
        for place in search_places():
            print(place if place.is_dir() else f"{place} (not there yet)")
        return 0
    record = dataset(options.name)
    if record.generator:
        print(f"{record.origin}()")
    for file in record.files:
        print(data_path(record.name, file.name))
    return 0
