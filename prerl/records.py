"""What a run leaves behind: files that appear whole or not at all, seeds, and the record of how it was made."""

import hashlib
import json
import platform
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from prerl.errors import UserError, lacking
from prerl.machine import gpu_is_used, hardware

PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "lm-eval", "numpy", "pandas", "pyarrow", "scipy")


def stream(*names: object) -> int:
    """A seed for one purpose, e.g. `stream(seed, "rollout", step)`.

    Every random choice is a function of its names alone. So nothing random has to be saved to resume a run, and
    methods with the same seed meet the same problems at the same step.
    """
    return int.from_bytes(hashlib.sha256(repr(names).encode()).digest()[:6])


def write(path: Path, produce: Callable[[Path], None]) -> None:
    """Calls `produce` with a temporary path (a file's or a directory's) and renames what it made to `path`. Raises
    UserError if the disk is full, or does not allow it; what was there before is then still there."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(partial)
        produce(partial)
        if path.is_dir():
            _remove(path)
        partial.replace(path)
    except Exception as error:
        with suppress(OSError):
            _remove(partial)
        if not isinstance(error, UserError) and (reason := lacking(error)):
            raise UserError(f"{path}: cannot be written: {reason}") from error
        raise


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    write(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def write_json(path: Path, data: Any) -> None:
    write_text(path, json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def write_table(path: Path, table: pd.DataFrame) -> None:
    write(path, lambda partial: table.to_parquet(partial, index=False))


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSON-lines file. Raises UserError if it is missing or damaged."""
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); run the stage that makes it") from error
    except ValueError as error:
        raise UserError(f"{path}: damaged ({error}); delete it and run again") from error


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); run the stage that makes it") from error
    except ValueError as error:
        raise UserError(f"{path}: damaged ({error}); delete it and run again") from error


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
