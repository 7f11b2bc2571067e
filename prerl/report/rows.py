"""The rows of a table, one after the other."""

from collections.abc import Iterator
from typing import Any, TypeAlias

import pandas as pd

Row: TypeAlias = Any  # its columns are its attributes; which there are, and of what kind, is known to the table alone


def each(table: pd.DataFrame) -> Iterator[Row]:
    """The rows in their order."""
    yield from table.itertuples()
