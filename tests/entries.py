"""A comparison as if it had just been made, and changes of an entry."""

import json

from prerl.files.atomic import read_json, write_json
from prerl.files.checksums import checksums

GRPO = "label: {label}\nphases:\n  - {{space: post-train, samples: all, advantage: {advantage}}}\n"


def say(results, name, method):
    """Lets the records of runs say that they are of a method, and that they were compared."""
    for path in (results / name).glob("seed*/run.json"):
        config = {"phases": [phase.model_dump() for phase in method.phases], "functions": method.sources()}
        path.write_text(json.dumps(read_json(path) | {"config": config}))
    write_json(results / name / "summary/scale.json", {"look": None})


def change(directory, **values):
    """Changes keys of an entry's record."""
    write_json(directory / "entry.json", read_json(directory / "entry.json") | values)


def relist(directory):
    files = [path for path in directory.iterdir() if path.name != "entry.json"]
    change(directory, files=checksums(sorted(files), directory))
