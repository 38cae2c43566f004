"""The core is light: torch, jaxtyping and nothing else."""

import json
import subprocess
import sys

PROBE = """
import json, sys, time
import jaxtyping, torch, torch.distributed.tensor, torch.utils.checkpoint
before, start = set(sys.modules), time.process_time()
import mixtura.core
for name in mixtura.core.__all__:
    getattr(mixtura.core, name)
seconds = time.process_time() - start
new = {name.partition(".")[0] for name in set(sys.modules) - before}
print(json.dumps([seconds, sorted(new - set(sys.stdlib_module_names))]))
"""


def test_importing_everything_takes_half_a_second_and_no_other_package() -> None:
    run = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
    seconds, packages = json.loads(run.stdout)
    assert packages == ["mixtura"]
    assert seconds < 0.5
