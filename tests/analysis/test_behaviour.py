from collections import Counter

import pandas as pd
import pytest
import yaml

from prerl.analysis.behaviour import count, kind, load_lexicon, thoughts
from prerl.errors import UserError
from tests.helpers import ROOT

LEXICONS = {name: load_lexicon(ROOT / f"workflow/lexicons/{name}.yaml") for name in ("countdown", "natural")}
LABELLED = yaml.safe_load((ROOT / "tests/fixtures/thoughts.yaml").read_text())
MEASURED = {"countdown": 50, "natural": 33}  # of 50; half of the thoughts in English are meant to be hard


def test_a_response_of_the_countdown_world_falls_into_its_attempts_checks_and_answer():
    text = "get 5 with 1 4 : 1 - 4 = 3 no . but try 4 + 1 = 5 yes . wait , let me check : 4 + 1 = 5 yes . answer 4 + 1"
    assert thoughts(text, LEXICONS["countdown"]) == [
        ("execution", "get 5 with 1 4 : 1 - 4 = 3 no ."),
        ("transition", "but try 4 + 1 = 5 yes ."),
        ("reflection", "wait , let me check : 4 + 1 = 5 yes ."),
        ("execution", "answer 4 + 1"),
    ]
    assert thoughts("", LEXICONS["countdown"]) == []


def test_counts_a_response():
    texts = ["a no . but try b no . alternatively , try c no . but try d answer 1", "butter await waits", ""]
    counts = count(pd.Series(texts, index=[3, 5, 7]), LEXICONS["countdown"])
    assert counts.index.tolist() == [3, 5, 7]
    assert counts.transition.tolist() == [3, 0, 0] and counts.execution.tolist() == [2, 1, 0]
    assert counts.backtracking.tolist() == [3, 0, 0] and counts.enumeration.tolist() == [1, 0, 0]
    checked = count(pd.Series(["a yes . wait , let me check : b no . but try c"]), LEXICONS["countdown"])
    assert checked.iloc[0].to_dict() == {
        "reflection": 1, "transition": 1, "execution": 1, "verification": 1, "backtracking": 1, "enumeration": 0,
    }  # fmt: skip


def test_english_is_split_at_blank_lines_and_classed_by_the_published_keywords():
    text = "Wait, no.\n\nwe verify it\nin two lines\n \nAlternatively, ANOTHER WAY: verify\n\nWe await 3."
    kinds = [name for name, _ in thoughts(text, LEXICONS["natural"])]
    assert kinds == ["reflection", "reflection", "reflection", "execution"]  # reflection goes before transition
    assert kind("alternatively, x", LEXICONS["natural"]) == "transition"


@pytest.mark.parametrize(
    ("sentence", "behaviour"),
    [
        ("Let's check this for x = 2.", "verification"),
        ("That doesn't work, so go back to the first equation.", "backtracking"),
        ("First, we find the radius. Step 2: the area.", "subgoal setting"),
        ("Case 1: x > 0. Case 2: x < 0.", "enumeration"),
    ],
)
def test_english_behaviours(sentence, behaviour):
    counts = count(pd.Series([sentence, "So x = 2."]), LEXICONS["natural"])[behaviour]
    assert counts[0] >= 1 and counts[1] == 0


@pytest.mark.parametrize("name", LEXICONS)
def test_agreement_with_labels_made_by_hand_is_what_the_readme_says(name):
    """Printed with Cohen's kappa by `pytest -s`."""
    letters = {"execution": "E", "reflection": "R", "transition": "T"}
    pairs = Counter((label, letters[kind(text, LEXICONS[name])]) for label, text in LABELLED[name])
    agreed = sum(number for (label, found), number in pairs.items() if label == found)
    labels, found = Counter(), Counter()
    for (label, other), number in pairs.items():
        labels[label] += number
        found[other] += number
    chance = sum(labels[letter] * found[letter] for letter in "ERT") / 50**2
    kappa = (agreed / 50 - chance) / (1 - chance)
    print(f"{name}: {agreed} of 50 as labelled, kappa {kappa:.2f}; (label, found): {dict(sorted(pairs.items()))}")
    assert sum(pairs.values()) == 50 and agreed == MEASURED[name]
    assert f"{agreed} of 50" in (ROOT / "results/README.md").read_text()


BAD_LEXICONS = {
    "split: Field required": "thoughts: {}\nbehaviours: {}",
    "no regular expression": "split: '('\nthoughts: {}\nbehaviours: {}",
    "matches the empty text": "split: x\nthoughts: {reflection: 'a*'}\nbehaviours: {}",
    "thoughts.doubt": "split: x\nthoughts: {doubt: 'a'}\nbehaviours: {}",
    "behaviours.a: Input should be a valid string": "split: x\nthoughts: {}\nbehaviours: {a: no}",
    "words: unknown key": "split: x\nthoughts: {}\nbehaviours: {}\nwords: 1",
}


@pytest.mark.parametrize("message", BAD_LEXICONS)
def test_a_bad_lexicon_is_one_line_that_names_file_and_key(tmp_path, message):
    path = tmp_path / "lexicon.yaml"
    path.write_text(BAD_LEXICONS[message])
    with pytest.raises(UserError, match=message) as error:
        load_lexicon(path)
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)
