"""Long-term forecasting: the files that the papers use, byte for byte."""

from mixtura.datasets.records import Archive, DataFile, Dataset, Form

__all__ = ["DATASETS"]

ETT_REPOSITORY = "https://raw.githubusercontent.com/zhouhaoyi/ETDataset"
ETT_COMMIT = "1d16c8f4f943005d613b5bc962e9eeb06058cf07"
LTSF_REPOSITORY = "https://raw.githubusercontent.com/aspire-zero/long_term_forecast_data"
LTSF_COMMIT = "e9ac8b3ea5521219ece2b5d1baa7c09d4b6fd24a"

INFORMER = (
    "Zhou, Zhang, Peng, Zhang, Li, Xiong, Zhang: Informer: Beyond Efficient Transformer for Long "
    "Sequence Time-Series Forecasting, AAAI 2021, arXiv 2012.07436"
)
AUTOFORMER = (
    "Wu, Xu, Wang, Long: Autoformer: Decomposition Transformers with Auto-Correlation for "
    "Long-Term Series Forecasting, NeurIPS 2021, arXiv 2106.13008"
)


def csv_and_gz(name: str, csv: Form, gz_size: int, gz_sha256: str) -> DataFile:
    gz = Form(name=f"{name}.gz", size=gz_size, sha256=gz_sha256)
    return DataFile(name=name, forms=(gz, csv))


def ett(
    name: str, step: str, rows: int, csv: tuple[int, str], gz: tuple[int, str], where: str
) -> Dataset:
    form = Form(
        name=f"{name}.csv",
        size=csv[0],
        sha256=csv[1],
        url=f"{ETT_REPOSITORY}/{ETT_COMMIT}/ETT-small/{name}.csv",
    )
    return Dataset(
        name=name,
        domain="forecasting",
        description=(
            f"Electricity transformer temperature, {where}: {rows} rows x 7 variates, {step}, "
            "July 2016 to June 2018"
        ),
        licence="CC BY-ND 4.0 (unchanged copies only)",
        citation=INFORMER,
        origin="repository zhouhaoyi/ETDataset, folder ETT-small",
        preparation="none; the gzip form has the same bytes after decompression",
        files=(csv_and_gz(form.name, form, *gz),),
    )


def zipped(
    name: str,
    csv: tuple[int, str],
    gz: tuple[int, str],
    archive: tuple[str, int, str],
    **about: str,
) -> Dataset:
    folder, size, sha256 = archive
    form = Form(
        name=f"{name}.csv",
        size=csv[0],
        sha256=csv[1],
        archive=Archive(
            url=f"{LTSF_REPOSITORY}/{LTSF_COMMIT}/{folder}.zip",
            size=size,
            sha256=sha256,
            member=f"{folder}/{name}.csv",
        ),
    )
    aliases = tuple(about.pop("aliases").split())
    return Dataset(
        name=name,
        domain="forecasting",
        preparation="none; the gzip form has the same bytes after decompression",
        files=(csv_and_gz(form.name, form, *gz),),
        aliases=aliases,
        **about,
    )


DATASETS = (
    ett(
        "ETTh1",
        "hourly",
        17420,
        (2589657, "f18de3ad269cef59bb07b5438d79bb3042d3be49bdeecf01c1cd6d29695ee066"),
        (405601, "f1141f82f9d46968f05afa77ba16abfc4f790fe07583f9de06bb685b29a5411f"),
        "first station",
    ),
    ett(
        "ETTh2",
        "hourly",
        17420,
        (2417960, "a3dc2c597b9218c7ce1cd55eb77b283fd459a1d09d753063f944967dd6b9218b"),
        (428678, "41040ff6a385d9208bd0b6ca58c062859e92c380d1778d93e11dd093768b579a"),
        "second station",
    ),
    ett(
        "ETTm1",
        "every 15 minutes",
        69680,
        (10360719, "6ce1759b1a18e3328421d5d75fadcb316c449fcd7cec32820c8dafda71986c9e"),
        (1551390, "a3d8dc1454f3762c72f6a3b5c56cf852077724ec52f5316896f17c937474cde7"),
        "first station",
    ),
    ett(
        "ETTm2",
        "every 15 minutes",
        69680,
        (9677236, "db973ca252c6410a30d0469b13d696cf919648d0f3fd588c60f03fdbdbadd1fd"),
        (1520701, "975442df38506a4d905bb5b7e0aa8fb0ab22b5d2af9b9a933b0738902d99dbac"),
        "second station",
    ),
    zipped(
        "weather",
        (7235425, "34ee981d07313e51da2a50bb600072c8ae4a69cb4b0651f4cb93a069d7a2ba63"),
        (2275774, "e659cd0f7e9bde45adb03b9754dcdb56189e7a735fdb10c4e9542dfa6ab81355"),
        ("weather", 2291529, "c2459c2abce68e58140a74e14eb3ff7a7f4d917d25da0a28a34571f8d733aba0"),
        description="Jena weather station, year 2020: 52696 rows x 21 variates, every 10 minutes; "
        "81 readings of -9999 stand for missing ones",
        licence="no licence of its own; MIT in AutonLab/Timeseries-PILE",
        citation=f"Max Planck Institute for Biogeochemistry, Jena, as prepared for {AUTOFORMER}",
        origin="repository aspire-zero/long_term_forecast_data",
        aliases="jena",
    ),
    zipped(
        "exchange_rate",
        (637800, "48b4d9d3d508f5104162e85b9a6042e3557fde11aa9f2944eba8c0d0efc89842"),
        (190523, "2fb0a9b8c67fc33a7d893d422588e41693e23b2d23466f8dac65484cb1af2eaf"),
        (
            "exchange_rate",
            194027,
            "b711661cb652b110902cf31b883b3e7b65c99149914d5220c29ca95e6aa859e0",
        ),
        description=(
            "Exchange rates of 8 countries, working days 1990 to 2010: 7588 rows; the date column "
            "counts calendar days and is not the true date"
        ),
        licence="offered for research, no formal licence; MIT in AutonLab/Timeseries-PILE",
        citation=(
            "Lai, Chang, Yang, Liu: Modeling Long- and Short-Term Temporal Patterns with Deep "
            "Neural Networks, SIGIR 2018, arXiv 1703.07015"
        ),
        origin="repository aspire-zero/long_term_forecast_data, first published in "
        "laiguokun/multivariate-time-series-data",
        aliases="exchange",
    ),
    zipped(
        "national_illness",
        (67620, "93601f64d2566dc796ca4305adad8b8560c2db1a1ff04543c3bd813a7263570a"),
        (25589, "25a5247c8d6ad2772c1b617d5117ad6d6187a1cffa389bcb7f7b9b79143f0a86"),
        ("illness", 26046, "849170fb0d29bddcf3671e872b4dcde173ae298cb48dcf7f55209b4dc37df81a"),
        description="Influenza-like illness in the USA: 966 weeks x 7 variates, 2002 to 2020",
        licence="public domain (US government data)",
        citation=f"US Centers for Disease Control and Prevention, as prepared for {AUTOFORMER}",
        origin="repository aspire-zero/long_term_forecast_data",
        aliases="ili illness",
    ),
    Dataset(
        name="synthetic-seasonal",
        domain="forecasting",
        description=(
            "Generated: 8000 hours x 7 variates with daily and weekly seasons, a slow trend and "
            "autoregressive noise; the same numbers for the same seed"
        ),
        licence="Apache-2.0",
        citation="Mixtura",
        origin="mixtura.datasets.seasonal_series",
        preparation="generated when it is asked for; nothing is stored",
        generator="mixtura.datasets.synthetic:seasonal_series",
        aliases=("synthetic",),
    ),
)
