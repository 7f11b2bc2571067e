"""The `prerl` command."""

import sys

# isort: off
from prerl.commands import app, run, report, compare  # noqa: F401  (they register their commands, in this order)
from prerl.errors import UserError
# isort: on


def main() -> None:
    """Entry point: a user's mistake is one line and exit code 2."""
    try:
        app()
    except UserError as error:
        print(f"prerl: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":  # `python -m prerl.cli`, as launchers of several processes need it
    main()
