"""`prerl submit`: a comparison is packed as an entry."""

import shutil

import pandas as pd
import pytest

from prerl.analysis import entries as records
from prerl.analysis.counts import read_counts
from prerl.analysis.scores import ALL
from prerl.compare.baselines import Baselines
from prerl.compare.differences import versus
from prerl.compare.entries import open_entry, recompute
from prerl.compare.ledger import checksum, enter
from prerl.compare.levels import level_of
from prerl.compare.tuned import CHOICES, as_tuned
from prerl.errors import UserError
from prerl.files.checksums import checksums
from prerl.settings.methods import load_methods, new_method
from prerl.settings.tuning import Tuned
from tests.entries import GRPO, change, say


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


def test_what_was_tuned_is_packed_as_it_was_tuned(pack, compared, fixed, smoke, tmp_path):
    results, file = shutil.copytree(compared[0], tmp_path / "compare"), tmp_path / "perfect.yaml"
    file.write_text(GRPO.format(label="Perfect", advantage="std") + "tune: true\n")
    (results / "perfect" / CHOICES).parent.mkdir(parents=True)
    (results / "perfect" / CHOICES).write_text("tuned: {perfect: {learning_rate_factor: 0.333}}\n")
    method = as_tuned(smoke, "perfect", load_methods(file)["perfect"], {"perfect": Tuned(learning_rate_factor=0.333)})
    say(results, "perfect", method)
    assert pack(results, file).tuned == Tuned(learning_rate_factor=0.333)
    opened = open_entry(tmp_path / "entries/perfect", smoke, Baselines(fixed))
    assert [phase.learning_rate_factor for phase in opened.method.phases] == [0.333]
