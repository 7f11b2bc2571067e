"""The record of how a stage was run."""

import platform
import resource
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from prerl.files.atomic import write_json
from prerl.files.machine import gpu_is_used, hardware

PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "lm-eval", "numpy", "pandas", "pyarrow", "scipy")


class RunRecord:
    """What run.json says of a stage: configuration, versions, commit, hardware, wall time, whatever it adds."""

    def __init__(self, stage: str, config: dict[str, Any]) -> None:
        self.start = time.monotonic()
        self.data: dict[str, Any] = {
            "stage": stage,
            "config": config,
            "command": " ".join(sys.argv[1:]),
            "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
            "commit": _commit(),
        }

    def write(self, path: Path, **results: Any) -> None:
        """Writes the record, with the machine as this process has used it by now. Wall time in seconds (of this
        process), peak memory in bytes."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        cost = {"wall_seconds": round(time.monotonic() - self.start, 2), "peak_memory_bytes": peak}
        if gpu_is_used():
            cost["peak_gpu_memory_bytes"] = sys.modules["torch"].cuda.max_memory_allocated()
        write_json(path, {**self.data, "hardware": hardware(), **cost, **results})


def _commit() -> str | None:
    """The package's git commit, marked `+` if tracked files differ from it; None outside a checkout."""
    here = Path(__file__).parent
    try:
        options = {"cwd": here, "capture_output": True, "text": True, "check": True}
        commit = subprocess.run(["git", "rev-parse", "HEAD"], **options).stdout.strip()
        changed = subprocess.run(["git", "status", "--porcelain", "--untracked-files=no"], **options).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+" if changed else "")
