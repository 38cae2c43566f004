"""A text game and published learning curves."""

from mixtura.datasets.catalogue.shorthand import ask_for_copy, exact
from mixtura.datasets.records import Dataset

__all__ = ["DATASETS"]

ZORK = "https://raw.githubusercontent.com/historicalsource/zork1"
ZORK_COMMIT = "97b7b3d68c075dd9af7da499c3e9690ada3471fd"

DATASETS = (
    Dataset(
        name="zork1",
        domain="planning",
        description=(
            "Zork I, release 119, a Z-machine story file of version 3 (not the release 88 of the "
            "Jericho papers)"
        ),
        licence="MIT",
        citation="Blank, Lebling: Zork I, Infocom; (c) 2025 Microsoft",
        origin="repository historicalsource/zork1",
        preparation="none",
        files=(
            exact(
                "LICENSE.zork1",
                1066,
                "98a96c38494df4963951e32b81ec4effebe4c8a812ab8d9e7d185d59e86fe2fc",
                f"{ZORK}/{ZORK_COMMIT}/LICENSE",
            ),
            exact(
                "zork1-r119.z3",
                86838,
                "37084966477dff679282de42974b2077156b1bd68fad92a65d4ea94d8eb64d79",
                f"{ZORK}/{ZORK_COMMIT}/COMPILED/zork1.z3",
            ),
        ),
    ),
    Dataset(
        name="dmc18-curves",
        domain="planning",
        description=(
            "Learning curves of TD-MPC2, DreamerV3 and SAC on 18 control tasks: method, task, "
            "step, reward, seed"
        ),
        licence="MIT",
        citation=(
            "Hansen, Su, Wang: TD-MPC2: Scalable, Robust World Models for Continuous Control, ICLR "
            "2024, arXiv 2310.16828"
        ),
        origin="repository nicklashansen/tdmpc2, folder results",
        preparation="the CSV files of 18 tasks joined, task names mapped to those of DMC",
        files=(
            exact(
                "dmc18_curves.csv.gz",
                33180,
                "49e7722ca9184527a74d48f2afc0b510cafa14d39ba1da0c3f9b456165690f1b",
            ),
        ),
        aliases=("dmc18",),
        obtain=ask_for_copy("planning", "repository nicklashansen/tdmpc2"),
    ),
)
