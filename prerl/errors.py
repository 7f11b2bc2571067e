"""Errors that are the user's to mend: shown as one line, without traceback, with exit code 2."""

import errno
import math
import os
import re
from collections.abc import Collection

DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}


class UserError(Exception):
    """What was wrong, where, and what to do about it."""


def known(names: list[str], registry: Collection[str], kind: str) -> list[str]:
    """The names, all of them registered. Raises UserError for the first that is not."""
    for name in names:
        if name not in registry:
            raise UserError(f"no {kind} {name!r}; there are {', '.join(registry)}")
    return names


def lacking(error: BaseException) -> str | None:
    """What the machine does not have or does not allow, if an error says that, and what to do. Libraries report it in
    many ways: with an errno, in a text, or in an error raised while they clean up after it."""
    number = getattr(error, "errno", None)
    if number is None and (found := re.search(r"\(os error (\d+)\)", str(error))):  # safetensors
        number = int(found[1])
    if number in DISK:
        return f"{os.strerror(number)}: make room, or allow writing there, and run the same command again"
    words = ("can't allocate memory", "can't start new thread")  # torch's, and Python's
    if isinstance(error, MemoryError) or number == errno.ENOMEM or any(word in str(error) for word in words):
        return (
            "not enough memory: run fewer jobs at once (--cores), or lower rl.sample_batch, rl.micro_batch and "
            "evaluation.batch_size"
        )
    return lacking(error.__context__) if error.__context__ else None


def check_finite(name: str, value: float) -> None:
    """Raises UserError for NaN and infinity: such an update would spoil the model for good, and the next checkpoint."""
    if not math.isfinite(value):
        raise UserError(
            f"the {name} is {value:g}; the run stops here and its last checkpoint is kept; lower the learning rate, or "
            "look at the method's own functions"
        )
