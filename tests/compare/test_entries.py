"""Entries: comparisons that are packed, checked, trained again, and shown."""

import json
import shutil

import pandas as pd
import pytest
from typer.testing import CliRunner

from prerl.analysis import entries as records
from prerl.analysis.counts import read_counts
from prerl.analysis.entries import check_files, read_entry
from prerl.analysis.scores import ALL
from prerl.cli import app
from prerl.compare.baselines import RECORD, Baselines
from prerl.compare.differences import versus
from prerl.compare.entries import open_entry, recompute, reproduce_entry, submit
from prerl.compare.ledger import checksum, enter
from prerl.compare.levels import level_of
from prerl.errors import UserError
from prerl.files.atomic import read_json, write_json
from prerl.files.checksums import checksums, sha256
from prerl.report.entries import board
from prerl.settings.methods import new_method
from prerl.settings.scale import load_scale
from tests.helpers import ROOT, SMOKE_FILE

GRPO = "label: {label}\nphases:\n  - {{space: post-train, samples: all, advantage: {advantage}}}\n"
CODE = """from pathlib import Path

from prerl.advantages import std_advantages

Path({marker!r}).touch()


def advantage(rewards, group):
    return std_advantages(rewards, group)
"""


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def say(results, file, scale, baselines):
    """Lets the records of runs say that they are of the method in a file, and that they were compared."""
    name, method = new_method(file, scale, baselines.methods())
    for path in (results / name).glob("seed*/run.json"):
        config = {"phases": [phase.model_dump() for phase in method.phases], "functions": method.sources()}
        path.write_text(json.dumps(read_json(path) | {"config": config}))
    write_json(results / name / "summary/scale.json", {"look": None})
    return method


@pytest.fixture(scope="module")
def compared(runs, fixed, smoke, tmp_path_factory):
    """(results, file) of a method that is always right, as if it had just been compared."""
    results = shutil.copytree(runs, tmp_path_factory.mktemp("entries") / "compare")
    file = results.parent / "perfect.yaml"
    file.write_text(GRPO.format(label="Perfect", advantage="std"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        say(results, file, smoke, Baselines(fixed))
    return results, file


@pytest.fixture
def pack(compared, fixed, smoke, lexicon, tmp_path):
    """Packs that comparison; others' files and results on demand."""

    def run(results=None, file=None, **options):
        results, file = results or compared[0], file or compared[1]
        return submit(smoke, Baselines(fixed), file, lexicon, results, tmp_path / "entries", **options)

    return run


@pytest.fixture
def packed(pack, tmp_path):
    pack(author="A. Author")
    return tmp_path / "entries/perfect"


def change(directory, **values):
    """Changes keys of an entry's record."""
    write_json(directory / "entry.json", read_json(directory / "entry.json") | values)


def relist(directory):
    files = [path for path in directory.iterdir() if path.name != "entry.json"]
    change(directory, files=checksums(sorted(files), directory))


def test_an_entry_holds_what_the_comparison_rests_on(packed, compared, fixed, smoke, lexicon):
    names = ["dev.parquet", "entry.json", "method.yaml", "tests.parquet", "updates.parquet"]
    assert sorted(path.name for path in packed.iterdir()) == names
    baselines = Baselines(fixed)
    opened = open_entry(packed, smoke, baselines)
    assert (opened.entry.label, opened.entry.author, opened.entry.variants) == ("Perfect", "A. Author", 1)
    assert checksum(opened.method) == checksum(new_method(compared[1], smoke, baselines.methods())[1])
    counts = {seed: read_counts(compared[0] / f"perfect/seed{seed}/samples.parquet", lexicon) for seed in (0, 1)}
    for seed, run in counts.items():
        columns = ["benchmark", "problem", "n", "correct", "tokens"]
        pd.testing.assert_frame_equal(opened.tests[seed][columns], run[columns], check_dtype=False)
    tests, benchmarks = baselines.tests() | {"perfect": counts}, list(smoke.evaluation.benchmarks)
    rows = versus(tests, "perfect", [*baselines.methods()], benchmarks)
    row = next(row for row in rows if row["baseline"] == "grpo" and row["benchmark"] == ALL)
    found = opened.entry.comparison
    assert (found.accuracy, found.estimate) == pytest.approx((1, row["estimate"])) and found.verdict == "better"
    assert (found.low, found.high) == pytest.approx((row["low"], row["high"]))
    same, text = recompute(opened, smoke, baselines)
    assert same and "this follows from the entry's counts" in text


def test_packing_again_changes_nothing_and_another_entry_of_the_name_is_kept(packed, pack):
    change(packed, date="2020-02-02")
    before = checksums([packed], packed)
    pack(author="A. Author")
    assert checksums([packed], packed) == before
    for spoil in (lambda: change(packed, author="B. Author"), lambda: (packed / "entry.json").unlink()):
        spoil()
        before = checksums([packed], packed)
        with pytest.raises(UserError, match=r"entries/perfect: there is another entry of that name"):
            pack(author="A. Author")
        assert checksums([packed], packed) == before
    assert [path.name for path in packed.parent.iterdir()] == ["perfect"]


def test_who_tried_more_gets_a_wider_interval(pack, compared, methods, tmp_path):
    results = shutil.copytree(compared[0], tmp_path / "compare")
    one = pack().comparison
    shutil.rmtree(tmp_path / "entries")
    for place, name in enumerate(("rloo", "dsrl", "prerl")):
        enter(results / "ledger.jsonl", f"try-{place}", methods[name], [0, 1])
    several = pack(results, stated=2)  # three others, and this one
    assert several.variants == 4 and several.comparison.level == pytest.approx(level_of(None, 4))
    assert several.comparison.sure_low < one.sure_low == pytest.approx(one.low) == several.comparison.low
    shutil.rmtree(tmp_path / "entries")
    assert pack(results, stated=9).variants == 9


def test_what_is_not_a_whole_comparison_of_the_method_is_not_packed(pack, compared, tmp_path, monkeypatch):
    def refused(message, results=None, file=None, **options):
        with pytest.raises(UserError, match=message) as error:
            pack(results, file, **options)
        assert "\n" not in str(error.value) and not list(tmp_path.glob("entries/*"))

    results = shutil.copytree(compared[0], tmp_path / "compare")
    for name, message in {
        "perfect/summary/scale.json": r"summary/scale\.json: not there: compare first",
        "perfect/seed1/run.json": r"seed1/run\.json: missing",
        "base/seed0/model/model.safetensors": r"model\.safetensors: not what .* was made from",
    }.items():
        kept = (results / name).read_bytes()
        (results / name).unlink() if "base" not in name else (results / name).write_text("others")
        refused(message, results)
        (results / name).write_bytes(kept)
    other = tmp_path / "perfect.yaml"
    other.write_text(GRPO.format(label="Perfect", advantage="mean"))
    refused(r"seed0: a run of the method as it was before .*perfect\.yaml was changed", file=other)
    (tmp_path / "grpo.yaml").write_text(GRPO.format(label="Mine", advantage="std"))
    refused("there is a method 'grpo' already", file=tmp_path / "grpo.yaml")
    refused(r"entry\.json: author: String should have at most 200", author="A" * 201)
    monkeypatch.setattr(records, "LIMIT", 1000)
    refused("0.0 MB: an entry has at most")


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
    method = say(results, file, smoke, Baselines(fixed))
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
        if sha256(record) == entry.baselines:
            scale, baselines = load_scale(ROOT / f"workflow/scales/{entry.scale}.yaml"), Baselines(record.parent)
            same, text = recompute(open_entry(path, scale, baselines), scale, baselines)
            assert same, text


@pytest.mark.slow
def test_a_run_of_an_entry_is_made_again(real, lexicon, tmp_path):
    """By the same phases as GRPO, and again by a function of its author's own that is GRPO's too."""
    from prerl.engines.local import train
    from prerl.evaluation.evaluate import evaluate

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
