"""The verifier on real gold answers: reads copies of the public sets where they lie beside the checkout."""

import random
import re

import pytest

from prerl.problems.public import load_catalog, read_set
from prerl.verify import answer, is_correct, readable
from tests.helpers import ROOT
from tests.spellings import spellings

pytestmark = pytest.mark.slow

DATA = ROOT.parent / "shared/data/math"
CATALOG = ROOT / "workflow/problems.yaml"
SETS = ("gsm8k-train", "gsm8k", "math-train", "math500", "minerva", "aime24", "aime25", "amc23")
# An unbalanced one, a sum that is none, and matrices that have lost breaks between rows.
UNREADABLE = {"math-train": {2228, 6757, 6811, 7153, 7232, 7449, 7458}}


def golds(name):
    """Gold answers of a public set by id."""
    if not DATA.is_dir():
        pytest.skip("no copies of the public problem sets beside the checkout")
    rows = read_set(name, load_catalog(CATALOG)[name], DATA)
    return {row["id"]: answer(row["answer"]) or row["answer"] for row in rows}


@pytest.mark.parametrize("name", SETS)
def test_the_golds_that_cannot_be_read_are_known(name):
    found = {place for place, gold in golds(name).items() if not readable(gold)}
    assert found == {f"{name}-{place}" for place in UNREADABLE.get(name, ())}


@pytest.mark.parametrize("name", SETS)
def test_every_gold_is_right_in_plain_text_in_latex_in_decimals_and_as_it_is_written(name):
    found = sorted({gold for gold in golds(name).values() if readable(gold)})
    pairs = [(gold, text, kind) for gold in found for kind, text in spellings(gold)]
    failed = [pair for pair in pairs if not is_correct(rf"\boxed{{{pair[1]}}}", pair[0])]
    assert not failed and len(found) >= 20 and {kind for *_, kind in pairs} == {"own", "LaTeX", "plain", "decimal"}


def test_an_unreadable_gold_is_right_as_it_is_written():
    found = [gold for gold in golds("math-train").values() if gold and not readable(gold)]
    balanced = [gold for gold in found if answer(rf"\boxed{{{gold}}}") == gold]
    assert len(balanced) == len(found) - 1 and all(is_correct(rf"\boxed{{ {gold} }}", gold) for gold in balanced)


def changed(gold, rng):
    """Answers that differ from a gold one in a digit, a letter, a sign, a power or a base."""
    places = [match.start() for match in re.finditer(r"\d", gold)]
    for place in rng.sample(places, min(2, len(places))):
        yield gold[:place] + str((int(gold[place]) + 1) % 10) + gold[place + 1 :]
    letters = [match.start() for match in re.finditer(r"(?<![a-zA-Z\\\d])[a-zA-Z](?![a-zA-Z])", gold)]
    for place in letters[:1]:
        yield gold[:place] + ("q" if gold[place] != "q" else "k") + gold[place + 1 :]
        yield gold[:place] + gold[place].swapcase() + gold[place + 1 :]
    if gold.startswith("-"):
        yield gold[1:]
    if re.search(r"_\{?\d", gold) and "_{10}" not in gold:
        yield re.sub(r"_\{?\d+\}?", "", gold, count=1)
    yield re.sub(r"\^(\d|\{\d+\})", "^{17}", gold, count=1)


@pytest.mark.parametrize("name", ["math-train", "math500", "minerva", "gsm8k"])
def test_a_changed_gold_is_wrong(name):
    rng = random.Random(0)
    found = sorted(set(golds(name).values()) - {""})
    pairs = [(gold, text) for gold in found for text in changed(gold, rng) if text != gold]
    assert not [pair for pair in pairs if is_correct(rf"\boxed{{{pair[1]}}}", pair[0])] and len(pairs) > 200


def test_pairs_of_different_gold_answers_differ():
    rng = random.Random(0)
    seen = sorted({gold for name in SETS for gold in golds(name).values() if readable(gold)})
    pairs = [rng.sample(seen, 2) for _ in range(2000)]
    # What a plain reader would call the same (1/2 and 0.5) is sampled too, and rarely: none of these is.
    assert not [pair for pair in pairs if is_correct(rf"\boxed{{{pair[0]}}}", pair[1])]
