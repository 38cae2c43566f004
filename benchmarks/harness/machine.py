"""What a benchmark ran on."""

import importlib.metadata
import os
import platform
from pathlib import Path

import torch


def machine() -> dict[str, str]:
    """Processor, device and versions."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text().splitlines()
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        known = {key.strip(): value.strip() for key, value in fields.items()}
        cpu = known.get("model name", cpu)
        cpu += f", family {known.get('cpu family')}, model {known.get('model')}"
    found = {
        "processor": cpu,
        "vector instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": str(torch.get_num_threads()),
        "cores": str(os.cpu_count()),
        "load before": f"{os.getloadavg()[0]:.1f}",
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    for package in ("transformers", "st-moe-pytorch"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
        found["cuda"] = str(torch.version.cuda)
    return found
