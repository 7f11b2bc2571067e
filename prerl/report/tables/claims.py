"""Tables of the verdicts on the paper's claims."""

import pandas as pd

from prerl.analysis.study import Study
from prerl.analysis.verdicts import BESIDE, HOLDS, amount
from prerl.report.rows import Row, each
from prerl.report.tables.typeset import table


@table
def claims(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows, parts = study.claims, study.parts
    conditions = parts[parts.side != BESIDE]
    numbers, holding = (found.groupby("id").size() for found in (conditions, conditions[conditions.finding == HOLDS]))
    printed = [
        {
            "Claim": row.text,
            "Source": row.source,
            "Conditions": f"{holding.get(row.id, 0)} of {numbers[row.id]} hold" if row.id in numbers else "–",
            "Reported size": row.size or "–",
            "Verdict": row.verdict,
            "After Holm": row.holm or "–",
        }
        for row in each(rows)
    ]
    return rows, pd.DataFrame(printed)


@table
def claim_parts(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows, subjects = study.parts, study.claims.set_index("id").subject
    printed = [
        {
            "Claim": row.id,
            "Measured": f"{subjects[row.id]}: {row.part}",
            "Found": amount(row.unit, row.estimate, row.low, row.high),
            "Needs": row.rule or "–",
            "Outcome": row.finding if row.side != BESIDE else "–",
            "Reported": _reported(row),
            "From": row.sizes,
        }
        for row in each(rows)
    ]
    heads = ["Claim", "Measured", "Found", "Needs", "Outcome", "Reported", "From"]
    return rows, pd.DataFrame(printed, columns=heads)


def _reported(row: Row) -> str:
    return f"{amount(row.unit, row.reported)}, {row.size}" if row.size else "–"
