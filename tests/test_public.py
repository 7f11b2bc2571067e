import hashlib
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from prerl.config import PublicProblems
from prerl.errors import UserError
from prerl.evaluate import unreadable
from prerl.problems.overlap import ngrams, overlap, overlaps
from prerl.problems.public import PublicSet, fetch, find, load_catalog, read_set
from prerl.problems.world import world
from prerl.verify import answer, is_correct
from tests.helpers import ROOT

CATALOG = ROOT / "workflow/problems.yaml"
DATA = ROOT.parent / "shared/data/math"
ROWS = [
    {"text": [{"ask": "one?"}, {"ask": "two?"}], "gold": ["1"]},
    {"text": [{"ask": "one?"}, {"ask": "three?"}], "gold": ["2"]},
    {"text": [{"ask": "x"}, {"ask": "two?"}], "gold": ["1"]},  # again
]


@pytest.fixture
def made(tmp_path):
    """A set in a directory, under a name of its own."""
    content = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
    (tmp_path / "whatever.jsonl").write_bytes(content)
    (tmp_path / "other.jsonl").write_text("{}\n")
    entry = PublicSet(
        repository="some/where",
        revision="0" * 40,
        path="deep/file.jsonl",
        sha256=hashlib.sha256(content).hexdigest(),
        question="text.1.ask",
        answer="gold.0",
        problems=2,
    )
    return entry, tmp_path


def test_a_set_is_recognised_by_its_checksum_and_its_repeats_are_one_problem(made):
    entry, directory = made
    assert find(entry, directory) == fetch("mine", entry, directory) == directory / "whatever.jsonl"
    assert read_set("mine", entry, directory) == [
        {"id": "mine-0", "question": "two?", "answer": "1"},
        {"id": "mine-1", "question": "three?", "answer": "2"},
    ]
    with pytest.raises(UserError, match="2 distinct problems, but the catalogue says 3"):
        read_set("mine", entry.model_copy(update={"problems": 3}), directory)


def test_a_missing_or_changed_file_is_one_line_that_says_what_to_do(made):
    entry, directory = made
    (directory / "whatever.jsonl").rename(directory / "mine.txt")
    with pytest.raises(UserError, match=r"no file of mine \(sha256 .*run `prerl fetch mine --data-dir"):
        read_set("mine", entry, directory)
    (directory / "mine.jsonl").write_text("{}\n")
    with pytest.raises(UserError, match=r"mine\.jsonl: its checksum is not that of mine"):
        read_set("mine", entry, directory)


def test_a_download_is_checked_and_no_network_is_one_line(made, monkeypatch):
    import pooch

    entry, directory = made
    downloads = directory / "downloads"
    served = directory / "whatever.jsonl"

    def from_disk(url, output_file, caller):
        if url != entry.address:
            raise OSError("no route")
        Path(output_file).write_bytes(served.read_bytes())

    monkeypatch.setattr(pooch.core, "choose_downloader", lambda *args, **options: from_disk)
    assert fetch("mine", entry, downloads) == downloads / "mine.jsonl"
    assert read_set("mine", entry, downloads)[1]["answer"] == "2"
    other = entry.model_copy(update={"sha256": "1" * 64})
    with pytest.raises(UserError, match="another checksum"):
        fetch("other", other, downloads)
    assert not (downloads / "other.jsonl").exists()
    with pytest.raises(UserError, match=r"some/elsewhere/.*cannot be downloaded"):
        fetch("away", other.model_copy(update={"repository": "some/elsewhere"}), downloads)


def test_the_catalogue_names_the_papers_sets_at_pinned_revisions():
    sets = load_catalog(CATALOG)
    assert {"math-train", "math500", "aime24", "aime25", "amc23", "minerva", "olympiadbench", "gsm8k"} <= set(sets)
    assert sets["aime24"].problems == sets["aime25"].problems == 30
    assert sets["gsm8k"].address == (
        "https://raw.githubusercontent.com/openai/grade-school-math/"
        "3101c7d5072418e28b9008a6636bde82a006892c/grade_school_math/data/test.jsonl"
    )


def test_a_bad_entry_names_file_set_and_key(tmp_path):
    path = tmp_path / "sets.yaml"
    path.write_text(CATALOG.read_text().replace("revision: be255d6", "revision: main", 1))
    with pytest.raises(UserError, match=r"sets\.yaml: math-train: revision"):
        load_catalog(path)


def test_an_unknown_set_is_a_users_error():
    command = [sys.executable, "-c", "from prerl.cli import main; main()", "fetch", "nothing"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 2 and result.stderr.startswith("prerl: no problem set 'nothing'; there are gsm8k-train")


@pytest.mark.parametrize(
    "name", ["gsm8k-train", "gsm8k", "math-train", "math500", "aime24", "aime25", "amc23", "minerva"]
)
def test_real_copies_are_what_the_catalogue_says(name):
    if not DATA.is_dir():
        pytest.skip("no copies of the public problem sets beside the checkout")
    rows = read_set(name, load_catalog(CATALOG)[name], DATA)
    assert len({row["id"] for row in rows}) == len(rows) and all(len(row["question"]) > 10 for row in rows)
    golds = [row["answer"] for row in rows[:30]]
    assert all(is_correct(rf"\boxed{{{answer(gold) or gold}}}", gold) for gold in golds)


def test_a_world_of_public_problems(tmp_path):
    rows = [{"id": f"a-{i}", "prompt": f"What is {i} + 1?", "answer": f"it is\n#### {i + 1}"} for i in range(6)]
    for name, part in {"train": rows[:5], "dev": rows[5:]}.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    settings = PublicProblems(
        world="public", train="a", dev=1, benchmarks={}, system="Think.", examples=[], template_options={}
    )
    made = world(settings, tmp_path)
    drawn = made.draw(random.Random(0), 3)
    assert len({problem.id for problem in drawn}) == 3 and drawn == made.draw(random.Random(0), 3)
    assert not {problem.id for problem in made.draw(random.Random(1), 5)} & {problem.id for problem in made.dev()}
    (dev,) = made.dev()
    assert made.score(r"so \boxed{6.0}", dev) == 1 and made.score("6", dev) == 0
    assert made.restated([1, 2], None) is None


def test_overlap_counts_the_same_and_long_shared_sequences():
    training = ["The cat sat on the mat, and then 9 dogs came by to look.", "Find x."]
    same = "the cat SAT on the mat and then 9 dogs came by to look"
    eight = "The cat sat on the mat, and then"
    found = overlap(training, [same, eight, "find x", "Find y.", "Quite another question about ten birds."])
    assert found == {"problems": 5, "same": 2, "half": 3, "shared": 2}
    assert ngrams("a b c", 2) == {("a", "b"), ("b", "c")} and ngrams("a", 3) == {("a",)}


def test_golds_that_cannot_be_read_are_named(tmp_path):
    golds = {"train": ["1", "5 6", r"\frac{1}{0}"], "dev": ["it is\n#### 7", "2+3=6", "east"]}
    for name, answers in golds.items():
        rows = [
            {"id": f"{name}-{i}", "question": f"What is {i}?", "answer": answer} for i, answer in enumerate(answers)
        ]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    train, dev = overlaps(tmp_path, ["dev"])
    assert (train["set"], train["problems"], train["unreadable"]) == ("train", 3, 2) and "same" not in train
    assert train["unreadable_problems"] == "train-1 train-2"
    assert (dev["set"], dev["same"], dev["unreadable"], dev["unreadable_problems"]) == ("dev", 3, 1, "dev-1")
    assert unreadable(tmp_path / "dev.jsonl") == ["dev-1"]
