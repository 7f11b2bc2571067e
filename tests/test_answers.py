r"""What answers say, by kind. Every verdict holds in both orders."""

from fractions import Fraction

import pytest

from prerl.answers.layout import squeezed, tidy
from prerl.answers.numbers import number, value
from prerl.answers.units import compatible, parted
from prerl.verify import equivalent, is_correct, readable
from tests.spellings import numbers

SAME = {
    "scientific notation": [
        ("6.02e23", r"6.02 \times 10^{23}"),
        ("6.02E+23", r"6.02\cdot 10^{23}"),
        ("6.02×10²³", "602000000000000000000000"),
        ("6.02 x 10^23", "602,000,000,000,000,000,000,000"),
        ("5e-3", "0.005"),
        ("-5e-3", r"-\frac{1}{200}"),
        ("10^{-3}", "1e-3"),
        ("2.5e3", "2500"),
        ("7e40", r"7 * 10^40"),
        (r"5.0 \times 10^{-3} \mathrm{~m} / \mathrm{s}", "5e-3"),
    ],
    "decimals and fractions": [
        ("-1./4", "-0.25"),
        ("-5./2", r"-2\frac{1}{2}"),
        (".5", r"\frac12"),
        ("+7", "7"),
        (r"\frac{1.5}{2}", "0.75"),
        (r"0.1\overline{6}", r"\frac{1}{6}"),
        (r"0.\bar{3}", "1/3"),
        (r"0.\dot{3}", "0.(3)"),
        (r"\dfrac{7}{2}", r"\tfrac72"),
        ("(7)/(2)", "3.5"),
    ],
    "mixed numbers": [
        ("2 1/4", r"2\frac{1}{4}"),
        ("2 1/4", "9/4"),
        ("-2 1/4", "-2.25"),
        ("2½", "5/2"),
        (r"1\frac{1}{2}x", r"\frac{3x}{2}"),
    ],
    "thousands": [
        ("1,234,567", "1234567"),
        (r"12,\! 345,\! 678", "12345678"),
        (r"12{,}345", "12345"),
        (r"12\,345", "12 345"),
        ("n=12,345", "12345"),
        (r"\frac{1}{12,345}", r"\frac{1}{12345}"),
        ("1,234.5", "1234.5"),
    ],
    "layout and signs": [
        (r"\boldsymbol{7}", "7"),
        (r"\mathbf{x+1}", "x+1"),
        (r"\left( 1, 2 \right]", "(1,2]"),
        ("√7", r"\sqrt{7}"),
        ("2√3", r"2\sqrt3"),
        ("∛8", "2"),
        ("π/2", r"\frac{\pi}{2}"),
        ("sqrt(3)/2", r"\frac{\sqrt{3}}{2}"),
        ("10xsqrt(2)", r"10x\sqrt{2}"),
        ("x²+1", "x^{2}+1"),
        ("x**2+1", "x^2+1"),
        ("−7", "-7"),
        (r"\(7\)", "$7$"),
        ("np.arctan(3/4)", r"\tan^{-1}\frac34"),
        (r"\exp{-a*t}", "e^{-at}"),
        (r"\mathrm{\frac{1}{2}}", "0.5"),
    ],
    "expressions": [
        ("(x+1)(x-1)", "x^2-1"),
        ("1/2x", r"\frac{x}{2}"),
        ("a/bc", r"\frac{a}{bc}"),
        ("t/4 sin(2t)", r"\frac{t}{4}\sin 2t"),
        ("(2)(3)", "6"),
        (r"\sqrt{x^2}", "|x|"),
        (r"4\sqrt{3}x^{3/2}", r"4x\sqrt{3x}"),
        (r"\ln 6", r"\ln 2+\ln 3"),
        (r"\log_{2} 8", "3"),
        (r"\sin 30^\circ", r"\frac12"),
        (r"e^{i\pi}", "-1"),
        (r"\binom{5}{2}", "10"),
        (r"\frac{e^{2it}}{2+2i}", r"\frac{1-i}{4}e^{2it}"),
        ("E_1+2E_2", r"E_{1}+2 E_{2}"),
        (r"\lambda_{\text {red}}", r"\lambda_{red}"),
        ("y''+2y'", r"y^{\prime\prime}+2 y^{\prime}"),
        ("5!", "120"),
        (r"\begin{bmatrix}1&2\\3&4\end{bmatrix}", r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}"),
        (r"\frac{1}{2}\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix} 1/2 \\ 1 \end{pmatrix}"),
    ],
    "names": [
        ("x=7", "7"),
        ("7=x", "x=7"),
        ("y=3x-1", "3x-1"),
        ("y=3x-1", "3x-y-1=0"),
        ("f(x)=3x-1", "3x-1"),
        (r"\frac{dy}{dt}=ky", "dy/dt=ky"),
        (r"\frac{dy}{dt}=ky", "ky"),
        (r"A = \pi r^2 = 9\pi", r"9\pi"),
        (r"\angle ABC = 40^\circ", "40"),
        ("3+4=7", "7"),
        ("(x+1)^2=x^2+2x+1", "(1+x)^2"),
        (r"x=\pi", r"\pi"),
        ("x=b", "b"),
        (r"\frac{5}{7} \approx 0.714", r"\frac57"),
        (r"\approx 0.714", "0.714"),
        ("AB=3, CD=4", "CD=4,AB=3"),
    ],
    "equations and inequalities": [
        ("y^2=16", "16=y^2"),
        ("y^2=16", "2y^2-32=0"),
        ("MC=AVTC", "AVTC=MC"),
        ("x>5", r"(5,\infty)"),
        ("5<x", r"x \in (5,\infty)"),
        (r"x \leq 5", r"(-\infty, 5]"),
        (r"-1 < x \le 5", "(-1,5]"),
        ("x<-1 or x>5", r"(5,\infty)\cup(-\infty,-1)"),
        (r"x \neq 5", r"(-\infty,5) \cup (5,\infty)"),
        (r"\mathbb{R} \setminus \{5\}", r"x\ne5"),
        (r"\{x \mid x > 5\}", r"(5,\infty)"),
        (r"2a+b<c", "c>b+2a"),
    ],
    "lists": [
        ("1, 2", "2,1"),
        (r"1 \text{ and } 2", r"\{1,2\}"),
        (r"3 \pm \sqrt{2}", r"3-\sqrt2, 3+\sqrt2"),
        ("x=1 or x=2", "1,2"),
        ("1,2", "(1,2)"),
        (r"\langle 1,2,3 \rangle", "(1,2,3)"),
        ("(1,2),(3,4)", "(3,4), (1,2)"),
    ],
    "units": [
        (r"7\text{ parsecs}", "7"),
        (r"(3,4)\text{ cm}", "(3,4)"),
        (r"7 \mathrm{~kg} \cdot \mathrm{m}/\mathrm{s}^{2}", "7"),
        ("7 km/h", r"7 \text{ kilometers per hour}"),
        (r"7 \text{ sq ft}", r"7\text{ feet}^2"),
        (r"7 \text{ apples}", "7"),
        ("7 apples", "7"),
        (r"\$7", r"7 \text{ dollars}"),
        (r"7\%", "7 percent"),
        ("7%", "7"),
        (r"20^\circ\text{C}", "20 degrees Celsius"),
        (r"12 \text{ million}", "12000000"),
        (r"\$1.5 million", "1500000"),
        ("3 dozen eggs", "36"),
        ("7:05 p.m.", "7:05"),
        ("1:2", r"\frac12"),
    ],
    "words": [
        (r"\text{no solution}", "No solution"),
        (r"\textbf{(D)}", "D"),
        ("{odd}", r"\text{Odd}"),
        ("{noluck}", "no luck"),
        ("{Moss,Fern}", "Fern, Moss"),
    ],
    "numerals": [
        ("312_4", r"312_{4}"),
        (r"\text{B7}_{12}", "B7_{12}"),
        ("{B7}_{12}", r"\text{B7}_{12}"),
        ("31_{10}", "31"),
        (r"312 \text{ base } 4", "312_4"),
    ],
    "what copies have lost": [
        (r"\tanx", r"\tan x"),
        (r"3\piq", r"3\pi q"),
        (r"\begin{pmatrix}8\-9\end{pmatrix}", r"\begin{pmatrix} 8 \\ -9 \end{pmatrix}"),
        (r"-1\leqh(x)\leq2", r"[-1,2]"),
        ("7{or}9", r"7 \text{ or } 9"),
        ("7normal{miles}", "7"),
    ],
}
OTHER = {
    "blanks inside numbers": [
        ("1 2", "12"),
        ("1 2", "3"),
        ("3 3/4", "33/4"),
        ("3 3/4", "3"),
        ("2 5/2", "4.5"),
        (r"1\,2", "12"),
        (r"5 \ 6", "11"),
        ("5{6}", "30"),
        ("3. 14", "3.14"),
        ("1,23", "123"),
        ("0,5", "5"),
        ("1 23", "123"),
    ],
    "what is said of a number": [
        ("> 5", "5"),
        (r"\ge 5", "5"),
        (r"\ne 5", "5"),
        ("y^2=16", "16"),
        ("a+b=16", "16"),
        ("x+1=16", "16"),
        ("x=5=7", "5"),
        ("x=5=7", "7"),
        ("2+3=6", "6"),
        ("2+3=6", "5"),
        (r"5 \text{ or } 6", "5"),
        (r"5 \text{ or less}", "5"),
        (r"\text{at least } 5", "5"),
        (r"\text{not } 5", "5"),
        (r"5 \pm 1", "5"),
        (r"5 \pmod 7", "5"),
        ("5...", "5"),
        (r"5\ldots", "5"),
        ("5+", "5"),
        ("(5", "5"),
        ("5x", "5"),
        ("5 x", "5"),
        ("3abcd", "3"),
        ("5!", "5"),
        ("x_5", "5"),
        ("12 million", "12"),
        (r"12 \text{ hundred}", "12"),
        (r"3 \text{ tenths}", "3"),
    ],
    "units": [
        (r"5 \text{ cm}", r"5\text{ m}"),
        (r"5\text{ cm}^2", r"5\text{ cm}"),
        (r"\$5", r"5\text{ cents}"),
        (r"50\%", "0.5"),
        ("7:05 p.m.", "7:05 a.m."),
    ],
    "numerals": [("31_4", "31_5"), ("31_4", "31"), ("31_4", "13"), ("1:15", "2:30")],
    "letters": [("B", "b"), ("2B", "2b"), ("x", "y"), ("E_1", "E_2"), ("y'", "y"), ("ACE", "CAE"), ("east", "seat")],
    "brackets": [
        ("(0,1)", "[0,1]"),
        ("(0,1]", "[0,1)"),
        (r"\{1,2\}", "(1,2)"),
        ("(2,1)", "1,2"),
        ("1,1", "1"),
        ("[1,2,3)", "(1,2,3)"),
        ("(1,2)", "(1,2,3)"),
    ],
    "names": [
        ("x=5", "y=5"),
        ("x>5", "y>5"),
        ("x>5", r"x\ge5"),
        ("x<5", r"(5,\infty)"),
        ("1<x>5", "x>5"),
        ("0=1", "1=2"),
        ("x^2+1=0", "x^2+2=0"),
        ("2x>6", "2x<6"),
    ],
    "small differences": [
        ("2^{-60}", "2^{-61}"),
        ("1/1906!", "1/1904!"),
        (r"\frac{1}{3^{90}}", "0"),
        ("e^{-50}", "0"),
        ("2^{2008}-2", "2^{2008}"),
        (r"\pi+10^{-40}", r"\pi"),
        (r"\sqrt{2+10^{-900}}", r"\sqrt{2}"),
        (r"x+10^{-20}", "x"),
        ("10^{-20}x", "10^{-21}x"),
        ("(10^{-20},1)", "(10^{-21},1)"),
        (r"\begin{pmatrix}10^{-20}\\1\end{pmatrix}", r"\begin{pmatrix}10^{-21}\\1\end{pmatrix}"),
        ("0.3333333", r"\frac13"),
        ("(0.3333333,1)", r"(\frac13,1)"),
        (r"3.14159265358979323846", r"\pi"),
    ],
    "expressions": [
        (r"\sqrt{x^2}", "x"),
        ("(2)(3)", "5"),
        ("I(0)", "0"),
        (r"\frac{dv}{dt}", r"\frac{v}{t}"),
        (r"\frac{dv}{dt}", "0"),
        (r"\frac{1}{0}", r"\frac{2}{0}"),
        (r"\log 2", r"\ln 2"),
        ("x^2", "2x"),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}1&2\end{pmatrix}"),
    ],
}


def flat(kinds):
    return [pytest.param(*pair, id=f"{kind}: {' | '.join(pair)}") for kind, pairs in kinds.items() for pair in pairs]


@pytest.mark.parametrize(("first", "second"), flat(SAME))
def test_what_says_the_same_in_either_order(first, second):
    assert equivalent(first, second) and equivalent(second, first)


@pytest.mark.parametrize(("first", "second"), flat(OTHER))
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
