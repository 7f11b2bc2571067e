"""Where results come from: commits, versions, hardware, and what each stage cost; and what of it differs.

A number of processors changes no result; another processor, kernel of torch or number of threads rounds otherwise.
"""

import sys
from collections import Counter
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from prerl.files.atomic import read_json

Record = dict[str, Any]
LABELS = {
    "machine": "the architecture",
    "system": "the system",
    "processor": "the processor",
    "kernel": "torch's CPU kernel",
    "threads": "the number of threads",
    "gpu": "the GPU",
}
# What every record of a job that ran a model names, but those of older versions of this package do not.
NAMED = ("processor", "kernel", "threads", "engine")


def provenance(bases: list[Path], runs: list[Path]) -> dict[str, Any]:
    """Where the base models and training runs in these directories come from, by the records that their stages left:
    version, parameters, and

    commits, versions, hardware: each that is distinct among the records, with the number of jobs that it made
    commit: the code's, or None where it is unknown or jobs differ
    mixed: what is not the same in all jobs, a sentence each, see `mixed`
    stages: per stage the number of jobs, wall_seconds of all and of the longest, tokens generated or trained on, and
    the largest peak_memory_bytes of a job
    """
    trained = [read_json(run / "run.json") for run in runs]

    def made(name: str) -> list[Record]:
        """Records of a stage that not every directory has been through: a comparison evaluates no base."""
        return [read_json(run / name) for run in (*bases, *runs) if (run / name).is_file()]

    stages = {
        "base model": [read_json(base / "run.json") for base in bases],
        "training": trained,
        "evaluation": made("evaluate.json"),
        "gradient alignment": made("alignment.json"),
    }
    # A run that several processes made, in turn, counts for each set that they worked with.
    made_by = [[one for record in group for one in (record, *record.get("earlier", []))] for group in stages.values()]
    records = [record for group in made_by for record in group]
    commits = distinct(records, "commit")
    return {
        "version": version("prerl"),
        "commit": commits[0]["commit"] if len(commits) == 1 else None,
        "commits": commits,
        "versions": distinct(records, "versions"),
        "hardware": distinct(records, "hardware"),
        "mixed": mixed(made_by),
        "parameters": records[0]["parameters"],
        "stages": [
            {
                "stage": stage,
                "jobs": len(group),
                "wall_seconds": sum(record["wall_seconds"] for record in group),
                "longest_seconds": max(record["wall_seconds"] for record in group),
                "tokens": sum(record.get("tokens", 0) for record in group),
                "peak_memory_bytes": max(record["peak_memory_bytes"] for record in group),
            }
            for stage, group in stages.items()
            if group
        ],
    }


def distinct(records: list[Record], key: str) -> list[dict[str, Any]]:
    """Every value of a key among records, with the number that have it, the commonest first: [{jobs: 3, KEY: value}]"""
    found: list[dict[str, Any]] = []
    for record in records:
        value = record.get(key)
        same = next((one for one in found if one[key] == value), None)
        if same:
            same["jobs"] += 1
        else:
            found.append({"jobs": 1, key: value})
    return sorted(found, key=lambda one: -one["jobs"])


def parts(record: Record) -> dict[str, Any]:
    """What a job was made with, by name: packages, and the hardware but for the number of processors."""
    hardware = {name: value for name, value in record.get("hardware", {}).items() if name != "cpus"}
    return record.get("versions", {}) | hardware


def mixed(stages: Iterable[list[Record]]) -> list[str]:
    """What is not the same in all jobs of a study, a sentence each, from the records by stage: commits, versions and
    hardware. A stage may name what another does not, and has a number of threads of its own."""
    groups = [[{"commit": record.get("commit")} | parts(record) for record in group] for group in stages]
    jobs = [job for group in groups for job in group]
    found = []
    for name in dict.fromkeys(name for job in jobs for name in job):
        counts = Counter(job.get(name) for job in jobs)
        named = {value: count for value, count in counts.items() if value is not None}
        within = any(len({job.get(name) for job in group}) > 1 for group in groups)
        if within or (len(named) > 1 and name != "threads"):
            shown = named if len(named) > 1 else counts
            values = [f"{'not named' if value is None else value} in {_jobs(count)}" for value, count in shown.items()]
            found.append(f"{LABELS.get(name, name)} is {' and '.join(values)}")
    return found


def differences(here: list[Record], there: list[Record]) -> list[str]:
    """What jobs here were made with and jobs there were not, a sentence each; also what one side does not name.
    Packages that one side alone uses are no difference. Threads and engine are what `settings` of a record say."""
    mine, its = _values(here), _values(there)
    for side in (mine, its):
        side.setdefault("gpu", ["none"])
    found = []
    for name in {**mine, **its}:
        if name in mine and name in its and mine[name] != its[name]:
            label = f"hardware: {LABELS[name]}" if name in LABELS else name
            found.append(f"{label} is {' and '.join(mine[name])} here, {' and '.join(its[name])} there")
    for side, where, other, elsewhere in ((its, "there", mine, "here"), (mine, "here", its, "there")):
        if missing := [name for name in NAMED if name not in side]:
            known = [f"{LABELS.get(name, name)} {' and '.join(other[name])}" for name in missing if name in other]
            names = ", ".join(LABELS.get(name, name) for name in missing)
            found.append(f"not named {where}: {names}" + (f" ({elsewhere}: {', '.join(known)})" if known else ""))
    return found


def _values(records: list[Record]) -> dict[str, list[str]]:
    """Every value that a part has among records, as text, in order."""
    found: dict[str, set[str]] = {}
    for record in records:
        made = {name: value for name, value in parts(record).items() if name != "threads"}
        for name, value in (made | record.get("settings", {})).items():
            found.setdefault(name, set()).add(_listed(value) if isinstance(value, dict) else str(value))
    return {name: sorted(values) for name, values in found.items()}


def _listed(engine: dict[str, Any]) -> str:
    """An engine's name and settings."""
    name, *settings = [value if key == "name" else f"{key} {value}" for key, value in engine.items()]
    return f"{name} ({', '.join(settings)})" if settings else name


def warn(place: Path, sentences: list[str]) -> None:
    for sentence in sentences:
        print(f"prerl: warning: {place}: {sentence}", file=sys.stderr)


def _jobs(count: int) -> str:
    return f"{count} job{'s' if count > 1 else ''}"
