import json
import random
import re
import subprocess
import sys
from pathlib import Path

import pyarrow
import pytest
import yaml
from pyarrow import parquet
from typer.testing import CliRunner

from prerl.cli import app
from prerl.engines.session import Session
from prerl.errors import UserError
from prerl.evaluation.evaluate import unreadable
from prerl.files.atomic import write_jsonl
from prerl.files.checksums import sha256
from prerl.problems.overlap import ngrams, overlap, overlaps
from prerl.problems.public import PublicSet, fetch, find, load_catalog, read_set
from prerl.problems.sets import check_sizes
from prerl.problems.world import world
from prerl.settings.methods import load_methods
from prerl.settings.model import PublicProblems
from prerl.settings.scale import load_scale
from prerl.verify import answer, is_correct
from tests.helpers import METHODS_FILE, ROOT

CATALOG = ROOT / "workflow/problems.yaml"
DATA = ROOT.parent / "shared/data/math"


def test_a_set_is_recognised_by_its_checksum_and_its_repeats_are_one_problem(made):
    entry, directory = made
    assert find(entry, directory) == fetch("mine", entry, directory) == directory / "whatever.jsonl"
    assert read_set("mine", entry, directory) == [
        {"id": "mine-0", "question": "two?", "answer": "1"},
        {"id": "mine-1", "question": "three?", "answer": "2"},
    ]
    with pytest.raises(UserError, match="2 distinct problems, but the catalogue says 3"):
        read_set("mine", entry.model_copy(update={"problems": 3}), directory)


def set_of(path, **values):
    """The catalogue's entry of a file whose rows hold `ask` and `gold`."""
    place = {"repository": "some/where", "revision": "0" * 40, "path": path.name, "sha256": sha256(path)}
    return PublicSet(**place | {"question": "ask", "answer": "gold", "problems": 2} | values)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"ask": "3?", "gold": None},
            "row 3: gold is empty: of mine 1 have no answer, but the catalogue says 0 (un",
        ),
        ({"ask": "3?", "gold": " "}, "row 3: gold is empty: of mine 1 have no answer"),
        ({"ask": "3?", "gold": float("nan")}, "row 3: gold is empty: of mine 1 have no answer"),
        ({"ask": None, "gold": 3}, "row 3: ask is empty: a problem needs a question"),
        ({"ask": "", "gold": 3}, "row 3: ask is empty: a problem needs a question"),
        ({"ask": "3?", "gold": [3]}, "row 3: gold is a list, expected a text or a number"),
        ({"ask": "3?", "gold": True}, "row 3: gold is a bool, expected a text or a number"),
        ({"ask": "3?"}, "row 3: no gold, where the catalogue says that question or answer stands"),
        ({"gold": 3}, "row 3: no ask, where the catalogue says"),
        ([], "row 3: no ask, where the catalogue says"),
    ],
)
def test_a_row_without_question_or_answer_is_one_line_that_names_row_and_key(tmp_path, row, message):
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in [*({"ask": f"{n}?", "gold": n} for n in (1, 2)), row]))
    with pytest.raises(UserError) as error:
        read_set("mine", set_of(path), tmp_path)
    assert str(error.value).startswith(f"{path}: {message}") and "\n" not in str(error.value)


def test_a_place_of_keys_that_is_not_there_is_one_line(made):
    entry, directory = made
    for keys in ("text.2.ask", "text.ask", "text.1.ask.0", "gold.0.1", "none"):
        with pytest.raises(UserError, match=rf"whatever\.jsonl: row 1: no {keys}, where the catalogue"):
            read_set("mine", entry.model_copy(update={"question": keys}), directory)


def test_problems_without_an_answer_are_left_out_if_the_catalogue_says_how_many(tmp_path):
    """In parquet pandas would make 4 out of a column with null a 4.0."""
    table = pyarrow.table({"ask": ["1?", "2?", "3?", "2?"], "gold": [1, None, 4, None]})
    parquet.write_table(table, tmp_path / "a.parquet")
    rows = read_set("mine", set_of(tmp_path / "a.parquet", unanswered=1), tmp_path)
    assert [(row["id"], row["answer"]) for row in rows] == [("mine-0", "1"), ("mine-2", "4")]
    with pytest.raises(UserError, match=r"row 2: gold is empty: of mine 1 have no answer, but the catalogue says 2"):
        read_set("mine", set_of(tmp_path / "a.parquet", unanswered=2), tmp_path)


SMOLLM = ROOT / "workflow/scales/smollm.yaml"
SIZES = {  # of GSM8K: 7,473 to train on, 1,319 to test on
    "problems.dev: 7473 problems held out of the 7473 of gsm8k-train leave none": ("problems", {"dev": 7473}),
    "problems.dev: 9000 problems held out": ("problems", {"dev": 9000}),
    "problems.benchmarks.gsm8k: 1320 problems, but it has 1319": ("problems", {"benchmarks": {"gsm8k": 1320}}),
    "rl.prompts_per_step: 7442 problems are drawn at once, but there are 7441": ("rl", {"prompts_per_step": 7442}),
    "analysis.alignment_rollouts, four to a problem: 7442 problems are": ("analysis", {"alignment_rollouts": 29_765}),
}


@pytest.mark.parametrize("message", SIZES)
def test_more_problems_than_a_set_has_are_refused_before_anything_is_read(tmp_path, message):
    key, values = SIZES[message]
    path = tmp_path / "x.yaml"
    data = yaml.safe_load(SMOLLM.read_text())
    path.write_text(yaml.safe_dump(data | {key: data[key] | values}))
    for command in (["problems", "--out", tmp_path / "out"], ["plan"], ["fetch"]):
        result = CliRunner().invoke(app, [*map(str, command), "--scale", str(path), "--catalog", str(CATALOG)])
        assert isinstance(result.exception, UserError) and str(result.exception).startswith(f"{path}: {message}")
    assert not (tmp_path / "out").exists()


def test_the_file_of_the_training_set_is_no_benchmark_under_another_name(tmp_path):
    catalog = load_catalog(CATALOG)
    catalog["other"] = catalog["gsm8k-train"]
    scale = load_scale(SMOLLM)
    check_sizes(scale, catalog)
    problems = scale.problems.model_copy(update={"benchmarks": {"gsm8k": 100, "other": 100}})
    with pytest.raises(ValueError, match=r"problems\.benchmarks: 'other' is the very file of the training set 'gsm8k-"):
        check_sizes(scale.model_copy(update={"problems": problems}), catalog)


@pytest.mark.parametrize(
    ("prompts", "dev", "message"), [(6, 1, "train.jsonl: 5 problems, but an"), (3, 0, "dev.jsonl: 0")]
)
def test_training_stops_at_its_start_where_sets_are_too_small(tmp_path, prompts, dev, message):
    write_jsonl(tmp_path / "train.jsonl", [{"id": str(n), "prompt": "p", "answer": "1"} for n in range(5)])
    write_jsonl(tmp_path / "dev.jsonl", [{"id": str(n), "prompt": "p", "answer": "1"} for n in range(dev)])
    scale = load_scale(SMOLLM)
    scale = scale.model_copy(update={"rl": scale.rl.model_copy(update={"prompts_per_step": prompts})})
    method = load_methods(METHODS_FILE)["grpo"]
    with pytest.raises(UserError, match=re.escape(f"{tmp_path}/{message}")):
        Session(scale, "grpo", method, 0, tmp_path / "base", tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match=r"train\.jsonl: 5 problems, but 6 are drawn at once"):
        world(scale.problems, tmp_path).draw(random.Random(0), 6)


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
    assert made.header([1, 2], None) is None


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
