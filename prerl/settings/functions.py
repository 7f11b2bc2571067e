"""Functions that a method names: by `path.py:function` or `package.module:function`, and what they ask for."""

import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from prerl.errors import UserError


def source(place: str) -> Path:
    """The file that `path.py:function` or `module:function` stands in. Raises UserError if there is none."""
    name = place.partition(":")[0]
    if not name.endswith(".py"):
        try:
            found = importlib.util.find_spec(name)
        except ImportError:
            found = None
        name = found.origin if found else None
    if name is None or not Path(name).is_file():
        raise UserError(f"{place}: no such file or module; a file is looked for beside the method's own")
    return Path(name)


@cache
def load_function(reference: str) -> Callable[..., Any]:
    """The function that `path.py:function` or `module:function` names. Raises UserError if there is none."""
    place, _, name = reference.partition(":")
    source(reference)
    try:
        if place.endswith(".py"):
            spec = importlib.util.spec_from_file_location(f"prerl_custom_{Path(place).stem}", place)
            if spec is None or spec.loader is None:
                raise ImportError("not a Python file")
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        else:
            sys.path.insert(0, str(Path.cwd()))
            try:
                module = importlib.import_module(place)
            finally:
                sys.path.pop(0)
    except Exception as error:
        raise UserError(f"{reference}: {place} cannot be imported: {one_line(error, place)}") from error
    function = getattr(module, name, None)
    if not callable(function):
        names = [key for key, value in vars(module).items() if inspect.isfunction(value)]
        raise UserError(f"{reference}: {place} has no function {name!r}; it has {', '.join(names) or 'none'}")
    return function


def asked(function: Callable[..., Any], given: dict[str, Any]) -> Any:
    """Calls a function with those of the given values that its parameters name. Raises UserError if it needs one that
    is not given."""
    parameters = inspect.signature(function).parameters.values()
    if any(one.kind == one.VAR_KEYWORD for one in parameters):
        return function(**given)
    needed = [one.name for one in parameters if one.default is one.empty and one.kind != one.VAR_POSITIONAL]
    if lacking := [name for name in needed if name not in given]:
        raise UserError(f"asks for {', '.join(map(repr, lacking))}; there are {', '.join(given)}")
    return function(**{one.name: given[one.name] for one in parameters if one.name in given})


def one_line(error: Exception, place: str) -> str:
    """The error in one line, with the line of the author's own code that it came from."""
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).name == Path(place).name
    ]
    where = f" (line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())}{where}"
