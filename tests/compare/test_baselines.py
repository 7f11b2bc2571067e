"""Fixed baselines: what they hold, what may be compared with them, and what is warned of."""

import json
import shutil

import pandas as pd
import pytest

from prerl.analysis.counts import read_counts
from prerl.compare.baselines import RECORD, Baselines
from prerl.compare.written import SHOWN, write_baselines
from prerl.errors import UserError
from prerl.files.checksums import sha256
from tests.helpers import changed
from tests.study import ACCURACIES

NAMES = list(ACCURACIES)


def test_baselines_are_the_counts_of_the_runs(fixed, printed, lexicon):
    """One table: what is committed and what is read from responses differ in nothing that an analysis reads, but that
    baselines keep no answers (so no maj@n) and entropies of dev alone, in single precision."""
    there = Baselines(fixed)
    tests, dev = there.tests(), there.dev()
    assert list(tests) == ["base", *NAMES] and list(dev) == NAMES and list(tests["grpo"]) == [0, 1]
    for name, runs in tests.items():
        for seed, run in runs.items():
            path = printed / f"{name}/seed{seed}"
            read = read_counts(path / "samples.parquet", lexicon)
            pd.testing.assert_frame_equal(run, read.drop(columns=["nats", "majority"]), check_dtype=False)
            if name in dev:
                read = read_counts(path / "dev.parquet", lexicon)
                pd.testing.assert_frame_equal(dev[name][seed], read, check_dtype=False, rtol=1e-6)


def test_baselines_are_small_and_hold_no_responses(fixed, printed):
    assert not any("response" in pd.read_parquet(path).columns for path in fixed.glob("*.parquet"))
    record = json.loads((fixed / RECORD).read_text())
    assert {"tests.parquet", "dev.parquet", "updates.parquet", "bases/seed0/model/model.safetensors"} <= set(
        record["files"]
    )
    assert record["files"]["tests.parquet"] == sha256(fixed / "tests.parquet")
    assert record["made_with"]["commit"] == "0123456789abcdef" and len(record["runs"]) == 6


def test_the_same_runs_give_the_same_bytes(fixed, printed, methods, lexicon, smoke, tmp_path):
    write_baselines(smoke, {name: methods[name] for name in NAMES}, lexicon, printed, tmp_path / "made-up")
    assert (tmp_path / "made-up" / RECORD).read_bytes() == (fixed / RECORD).read_bytes()


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        ("rl", {"steps": 25}, "differs in scale (rl.steps: 20 there, 25 here)"),
        ("rl", {"learning_rate": 1e-3}, "differs in scale (rl.learning_rate: 0.0003 there, 0.001 here)"),
        ("problems", {"dev": 17}, "differs in problem sets (dev: 16 there, 17 here)"),
        ("evaluation", {"temperature": 0.6}, "differs in sampling settings (temperature: 1.0 there, 0.6 here)"),
        ("evaluation", {"benchmarks": {"countdown": 8}}, "(benchmarks.countdown: 4 there, 8 here)"),
    ],
)
def test_what_was_not_measured_alike_is_not_compared(fixed, smoke, section, values, message):
    other = {section: changed(getattr(smoke, section), **values)}
    if "benchmarks" in values:
        other[section] = other[section].model_copy(
            update={"benchmarks": {**smoke.evaluation.benchmarks, "countdown": 8}}
        )
    with pytest.raises(UserError) as error:
        Baselines(fixed).check_fit(smoke.model_copy(update=other))
    assert message in str(error.value) and "\n" not in str(error.value)


def test_another_verifier_is_not_compared(fixed, smoke, monkeypatch):
    monkeypatch.setattr("prerl.compare.baselines.fingerprint", lambda *modules: "another")
    with pytest.raises(UserError, match="verifier \\(code: "):
        Baselines(fixed).check_fit(smoke)


def test_other_problems_or_another_base_are_not_compared(fixed, runs, tmp_path):
    for name in ("problems", "base"):
        shutil.copytree(runs / name, tmp_path / name)
    Baselines(fixed).check_inputs(tmp_path, [0, 1])
    for name in ("problems/countdown.jsonl", "base/seed1/model/model.safetensors"):
        before = (tmp_path / name).read_text()
        (tmp_path / name).write_text(before + "{}\n")
        with pytest.raises(UserError, match=f"{name}: not what .* was made from"):
            Baselines(fixed).check_inputs(tmp_path, [0, 1])
        (tmp_path / name).write_text(before)


@pytest.mark.parametrize("name", ["tests.parquet", "bases/seed0/model/model.safetensors"])
@pytest.mark.parametrize("harm", ["flip", "remove"])
def test_a_damaged_file_is_named(fixed, tmp_path, name, harm):
    shutil.copytree(fixed, tmp_path / "baselines")
    path = tmp_path / "baselines" / name
    if harm == "flip":
        path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
    else:
        path.unlink()
    with pytest.raises(UserError, match=f"{name}: missing or damaged"):
        Baselines(tmp_path / "baselines")


def test_baselines_that_are_not_there_say_how_to_make_them(tmp_path):
    with pytest.raises(UserError, match="snakemake --cores all baselines"):
        Baselines(tmp_path)


def records(versions=None, hardware=None):
    """Those of a new method's runs, made as the baselines were but for what is given."""
    made = {name: "1.0" for name in ("python", "torch", "transformers", "lm-eval")}
    return [{"versions": made | (versions or {}), "hardware": {"machine": "abacus", "cpus": 2} | (hardware or {})}]


def test_other_versions_and_machines_are_warned_of(fixed, smoke, lexicon):
    here = records({"torch": "2.0", "trl": "1"}, {"machine": "slide rule", "cpus": 64})
    found = Baselines(fixed).warnings(smoke, lexicon, here)
    assert any(text.startswith("torch is ") and text.endswith("1.0 there") for text in found)
    assert any(text.startswith("hardware: ") and "abacus" in text for text in found)
    assert not any("code" in text or "lexicon" in text or "cpus" in text or "trl" in text for text in found)


@pytest.fixture
def hardware_named(fixed, tmp_path):
    """The baselines, made on a machine that they name in full."""
    copy = shutil.copytree(fixed, tmp_path / "named")
    record = json.loads((copy / RECORD).read_text())
    record["made_with"]["hardware"] = [{"jobs": 12, "hardware": NAMED}]
    (copy / RECORD).write_text(json.dumps(record))
    return Baselines(copy)


NAMED = {"machine": "abacus", "cpus": 2, "processor": "Z80", "kernel": "AVX2", "threads": 1}


@pytest.mark.parametrize(
    ("other", "warning"),
    [
        ({}, None),
        ({"cpus": 96}, None),
        ({"processor": "6502"}, "hardware: the processor is 6502 here, Z80 there"),
        ({"kernel": "AVX512"}, "hardware: torch's CPU kernel is AVX512 here, AVX2 there"),
        ({"machine": "slide rule"}, "hardware: the architecture is slide rule here, abacus there"),
        ({"gpu": "Voodoo 2"}, "hardware: the GPU is Voodoo 2 here, none there"),
    ],
)
def test_another_processor_kernel_or_gpu_is_warned_of_and_the_number_of_cores_is_not(
    hardware_named, smoke, lexicon, other, warning
):
    assert hardware_named.warnings(smoke, lexicon, records(hardware=NAMED | other)) == ([warning] if warning else [])
    both = [*records(hardware=NAMED), *records(hardware=NAMED | other)]
    found = hardware_named.warnings(smoke, lexicon, both)  # one run of several
    assert len(found) == (warning is not None) and (not found or " here, " in found[0])


@pytest.mark.parametrize(
    ("key", "value", "warning"),
    [
        ("threads", 7, "hardware: the number of threads is 7 here, 1 there"),
        (
            "engine",
            {"name": "trl", "device": "cpu", "processes": 1, "precision": "float32", "gradient_checkpointing": False}
            | {"launch": None, "vllm": None},
            "engine is trl (device cpu, processes 1, launch None, precision float32, gradient_checkpointing False, "
            "vllm None) here, local (device cpu) there",
        ),
    ],
)
def test_other_threads_and_another_engine_are_warned_of(hardware_named, smoke, lexicon, key, value, warning):
    other = changed(smoke, **{key: value})
    hardware_named.check_fit(other)
    assert hardware_named.warnings(other, lexicon, records(hardware=NAMED)) == [warning]


def test_baselines_name_every_set_that_they_were_made_with(printed, methods, lexicon, smoke, tmp_path, capsys):
    results = shutil.copytree(printed, tmp_path / "made-up")
    path = results / "dsrl/seed1/run.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"versions": record["versions"] | {"torch": "2.0"}, "commit": "another"}))
    write_baselines(smoke, {name: methods[name] for name in NAMES}, lexicon, results, tmp_path / "fixed")
    made = Baselines(tmp_path / "fixed").record["made_with"]
    assert [(one["jobs"], one["versions"]["torch"]) for one in made["versions"]] == [(11, "1.0"), (1, "2.0")]
    assert made["commit"] is None and made["settings"] == {
        "threads": 1,
        "micro_batch": 4,
        "engine": {"name": "local", "device": "cpu"},
    }
    said = capsys.readouterr().err
    assert f"prerl: warning: {results}: torch is 1.0 in 11 jobs and 2.0 in 1 job\n" in said
    assert "torch is 1.0 here, 1.0 and 2.0 there" in Baselines(tmp_path / "fixed").warnings(smoke, lexicon, records())


def test_what_is_kept_to_be_read_is_the_main_studys_but_for_tables_of_all_baselines(
    printed, methods, lexicon, smoke, tmp_path
):
    results, out = tmp_path / "made-up", tmp_path / "fixed"
    shutil.copytree(printed, results)
    of_all = results / "baselines/tables"
    of_all.mkdir(parents=True)
    for name in SHOWN:
        (of_all / f"{name}.md").write_text(f"{name} of all")
        (of_all / f"{name}.json").write_text("{}")
    further = smoke.model_copy(update={"further": ["rloo"]})
    write_baselines(further, {name: methods[name] for name in NAMES}, lexicon, results, out)
    for name in SHOWN:
        assert (out / f"tables/{name}.md").read_text() == f"{name} of all"
        assert (out / f"tables/{name}.json").read_text() == "{}"
    kept = {"claims.csv": "claims.csv", "claim_parts.csv": "claim_parts.csv", "tables/claims.md": "claims.md"}
    for source, name in kept.items():
        assert (out / "tables" / name).read_bytes() == (results / source).read_bytes()
    assert (out / "learning_curves.png").read_bytes() == (results / "figures/learning_curves.png").read_bytes()
