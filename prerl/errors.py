"""Errors that are the user's to mend: shown as one line, without traceback, with exit code 2."""


class UserError(Exception):
    """What was wrong, where, and what to do about it."""
