import math

import pytest

from prerl.claims import CLAIMS, Claim, Effect, judge, verdict, write_claims
from prerl.errors import UserError
from prerl.reading import read_yaml
from tests.helpers import ROOT

REPORTED = ROOT / "paper/reported.yaml"


def claim(side, margin=0.0, measure=None):
    return Claim(measure, "points", side, margin, lambda reported: math.nan)


def effect(low, high):
    return Effect("Something", (low + high) / 2, low, high, "3 seeds, 10 problems")


@pytest.mark.parametrize(
    ("side", "margin", "low", "high", "expected"),
    [
        ("above", 0, 0.1, 2, "reproduced"),
        ("above", 0, -2, -0.1, "not reproduced"),
        ("above", 0, -0.1, 2, "inconclusive"),
        ("above", 2, 1.1, 1.9, "not reproduced"),
        ("above", 2, 1.9, 2.1, "inconclusive"),
        ("below", 0, -2, -0.1, "reproduced"),
        ("below", 0, 0.1, 2, "not reproduced"),
        ("below", 0, -1, 1, "inconclusive"),
        ("above", 0, 0, 0, "inconclusive"),
    ],
)
def test_the_interval_decides(side, margin, low, high, expected):
    assert verdict(claim(side, margin), effect(low, high)) == expected


def test_a_claim_about_every_rollout_falls_with_one_and_needs_400():
    bound = {count: 1 - 0.025 ** (1 / count) for count in (399, 400, 1000)}
    assert verdict(claim("never"), Effect("", 0.0, 0.0, bound[400], "")) == "reproduced"
    assert verdict(claim("never"), Effect("", 0.0, 0.0, bound[1000], "")) == "reproduced"
    assert verdict(claim("never"), Effect("", 0.0, 0.0, bound[399], "")) == "inconclusive"
    assert verdict(claim("never"), Effect("", 1 / 1000, 0.0, bound[1000], "")) == "not reproduced"


def test_every_reported_claim_is_tested_and_its_number_found():
    entries = read_yaml(REPORTED)["claims"]
    assert {entry["id"] for entry in entries} == set(CLAIMS)
    numbers = {entry["id"]: CLAIMS[entry["id"]].reported(entry.get("reported", {})) for entry in entries}
    assert numbers["transition-thoughts"] == 14.89 and numbers["reflection-thoughts"] == 6.54
    assert numbers["alignment-cosine"] == 0.44 and numbers["dsrl-sample-efficiency"] == 2.5
    assert numbers["warmup-space-matters"] == pytest.approx(-1.41)


def test_the_reported_claims_are_those_handed_down():
    source = ROOT.parent / "shared/paper/reported.yaml"
    if not source.is_file():
        pytest.skip("no copy of the reported claims beside this checkout to compare with")
    assert read_yaml(REPORTED) == read_yaml(source)


def test_a_row_says_what_it_rests_on():
    row = judge(claim("above", measure=lambda study: effect(1.0, 3.0)), {"id": "x", "text": "X", "source": "S"}, None)
    assert row["verdict"] == "reproduced" and row["rule"] == "above 0" and row["source"] == "S"
    assert row["sentence"] == (
        "Something: +2.0 [+1.0, +3.0] points (3 seeds, 10 problems). The claim needs above 0: reproduced."
    )


def test_an_unknown_claim_is_a_users_error(tmp_path):
    path = tmp_path / "reported.yaml"
    path.write_text("claims: [{id: nonsense}]")
    with pytest.raises(UserError, match="no test for 'nonsense'"):
        write_claims(None, path, tmp_path / "claims.csv")
    path.write_text("claims: 3")
    with pytest.raises(UserError, match="expected a list"):
        write_claims(None, path, tmp_path / "claims.csv")
