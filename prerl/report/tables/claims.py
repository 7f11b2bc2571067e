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


@table
def sizes(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Each condition of each claim at this scale and at the others, side by side."""
    verdicts = study.claims.set_index("id").verdict
    own = study.parts.assign(scale=study.scale["name"], verdict=study.parts.id.map(verdicts))
    rows = pd.concat([own, study.elsewhere])[list(study.elsewhere.columns)]
    conditions = rows[rows.side != BESIDE]
    scales = list(dict.fromkeys(rows.scale))
    printed = []
    for (claim, part), group in conditions.groupby(["id", "part"], sort=False):
        cells = {
            row.scale: f"{amount(row.unit, row.estimate, row.low, row.high)}: {row.finding}" for row in each(group)
        }
        printed.append({"Claim": claim, "Measured": part, **{scale: cells.get(scale, "–") for scale in scales}})
    for claim, group in rows.drop_duplicates(["id", "scale"]).groupby("id", sort=False):
        found = {row.scale: row.verdict for row in each(group)}
        printed.append({"Claim": claim, "Measured": "the verdict", **{one: found.get(one, "–") for one in scales}})
    places = {claim: place for place, claim in enumerate(study.claims.id)}
    printed.sort(key=lambda line: places[line["Claim"]])
    return rows, pd.DataFrame(printed, columns=["Claim", "Measured", *scales])


def _reported(row: Row) -> str:
    return f"{amount(row.unit, row.reported)}, {row.size}" if row.size else "–"
