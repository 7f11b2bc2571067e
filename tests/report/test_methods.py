"""Methods one by one, as the page shows them."""

import re

import pytest

from prerl.analysis.study import Study
from prerl.report.methods import ADVANTAGES, LOSSES, cards, formula, linked, ranked, written
from prerl.settings.methods import KINDS, fit_methods, load_methods
from prerl.settings.methods import LOSSES as NAMES
from prerl.settings.scale import load_scale
from tests.helpers import METHODS_FILE, ROOT, SMOKE_FILE, changed

METHODS = fit_methods(load_scale(SMOKE_FILE), load_methods(METHODS_FILE))


@pytest.fixture(autouse=True)
def _root(monkeypatch):
    monkeypatch.chdir(ROOT)  # the defaults of a phase lie in workflow/methods.yaml


def test_every_advantage_and_loss_has_words():
    assert set(ADVANTAGES) == set(KINDS) and set(LOSSES) == set(NAMES)


@pytest.mark.parametrize("name", METHODS)
def test_the_yaml_is_the_method(tmp_path, name):
    file = tmp_path / "again.yaml"
    file.write_text(written(METHODS[name]))
    [again] = load_methods(file).values()
    assert again.phases == METHODS[name].phases


@pytest.mark.parametrize("name", METHODS)
def test_words_tell_apart_what_phases_do(name):
    words = [formula(phase) for phase in METHODS[name].phases]
    alike = [other for other, method in METHODS.items() if [formula(phase) for phase in method.phases] == words]
    assert alike == [name]


def test_what_a_phase_asks_for_is_said(methods):
    words = formula(methods["dapo"].phases[0])
    assert words["Sampling"] == "groups all right or all wrong are drawn anew, up to 10 times a batch"
    assert words["Reward"] == "1 or 0, less up to 0.5 for a length in the last 20 % of the limit"
    assert words["Updates a batch"] == "4: 4 mini-batches of whole groups"
    assert words["Loss of a token"].startswith("−min(ρ A, clip(ρ, 0.8, 1.28) A)")
    own = changed(methods["grpo"].phases[0], loss="mine.py:loss", advantage="mine.py:worth", kl_coefficient=0.1)
    words = formula(own)
    assert words["Loss of a token"] == "by mine.py:loss; plus 0.1 KL(π, base), the k3 estimate"
    assert words["Advantage A"] == "by mine.py:worth"


def test_papers_are_links_and_the_rest_is_text():
    assert (
        linked("<b> (arXiv 2402.03300)")
        == '&lt;b&gt; (<a href="https://arxiv.org/abs/2402.03300">arXiv 2402.03300</a>)'
    )
    assert all(re.search(r"arXiv \d{4}\.\d{5}", METHODS[name].description) for name in ("grpo-kl", "gspo", "maxrl"))


def test_places_are_by_accuracy(study, methods):
    data = Study(study / "summary", methods)
    scores = data.read("scores")
    first = scores[
        (scores.metric == "avg") & (scores.benchmark == scores.benchmark.iloc[0]) & (scores.method != "base")
    ]
    best = first.loc[first.estimate.idxmax()]
    places = ranked(data)
    assert set(places) == set(data.scale["methods"]) and places[best.method].startswith(f"place 1 of {len(first)} on ")
    found = cards(data)
    assert [card["name"] for card in found] == data.scale["methods"]
    assert all(card["curve"].count("<polyline") == (1 if card["name"] == "grpo" else 2) for card in found)
