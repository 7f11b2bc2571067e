"""What tuning chooses, from runs whose accuracies are given."""

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from prerl.analysis.sensitivity import choose, ends, read_tuning, summarize_tuning
from prerl.cli import app
from prerl.errors import UserError
from prerl.settings.scale import Tuned, load_scale
from prerl.settings.tuning import chosen
from tests.helpers import METHODS_FILE, SMOKE_FILE, changed
from tests.tuning import write_tuning

NAMES = ("grpo", "nsr-prerl", "dsrl")


@pytest.fixture(scope="module")
def long():
    """The smoke scale with 60 updates, whose last sixth has two dev evaluations, 55 and 60."""
    scale = load_scale(SMOKE_FILE)
    return changed(scale, rl=changed(scale.rl, steps=60))


@pytest.fixture
def tuned(long, as_written, tmp_path):
    """(choices, ends of the candidates) for dev accuracies by method, candidate and seed."""

    def found(curve):
        few = {name: as_written[name] for name in NAMES}
        write_tuning(tmp_path, long.tuning, few, curve)
        curves = read_tuning(long, long.tuning, few, tmp_path)
        return choose(curves), ends(curves)

    return found


def flat(value, end=None):
    """13 evaluations: `value` in all but the last two, which are `end`."""
    return [value] * 11 + (end or [value] * 2)


def test_the_end_alone_counts_and_is_the_mean_of_its_evaluations_and_seeds(tuned):
    """A higher peak before, a higher last evaluation, and a higher single seed lose."""
    by = {
        0.333: {100: flat(0.9, [0.5, 0.5]), 101: flat(0.9, [0.5, 0.5])},
        1.0: {100: flat(0.2, [0.2, 0.8]), 101: flat(0.2, [0.4, 0.55])},
        3.0: {100: flat(0.2, [0.55, 0.55]), 101: flat(0.2, [0.5, 0.5])},
    }
    choices, rows = tuned(lambda name, one, seed: by[one.learning_rate_factor][seed] if name == "grpo" else flat(0.2))
    assert choices["grpo"] == Tuned(learning_rate_factor=3.0)
    grpo = rows[rows.method == "grpo"].set_index("learning_rate_factor")
    assert grpo.accuracy.to_dict() == pytest.approx({0.333: 0.5, 1.0: (0.5 + 0.475) / 2, 3.0: 0.525})
    assert grpo.lowest[3.0] == pytest.approx(0.5) and grpo.highest[3.0] == pytest.approx(0.55)
    assert grpo.chosen.to_dict() == {0.333: False, 1.0: False, 3.0: True} and (grpo.seeds == 2).all()


def test_of_equals_the_nearest_to_the_method_as_it_is_wins(tuned):
    """However the seeds' sums are rounded: 0.1 and 0.5, and 0.3 and 0.3, have one mean."""
    at = {0.333: (0.1, 0.5), 1.0: (0.3, 0.3), 3.0: (0.5, 0.1)}
    choices, _ = tuned(lambda name, one, seed: flat(at.get(one.learning_rate_factor, (0.3, 0.3))[seed - 100]))
    assert choices == dict.fromkeys(NAMES, Tuned())


def test_a_tenth_and_a_warm_up_of_twice_the_length_are_chosen_where_they_are_best(tuned):
    best = {"grpo": (3.0, 1.0), "nsr-prerl": (0.1, 1.0), "dsrl": (0.333, 2.0)}
    choices, rows = tuned(
        lambda name, one, seed: flat(0.4 if (one.learning_rate_factor, one.warm_ups) == best[name] else 0.3)
    )
    assert {name: (one.learning_rate_factor, one.warm_ups) for name, one in choices.items()} == best
    assert rows.groupby("method").size().to_dict() == {"grpo": 3, "nsr-prerl": 4, "dsrl": 9}


def test_a_run_that_stopped_early_keeps_its_last_values(tuned):
    """It counts as bad as it ended, though it has no evaluation in the last sixth, and had a better one before."""
    stopped = [0.3, 0.9, 0.0]
    choices, rows = tuned(lambda name, one, seed: stopped if one.learning_rate_factor == 3.0 else flat(0.2))
    assert choices["grpo"] == Tuned() and rows[rows.learning_rate_factor == 3.0].accuracy.tolist() == [0.0] * 5


def test_candidates_with_other_seeds_are_not_compared(long, as_written, tmp_path):
    few = {"grpo": as_written["grpo"]}
    write_tuning(tmp_path, long.tuning, few, lambda *_: flat(0.3))
    curves = read_tuning(long, long.tuning, few, tmp_path)
    with pytest.raises(UserError, match="sensitivity: grpo: its candidates were not all tried from the same seeds"):
        ends(curves[(curves.learning_rate_factor != 3.0) | (curves.seed != 101)])


def test_a_run_that_is_not_there_is_a_users_error(long, as_written, tmp_path):
    with pytest.raises(UserError, match=r"grpo/0\.333/seed100/dev\.parquet: not found"):
        summarize_tuning(long, long.tuning, {"grpo": as_written["grpo"]}, tmp_path, tmp_path / "summary")


@pytest.fixture(scope="module")
def made(as_written, tmp_path_factory):
    """What the command writes for the smoke scale: (its directory, what is to be committed)."""
    scale, root = load_scale(SMOKE_FILE), tmp_path_factory.mktemp("smoke")
    runs, kept = root / "smoke/sensitivity", root / "kept"
    best = {"grpo": (1.0, 1.0), "nsr-prerl": (0.1, 1.0), "dsrl": (3.0, 0.5)}

    def curve(name, one, seed):
        good = (one.learning_rate_factor, one.warm_ups) == best[name]
        return [0.2, 0.2, 0.2, 0.2, (0.6 if good else 0.3) + 0.1 * (seed - 100)]

    write_tuning(runs, scale.tuning, {name: as_written[name] for name in NAMES}, curve)
    places = ["--scale", SMOKE_FILE, "--methods", METHODS_FILE, "--results", runs, "--out", runs, "--keep", kept]
    result = CliRunner().invoke(app, ["sensitivity", *NAMES, *map(str, places)])
    assert result.exit_code == 0, result.output
    return runs, kept


def test_choices_are_a_scales_section(made):
    _, kept = made
    text = yaml.safe_load((kept / "choices.yaml").read_text())
    dsrl = {"learning_rate_factor": 3.0, "warm_ups": 0.5}
    assert text == {"tuned": {**{"grpo": {"learning_rate_factor": 1.0}, "nsr-prerl": {"learning_rate_factor": 0.1}}}
                    | {"dsrl": dsrl}}  # fmt: skip
    assert chosen(kept / "choices.yaml", "dsrl") == Tuned.model_validate(dsrl)
    with pytest.raises(UserError, match=r"choices\.yaml: tuned: nothing of 'rloo'; there are grpo, nsr-prerl, dsrl"):
        chosen(kept / "choices.yaml", "rloo")


def test_the_table_marks_what_was_chosen(made):
    runs, kept = made
    lines = (kept / "sensitivity.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert cells[0] == ["Method", "Warm-up", *(f"Learning rate × {factor}" for factor in ("0.1", "0.333", "1", "3"))]
    marked = {(row[0], row[1]): row.index(cell) for row in cells[2:] for cell in row if cell.endswith(" ◀")}
    assert marked == {("GRPO", "–"): 4, ("NSR-PreRL", "–"): 2, ("DSRL", "× 0.5"): 5}
    assert cells[2][2:] == ["–", "0.350 (0.300 to 0.400)", "0.650 (0.600 to 0.700) ◀", "0.350 (0.300 to 0.400)"]
    numbers = pd.read_csv(runs / "tables/sensitivity.csv")
    assert len(numbers) == 16 and numbers.chosen.sum() == 3


def test_what_is_committed_is_there_to_be_read_and_to_be_shown(made):
    runs, kept = made
    assert {path.name for path in kept.iterdir()} == {
        *("sensitivity.parquet", "choices.yaml", "sensitivity.md", "sensitivity.png")
    }
    curves = pd.read_parquet(kept / "sensitivity.parquet")
    assert len(curves) == 16 * 2 * 5 and set(curves.step) == {0, 5, 10, 15, 20} and (curves.tokens == 30).all()
    for kind in ("svg", "pdf", "png"):
        assert (runs / f"figures/sensitivity.{kind}").stat().st_size > 4_000


def test_a_scale_without_tuning_is_refused(tmp_path):
    text = SMOKE_FILE.read_text()
    path = tmp_path / "plain.yaml"
    path.write_text(text[: text.index("tuning:")])
    places = ["--scale", path, "--methods", METHODS_FILE, "--results", tmp_path, "--out", tmp_path]
    result = CliRunner().invoke(app, ["sensitivity", "grpo", *map(str, places)])
    assert isinstance(result.exception, UserError)
    assert str(result.exception) == f"{path}: no section `tuning`, which says what is tried"
