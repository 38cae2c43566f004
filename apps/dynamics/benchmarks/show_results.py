"""Copy the measured tables into the app's page.

    python apps/dynamics/benchmarks/show_results.py

Everything below the mark in `README.md` is written anew from `results/*/table.md`.
"""

from pathlib import Path

APP = Path(__file__).resolve().parents[1]
MARK = "<!-- tables: written by benchmarks/show_results.py -->"
ORDER = (
    "odebench4",
    "odebench10",
    "lotka-volterra",
    "selkov",
    "glycolytic",
    "synthetic-control",
)


def main() -> None:
    """Rewrite the page."""
    tables = [APP / "results" / name / "table.md" for name in ORDER]
    shown = ["#" + table.read_text().strip() for table in tables if table.is_file()]
    page = APP / "README.md"
    kept, _, _ = page.read_text().partition(MARK)
    page.write_text("\n\n".join([kept + MARK, *shown]) + "\n")


if __name__ == "__main__":
    main()
