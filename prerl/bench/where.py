"""Where the time of a whole study went: by kind of job, and within training."""

import base64
import json
from collections import defaultdict
from pathlib import Path

import pandas as pd

from prerl.analysis.scores import BASE
from prerl.bench.estimate import pace
from prerl.errors import UserError
from prerl.files.atomic import read_json, write_json, write_text
from prerl.files.checksums import read_table

METADATA = Path(".snakemake/metadata")  # Snakemake's notes on every file that it made: rule, start and end


def where(results: Path, metadata: Path, out: Path) -> str:
    """Writes out/where.md and returns it: seconds and shares of a study's jobs, by rule, and of its trainings' parts.
    Beside it where.json, from which `prerl.bench.estimate` tells another machine how long it will take: mean
    seconds of a rule's job, and this machine's pace. Raises UserError if Snakemake has noted nothing of that study
    here."""
    jobs = by_job(results, metadata)
    if jobs.empty:
        raise UserError(f"{metadata}: nothing of {results}: make the study with `snakemake --cores all` first")
    tables = [shares(jobs, "Jobs of the study"), shares(by_part(results), "Within training")]
    text = "\n\n".join(table.to_markdown(index=False, disable_numparse=True) for table in tables) + "\n"
    write_text(out / "where.md", text)
    each = dict(zip(jobs["what"], (jobs["seconds"] / jobs["jobs"]).round(2).tolist(), strict=True))
    write_json(out / "where.json", {"pace": pace(), "seconds": each})
    return text


def by_job(results: Path, metadata: Path) -> pd.DataFrame:
    """A row a rule: what (its name), jobs, and seconds of all of them together."""
    found: dict[str, dict[str, float]] = defaultdict(dict)  # a job's files have one command
    for path in metadata.rglob("*"):
        if not path.is_file():
            continue
        name = "".join(part.removeprefix("@") for part in path.relative_to(metadata).parts)  # of long ones in pieces
        if not base64.b64decode(name).decode().startswith(f"{results}/"):
            continue
        note = json.loads(path.read_text())
        command, seconds = note["shellcmd"], max(note["endtime"] - note["starttime"], 0)
        found[note["rule"]][command] = max(seconds, found[note["rule"]].get(command, 0))
    rows = [{"what": rule, "jobs": len(jobs), "seconds": sum(jobs.values())} for rule, jobs in found.items()]
    return pd.DataFrame(rows)


def by_part(results: Path) -> pd.DataFrame:
    """A row a part of all trainings: what, jobs, seconds."""
    runs = [path.parent for path in sorted(results.glob("*/seed*/run.json")) if path.parts[-3] != BASE]
    logs = pd.concat([read_table(run / "log.parquet").assign(run=str(run)) for run in runs])
    walls = sum(read_json(run / "run.json")["wall_seconds"] for run in runs)
    sampling, learning = logs["generate_seconds"].sum(), logs["update_seconds"].sum()
    parts = {
        "sampling for updates": sampling,
        "updates": learning,
        "dev evaluations, checkpoints, reading": walls - sampling - learning,
    }
    return pd.DataFrame([{"what": what, "jobs": len(runs), "seconds": seconds} for what, seconds in parts.items()])


def shares(table: pd.DataFrame, title: str) -> pd.DataFrame:
    """What is printed of such rows, the largest first."""
    table = table.sort_values("seconds", ascending=False)
    total = table["seconds"].sum()
    return pd.DataFrame(
        {
            title: table["what"],
            "Jobs": table["jobs"].astype(str),
            "Seconds": [f"{seconds:,.0f}" for seconds in table["seconds"]],
            "Share": [f"{seconds / total:.0%}" for seconds in table["seconds"]],
        }
    )
