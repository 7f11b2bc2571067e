"""What stands beside a study's own results: others' curves, the authors' code, other scales."""

import json
import re

import pandas as pd
import pytest
import yaml

from prerl.settings.scale import load_scale
from tests.helpers import ROOT


def test_what_others_published_stands_above_what_came_out_here(study, printed):
    numbers = pd.read_csv(printed / "tables/published.csv")
    theirs, ours = numbers.to_dict("records")
    assert (theirs["before"], theirs["after"], theirs["updates"], theirs["source"]) == (15.2, 47.4, 50, "elsewhere")
    scores = pd.read_parquet(study / "summary/scores.parquet")
    scores = scores[(scores.metric == "avg") & (scores.benchmark == "countdown")].set_index("method").estimate
    assert ours["source"] == "here" and ours["after"] == pytest.approx(100 * scores["grpo"])
    assert ours["before"] == pytest.approx(100 * scores["base"])
    assert "| 47.4 " in (printed / "tables/published.md").read_text()


def test_departures_stand_in_the_profiles_readme_as_in_the_paper():
    rows = yaml.safe_load((ROOT / "paper/departures.yaml").read_text())
    readme = (ROOT / "workflow/profiles/README.md").read_text()
    for row in rows:
        assert f"| {' | '.join(row[key] for key in ('what', 'theirs', 'here', 'why', 'told'))} |" in readme
    named = {name for row in rows for name in re.findall(r"(?:grpo|dsrl)-[a-z-]+", row["told"])}
    assert named and named <= set(load_scale(ROOT / "workflow/scales/tiny.yaml").ablations)


def test_claims_stand_beside_what_they_gave_at_other_scales(study, printed):
    own, rows = pd.read_csv(study / "claim_parts.csv"), pd.read_csv(printed / "tables/sizes.csv")
    assert list(dict.fromkeys(rows.scale)) == ["made-up", "larger"]
    assert len(rows[rows.scale == "larger"]) == (own.id != own.id.iloc[0]).sum()
    shown = json.loads((printed / "tables/sizes.json").read_text())
    assert shown["columns"] == ["Claim", "Measured", "made-up", "larger"]
    first = [row for row in shown["rows"] if row[0] == own.id.iloc[0]]
    assert {row[3] for row in first} == {"–"} and first[-1][1] == "the verdict"
    others = [row for row in shown["rows"] if row[0] != own.id.iloc[0] and row[1] != "the verdict" and row[3] != "–"]
    assert others and all(row[3].startswith(("0.5 [0.25, 0.75]", "+0.5 [+0.2, +0.8] points")) for row in others)
    conditions = own[own.side != "beside"]
    assert len(shown["rows"]) == len(conditions) + conditions.id.nunique()
