"""Entries are checked, trained again, and shown."""

import shutil

import pandas as pd
import pytest
from typer.testing import CliRunner

from prerl.analysis.entries import check_files, data_of, read_entry
from prerl.cli import app
from prerl.compare.baselines import RECORD, Baselines
from prerl.compare.entries import open_entry, recompute, reproduce_entry, submit
from prerl.compare.ledger import checksum
from prerl.errors import UserError
from prerl.files.atomic import read_json, write_json
from prerl.report.entries import board
from prerl.settings.methods import new_method
from prerl.settings.scale import load_scale
from tests.entries import GRPO, change, relist, say
from tests.helpers import ROOT, SMOKE_FILE

CODE = """from pathlib import Path

from prerl.advantages import std_advantages

Path({marker!r}).touch()


def advantage(rewards, group):
    return std_advantages(rewards, group)
"""


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: (path / "tests.parquet").write_bytes(b"PAR1"), r"tests\.parquet: missing or changed"),
        (lambda path: (path / "method.yaml").unlink(), r"method\.yaml: missing or changed"),
        (lambda path: (path / "__pycache__").mkdir(), r"__pycache__: not listed in entry\.json"),
        (lambda path: change(path, seeds=[0]), r"entry\.json: seeds: not those that a comparison takes"),
        (lambda path: change(path, method="0" * 64), r"method\.yaml: not the method in entry\.json"),
        (lambda path: change(path, name="other"), r"entry\.json: name: other: the directory has another name"),
        (lambda path: change(path, stars=5), r"entry\.json: stars: unknown key"),
        (lambda path: change(path, files={"../x": "0" * 64}), r"entry\.json: files\.\.\./x"),
        (lambda path: change(path, baselines="0" * 64), "compared with other baselines"),
        (lambda path: (path / "a.txt").touch() or relist(path), r"entry\.json: files: a\.txt: no file of an entry"),
        (
            lambda path: (path / "setup.py").touch() or relist(path),
            r"setup\.py: no function of the method stands there",
        ),
        (lambda path: (path / "entry.json").unlink(), "no entry: it has no entry.json"),
    ],
)
def test_a_changed_entry_is_named_in_a_line(packed, fixed, spoil, message):
    spoil(packed)
    options = ["--scale", str(SMOKE_FILE), "--baselines", str(fixed)]
    result = CliRunner().invoke(app, ["verify-entry", str(packed), *options])
    with pytest.raises(UserError, match=message) as error:
        raise result.exception
    assert "\n" not in str(error.value)


def test_numbers_that_do_not_follow_from_the_counts_are_named(packed, fixed, smoke):
    better = read_json(packed / "entry.json")["comparison"] | {"sure_low": 0.9}
    change(packed, comparison=better)
    options = ["--scale", str(SMOKE_FILE), "--baselines", str(fixed)]
    result = CliRunner().invoke(app, ["verify-entry", str(packed), *options])
    assert result.exit_code == 1 and "does NOT follow from the counts: sure_low is 0.9 there" in result.output
    change(packed, comparison=better | {"verdict": "worse"}, variants=2)
    text = recompute(open_entry(packed, smoke, Baselines(fixed)), smoke, Baselines(fixed))[1]
    assert all(f"{key} is " in text for key in ("level", "sure_low", "sure_high", "verdict")) and "low is" in text


@pytest.fixture
def with_code(pack, compared, fixed, smoke, tmp_path):
    """(an entry with a function, what the import of its file leaves)"""
    marker, file = tmp_path / "imported", tmp_path / "elsewhere/perfect.yaml"
    file.parent.mkdir()
    file.write_text(GRPO.format(label="Perfect", advantage='"own.py:advantage"'))
    (file.parent / "own.py").write_text(CODE.format(marker=str(marker)))
    results = shutil.copytree(compared[0], tmp_path / "compare")
    _, method = new_method(file, smoke, Baselines(fixed).methods())
    say(results, "perfect", method)
    entry = pack(results, file)
    assert entry.method == checksum(method) and entry.code == ["own.py"]
    marker.unlink()  # it is one's own code that `submit` imports
    return tmp_path / "entries/perfect", marker


def test_code_of_an_entry_runs_only_where_it_is_told_to(with_code, fixed, smoke):
    path, marker = with_code
    options = ["--scale", str(SMOKE_FILE), "--baselines", str(fixed)]
    result = CliRunner().invoke(app, ["verify-entry", str(path), *options])
    assert "this follows from the entry's counts" in result.output
    with pytest.raises(UserError, match=r"perfect/own\.py: its author's code, .*: read it, then add --run-its-code$"):
        raise result.exception
    assert board(path.parent, "made-up", fixed / RECORD)["rows"]
    assert not marker.exists() and not (path / "__pycache__").exists()


@pytest.mark.parametrize("place", ["evil.inside:advantage", "../elsewhere/own.py:advantage", "gone.py:advantage"])
def test_functions_that_stand_elsewhere_are_not_even_looked_for(with_code, fixed, smoke, tmp_path, monkeypatch, place):
    """To find `evil.inside`, Python imports `evil`."""
    path, marker = with_code
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil/__init__.py").write_text(f"open({str(marker)!r}, 'w')")
    (tmp_path / "evil/inside.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    text = (path / "method.yaml").read_text()
    (path / "method.yaml").write_text(text.replace("own.py:advantage", place))
    relist(path)
    with pytest.raises(UserError, match="an entry's functions stand in files beside it"):
        open_entry(path, smoke, Baselines(fixed))
    assert not marker.exists()


def test_the_leaderboard_lists_entries_and_names_those_of_other_baselines(packed, fixed, tmp_path):
    entries = packed.parent
    for name, values in {
        "stale": {"baselines": "0" * 64},
        "worse": {"label": "<b>Worse</b>"},
        "far": {"scale": "x"},
    }.items():
        shutil.copytree(packed, entries / name)
        change(entries / name, name=name, **values)
    low = read_json(packed / "entry.json")["comparison"] | {"estimate": 0.0}
    change(entries / "worse", comparison=low, variants=7)
    shown = board(entries, "made-up", fixed / RECORD)
    table = pd.DataFrame(shown["rows"], columns=shown["columns"])
    assert table.Method.tolist() == ["Perfect", "<b>Worse</b>"] and shown["others"] == ["stale"]
    assert table["Variants tried"].tolist() == ["1", "7"] and table.Author.tolist() == ["A. Author"] * 2
    found = read_entry(packed).comparison
    sure = f"{100 * found.estimate:+.1f} [{100 * found.sure_low:+.1f}, {100 * found.sure_high:+.1f}]"
    assert table["Against GRPO (points)"][0] == sure and table.Date[0] == read_entry(packed).date.isoformat()
    assert board(entries, "made-up", tmp_path / "none")["others"] == ["perfect", "stale", "worse"]
    assert board(entries, "empty", fixed / RECORD) is None


def test_entries_of_this_checkout_are_whole_and_fit_its_baselines():
    """None may be there. Those that were compared with baselines of another version are not recomputed."""
    for path in sorted((ROOT / "results/entries").glob("*")):
        entry = read_entry(path)
        check_files(path, entry)
        record = ROOT / "results/baselines" / entry.scale / RECORD
        if data_of(record) == entry.baselines:
            scale, baselines = load_scale(ROOT / f"workflow/scales/{entry.scale}.yaml"), Baselines(record.parent)
            same, text = recompute(open_entry(path, scale, baselines), scale, baselines)
            assert same, text


@pytest.mark.slow
def test_a_run_of_an_entry_is_made_again(real, lexicon, tmp_path, monkeypatch):
    """By the same phases as GRPO, and again by a function of its author's own that is GRPO's too."""
    from prerl.engines.local import train
    from prerl.evaluation.evaluate import evaluate

    monkeypatch.chdir(ROOT)
    scale, fixed = real[0], Baselines(real[1])
    results, file = tmp_path / "compare", tmp_path / "mine.yaml"
    file.write_text(GRPO.format(label="Mine", advantage='"own.py:advantage"'))
    (tmp_path / "own.py").write_text(CODE.format(marker=str(tmp_path / "imported")))
    for name in ("problems", "base"):
        shutil.copytree(real[1].parent / name, results / name)
    run, base = results / "mine/seed0", results / "base/seed0/model"
    train(scale, "mine", new_method(file, scale, {})[1], 0, base, results / "problems", run)
    evaluate(scale, run / "model", results / "problems", ROOT / "workflow/tasks", run)
    write_json(results / "mine/summary/scale.json", {"look": None})
    submit(scale, fixed, file, lexicon, results, tmp_path / "entries")
    opened = open_entry(tmp_path / "entries/mine", scale, fixed)
    with pytest.raises(UserError, match="no run with seed 7; there are 0"):
        reproduce_entry(opened, scale, fixed, 7, ROOT / "workflow/tasks", True)
    same, text = reproduce_entry(opened, scale, fixed, None, ROOT / "workflow/tasks", True)
    assert same and text.endswith("this machine reproduces the entry exactly.")
    assert not (tmp_path / "entries/mine/__pycache__").exists()
