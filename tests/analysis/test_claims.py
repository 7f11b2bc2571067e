import json
import math
import shutil

import numpy as np
import pandas as pd
import pytest

from prerl.analysis.behaviour import Lexicon
from prerl.analysis.claims import CLAIMS, write_claims
from prerl.analysis.rates import behaviours
from prerl.analysis.scores import IN_DOMAIN, Estimator
from prerl.analysis.study import Study
from prerl.analysis.verdicts import Claim, Effect, Missing, judge, pick, verdict
from prerl.errors import UserError
from prerl.settings.reading import read_yaml
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


ROW = {"method": "dsrl", "estimate": 0.5, "low": 0.2, "high": np.inf, "seeds": 3, "problems": 20}


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        ([], Missing, "^no runs with method dsrl$"),
        ([ROW | {"method": "grpo"}], Missing, "^no runs with method dsrl$"),
        ([ROW, ROW], UserError, "^claims: 2 rows of a summary with method dsrl; delete summary/ and run again$"),
        ([ROW | {"estimate": np.nan}], Missing, r"^the runs with method dsrl give no number \(nan\)$"),
        ([ROW | {"estimate": np.inf}], Missing, r"^the runs with method dsrl give no number \(inf\)$"),
        ([ROW | {"low": np.nan}], Missing, "^the runs with method dsrl give a number without an interval$"),
        ([ROW | {"high": np.nan}], Missing, "^the runs with method dsrl give a number without an interval$"),
    ],
)
def test_no_run_several_rows_and_no_number_are_different_answers(rows, error, message):
    with pytest.raises(error, match=message):
        pick(pd.DataFrame(rows, columns=list(ROW)), method="dsrl")


def test_one_row_with_a_number_is_an_effect():
    found = pick(pd.DataFrame([ROW, ROW | {"method": "grpo"}]), 100, "What", method="dsrl")
    assert (found.estimate, found.low, found.high, found.sizes) == (50, 20, np.inf, "3 seeds, 20 problems")
    with pytest.raises(Missing, match="no runs that could tell"):
        pick(pd.DataFrame([ROW]), method="dsrl", reference="base")


def altered(study, tmp_path, methods, **tables):
    """A copy of the study with other summaries."""
    shutil.copytree(study / "summary", tmp_path / "summary")
    for name, change in tables.items():
        path = tmp_path / f"summary/{name}.parquet"
        change(pd.read_parquet(path)).to_parquet(path)
    return Study(tmp_path / "summary", methods)


def test_without_a_gain_of_grpo_there_is_no_claim_about_half_of_it(study, tmp_path, methods):
    made = altered(study, tmp_path, methods, speeds=lambda table: pd.DataFrame())
    row = judge(CLAIMS["dsrl-sample-efficiency"], {"reported": {"speedup_to_45": 2.5}}, made)
    assert row["verdict"] == "not tested at this scale"
    assert row["sentence"] == "Not tested: GRPO has no sure gain on dev, half of which could be reached."


@pytest.mark.parametrize(("value", "negative"), [(0.0, 1), (np.nan, 1), (-1.0, 1), (1e-9, 0)])
def test_an_inner_product_that_is_no_number_is_not_positive(study, tmp_path, methods, value, negative):
    def change(table):
        return table.assign(inner_product=np.where(table.rollout == 0, value, 1.0))

    made = altered(study, tmp_path, methods, rollouts=change)
    row = judge(CLAIMS["alignment-positive"], {"reported": {"negative_share": 0}}, made)
    assert row["estimate"] == pytest.approx(negative / 40)


def test_no_rollouts_are_not_tested(study, tmp_path, methods):
    made = altered(study, tmp_path, methods, rollouts=lambda table: table[:0])
    row = judge(CLAIMS["alignment-positive"], {"reported": {"negative_share": 0}}, made)
    assert row["sentence"] == "Not tested: no rollouts of the base."


def test_thoughts_are_counted_on_all_in_domain_benchmarks_alike(study, tmp_path, methods):
    """On `small` NSR-PreRL thinks twice as often as the base, on `large` six times: by response and benchmark, the mean
    rates are 0.5 * (2 + 3) over 0.5 * (1 + 0.5)."""
    lexicon = Lexicon(split="[.]", thoughts={"transition": "but"}, behaviours={})

    def run(small, large):
        parts = [("small", 10, 2, small), ("large", 30, 4, large)]
        rows = [
            {"benchmark": name, "problem": f"p{p}", "n": n, "transition": n * rate(p), "execution": n, "tokens": 9 * n}
            for name, problems, n, rate in parts
            for p in range(problems)
        ]
        return pd.DataFrame(rows)

    tests = {"base": {0: run(lambda p: 1, lambda p: p % 2)}}
    tests["nsr-prerl"] = {0: run(lambda p: 2, lambda p: 3)}
    names = ["small", "large"]
    found = pd.DataFrame(behaviours(tests, lexicon, Estimator(100, np.random.default_rng(0)), names))
    rates = found[(found.per == "response") & (found.behaviour == "transition")].set_index(["method", "benchmark"])
    assert rates.estimate["base", IN_DOMAIN] == pytest.approx(0.75)
    assert rates.estimate["nsr-prerl", IN_DOMAIN] == pytest.approx(2.5)
    assert rates["count"]["nsr-prerl", IN_DOMAIN] == 2 * 20 + 3 * 120
    assert rates.ratio["nsr-prerl", "small"] == pytest.approx(2) and rates.ratio["nsr-prerl", "large"] == 6
    made = altered(study, tmp_path, methods, behaviour=lambda table: found)
    made.scale["claims_on"]["in_domain"] = names
    row = judge(CLAIMS["transition-thoughts"], {"reported": {"ratio": 14.89}}, made)
    assert row["estimate"] == pytest.approx(2.5 / 0.75)
    assert row["sentence"].startswith(
        "Transition thoughts a response of NSR-PreRL over the base's on in domain: 3.33 ["
    )
    alone = pd.DataFrame(behaviours(tests, lexicon, Estimator(100, np.random.default_rng(0)), ["small"]))
    assert IN_DOMAIN not in set(alone.benchmark)


def test_the_only_in_domain_benchmark_is_named(study):
    scale = json.loads((study / "summary/scale.json").read_text())
    rows = pd.read_csv(study / "claims.csv").set_index("id")
    tested = rows[rows.verdict != "not tested at this scale"]
    found = [name for name in ("transition-thoughts", "reflection-thoughts") if name in tested.index]
    assert found and all(f"the base's on {scale['claims_on']['in_domain'][0]}:" in rows.sentence[n] for n in found)
