"""What a long analysis has so far, so that a killed one goes on: rows of its tables, and sums."""

import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from prerl.files.atomic import read_json, write, write_json
from prerl.files.checksums import broken, seal

Rows = list[dict[str, Any]]


class Partial:
    """A directory with the state after `done` items. One that was made from something else (`key`), or by
    another version of torch, is not used."""

    def __init__(self, root: Path, key: dict[str, Any]) -> None:
        self.root, self.key = root, {**key, "torch": version("torch")}

    def save(self, done: int, tables: dict[str, Rows], sums: dict[str, Tensor]) -> None:
        def produce(path: Path) -> None:
            path.mkdir()
            for name, rows in tables.items():
                pd.DataFrame(rows).to_parquet(path / f"{name}.parquet")
            save_file(sums, path / "sums.safetensors")
            write_json(path / "state.json", {"done": done, "key": self.key})
            seal(path)

        write(self.root, produce)

    def load(self) -> tuple[int, dict[str, Rows], dict[str, Tensor]]:
        """What `save` was last given: items done, rows by table, sums by name. (0, {}, {}) if there is nothing to go on
        from, or it is damaged, or was made from something else."""
        if not self.root.is_dir() or broken(self.root):
            return 0, {}, {}
        state = read_json(self.root / "state.json")
        if state["key"] != self.key:
            return 0, {}, {}
        tables = {path.stem: pd.read_parquet(path).to_dict("records") for path in sorted(self.root.glob("*.parquet"))}
        # The names of columns, which pandas' stubs call hashable, are text in a parquet file.
        return state["done"], tables, load_file(self.root / "sums.safetensors", str(torch.get_default_device()))  # pyright: ignore[reportReturnType]

    def clear(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
