import json
import shutil

import numpy as np
import pandas as pd
import pytest
from scipy import special

from prerl.analysis.curves import (
    TARGETS,
    at_equal_tokens,
    crossing,
    curve_interval,
    ending,
    gain,
    part_way,
    speeds,
    tokens_spent,
)
from prerl.analysis.scores import Estimator
from prerl.report.figures.write import draw_figures
from prerl.report.tables.write import write_tables
from tests.helpers import CAPTIONS

STEPS = list(range(0, 81, 10))


def test_crossing_by_hand():
    steps = [0, 10, 20]
    assert crossing(np.array([0.1, 0.2, 0.6]), steps, 0.4) == 15
    assert crossing(np.array([0.5, 0.2, 0.6]), steps, 0.4) == 0
    assert crossing(np.array([0.1, 0.2, 0.3]), steps, 0.4) == np.inf
    assert crossing(np.array([[0.0, 0.4, 0.3], [0.0, 0.0, 0.4]]), steps, np.array([0.4, 0.2])).tolist() == [10, 15]
    curves = np.array([[0.2, 0.6, 0.4], [0.5, 0.1, 0.1]])
    assert part_way(curves, 0.5).tolist() == pytest.approx([0.4, 0.5])
    assert part_way(curves, 0.75).tolist() == pytest.approx([0.5, 0.5])


def test_the_end_is_the_last_sixth_of_the_updates_and_one_evaluation_at_least():
    assert [list(range(0, 121, 5))[column] for column in ending(list(range(0, 121, 5)))] == [105, 110, 115, 120]
    assert ending([0, 5, 10, 15, 20]) == [4] and ending([0, 60]) == [1]


def learner(rng, seeds, difficulty, pace):
    """Chances to solve (seeds, problems, steps) of a learner whose seeds differ in pace and in what they reach."""
    paces, reached = pace * np.exp(0.1 * rng.normal(size=(seeds, 1))), 1 + 0.03 * rng.normal(size=(seeds, 1))
    mean = 0.34 + 0.26 * reached * (1 - np.exp(-np.array(STEPS) * paces / 20))
    return special.expit(special.logit(mean)[:, None, :] + difficulty[:, None])


def updates(mine, its):
    return crossing(mine, STEPS, part_way(its, 0.5))


def sooner(mine, its):
    return updates(its, its) / updates(mine, its)


def test_95_percent_intervals_of_steps_and_speed_cover_93_to_99_percent_of_truths():
    """Three seeds, 128 problems, 4 responses. That of the speed-up covers more than it says, never less."""
    rng, base = np.random.default_rng(0), np.random.default_rng(0)
    many = 1.3 * rng.normal(size=400)
    whole = [learner(rng, 400, many, pace).mean((0, 1)) for pace in (0.7, 1.0)]
    truth = {updates: updates(*whole), sooner: sooner(*whole)}
    covered = dict.fromkeys(truth, 0)
    for _ in range(300):
        difficulty = 1.3 * rng.normal(size=128)
        cubes = [rng.binomial(4, learner(rng, 3, difficulty, pace)) / 4 for pace in (0.7, 1.0)]
        for cube in cubes[1:]:
            cube[..., 0] = cubes[0][..., 0] = cube[:1, :, 0]  # all start from one base
        for statistic, value in truth.items():
            found = curve_interval(statistic, cubes, Estimator(300, base))
            covered[statistic] += found["low"] <= value <= found["high"]
    assert all(0.93 <= count / 300 <= 0.99 for count in covered.values()), covered


def test_a_learner_that_never_gets_there_has_no_finite_steps():
    cubes = [np.full((2, 5, len(STEPS)), 0.1), np.linspace(0, 1, len(STEPS)) * np.ones((2, 5, 1))]
    estimator = Estimator(50, np.random.default_rng(0))
    found = curve_interval(updates, cubes, estimator)
    assert (found["estimate"], found["low"], found["high"]) == (np.inf, np.inf, np.inf)
    found = curve_interval(sooner, cubes, estimator)
    assert (found["estimate"], found["low"], found["high"]) == (0, 0, 0)


def test_a_gain_that_hangs_on_one_problem_tells_nothing_of_speed():
    """Without that problem, as in a third of the resamples, the reference has no half of a gain to be reached."""
    its, mine = np.zeros((1, 32, len(STEPS))), np.zeros((1, 32, len(STEPS)))
    its[0, 0, 1:3] = 0.5
    found = curve_interval(sooner, [mine, its], Estimator(500, np.random.default_rng(0)))
    assert (found["estimate"], found["low"], found["high"]) == (0, 0, np.inf)


def dev(curves, problems=40):
    """Two runs a method, which solve these shares of the problems at each step."""

    def run(curve):
        rows = [
            {"step": step, "problem": f"p{p}", "n": 1, "correct": int(p < share * problems)}
            for step, share in zip((0, 10, 20), curve, strict=True)
            for p in range(problems)
        ]
        return pd.DataFrame(rows)

    return {method: {seed: run(curve) for seed in (0, 1)} for method, curve in curves.items()}


def fast(curves, resamples=200):
    found = pd.DataFrame(speeds(dev(curves), [0, 10, 20], Estimator(resamples, np.random.default_rng(0))))
    return found.set_index("method") if len(found) else found


@pytest.mark.parametrize("grpo", [(0.3, 0.3, 0.3), (0.3, 0.2, 0.1), (0.0, 0.0, 0.0), (0.3, 0.2, 0.3)])
@pytest.mark.parametrize("dsrl", [(0.3, 0.3, 0.6), (0.3, 0.3, 0.3), (0.3, 0.0, 0.0)])
def test_without_a_gain_of_grpo_half_of_it_is_none(grpo, dsrl):
    assert len(fast({"grpo": grpo, "dsrl": dsrl})) == 0


def test_a_gain_on_one_problem_is_no_sure_gain():
    """A third of the resamples lacks it, as that of the only right response of a base that solves nothing."""
    assert len(fast({"grpo": (0, 1 / 40, 0), "dsrl": (0, 0, 0)})) == 0


def test_a_sure_gain_of_grpo_has_a_half():
    found = fast({"grpo": (0.1, 0.3, 0.5), "dsrl": (0.1, 0.5, 0.5), "nsr-prerl": (0.1, 0.1, 0.0)})
    assert found.estimate.round(6).to_dict() == {"grpo": 10, "dsrl": 5, "nsr-prerl": np.inf}
    assert found.threshold.tolist() == pytest.approx([0.3] * 3) and found.speedup_estimate["nsr-prerl"] == 0
    assert found.notna().all(axis=None) and (found.low > 0).all()


def test_each_part_of_the_gain_is_a_target():
    """Linear from 0.1 to 0.5 in 20 updates; DSRL is twice as fast to 75 %, where it stops."""
    runs = dev({"grpo": (0.1, 0.3, 0.5), "dsrl": (0.1, 0.4, 0.4)})
    rows = pd.DataFrame(speeds(runs, [0, 10, 20], Estimator(200, np.random.default_rng(0)), [*TARGETS]))
    found = rows.set_index(["method", "target"])
    assert found.estimate["grpo"].round(6).to_dict() == {"25 %": 5, "50 %": 10, "75 %": 15, "90 %": 18}
    assert found.estimate["dsrl"].round(2).to_dict() == {"25 %": 3.33, "50 %": 6.67, "75 %": 10, "90 %": np.inf}
    assert found.speedup_estimate["dsrl"].round(6).to_dict() == {"25 %": 1.5, "50 %": 1.5, "75 %": 1.5, "90 %": 0}
    assert found.threshold["dsrl", "90 %"] == pytest.approx(0.46)


def test_at_equal_tokens_the_dearer_method_is_met_on_its_way():
    """DAPO takes 3 times the tokens here, in its second half; GRPO ends at 200, where DAPO is a quarter of that half on
    its way from 0.5 to 0.9."""
    runs = dev({"grpo": (0.1, 0.3, 0.5), "dapo": (0.1, 0.5, 0.9)})
    spent = {"grpo": np.array([0.0, 100.0, 200.0]), "dapo": np.array([0.0, 100.0, 500.0])}
    spent = {name: {seed: values for seed in (0, 1)} for name, values in spent.items()}
    [row] = at_equal_tokens(runs, spent, [0, 10, 20], Estimator(200, np.random.default_rng(0)))
    assert (row["method"], row["reference"], row["tokens"]) == ("dapo", "grpo", 200)
    assert row["estimate"] == pytest.approx(0.6 - 0.5) and row["low"] < row["estimate"] < row["high"]
    cheap = spent | {"dapo": {seed: np.array([0.0, 30.0, 50.0]) for seed in (0, 1)}}
    [row] = at_equal_tokens(runs, cheap, [0, 10, 20], Estimator(200, np.random.default_rng(0)))
    assert row["tokens"] == 50 and row["estimate"] == pytest.approx(0.9 - 0.2)
    assert not [*at_equal_tokens({"dapo": runs["dapo"]}, spent, [0, 10, 20], Estimator(40, np.random.default_rng(0)))]


def test_tokens_of_a_run_that_stopped_stay():
    log = pd.DataFrame({"step": [1, 2, 3], "tokens": [10, 20, 30]})
    assert tokens_spent(log, [0, 2, 4]).tolist() == [0, 30, 60]


def test_what_rounding_makes_of_a_level_curve_is_no_gain():
    assert gain(np.array([[0.1 + 0.2, 0.3], [0.3, 0.1 + 0.2], [0.3, 0.4]])).tolist() == pytest.approx([0, 0, 0.1])
    assert gain(np.array([0.3, 0.1 + 0.2])) == 0


def test_a_study_without_a_gain_prints_no_speeds(study, methods, tmp_path):
    shutil.copytree(study / "summary", tmp_path / "summary")
    pd.DataFrame([]).to_parquet(tmp_path / "summary/speeds.parquet")
    write_tables(["speed"], tmp_path / "summary", methods, CAPTIONS / "tables", tmp_path)
    printed = json.loads((tmp_path / "speed.json").read_text())
    assert printed["rows"] == [] and printed["columns"][0] == "Method" and "no row" in printed["caption"]
    text = (tmp_path / "speed.md").read_text() + (tmp_path / "speed.tex").read_text()
    assert "never [" not in text and "nan" not in text and "Times sooner than GRPO" in text
    draw_figures(["sample_efficiency"], tmp_path / "summary", methods, CAPTIONS / "figures", tmp_path)
    assert (tmp_path / "sample_efficiency.png").stat().st_size > 4_000
