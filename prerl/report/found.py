"""What was found, as README says it: a table from committed results, so that the two cannot disagree."""

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import pandas as pd

from prerl.analysis.verdicts import NOT_TESTED, amount
from prerl.errors import UserError

BEGIN, END = "<!-- found -->\n", "<!-- /found -->"
Row = dict[Hashable, Any]
DECIDES = {"not reproduced": "refuted", "inconclusive": "open", "reproduced": "holds", "equivalent": "holds"}


def found(baselines: Path, ablations: Path) -> str:
    """Markdown: a row a claim, with the value reported for it, the effect that decides its verdict, and the verdict.

    The directories hold claims.csv and claim_parts.csv, as `prerl claims` writes them, of the main study and of the
    ablations, by which a claim is judged that takes these. Where a value was reported of another effect than the one
    that decides, both are shown. Raises UserError if a file is missing.
    """
    (claims, parts), (others, more) = _read(baselines), _read(ablations)
    untested = claims.loc[claims["verdict"] == NOT_TESTED, "id"]
    claims = pd.concat([claims[~claims["id"].isin(untested)], others[others["id"].isin(untested)]])
    parts = pd.concat([parts, more[more["id"].isin(untested)]])
    lines = ["| Claim | Reported | Found | Verdict |", "|---|---|---|---|"]
    for claim in claims.to_dict("records"):
        own = parts[parts["id"] == claim["id"]]
        deciding, reported = own[own["finding"] == DECIDES.get(claim["verdict"])].head(1), own[own["reported"].notna()]
        shown = pd.concat([deciding, reported.head(1)]).drop_duplicates("part")
        said = [_said(claim, part) for part in shown.to_dict("records")]
        size = [_sign(part) + amount(part["unit"], part["reported"]) for part in reported.head(1).to_dict("records")]
        text = re.sub(r" \(.*\)", "", claim["text"]).replace("|", "\\|")
        verdict = claim["verdict"].removesuffix(" at this scale")
        lines.append(f"| {text} | {''.join(size) or '–'} | {'; '.join(said) or '–'} | {verdict} |")
    return "\n".join(lines) + "\n"


def _read(directory: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Claims and their parts."""
    try:
        return pd.read_csv(directory / "claims.csv"), pd.read_csv(directory / "claim_parts.csv")
    except OSError as error:
        raise UserError(f"{error.filename}: not there; `snakemake --cores all all ablations` makes it") from error


def _said(claim: Row, part: Row) -> str:
    """What was measured, and how much it is; a share says of what."""
    what = f"{claim['subject']}, {part['part']}" if part["unit"] == "share" else part["part"]
    return f"{what}: {_sign(part)}{amount(part['unit'], part['estimate'], part['low'], part['high'])}"


def _sign(part: Row) -> str:
    return {"ratio": "×", "cosine": "cosine "}.get(part["unit"], "")


def put_found(readme: Path, table: str) -> None:
    """Puts the table between README's marks. Raises UserError if it has none."""
    text = readme.read_text(encoding="utf-8")
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise UserError(f"{readme}: no lines {BEGIN.strip()} and {END}, between which the table stands")
    readme.write_text(head + begin + table + end + tail, encoding="utf-8")
