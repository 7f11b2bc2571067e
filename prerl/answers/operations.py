"""Functions by their LaTeX names, and operations that refuse what has no value."""

from collections.abc import Callable

import sympy

from prerl.answers.layout import FUNCTIONS
from prerl.answers.tokens import Unreadable

CALLED = {
    **{name: getattr(sympy, name) for name in FUNCTIONS if hasattr(sympy, name)},
    **{f"arc{name}": getattr(sympy, f"a{name}") for name in ("sin", "cos", "tan", "cot", "sec", "csc")},
    "ln": sympy.log,
    "log": lambda argument: sympy.log(argument, 10),
    "lg": lambda argument: sympy.log(argument, 10),
}


def divided(above: sympy.Expr, below: sympy.Expr) -> sympy.Expr:
    if below == 0:
        raise Unreadable("division by zero")
    return checked(lambda a, b: a / b, above, below)


def checked(operation: Callable, first: sympy.Expr, second: sympy.Expr) -> sympy.Expr:
    """The result of an operation that not all matrices allow."""
    try:
        return operation(first, second)
    except (TypeError, sympy.ShapeError, AttributeError, NotImplementedError) as error:
        raise Unreadable(str(error)) from error
