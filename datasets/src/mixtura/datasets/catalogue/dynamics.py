"""Families of dynamical systems in the four-split convention (train, test, ood_train, ood_test)."""

from mixtura.datasets.catalogue.shorthand import ask_for_copy, exact
from mixtura.datasets.records import Dataset

__all__ = ["DATASETS"]

NEURAL_CONTEXT_FLOWS = (
    "Desai Nzoyem, Barton, Deakin: Neural Context Flows for Meta-Learning of Dynamical Systems, "
    "ICLR 2025, arXiv 2405.02154"
)

DATASETS = (
    Dataset(
        name="lotka_volterra",
        domain="dynamics",
        description=(
            "Predator and prey: 9 environments x 4 trajectories x 20 steps, 4 new environments"
        ),
        licence="MIT",
        citation=NEURAL_CONTEXT_FLOWS,
        origin="repository ddrous/ncflow",
        preparation=(
            "run records as npz with X and t; values identical to the files of repository "
            "ddrous/MixER"
        ),
        files=(
            exact(
                "lotka_volterra/ood_test.npz",
                38130,
                "15a2e08b5e901094243e6c68bb22a8bde22bacd40fbec2f923365179db9ba43a",
            ),
            exact(
                "lotka_volterra/ood_train.npz",
                1663,
                "22d6f4d652b0dac3b7f92d28702838d3d9212ff52d3fa8c1e3b1dcfcb99767a3",
            ),
            exact(
                "lotka_volterra/test.npz",
                84707,
                "5f8c855e5bfd2a7d26eb67074b8b3c2a3cd160cc725c6f7fe8581141a3e2790e",
            ),
            exact(
                "lotka_volterra/train.npz",
                10974,
                "d0969c4c69806c1ef37e770b66a72d30c5b4ed6de3c8ad1481ebeabbd1555952",
            ),
        ),
        obtain=ask_for_copy("dynamics", "repository ddrous/ncflow"),
    ),
    Dataset(
        name="selkov",
        domain="dynamics",
        description="Selkov model: 21 environments x 4 trajectories x 11 steps, 6 new environments",
        licence="MIT",
        citation=NEURAL_CONTEXT_FLOWS,
        origin="repository ddrous/ncflow",
        preparation=(
            "run records as npz with X and t, their names train and test exchanged; ood_train "
            "regenerated (agrees to 5e-10)"
        ),
        files=(
            exact(
                "selkov/ood_test.npz",
                4202,
                "3b55a3f5db27f6bf117a659a6c5521d1cadfbf43519c4ee1ceef1cadec9a9800",
            ),
            exact(
                "selkov/ood_train.npz",
                1413,
                "62d95aad38b7af0008a6207601b6c17bb4b8a10cd8705873260c0135a6ab166c",
            ),
            exact(
                "selkov/test.npz",
                13487,
                "c6c9a0640a27ec2b5aea34c140610a34015f7cf22164995087ddde2bee598bad",
            ),
            exact(
                "selkov/train.npz",
                13525,
                "100a4b36f118fb6a62d816f076473e94931766a5109841296d8d4360cce2dcf8",
            ),
        ),
        obtain=ask_for_copy("dynamics", "repository ddrous/ncflow"),
    ),
    Dataset(
        name="glycolytic",
        domain="dynamics",
        description=(
            "Glycolytic oscillator, 7 states: 9 environments x 32 trajectories x 20 steps, 4 new "
            "environments"
        ),
        licence="MIT",
        citation=NEURAL_CONTEXT_FLOWS,
        origin="repository ddrous/ncflow",
        preparation="run records as npz with X and t",
        files=(
            exact(
                "glycolytic/ood_test.npz",
                136627,
                "11a1c53004a4725a65c12fed34ab08ea093df623f50aacdce1cf761a1e0c9b07",
            ),
            exact(
                "glycolytic/ood_train.npz",
                4611,
                "9890ce2aea4107c2e381404c73dde1d28322449f157f63867a639b31d439a8de",
            ),
            exact(
                "glycolytic/test.npz",
                306957,
                "710218beda4284c7f23e79dd9fe01a43a1f77d47affc360c747eddd6cca601ce",
            ),
            exact(
                "glycolytic/train.npz",
                307029,
                "b3d9928d37a6faee6bbb23bb9a60018f4a394c46bc51102a5ef1065eda31197a",
            ),
        ),
        obtain=ask_for_copy("dynamics", "repository ddrous/ncflow"),
    ),
    Dataset(
        name="odebench4",
        domain="dynamics",
        description=(
            "Four families of two-dimensional ODEs x 5 environments x 4 trajectories x 100 steps; "
            "test trajectories 0 and 31 repeat training ones"
        ),
        licence="Apache-2.0",
        citation=(
            "d'Ascoli et al.: ODEFormer: Symbolic Regression of Dynamical Systems with "
            "Transformers, ICLR 2024, arXiv 2310.05573"
        ),
        origin="generated for Mixtura from the published recipe of MixER",
        preparation=(
            "integrated from the parameters in environments.json; agrees with the reference data "
            "to 1.2e-7"
        ),
        files=(
            exact(
                "odebench4/environments.json",
                1085,
                "e7a3924f53f0f1a99b845a5eef4d2b4fd2c1b7ac32f0a0acee85ae4f0f273d55",
            ),
            exact(
                "odebench4/ood_test.npz",
                94999,
                "42c419ebd9f780af63873553e8aa519fceb42e820cff5919617318ef69997faf",
            ),
            exact(
                "odebench4/ood_train.npz",
                3964,
                "51540e169af0d08e93f165259bd0f3761ae68095b7703ba8ef1c71b3aa84f357",
            ),
            exact(
                "odebench4/test.npz",
                467945,
                "ec4a6ba803c10939b5a4f55b07f949db19b97eed5462b5cc18ee61721c7a3f79",
            ),
            exact(
                "odebench4/train.npz",
                59370,
                "2eec2607adae050d923cbcc0e7cbd5692d924e644d36ce19382f804c6564fc3f",
            ),
        ),
        obtain=ask_for_copy("dynamics", "the recipe of MixER"),
    ),
    Dataset(
        name="odebench10",
        domain="dynamics",
        description=(
            "Ten families of two-dimensional ODEs x 16 environments x 4 trajectories x 100 steps; "
            "test trajectories 0 and 31 repeat training ones"
        ),
        licence="Apache-2.0",
        citation=(
            "d'Ascoli et al.: ODEFormer: Symbolic Regression of Dynamical Systems with "
            "Transformers, ICLR 2024, arXiv 2310.05573"
        ),
        origin="generated for Mixtura from the published recipe of MixER",
        preparation=(
            "integrated from the parameters in environments.json; a reconstruction, the reference "
            "arrays are not public"
        ),
        files=(
            exact(
                "odebench10/environments.json",
                5452,
                "d3abe812ab2dc697cfa62ddb66d73be643539931139eabaead429b0b54b5d174",
            ),
            exact(
                "odebench10/ood_test.npz",
                944718,
                "6b8837ac69886257928e72eb60ff74125710dd538db5b4b087a356c754b76fc9",
            ),
            exact(
                "odebench10/ood_train.npz",
                31531,
                "008b8b9ee93f2bfc3e7a182d5235bfc3e854976126bae40bca9f3283a4033861",
            ),
            exact(
                "odebench10/test.npz",
                3254871,
                "7c1525852a6e0d251c3152ced9625a199cf32ea06314a925cd2ff690ac549f16",
            ),
            exact(
                "odebench10/train.npz",
                408101,
                "de065c2a22d90d38f2689a6aabfe5ab5e0265279b579d13852bedbd14e33a451",
            ),
        ),
        obtain=ask_for_copy("dynamics", "the recipe of MixER"),
    ),
    Dataset(
        name="synthetic_control",
        domain="dynamics",
        description=(
            "Synthetic control charts: 600 series of 60 points in 6 classes, not normalised"
        ),
        licence="CC BY 4.0",
        citation=(
            "Alcock, Manolopoulos: Time-Series Similarity Queries Employing a Feature-Based "
            "Approach, 1999"
        ),
        origin="UCI, Synthetic Control Chart Time Series",
        preparation="X (600, 60) and y 0..5 in the original order",
        files=(
            exact(
                "synthetic_control/synthetic_control.npz",
                122300,
                "3164c6265942f27d364cbb268d7669621c312c14ce95997d0e93bc7da39e0da4",
            ),
        ),
        obtain=ask_for_copy("dynamics", "UCI, Synthetic Control Chart Time Series"),
    ),
    Dataset(
        name="chaotic3d",
        domain="dynamics",
        description="Lorenz-63 and Roessler attractors, 20000 points each",
        licence="Apache-2.0",
        citation=(
            "Lorenz: Deterministic Nonperiodic Flow, 1963; Roessler: An Equation for Continuous "
            "Chaos, 1976"
        ),
        origin="generated for Mixtura",
        preparation=(
            "DOP853, rtol 1e-10, atol 1e-12, 5000 transient steps dropped, start (1, 1, 1); dt "
            "0.01 and 0.05"
        ),
        files=(
            exact(
                "chaotic3d/lorenz63.npz",
                222697,
                "a08e9197a269f981ba7a8ca78cd4fa474573ab1b4a1a28180a33a9b7008e1212",
            ),
            exact(
                "chaotic3d/rossler.npz",
                225038,
                "0dfea71584c76c208eb9f67ec2f928b635b826e4dd146bf223080631d521f160",
            ),
        ),
        aliases=("lorenz63", "rossler"),
        obtain=ask_for_copy("dynamics", "the recipe described"),
    ),
)
