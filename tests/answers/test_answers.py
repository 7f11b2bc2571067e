"""What answers say, by kind: the pairs stand in fixtures/answers.yaml."""

from fractions import Fraction

import pytest
import yaml

from prerl.answers.layout import squeezed, tidy
from prerl.answers.numbers import number, value
from prerl.answers.units import compatible, parted
from prerl.verify import equivalent, is_correct, readable
from tests.helpers import ROOT
from tests.spellings import numbers

PAIRS = yaml.safe_load((ROOT / "tests/fixtures/answers.yaml").read_text())


def flat(kinds):
    return [pytest.param(*pair, id=f"{kind}: {' | '.join(pair)}") for kind, pairs in kinds.items() for pair in pairs]


@pytest.mark.parametrize(("first", "second"), flat(PAIRS["same"]))
def test_what_says_the_same_in_either_order(first, second):
    assert equivalent(first, second) and equivalent(second, first)


@pytest.mark.parametrize(("first", "second"), flat(PAIRS["other"]))
def test_what_says_something_else_in_either_order(first, second):
    assert not equivalent(first, second) and not equivalent(second, first)
    assert equivalent(first, first) and equivalent(second, f" {second} ")


@pytest.mark.parametrize("value", [Fraction(7), Fraction(-12345), Fraction(22, 7), Fraction(-3, 8), Fraction(5, 10**9)])
def test_a_number_in_all_spellings_is_itself_and_not_its_neighbour(value):
    for _, text in numbers(value):
        assert is_correct(rf"\boxed{{{text}}}", str(value)), text
        assert not is_correct(rf"\boxed{{{text}}}", str(value + Fraction(1, value.denominator))), text


@pytest.mark.parametrize(
    "gold", [r"\frac{1}{0}", "5 6", r"3\frac{5}{2}", "0.56=56", r"x \oplus y", r"1+\frac{\}{2}", "(1,@)"]
)
def test_what_cannot_be_read_equals_itself_respaced_alone(gold):
    assert not readable(gold) and equivalent(gold, f" {gold} ") and equivalent(gold, gold.replace("+", " + "))
    assert not any(equivalent(gold, other) for other in ("5", "56", "11", "0.56", "1", "x", r"\frac{11}{2}"))


def test_what_can_be_read():
    assert all(readable(gold) for gold in ("7", "x^2=9", r"\text{east}", "(1,2)", "31_4", r"\$7", "it is\n#### 7"))
    assert not readable("") and not readable("7" * 301)


def test_values_of_written_numbers():
    assert value("1e3") == 1000 and value("1e-400") is not None and value("7" * 40) == int("7" * 40)
    assert all(value(text) is None for text in ("1 2", "1/0", "2 5/2", "", "-", ".", "e5", "1e", "1e9999", "1.2.3"))
    assert number("7" * 31) is None


def test_parts_of_an_amount():
    assert parted(r"\$1.5 \text{ million}") == ("1.5", 10**6, "dollar")
    assert parted(r"5\text{ m}/\text{s}^2") == ("5", 1, "metre second^-2")
    assert parted(r"5\text{ apples}") == ("5", 1, None) and parted("5x") == ("5x", 1, "")
    assert compatible("degree", "degree celsius") and not compatible("degree celsius", "degree fahrenheit")


def test_layout():
    assert tidy(r" \left( \dfrac{1}{2} ,\; x \right] . ") == r"( \frac{1}{2} , x ]"
    assert squeezed("a + b = 1 2") == "a+b=1 2" and tidy("...5") == "...5" and tidy(".5.") == ".5"
