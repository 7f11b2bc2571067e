import json

import pytest

from prerl.errors import UserError
from prerl.fingerprint import fingerprint
from prerl.records import RunRecord, read_json, read_jsonl, stream, write, write_jsonl, write_text


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
    assert stream(0, "rollout", 1) == stream(0, "rollout", 1) == 226755915249339
    names = [(seed, purpose, step) for seed in range(5) for purpose in ("a", "b") for step in range(50)]
    assert len({stream(*name) for name in names}) == len(names)
    assert stream("1", 2) != stream(1, 2) != stream(12)


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


def test_fingerprints_follow_imports_and_ignore_layout(tmp_path, monkeypatch):
    package = tmp_path / "prerl"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "a.py").write_text("from prerl.b import f\n")
    (package / "b.py").write_text("def f():\n    return 1\n")
    (package / "c.py").write_text("def g():\n    import prerl.b\n")
    monkeypatch.setattr("prerl.fingerprint.PACKAGE", package)
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


def test_drawing_code_does_not_touch_training():
    assert fingerprint("prerl.figures") != fingerprint("prerl.tables") != fingerprint("prerl.engines.local")


def test_a_new_configuration_key_reruns_nothing_but_what_it_configures(tmp_path, monkeypatch):
    package = tmp_path / "prerl"
    package.mkdir()
    (package / "config.py").write_text("a = 1")
    (package / "train.py").write_text("from prerl.config import a\nfrom prerl import config")
    monkeypatch.setattr("prerl.fingerprint.PACKAGE", package)
    before = fingerprint("prerl.train")
    (package / "config.py").write_text("a = 1\nb = 2")
    assert fingerprint("prerl.train") == before


def test_a_row_may_hold_any_character_but_a_line_feed_unescaped(tmp_path):
    rows = [{"text": "a\u2028b\x85c\x1cd"}, {"text": "e\nf"}]  # str.splitlines would cut the first in pieces
    write_jsonl(tmp_path / "rows.jsonl", rows)
    assert read_jsonl(tmp_path / "rows.jsonl") == rows
