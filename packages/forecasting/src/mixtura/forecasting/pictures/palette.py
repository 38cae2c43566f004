"""Colours that stay apart for colour-blind eyes and on paper (Okabe and Ito, 2008)."""

import matplotlib as mpl
from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")
INK = "#333333"


def colour(number: int) -> str:
    """The colour of the model or expert with this number."""
    return COLOURS[number % len(COLOURS)]


def figure(width: float, height: float) -> Figure:
    """An empty figure with quiet axes, independent of the user's settings and display."""
    mpl.rcParams.update(
        {
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.edgecolor": INK,
            "axes.labelcolor": INK,
            "axes.titlesize": 10,
            "axes.titlelocation": "left",
            "font.size": 9,
            "legend.frameon": False,
        }
    )
    return Figure(figsize=(width, height), layout="constrained", dpi=150)
