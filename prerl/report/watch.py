"""The page of a study that is still being made: jobs done and left, learning curves so far, what runs now.

A process of its own writes it while Snakemake works, and nothing depends on it: it only reads. It imports neither torch
nor pandas, and draws anew only when a run has ended.
"""

import math
import os
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import jinja2
import pyarrow.parquet as parquet

from prerl.errors import UserError
from prerl.files.atomic import read_json, write_text

EVERY = 5.0  # seconds between looks
MARK = "<!-- unfinished -->"
WIDTH, HEIGHT = 640, 240  # of the drawing
LONG = ("base", "prime", "train", "evaluate", "align_base", "align_run")  # jobs that are waited for

SURE = 0.05  # share of the work after which its own pace says what is left; before, what was expected

Curve = dict[int, float]  # dev accuracy by update


def watch(plan: Path, template: Path, out: Path, parent: int) -> None:
    """Writes the page to `out` until the process `parent` has ended, which it then says, the study's own page is there,
    or no long job is left. `plan` is a JSON file: name, description, seconds (expected, or null), jobs (rule, name,
    file, log, and seconds, of one alone, or null)."""
    study, shown = read_json(plan), ""
    curves: dict[str, dict[int, Curve]] = defaultdict(dict)
    start = plan.stat().st_mtime
    while not finished_page(out):
        stopped = not alive(parent)
        # Where the study's page will be, this one is.
        done = [job for job in study["jobs"] if made(Path(job["file"]), start) and Path(job["file"]) != out]
        left = [job for job in study["jobs"] if job not in done]
        for path in sorted(plan.parents[1].glob("*/seed*/run.json")):
            method, seed = path.parts[-3], int(path.parts[-2].removeprefix("seed"))
            if method != "base" and seed not in curves[method] and (path.parent / "dev.parquet").is_file():
                curves[method][seed] = read_curve(path.parent / "dev.parquet")
        content = state(study, done, left, time.time() - start) | {"stopped": stopped}
        content |= {"drawing": drawing(curves), "mark": MARK}
        page = render(template, content)
        if page != shown and not finished_page(out):
            write_text(out, page)
            shown = page
        if stopped or not any(job["rule"] in LONG for job in left):
            return
        time.sleep(EVERY)


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def made(path: Path, start: float) -> bool:
    """Whether a file was written since."""
    return path.is_file() and path.stat().st_mtime >= start


def finished_page(path: Path) -> bool:
    """Whether the study's own page is there."""
    if not path.is_file():
        return False
    with path.open(encoding="utf-8") as file:
        return MARK not in file.read(2000)


def read_curve(path: Path) -> Curve:
    """Mean dev score by update of a run."""
    table = parquet.read_table(path, columns=["step", "score"]).to_pydict()
    scores: dict[int, list[float]] = defaultdict(list)
    for step, score in zip(table["step"], table["score"], strict=True):
        scores[step].append(score)
    return {step: sum(found) / len(found) for step, found in sorted(scores.items())}


def state(
    study: dict[str, Any], done: list[dict[str, Any]], left: list[dict[str, Any]], seconds: float
) -> dict[str, Any]:
    """What the page says of the jobs, `seconds` after they began."""
    rules = list(dict.fromkeys(job["rule"] for job in study["jobs"]))
    counts = Counter(job["rule"] for job in done), Counter(job["rule"] for job in study["jobs"])
    running = []
    for job in left:
        log = Path(job["log"])
        if log.is_file() and time.time() - log.stat().st_mtime < 120 and (line := last_line(log)):
            running.append({"name": job["name"], "line": line})
    behind, ahead = (sum(weight(job) for job in jobs) for jobs in (done, left))
    told = behind > SURE * (behind + ahead)
    remaining = seconds * ahead / behind if told else (study["seconds"] or math.nan) - seconds
    return {
        "study": study,
        "rules": [(rule, counts[0][rule], counts[1][rule]) for rule in rules],
        "done": len(done),
        "all": len(study["jobs"]),
        "running": running,
        "minutes": round(seconds / 60),
        "remaining": None if math.isnan(remaining) else max(1, round(remaining / 60)),
    }


def weight(job: dict[str, Any]) -> float:
    """How much of the time of a study a job takes: its seconds, or where they are not known as much as any long one."""
    return float(job["rule"] in LONG) if job["seconds"] is None else job["seconds"]


def last_line(log: Path) -> str:
    """The last line of a log that says something; read from its end, for logs are long."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 2000))
        lines = [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else ""


def drawing(curves: dict[str, dict[int, Curve]]) -> dict[str, Any]:
    """Lines through each method's mean over the runs that have ended: points of an SVG, the scale of its axes."""
    means = {}
    for method, runs in curves.items():
        steps = sorted(set.intersection(*(set(run) for run in runs.values()))) if runs else []
        if steps:
            means[method] = [(step, sum(run[step] for run in runs.values()) / len(runs)) for step in steps]
    last = max((line[-1][0] for line in means.values()), default=1) or 1
    top = max((value for line in means.values() for _, value in line), default=1.0) or 1.0
    lines = [
        {
            "method": method,
            "runs": len(curves[method]),
            "last": f"{line[-1][1]:.3f}",
            "points": " ".join(f"{WIDTH * x / last:.1f},{HEIGHT * (1 - y / top):.1f}" for x, y in line),
        }
        for method, line in means.items()
    ]
    return {"lines": lines, "width": WIDTH, "height": HEIGHT, "last": last, "top": f"{top:.2f}"}


def render(template: Path, content: dict[str, Any]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template.parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    try:
        return environment.get_template(template.name).render(**content)
    except jinja2.TemplateError as error:
        raise UserError(f"{template}: {error}") from error
