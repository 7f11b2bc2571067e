"""The rows of a table, one after the other, and what some are called."""

from collections.abc import Iterator
from typing import Any, TypeAlias

import pandas as pd

from prerl.analysis.study import Study

Row: TypeAlias = Any  # its columns are its attributes; which there are, and of what kind, is known to the table alone


def each(table: pd.DataFrame) -> Iterator[Row]:
    """The rows in their order."""
    yield from table.itertuples()


def updater(study: Study, name: str) -> str:
    """What the update of a method is called, or that of `METHOD, other prompts`. The base's updates are also compared
    for methods that the study has no runs of."""
    method, comma, more = name.partition(",")
    return study.methods[method].label + comma + more
