"""How tables are printed: the registry of tables, and estimates with intervals as text."""

from collections.abc import Callable

import pandas as pd

from prerl.analysis.study import Study
from prerl.report.rows import Row, each

TABLES: dict[str, Callable[[Study], tuple[pd.DataFrame, pd.DataFrame]]] = {}


def table(function: Callable[[Study], tuple[pd.DataFrame, pd.DataFrame]]) -> Callable:
    """Registers a table under its function's name: (all numbers, what is printed)."""
    TABLES[function.__name__] = function
    return function


def latex(printed: pd.DataFrame, caption: str, label: str) -> str:
    """A booktabs table, special characters escaped."""
    style = printed.style.hide(axis="index").format(escape="latex").format_index(escape="latex", axis="columns")
    columns = "l" + "r" * (len(printed.columns) - 1)
    caption = caption.replace("%", r"\%")
    return style.to_latex(hrules=True, column_format=columns, caption=caption, label=label, position="t")


def pivot(study: Study, rows: pd.DataFrame, index: list[str], columns: str, digits: int = 3) -> pd.DataFrame:
    """Estimates with intervals as text; methods by label and in order."""
    cells = rows.assign(text=[interval(row, digits) for row in each(rows)])
    order = list(dict.fromkeys(rows[columns]))
    wide = cells.pivot(index=index, columns=columns, values="text")[order].fillna("–").reset_index()
    position = {name: place for place, name in enumerate(study.labels)}
    wide = wide.sort_values(index, key=lambda column: column.map(position) if column.name == "method" else column)
    wide = wide.assign(method=wide.method.map(study.labels))
    wide.columns = [str(column).capitalize() if column in index else str(column) for column in wide.columns]
    return wide


def interval(row: Row, digits: int, signed: bool = False) -> str:
    form = f"{'+' if signed else ''}.{digits}f"
    return f"{row.estimate:{form}} [{row.low:{form}}, {row.high:{form}}]"


DEV_ENDS = {"dev_selected": "Dev, selected update", "dev_final": "Dev, last update"}


def dev_ends(runs: pd.DataFrame) -> dict[str, dict[str, str]]:
    """Cells of a table by method, as DEV_ENDS titles them: mean dev accuracy of its runs at the update that was
    selected, which the test benchmarks are of, and at the last one."""
    if not len(runs):
        return {}
    means = runs.groupby("method")[[*DEV_ENDS]].mean()
    return {
        str(method): {title: f"{means.at[method, column]:.3f}" for column, title in DEV_ENDS.items()}
        for method in means.index
    }


AGAINST_GRPO = {"end": "Dev accuracy less GRPO's, at the end", "equal tokens": "The same, at equal tokens"}


def against_grpo(study: Study) -> dict[tuple[str, str], str]:
    """Cells of a table by method and window, as AGAINST_GRPO titles them."""
    rows = study.read("changes")
    rows = rows[(rows.quantity == "accuracy") & (rows.reference == "grpo") & rows.window.isin(AGAINST_GRPO)]
    return {(row.method, row.window): interval(row, 3, signed=True) for row in each(rows)}
