"""The table of what was tuned."""

import pandas as pd

from prerl.analysis.sensitivity import ends
from prerl.analysis.study import Study
from prerl.report.rows import Row, each
from prerl.report.tables.typeset import table

CHOSEN = " ◀"


@table
def sensitivity(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = ends(study.read("sensitivity"))
    factors = sorted(rows.learning_rate_factor.unique())
    several = rows.warm_ups.nunique() > 1
    printed = []
    for (method, length), group in rows.groupby(["method", "warm_ups"], sort=False):
        lengths = rows.warm_ups[rows.method == method].nunique()
        line = {"Method": study.methods[str(method)].label}
        line |= {"Warm-up": f"× {length:g}" if lengths > 1 else "–"} if several else {}
        cells = {row.learning_rate_factor: cell(row) for row in each(group)}
        printed.append(line | {f"Learning rate × {factor:g}": cells.get(factor, "–") for factor in factors})
    return rows, pd.DataFrame(printed)


def cell(row: Row) -> str:
    """Mean and range of the seeds, marked if it was chosen."""
    return f"{row.accuracy:.3f} ({row.lowest:.3f} to {row.highest:.3f})" + (CHOSEN if row.chosen else "")
