"""The ledger of variants."""

import pytest

from prerl.compare.ledger import enter, standing
from prerl.errors import UserError
from prerl.files.atomic import read_jsonl
from prerl.settings.methods import Method
from tests.helpers import changed


def test_a_variant_is_entered_once_whatever_it_is_called(methods, tmp_path):
    path, first, second = tmp_path / "ledger.jsonl", methods["grpo"], methods["rloo"]
    assert standing(path, first) == (1, 1)
    enter(path, "mine", first, [0, 1, 2])
    enter(path, "again", changed(first, label="Other", description="The same phases."), [0, 1, 2, 3, 4])
    assert standing(path, first) == (1, 1) and standing(path, second) == (2, 2)
    enter(path, "other", second, [0, 1])
    assert standing(path, first) == (1, 2) and standing(path, second) == (2, 2)
    rows = read_jsonl(path)
    assert [(row["name"], row["replicates"]) for row in rows] == [("mine", 3), ("other", 2)]


def test_another_function_is_another_variant_and_another_place_of_it_is_not(methods, tmp_path):
    phase = methods["grpo"].phases[0].model_dump()

    def method(place, text):
        file = tmp_path / place
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        return Method(label="M", description="", phases=[phase | {"advantage": f"{file}:f"}])

    path = tmp_path / "ledger.jsonl"
    enter(path, "m", method("a/m.py", "def f(rewards): return rewards"), [0])
    assert standing(path, method("b/other.py", "def f(rewards): return rewards")) == (1, 1)
    assert standing(path, method("a/m.py", "def f(rewards): return 2 * rewards")) == (2, 2)


def test_a_damaged_ledger_is_named(methods, tmp_path):
    (tmp_path / "ledger.jsonl").write_text("{")
    with pytest.raises(UserError, match=r"ledger\.jsonl: damaged"):
        standing(tmp_path / "ledger.jsonl", methods["grpo"])
