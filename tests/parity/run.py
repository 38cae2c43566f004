"""Check fixtures and say how far each value is off."""

import traceback
from pathlib import Path

from .fixture import Fixture, find_fixtures
from .registry import UnknownSystem, find_system
from .report import Report


def check_fixture(folder: Path) -> Report:
    """Rebuild the system that the folder's name says and compare every expected value."""
    fixture = Fixture(folder)
    report = Report(fixture)
    try:
        find_system(fixture.name)(fixture, report)
    except UnknownSystem as error:
        report.fail(fixture.name, str(error))
        return report
    except Exception as error:  # the other fixtures are still to be checked
        traceback.print_exc()
        report.fail(fixture.name, f"{type(error).__name__}: {error}")
    report.finish()
    return report


def main(arguments: list[str]) -> int:
    """Check one folder or every fixture below it; 0 if all agree, 1 if not, 2 for a wrong call."""
    if len(arguments) != 1 or not Path(arguments[0]).is_dir():
        print(f"expected one folder of fixtures, got {' '.join(arguments) or 'nothing'}")
        return 2
    folders = find_fixtures(Path(arguments[0]).resolve())
    if not folders:
        print(f"no fixture (config.json, expected.json or *.safetensors) below {arguments[0]}")
        return 1
    reports = []
    for folder in folders:
        print(f"== {folder.name}", flush=True)
        reports.append(check_fixture(folder))
        print("\n".join(map(str, reports[-1].lines)), flush=True)
    failed = [report.fixture.name for report in reports if not report.passed]
    print(f"{len(reports) - len(failed)} of {len(reports)} fixtures agree")
    if failed:
        print("failed: " + ", ".join(failed))
    return int(bool(failed))
