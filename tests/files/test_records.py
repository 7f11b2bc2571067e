import json
import os
import shutil
import subprocess
import sys

import pandas as pd
import pytest
import torch

from prerl.errors import UserError
from prerl.files.atomic import read_json, read_jsonl, write, write_json, write_jsonl, write_text
from prerl.files.checksums import broken, checksums, read_table, seal
from prerl.files.fingerprint import PACKAGE, fingerprint
from prerl.files.machine import processor
from prerl.files.record import RunRecord
from prerl.seeds import seed_of


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    write_text(path, "old")

    def fails(partial):
        partial.write_text("half of the n")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write(path, fails)
    assert path.read_text() == "old"
    write_text(path, "new")
    assert path.read_text() == "new" and [p.name for p in path.parent.iterdir()] == ["file.txt"]


def test_a_directory_appears_whole_and_replaces_the_old_one(tmp_path):
    path = tmp_path / "model"

    def produce(name):
        def make(partial):
            partial.mkdir()
            (partial / name).touch()

        return make

    write(path, produce("a"))
    write(path, produce("b"))
    assert [p.name for p in path.iterdir()] == ["b"] and [p.name for p in tmp_path.iterdir()] == ["model"]


def test_streams_depend_on_their_names_alone():
    assert seed_of(0, "rollout", 1) == seed_of(0, "rollout", 1) == 226755915249339
    names = [(seed, purpose, step) for seed in range(5) for purpose in ("a", "b") for step in range(50)]
    assert len({seed_of(*name) for name in names}) == len(names)
    assert seed_of("1", 2) != seed_of(1, 2) != seed_of(12)


def test_damaged_records_are_a_users_error(tmp_path):
    (tmp_path / "half.json").write_text('{"a": ')
    for read, name, message in [
        (read_json, "half.json", "damaged"),
        (read_jsonl, "half.json", "damaged"),
        (read_json, "none.json", "run the stage"),
        (read_jsonl, "none.json", "run the stage"),
    ]:
        with pytest.raises(UserError, match=message):
            read(tmp_path / name)


def test_a_run_record_says_how_it_was_made(tmp_path):
    RunRecord("stage", {"a": 1}).write(tmp_path / "run.json", tokens=5)
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["config"] == {"a": 1} and record["tokens"] == 5 and record["stage"] == "stage"
    assert record["versions"]["torch"].startswith("2.") and record["wall_seconds"] >= 0
    assert record["peak_memory_bytes"] > 1e7 and record["hardware"]["cpus"] >= 1
    assert record["hardware"]["processor"] == processor() and len(processor()) > 2
    assert record["hardware"]["kernel"] == torch.backends.cpu.get_cpu_capability()
    assert record["hardware"]["threads"] == torch.get_num_threads()
    assert ("gpu" in record["hardware"]) == torch.cuda.is_initialized()


RECORDS = """
import sys
from pathlib import Path
from prerl.files.record import RunRecord
from prerl.files.atomic import read_json, read_jsonl, write, write_json, write_jsonl, write_text
from prerl.seeds import seed_of
record = RunRecord("stage", {{}})
{then}
record.write(Path(sys.argv[1]))
print("torch" in sys.modules)
"""


@pytest.mark.parametrize(
    ("then", "expected"),
    [("", {}), ("import torch; torch.set_num_threads(3)", {"kernel": "DEFAULT", "threads": 3})],
)
def test_a_record_names_torchs_kernel_and_threads_where_torch_is_loaded_and_does_not_load_it(tmp_path, then, expected):
    """With the kernel that every processor has."""
    program = [sys.executable, "-c", RECORDS.format(then=then), tmp_path / "run.json"]
    done = subprocess.run(program, env=os.environ | {"ATEN_CPU_CAPABILITY": "default"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    hardware = read_json(tmp_path / "run.json")["hardware"]
    assert {name: hardware[name] for name in ("kernel", "threads") if name in hardware} == expected
    assert done.stdout.strip() == str(bool(expected)) and hardware["processor"]


@pytest.mark.parametrize(
    ("system", "text", "expected"),
    [
        ("Linux", "processor\t: 0\nmodel name\t: A  CPU @ 2 GHz \nmodel name\t: Another\n", "A CPU @ 2 GHz"),
        ("Linux", "processor\t: 0\nCPU part\t: 0xd0c\n", "what platform says"),
        ("Linux", None, "what platform says"),
        ("Darwin", None, "Apple M9"),
        ("Windows", None, "what platform says"),
    ],
)
def test_a_processor_is_named_on_every_system(tmp_path, monkeypatch, system, text, expected):
    monkeypatch.setattr("prerl.files.machine.CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr("platform.system", lambda: system)
    monkeypatch.setattr("platform.processor", lambda: "what platform says")
    sysctl = tmp_path / "sysctl"
    sysctl.write_text('#!/bin/sh\n[ "$*" = "-n machdep.cpu.brand_string" ] && echo Apple M9\n')
    sysctl.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    if text:
        (tmp_path / "cpuinfo").write_text(text)
    processor.cache_clear()
    try:
        assert processor() == expected
    finally:
        processor.cache_clear()


def test_fingerprints_follow_imports_and_ignore_layout(tmp_path, monkeypatch):
    package = tmp_path / "prerl"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "a.py").write_text("from prerl.b import f\n")
    (package / "b.py").write_text("def f():\n    return 1\n")
    (package / "c.py").write_text("def g():\n    import prerl.b\n")
    monkeypatch.setattr("prerl.files.fingerprint.PACKAGE", package)
    before = {name: fingerprint(f"prerl.{name}") for name in "abc"}
    assert len(set(before.values())) == 3
    (package / "b.py").write_text("def f():  # a comment\n\n    return 1\n")
    assert {name: fingerprint(f"prerl.{name}") for name in "abc"} == before
    (package / "b.py").write_text("def f():\n    return 2\n")
    assert all(fingerprint(f"prerl.{name}") != before[name] for name in "abc")
    after = fingerprint("prerl.b")
    (package / "a.py").write_text("X = 1\n")
    assert fingerprint("prerl.b") == after
    with pytest.raises(ValueError, match="none is no module"):
        fingerprint("prerl.none")


SHOWN = ("report", "analysis")
RUNS = (
    "prerl.base.pretrain",
    "prerl.engines.local",
    "prerl.engines.trl",
    "prerl.evaluation.evaluate",
    "prerl.evaluation.alignment",
)


@pytest.mark.slow
def test_code_that_draws_prints_or_sums_up_reruns_nothing_that_runs_a_model(tmp_path, monkeypatch):
    copy = tmp_path / "prerl"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr("prerl.files.fingerprint.PACKAGE", copy)
    before = {name: fingerprint(name) for name in (*RUNS, "prerl.report.figures.write", "prerl.report.page")}
    edited = [path for package in SHOWN for path in (copy / package).rglob("*.py") if path.stem != "__init__"]
    assert {"style", "typeset", "page", "claims"} <= {path.stem for path in edited}
    for path in edited:
        path.write_text(path.read_text() + "\nANOTHER = 1\n")
    assert {name: fingerprint(name) for name in RUNS} == {name: before[name] for name in RUNS}
    assert fingerprint("prerl.report.figures.write") != before["prerl.report.figures.write"]
    assert fingerprint("prerl.report.page") != before["prerl.report.page"]
    (copy / "objective.py").write_text((copy / "objective.py").read_text() + "\nANOTHER = 1\n")
    assert fingerprint("prerl.engines.local") != before["prerl.engines.local"]


def test_a_new_configuration_key_reruns_nothing_but_what_it_configures(tmp_path, monkeypatch):
    package = tmp_path / "prerl"
    package.mkdir()
    (package / "settings").mkdir()
    for name in ("__init__", "scale"):
        (package / f"settings/{name}.py").write_text("")
    (package / "train.py").write_text("from prerl.settings.scale import a\nfrom prerl import settings")
    monkeypatch.setattr("prerl.files.fingerprint.PACKAGE", package)
    before = fingerprint("prerl.train")
    (package / "settings/scale.py").write_text("b = 2")
    assert fingerprint("prerl.train") == before


def test_a_row_may_hold_any_character_but_a_line_feed_unescaped(tmp_path):
    rows = [{"text": "a\u2028b\x85c\x1cd"}, {"text": "e\nf"}]  # str.splitlines would cut the first in pieces
    write_jsonl(tmp_path / "rows.jsonl", rows)
    assert read_jsonl(tmp_path / "rows.jsonl") == rows


def test_a_table_that_no_record_lists_is_not_trusted(tmp_path):
    """Whatever its name, and whichever of the records lists it; only where no record lists anything it is one's own."""
    tables = {name: tmp_path / f"{name}.parquet" for name in ("samples", "new", "forgotten")}
    for path in tables.values():
        pd.DataFrame({"a": [1]}).to_parquet(path)
    write_json(tmp_path / "run.json", {"stage": "train"})
    assert read_table(tables["forgotten"]).a.tolist() == [1]
    write_json(tmp_path / "run.json", {"outputs": checksums([tables["samples"]], tmp_path)})
    write_json(tmp_path / "alignment.json", {"outputs": checksums([tables["new"]], tmp_path)})
    assert read_table(tables["samples"]).a.tolist() == read_table(tables["new"]).a.tolist() == [1]
    with pytest.raises(UserError, match=r"forgotten\.parquet: no stage's record has its checksum \(run.json, align"):
        read_table(tables["forgotten"])
    assert tables["forgotten"].is_file()
    pd.DataFrame({"a": [2]}).to_parquet(tables["new"])
    with pytest.raises(
        UserError, match=r"new\.parquet: damaged .* the one in alignment\.json\); it is new\.parquet\.d"
    ):
        read_table(tables["new"])
    with pytest.raises(UserError, match=r"new\.parquet: not found; run the stage"):
        read_table(tables["new"])


def test_a_sealed_directory_has_what_its_seal_lists_and_nothing_else(tmp_path, capsys):
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    seal(tmp_path)
    assert not broken(tmp_path)
    (tmp_path / "b").unlink()
    assert not broken(tmp_path, dropped=("b",)) and broken(tmp_path)
    assert f"{tmp_path}/b: missing; not used" in capsys.readouterr().err
    (tmp_path / "c").touch()
    assert broken(tmp_path, dropped=("b",)) and f"{tmp_path}/c: not listed" in capsys.readouterr().err
    (tmp_path / "c").unlink()
    (tmp_path / "a").write_text("A")
    assert broken(tmp_path, dropped=("b",)) and f"{tmp_path}/a: damaged" in capsys.readouterr().err
    (tmp_path / "checksums.json").unlink()
    assert broken(tmp_path)
