"""One command line for every app: a light front, and Lightning's CLI behind it.

Importing this package imports neither torch nor Lightning.
"""

from mixtura.training.cli.app import App, Verb
from mixtura.training.cli.front import run_app

__all__ = ["App", "Verb", "run_app"]
