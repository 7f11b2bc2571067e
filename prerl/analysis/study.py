"""The summaries of one scale, as tables and figures read them."""

from pathlib import Path

import pandas as pd

from prerl.errors import UserError
from prerl.files.atomic import read_json
from prerl.settings.methods import Method


class Study:
    """The summary tables of a scale, and how its methods are called and ordered in print."""

    def __init__(self, summary: Path, methods: dict[str, Method]) -> None:
        self.summary, self.methods = summary, methods
        self.scale = read_json(summary / "scale.json")
        self.labels = {"base": "Base"} | {name: methods[name].label for name in self.scale["methods"]}

    @property
    def claims(self) -> pd.DataFrame:
        """The table of claims, which lies beside the summaries' directory; texts of what is not there are empty."""
        return self._beside("claims", ["setting", "size", "holm"])

    @property
    def parts(self) -> pd.DataFrame:
        """The table of the claims' parts, beside it."""
        return self._beside("claim_parts", ["rule", "size"])

    @property
    def elsewhere(self) -> pd.DataFrame:
        """The parts of claims that were tested at other scales, beside it; see `prerl.analysis.elsewhere`."""
        return self._beside("claims_elsewhere", [])

    def _beside(self, name: str, texts: list[str]) -> pd.DataFrame:
        table = pd.read_csv(self.summary.parent / f"{name}.csv", dtype=dict.fromkeys(texts, str))
        return table.fillna(dict.fromkeys(texts, ""))

    def has(self, name: str) -> bool:
        """Whether there is such a table; some are only made where there is something to sum up."""
        return (self.summary / f"{name}.parquet").is_file()

    def read(self, name: str) -> pd.DataFrame:
        return pd.read_parquet(self.summary / f"{name}.parquet")


def caption(captions: Path, name: str) -> str:
    """The caption of a table or figure, in one line: the text of captions/NAME.rst, which Snakemake's report shows too.

    Raises UserError if there is none.
    """
    path = captions / f"{name}.rst"
    try:
        return " ".join(path.read_text(encoding="utf-8").split())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); every table and figure has a caption") from error
