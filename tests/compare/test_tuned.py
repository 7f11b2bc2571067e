"""Who was tuned in a comparison, and whether alike."""

import json
import shutil

import pandas as pd
import pytest
import yaml

from prerl.compare.baselines import RECORD, Baselines
from prerl.compare.tuned import CHOICES, as_tuned, check_tuning, tuned_alike, tuned_values
from prerl.compare.versus import compare
from prerl.compare.written import write_baselines
from prerl.errors import UserError
from prerl.report.tables.write import write_tables
from prerl.settings.scale import Tuned
from tests.helpers import CAPTIONS, changed
from tests.study import ACCURACIES

LABELS = {"new": "New", "grpo": "GRPO", "dsrl": "DSRL"}


@pytest.mark.parametrize(
    ("tuned", "text"),
    [
        (("new", "grpo", "dsrl"), "New and all baselines were tuned alike, on a base model and seeds that are not"),
        (("new", "grpo"), "New was tuned, but these were not: DSRL: against them some of it is tuning."),
        (("grpo",), "New was not tuned, 1 of 2 baselines were: it might do better at another learning rate; `tune: "),
        ((), "Neither New nor the baselines were tuned."),
    ],
)
def test_tuned_and_untuned_are_told_apart(tuned, text):
    assert tuned_alike("new", dict.fromkeys(tuned, Tuned()), LABELS).startswith(text)


@pytest.fixture(scope="module")
def made(printed, methods, lexicon, smoke, tmp_path_factory):
    """Results of the made-up study with the base model of its tuning, baselines of which two methods were tuned, and
    what the tuning left beside them."""
    results = shutil.copytree(printed, tmp_path_factory.mktemp("tuned") / "made-up")
    shutil.copytree(results / "base/seed0", results / "base/seed100")
    out = results.parent / "baselines"
    (out / "sensitivity").mkdir(parents=True)
    (out / "sensitivity/choices.yaml").write_text("tuned: {}\n")
    scale = changed(smoke, tuned={"grpo": {}, "dsrl": {"learning_rate_factor": 3.0, "warm_ups": 0.5}})
    write_baselines(scale, {name: methods[name] for name in ACCURACIES}, lexicon, results, out)
    return results, out


def test_baselines_keep_the_base_of_the_tuning_and_its_outcome(made, smoke):
    _, out = made
    assert (out / "bases/seed100/model/model.safetensors").is_file()
    assert (out / "sensitivity/choices.yaml").read_text() == "tuned: {}\n"
    record = json.loads((out / RECORD).read_text())
    assert record["tuning"] == smoke.tuning.model_dump() and set(record["base"]["sha256"]) == {"0", "1", "100"}
    assert not any(name.startswith("sensitivity") for name in record["files"])
    (out / "sensitivity/choices.yaml").write_text("tuned: {}\n\n")  # it may be made anew without them
    check_tuning(Baselines(out), smoke)
    (out / "sensitivity/choices.yaml").write_text("tuned: {}\n")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda record, out: record.pop("tuning"), "the scale of the baselines has no section `tuning`"),
        (lambda record, out: record["tuning"].update(warm_ups=[1.0]), r"tuned otherwise \(tuning.warm_ups: \[1.0\] th"),
        (lambda record, out: shutil.rmtree(out / "bases/seed100"), "bases/seed100/run.json: not there"),
    ],
)
def test_what_was_tuned_otherwise_is_refused(made, smoke, tmp_path, change, message):
    out = shutil.copytree(made[1], tmp_path / "baselines")
    record = json.loads((out / RECORD).read_text())
    baselines = Baselines(out)
    change(record, out)
    baselines.record = record
    with pytest.raises(UserError, match=message) as error:
        check_tuning(baselines, smoke)
    assert "\n" not in str(error.value)


def test_a_comparison_says_who_was_tuned_to_what(made, methods, lexicon, smoke, tmp_path):
    results, out = made
    runs = tmp_path / "compare"
    for name in ("problems", "base"):
        shutil.copytree(results / name, runs / name)
    shutil.copytree(results / "grpo", runs / "new")
    (runs / "new" / CHOICES).parent.mkdir(parents=True)
    choices = {"tuned": {"new": {"learning_rate_factor": 0.333}}}
    (runs / "new" / CHOICES).write_text(yaml.safe_dump(choices))
    baselines, named = Baselines(out), changed(methods["grpo"], label="New", tune=True)
    new = as_tuned(smoke, "new", named, tuned_values(baselines, "new", named, runs / "new"))
    assert [phase.learning_rate_factor for phase in new.phases] == [0.333]
    text = compare(smoke, baselines, "new", new, lexicon, runs, runs / "new/summary")
    assert text.endswith("New was tuned, but these were not: NSR-PreRL: against them some of it is tuning.")
    all_of_them = baselines.methods() | {"new": new}
    write_tables(["leaderboard"], runs / "new/summary", all_of_them, CAPTIONS / "tables", tmp_path)
    rows = json.loads((tmp_path / "leaderboard.json").read_text())
    table = pd.DataFrame(rows["rows"], columns=rows["columns"])
    assert dict(zip(table.Method, table.Tuned, strict=True)) == {
        "Base": "–",
        "GRPO": "learning rate × 1",
        "NSR-PreRL": "untuned",
        "DSRL": "learning rate × 3, warm-up × 0.5",
        "New ◀": "learning rate × 0.333",
    }
