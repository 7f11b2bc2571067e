"""The finding of a study in a sentence or two, built from its claims, so that it says what they say and no more."""

from collections.abc import Sequence
from typing import Any

from prerl.analysis.verdicts import NOT_TESTED, amount

MAIN = "dsrl-beats-grpo"  # of one condition, DSRL's accuracy less GRPO's: its verdict is the outcome of that comparison
OUTCOMES = {
    "reproduced": "is more accurate than",
    "not reproduced": "is less accurate than",
    "equivalent": "is as accurate as",
    "inconclusive": "cannot be told apart from",
}


def headline(claims: Sequence[dict[str, Any]], parts: Sequence[dict[str, Any]]) -> str:
    """How the paper's method compares with GRPO, where the study has both, and how many claims it reproduces, by the
    rows of claims.csv and claim_parts.csv."""
    said = []
    for claim in claims:
        if claim["id"] == MAIN and claim["verdict"] in OUTCOMES:
            [part] = [one for one in parts if one["id"] == MAIN]
            found = amount(part["unit"], part["estimate"], part["low"], part["high"])
            subject = f"{claim['subject'][0].lower()}{claim['subject'][1:]}"
            outcome = f"{OUTCOMES[claim['verdict']]} GRPO: {found} of {subject}"
            said.append(f"DSRL, which warms up on log P(y) before GRPO, {outcome}.")
    verdicts = [claim["verdict"] for claim in claims if claim["verdict"] != NOT_TESTED]
    if verdicts:
        reproduced = are(verdicts.count("reproduced"))
        said.append(f"Of the paper's claims, {are(len(verdicts))} tested here and {reproduced} reproduced.")
    else:
        said.append("No claim of the paper can be tested here.")
    return " ".join(said)


def are(number: int) -> str:
    return {0: "none is", 1: "one is"}.get(number, f"{number} are")
