"""What the dependencies warn of in runs that are as intended."""

import pytest

WARNINGS = (
    r"ignore:.*does not have many workers.*",
    r"ignore:.*isinstance\(treespec, LeafSpec\).*",
    r"ignore:.*smaller than the logging interval.*",
    r"ignore:.*callbacks used to create the checkpoint need to be provided.*",
    r"ignore:.*The dirpath has changed from.*",
    r"ignore:.*Checkpoint directory .* exists and is not empty.*",
    r"ignore:.*`isinstance\(treespec.*",
    r"ignore:.*could not find the monitored key.*",
    r"ignore:.*LightningCLI's args parameter is intended.*",
    r"ignore:.*torch.jit.*",
    r"ignore:.*fork\(\).*:DeprecationWarning",
    r"ignore:.*resuming from a checkpoint that ended before the epoch.*",
    r"ignore:.*os.fork\(\) was called.*",
)


def allow(items: list[pytest.Item]) -> None:
    """Let these pass in the tests of the Lightning side."""
    for item in items:
        if item.path.parent.name == "training":
            for warning in WARNINGS:
                item.add_marker(pytest.mark.filterwarnings(warning))
