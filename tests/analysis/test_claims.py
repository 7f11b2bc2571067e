"""What each claim is measured by, on summaries made so that every verdict is forced."""

import json
import math
from functools import partial

import numpy as np
import pandas as pd
import pytest

from prerl.analysis.claims import CLAIMS, judge, write_claims
from prerl.analysis.courses import FINISHED, OWN_BEST
from prerl.errors import UserError
from prerl.files.atomic import write_table
from prerl.settings.reading import read_yaml
from tests.forced import (
    TABLES,
    altered,
    change,
    comparison,
    cosine,
    gradients,
    noise,
    ratio,
    speed,
    warm_up,
    write_forced,
)
from tests.helpers import ROOT

REPORTED = ROOT / "paper/reported.yaml"
ENTRIES = {entry["id"]: entry for entry in read_yaml(REPORTED)["claims"]}


@pytest.fixture
def made(tmp_path, methods):
    """Writes the summaries of a study in which the paper is right in all, but for what is given."""
    return partial(write_forced, tmp_path / "summary", methods)


def verdict_on(id, study):
    row, parts = judge(ENTRIES[id], study)
    return row["verdict"], {part["part"]: part["finding"] for part in parts}


def test_where_the_paper_is_right_all_is_reproduced_and_no_size_is_excluded(made, tmp_path):
    write_claims(made(), REPORTED, tmp_path / "claims.csv")
    rows, parts = (pd.read_csv(tmp_path / f"{name}.csv") for name in ("claims", "claim_parts"))
    assert rows.verdict.tolist() == ["reproduced"] * 14 and set(rows["size"].dropna()) == {"compatible"}
    assert list(rows.id) == list(ENTRIES) and set(parts.id) == set(ENTRIES)
    assert set(parts.finding) == {"holds", "beside"} and (parts.low <= parts.estimate).all()
    reported = parts.dropna(subset="reported").set_index("id").reported
    assert reported["transition-thoughts"] == 14.89 and reported["reflection-thoughts"] == 6.54
    assert reported["alignment-cosine"] == 0.44 and list(reported["dsrl-sample-efficiency"]) == [2.5, 1.6]
    assert reported["warmup-space-matters"] == pytest.approx(-1.41) and reported["nsr-prerl-fast"] == 3
    assert reported["dsrl-beats-grpo"] == pytest.approx(1.75) and reported["dsrl-ood"] == 3.79


NOT, OPEN, SAME = "not reproduced", "inconclusive", "equivalent"


@pytest.mark.parametrize(
    ("id", "changes", "expected"),
    [
        ("alignment-positive", {"negative": 1}, NOT),
        ("alignment-positive", {"size": 200}, OPEN),
        (
            "alignment-positive",
            altered("alignment", gradients("negative", "dsrl", 40, 0.15)),
            NOT,
        ),
        ("alignment-cosine", altered("noise", noise("excess", 0.01)), OPEN),
        ("alignment-cosine", altered("noise", noise("excess", -0.1)), NOT),
        ("alignment-cosine", altered("updates", cosine("nsr-prerl", 0.25)), OPEN),  # the null reaches up to 0.25
        ("alignment-cosine", altered("updates", cosine("nsr-prerl", 0.15)), NOT),
        ("psr-prerl-degrades", altered("changes", change("psr-prerl", "end", "base", 22)), NOT),
        ("psr-prerl-degrades", altered("changes", change("psr-prerl", "end", "psr-rl", 0.5)), OPEN),
        ("prerl-collapses", altered("changes", change("prerl", "before the peak", "grpo", -9)), NOT),
        ("prerl-collapses", altered("changes", change("prerl", "before the peak", "grpo", -4.5)), OPEN),
        ("prerl-collapses", altered("changes", change("prerl", "after the peak", "peak", 2)), NOT),
        ("prerl-collapses", altered("changes", change("grpo", "after the peak", "peak", -9)), NOT),
        ("nsr-prerl-fast", altered("changes", change("nsr-prerl", "peak", "base", -2)), NOT),
        ("nsr-prerl-fast", altered("speeds", speed("nsr-prerl", OWN_BEST, 0.7)), NOT),
        ("nsr-prerl-fast", altered("speeds", speed("nsr-prerl", OWN_BEST, 1.05)), OPEN),
        ("transition-thoughts", altered("ratios", ratio("nsr-prerl", "transition", "grpo", 1.03, 0.25)), OPEN),
        ("transition-thoughts", altered("ratios", ratio("nsr-prerl", "transition", "grpo", 0.7)), NOT),
        ("reflection-thoughts", altered("ratios", ratio("nsr-prerl", "reflection", "base", 1.5)), NOT),
        ("nsr-prerl-too-long", altered("ratios", ratio("nsr-prerl", FINISHED, "grpo", 1.0)), OPEN),
        (
            "nsr-prerl-too-long",
            altered("ratios", ratio("nsr-prerl", FINISHED, "grpo", 1), ratio("nsr-prerl", FINISHED, "base", 1.1)),
            SAME,
        ),
        ("dsrl-beats-grpo", altered("comparisons", comparison("dsrl", "grpo", "countdown", -2)), NOT),
        ("dsrl-beats-grpo", altered("comparisons", comparison("dsrl", "grpo", "countdown", 0.3)), SAME),
        ("dsrl-beats-grpo", altered("comparisons", comparison("dsrl", "grpo", "countdown", 0.3, reach=3)), OPEN),
        ("warmup-space-matters", altered("comparisons", comparison("dsrl", "nsr-rl-grpo", "countdown", -3)), NOT),
        ("warmup-space-matters", altered("comparisons", comparison("nsr-rl-grpo", "grpo", "countdown", 0)), OPEN),
        ("dsrl-pass-at-k", altered("comparisons", comparison("dsrl", "grpo", "countdown", -3, "pass")), NOT),
        ("dsrl-pass-at-k", altered("comparisons", comparison("dsrl", "grpo", "countdown-hard", 0, "pass")), OPEN),
        ("dsrl-pass-at-k", altered("comparisons", comparison("dsrl", "base", "countdown", -9, "pass")), "reproduced"),
        ("dsrl-sample-efficiency", altered("speeds", speed("dsrl", "50 %", 0.66)), NOT),
        ("dsrl-sample-efficiency", altered("speeds", speed("dsrl", "75 %", 1.0)), OPEN),
        ("dsrl-sample-efficiency", altered("speeds", speed("dsrl", "90 %", 0.5)), "reproduced"),  # decides nothing
        ("dsrl-ood", altered("comparisons", comparison("dsrl", "grpo", "countdown-ood", -2.3)), NOT),
        ("dsrl-ood", altered("comparisons", comparison("dsrl", "base", "countdown-ood", 0)), OPEN),
        ("warmup-length", altered("warm_ups", warm_up("dsrl-quadruple", 40, -0.03, True)), NOT),
        ("warmup-length", altered("warm_ups", warm_up("dsrl-double", 20, -0.03, True)), "reproduced"),
        ("warmup-length", altered("warm_ups", warm_up("grpo", 0, 0.0, True)), OPEN),
    ],
)
def test_each_condition_decides(made, id, changes, expected):
    assert verdict_on(id, made(**changes))[0] == expected


def test_a_ratio_to_the_base_that_grpo_has_too_does_not_reproduce(made):
    """The case of version 1: 5.6 times the base's thoughts, 1.03 times GRPO's."""
    changes = [ratio("nsr-prerl", "transition", "base", 5.6, 2), ratio("nsr-prerl", "transition", "grpo", 1.03, 0.25)]
    row, parts = judge(ENTRIES["transition-thoughts"], made(**altered("ratios", *changes)))
    assert row["verdict"] == "inconclusive" and row["size"] == "excluded" and math.isnan(row["level"])
    assert row["sentence"] == (
        "Inconclusive. Transition thoughts a response, while accuracy holds. NSR-PreRL over the base: 5.6 [3.6, 7.6] "
        "(needs above 2: holds; reported 14.9: excluded); NSR-PreRL over GRPO: 1.03 [0.78, 1.28] (needs above 1: "
        "open); GRPO over the base: 5 [4.9, 5.1]. From update 40, 5 seeds, 128 problems; update 120, 5 seeds, 128 "
        "problems."
    )
    assert [part["finding"] for part in parts] == ["holds", "open", "beside"]


def test_what_is_not_there_is_not_tested_and_says_why(made):
    few = altered("ratios", ratio("nsr-prerl", "transition", "base", 5, count=7))
    assert judge(ENTRIES["transition-thoughts"], made(**few))[0]["sentence"] == (
        "Not tested: base has only 7 transition thoughts there."
    )
    fallen = {"ratios": [row for row in TABLES["ratios"] if row["method"] == "grpo"]}
    for id in ("transition-thoughts", "nsr-prerl-too-long"):
        assert judge(ENTRIES[id], made(**fallen))[0]["sentence"] == (
            "Not tested: NSR-PreRL is at no update as accurate on dev as the base."
        )
    level = {"speeds": []}
    assert (
        "no sure gain on dev of which one could reach 25 %"
        in judge(ENTRIES["dsrl-sample-efficiency"], made(**level))[0]["sentence"]
    )
    alone = {"warm_ups": [row for row in TABLES["warm_ups"] if row["method"] in ("grpo", "dsrl")]}
    assert "snakemake --cores all ablations" in judge(ENTRIES["warmup-length"], made(**alone))[0]["sentence"]
    assert judge(ENTRIES["alignment-positive"], made(size=0))[0]["sentence"] == "Not tested: no rollouts of the base."
    without = made(leave=["grpo"], comparisons=[], speeds=[], warm_ups=[])
    for id in ("dsrl-beats-grpo", "nsr-prerl-fast", "dsrl-sample-efficiency", "warmup-length", "dsrl-ood"):
        assert judge(ENTRIES[id], without)[0]["verdict"] == "not tested at this scale"


def test_who_has_no_sure_gain_is_judged_by_that_alone(made):
    changes = altered("changes", change("nsr-prerl", "peak", "base", 0.5)) | {"speeds": TABLES["speeds"][1:]}
    assert verdict_on("nsr-prerl-fast", made(**changes)) == ("equivalent", {"NSR-PreRL's peak less the base": "open"})


def test_a_benchmark_that_all_solve_or_none_tells_nothing_of_pass_at_k(made):
    full = [row | {"estimate": 0.99 if row["benchmark"] == "countdown" else 0.8} for row in TABLES["scores"]]
    _, findings = verdict_on("dsrl-pass-at-k", made(scores=full))
    assert findings == {"DSRL less GRPO, hard": "holds", "DSRL less the base, hard": "beside"}
    for share in (0.99, 0.01):
        none = [row | {"estimate": share} for row in TABLES["scores"]]
        sentence = judge(ENTRIES["dsrl-pass-at-k"], made(scores=none))[0]["sentence"]
        assert sentence == "Not tested: at its largest k pass@k is near 0 or 1 on countdown-hard and countdown."


@pytest.mark.parametrize(("value", "negative"), [(0.0, 1), (np.nan, 1), (-1.0, 1), (1e-9, 0)])
def test_an_inner_product_that_is_no_number_is_not_positive(made, value, negative):
    study = made()
    table = study.read("rollouts")
    write_table(study.summary / "rollouts.parquet", table.assign(inner_product=[value, *[1.0] * 399]))
    part = judge(ENTRIES["alignment-positive"], study)[1][0]
    assert part["estimate"] == pytest.approx(negative / 400) and part["low"] <= part["estimate"] < part["high"]


def test_rollouts_of_a_problem_count_as_one_in_the_interval(made):
    part = judge(ENTRIES["alignment-positive"], made())[1][0]
    assert part["high"] == pytest.approx(1 - 0.025 ** (1 / 100)) and "100 problems" in part["sizes"]


def test_the_collapse_says_at_how_many_learning_rates(made):
    study = made()
    ends = {0.1: 0.5, 0.333: 0.46, 1.0: 0.1, 3.0: 0.0}  # from a peak of 0.5
    rows = [
        {"method": "prerl", "learning_rate_factor": factor, "warm_ups": 1.0, "seed": seed, "step": step}
        | {"accuracy": 0.5 if step == 60 else end if step > 100 else 0.3, "tokens": 9}
        for factor, end in ends.items()
        for seed in (100, 101)
        for step in range(0, 121, 20)
    ]
    write_table(study.summary / "sensitivity.parquet", pd.DataFrame(rows))
    assert judge(ENTRIES["prerl-collapses"], study)[0]["sentence"].endswith(
        "In the tuning runs PreRL ends more than 5 points below its best at 2 of 4 learning rates."
    )


def test_holm_corrects_over_the_claims_that_were_tested(made, tmp_path):
    """One verdict is sure, one just so: alone it would stand, among fourteen it falls."""
    near = comparison("dsrl", "grpo", "countdown", 1.05)  # of a half-width of 1
    study = made(**altered("comparisons", near))
    write_claims(study, REPORTED, tmp_path / "claims.csv")
    rows = pd.read_csv(tmp_path / "claims.csv").set_index("id")
    assert rows.holm["dsrl-beats-grpo"] == "falls" and 0.02 < rows.level["dsrl-beats-grpo"] < 0.05
    assert rows.verdict["dsrl-beats-grpo"] == "reproduced" and rows.holm["prerl-collapses"] == "stands"
    assert rows.sentence["dsrl-beats-grpo"].endswith("By Holm's correction over 14 claims the verdict falls.")
    few = tmp_path / "few.yaml"
    few.write_text(json.dumps({"claims": [ENTRIES["dsrl-beats-grpo"]]}))
    write_claims(study, few, tmp_path / "claims.csv")
    assert pd.read_csv(tmp_path / "claims.csv").holm.tolist() == ["stands"]


def test_a_study_without_any_claim_tested_has_an_empty_table_of_parts(made, tmp_path):
    few = tmp_path / "few.yaml"
    few.write_text(json.dumps({"claims": [ENTRIES["dsrl-beats-grpo"]]}))
    study = made(comparisons=[])
    write_claims(study, few, tmp_path / "claims.csv")
    assert study.claims.verdict.tolist() == ["not tested at this scale"] and study.claims.holm.tolist() == [""]
    assert study.parts.empty and "finding" in study.parts


def test_the_reported_claims_are_those_handed_down():
    assert set(ENTRIES) == set(CLAIMS)
    source = ROOT.parent / "shared/paper/reported.yaml"
    if not source.is_file():
        pytest.skip("no copy of the reported claims beside this checkout to compare with")
    assert read_yaml(REPORTED) == read_yaml(source)


def test_an_unknown_claim_is_a_users_error(tmp_path):
    path = tmp_path / "reported.yaml"
    path.write_text("claims: [{id: nonsense}]")
    with pytest.raises(UserError, match="no test for 'nonsense'"):
        write_claims(None, path, tmp_path / "claims.csv")
    path.write_text("claims: 3")
    with pytest.raises(UserError, match="expected a list"):
        write_claims(None, path, tmp_path / "claims.csv")
