"""Where results come from: commit, versions, hardware, and what each stage cost."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

from prerl.records import read_json
from prerl.scores import BASE


def provenance(results: Path, runs: list[Path]) -> dict[str, Any]:
    """Of the base and of training runs, from the records that their stages left.

    stages: per stage the number of jobs, wall_seconds of all and of the longest, tokens generated or trained on, and
    the largest peak_memory_bytes of a job. `commit` is the code's, or None where it is unknown or stages differ.
    """
    base = results / BASE
    trained = [read_json(run / "run.json") for run in runs]

    def made(name: str) -> list[dict[str, Any]]:
        """Records of a stage that not every directory has been through: a comparison evaluates no base."""
        return [read_json(run / name) for run in (base, *runs) if (run / name).is_file()]

    stages = {
        "base model": [read_json(base / "run.json")],
        "training": trained,
        "evaluation": made("evaluate.json"),
        "gradient alignment": made("alignment.json"),
    }
    records = [record for group in stages.values() for record in group]
    commits = {record.get("commit") for record in records}
    return {
        "version": version("prerl"),
        "commit": commits.pop() if len(commits) == 1 else None,
        "versions": records[0]["versions"],
        "hardware": records[0]["hardware"],
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
