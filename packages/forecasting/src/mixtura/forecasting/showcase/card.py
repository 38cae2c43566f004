"""The model card of a shared forecaster."""

from collections.abc import Sequence

from mixtura.datasets import LTSFDataModule, dataset
from mixtura.forecasting.comparison import Result

__all__ = ["model_card"]

CARD = """---
library_name: mixtura
pipeline_tag: time-series-forecasting
tags: [time-series, forecasting, mixture-of-experts]
---

# {name} for {data}

```python
from mixtura.forecasting import Forecaster

forecaster = Forecaster.from_pretrained("THIS_FOLDER")
future = forecaster.predict(frame, horizon={horizon})  # frame: columns {channels}
```

Scores on all {windows} test windows of the long-term forecasting protocol (scaled values,
look-back {look_back}, horizon {horizon}):

| model | MSE | MAE | parameters | active parameters | seed |
|---|---|---|---|---|---|
{rows}

Data: {description} Licence: {licence}. Citation: {citation}

Limits: trained on this one series, with the step {frequency}; point forecasts only.
"""


def model_card(results: Sequence[Result], data: LTSFDataModule) -> str:
    """Markdown for the first of the results.

    Args:
        results: of the comparison, the shared model first.
        data: that it was trained on.
    """
    known = dataset(data.name)
    rows = "\n".join(
        f"| {r.name} | {r.mse:.4f} | {r.mae:.4f} | {r.parameters:,} | {r.active_parameters:,} | "
        f"{'' if r.seed is None else r.seed} |"
        for r in results
    )
    return CARD.format(
        name=results[0].name,
        data=data.table.name,
        horizon=data.horizon,
        channels=", ".join(data.table.channels),
        windows=results[0].windows,
        look_back=data.look_back,
        rows=rows,
        description=known.description,
        licence=known.licence,
        citation=known.citation,
        frequency=data.table.frequency,
    )
