"""The `prerl` command."""

import sys
from typing import NoReturn

# isort: off
from prerl.commands import app, start, run, report, compare  # noqa: F401  (they register their commands, in this order)
from prerl.errors import UserError, lacking
# isort: on


def main() -> None:
    """Entry point: a user's mistake, and what the machine lacks, is one line and exit code 2."""
    try:
        app()
    except UserError as error:
        stop(error)
    except Exception as error:
        if (reason := lacking(error)) is None:
            raise
        file = getattr(error, "filename", None)
        stop(f"{file}: {reason}" if file else reason)


def stop(reason: object) -> NoReturn:
    print(f"prerl: {reason}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":  # `python -m prerl.cli`, as launchers of several processes need it
    main()
