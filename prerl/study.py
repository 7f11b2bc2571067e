"""The summaries of one scale, as tables and figures read them."""

from pathlib import Path

import pandas as pd

from prerl.config import Method
from prerl.records import read_json


class Study:
    """The summary tables of a scale, and how its methods are called and ordered in print."""

    def __init__(self, summary: Path, methods: dict[str, Method]) -> None:
        self.summary, self.methods = summary, methods
        self.scale = read_json(summary / "scale.json")
        self.labels = {"base": "Base"} | {name: methods[name].label for name in self.scale["methods"]}

    def read(self, name: str) -> pd.DataFrame:
        return pd.read_parquet(self.summary / f"{name}.parquet")
