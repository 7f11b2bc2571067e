"""The samples that a page carries: an unselected part of every run's responses, and all counts of right ones."""

import base64
import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pandas as pd

from prerl.analysis.behaviour import EXECUTION, Lexicon, count, thoughts
from prerl.analysis.scores import BASE
from prerl.analysis.study import Study
from prerl.files.atomic import read_json, read_jsonl
from prerl.files.checksums import read_table

LIMIT = 4_500_000  # bytes that the packed samples may take: the whole page stays below 8 MB and opens at once
SHOWN = 4  # responses a problem, at most
DEV = "dev"
Key = tuple[str, int, bool]  # a response, its tokens, whether it ended by itself


def pack(data: dict[str, Any]) -> str:
    """The data as text that fits into a page: JSON, gzipped, in base64; data that are alike give the same bytes."""
    raw = json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()
    return base64.b64encode(gzip.compress(raw, mtime=0)).decode()


def sample_data(results: Path, study: Study, lexicon: Lexicon, limit: int = LIMIT) -> dict[str, Any]:
    """What the page's browser shows, as JSON values.

    methods      [{name, label}], the base first
    seeds        as the scale lists them
    behaviours   names; kinds of thoughts whose words are marked come first, `marked` of them
    texts        [[response, tokens, finished, [start, end, kind, ...], [count a behaviour]]], each once
    sets         [{name, steps, n, shown, problems: [[id, question or prompt]]}]; steps is empty for a test benchmark
    runs         {"set/method/seed/step": {step, texts: [index], right: "0101", solved: [of n, a problem]}};
                 texts and right hold `shown` responses a problem

    The first SHOWN responses to every problem; where they would take more than `limit` bytes, fewer responses, then
    the first problems alone. `solved` always counts all n responses.
    """
    sets, parts = _collect(results, study)
    keys = dict.fromkeys(key for part in parts for key in part.keys)
    read = dict(zip(keys, _read(list(keys), lexicon), strict=True))
    about = {
        "methods": [{"name": name, "label": label} for name, label in study.labels.items()],
        "seeds": study.scale["seeds"],
        "behaviours": [name for name in lexicon.names if name != EXECUTION],
        "marked": len(lexicon.thoughts),
    }
    shown, problems = SHOWN, max(entry["total"] for entry in sets.values())
    while True:
        data = about | _cut(sets, parts, read, shown, problems)
        if len(pack(data)) <= limit or (shown == 1 and problems == 1):
            return data
        if shown > 1:
            shown //= 2
        else:
            problems = -(-problems // 2)


@dataclass
class Part:
    """The first responses of one run to one set, at one step."""

    run: str
    name: str  # of the set
    step: int
    keys: list[Key]  # problem-major, the set's `shown` a problem
    right: list[bool]
    solved: list[int]  # of all n responses, a problem


def _collect(results: Path, study: Study) -> tuple[dict[str, dict[str, Any]], list[Part]]:
    """The sets, with all their problems, and what every run answered: each file is read once."""
    sets: dict[str, dict[str, Any]] = {}
    parts = []
    for method, seed, run in _runs(results, study):
        for name, step, rows in _parts(run):
            if name not in sets:
                sets[name] = _set(results, name, rows)
            entry = sets[name]
            if name == DEV and step not in entry["steps"]:
                entry["steps"].append(step)
            names = [problem for problem, _ in entry["problems"]]
            solved = rows.groupby("problem").score.sum().reindex(names)
            few = rows[rows["sample"] < entry["shown"]].set_index(["problem", "sample"])
            few = few.reindex(pd.MultiIndex.from_product([names, range(entry["shown"])]))
            lengths = few.tokens.astype(int).tolist()
            parts.append(
                Part(
                    run=f"{name}/{method}/{seed}/{step if name == DEV else ''}",
                    name=name,
                    step=step,
                    keys=list(zip(few.response, lengths, few.finished.astype(bool).tolist(), strict=True)),
                    right=(few.score == 1).tolist(),
                    solved=solved.astype(int).tolist(),
                )
            )
    return sets, parts


def _cut(
    sets: dict[str, dict[str, Any]], parts: list[Part], read: dict[Key, list[Any]], shown: int, problems: int
) -> dict[str, Any]:
    """`shown` responses to the first `problems` of each set."""
    texts: dict[Key, int] = {}
    runs = {}
    for part in parts:
        width, few = sets[part.name]["shown"], min(shown, sets[part.name]["n"])
        places = [place * width + index for place in range(len(part.solved[:problems])) for index in range(few)]
        runs[part.run] = {
            "step": part.step,
            "texts": [texts.setdefault(part.keys[place], len(texts)) for place in places],
            "right": "".join("1" if part.right[place] else "0" for place in places),
            "solved": part.solved[:problems],
        }
    return {
        "texts": [read[key] for key in texts],
        "sets": [
            entry | {"shown": min(shown, entry["n"]), "problems": entry["problems"][:problems]}
            for entry in sets.values()
        ],
        "runs": runs,
    }


def _runs(results: Path, study: Study) -> Iterator[tuple[str, int, Path]]:
    first = study.scale["base_seeds"][0]  # of the bases, one is enough to see what they say
    yield BASE, first, results / BASE / f"seed{first}"
    for method in study.scale["methods"]:
        for seed in study.scale["seeds"]:
            yield method, seed, results / method / f"seed{seed}"


def _parts(run: Path) -> Iterator[tuple[str, int, pd.DataFrame]]:
    """The test benchmarks of a run at the step that was chosen on dev, then dev at each step: (set, step, rows)."""
    columns = ["problem", "sample", "response", "tokens", "finished", "score"]
    tested = read_table(run / "samples.parquet", columns=["benchmark", *columns])
    base = run.parent.name == BASE
    chosen = 0 if base else read_json(run / "run.json")["selected_step"]
    for name, rows in tested.groupby("benchmark", sort=False):
        yield str(name), chosen, rows
    if not base:
        for step, rows in read_table(run / "dev.parquet", columns=["step", *columns]).groupby("step"):
            yield DEV, int(cast(int, step)), rows


def _set(results: Path, name: str, rows: pd.DataFrame) -> dict[str, Any]:
    problem_rows = read_jsonl(results / "problems" / f"{name}.jsonl")
    prompts = {row["id"]: row.get("question", row["prompt"]) for row in problem_rows}
    n = max(rows["sample"].tolist()) + 1
    names = list(dict.fromkeys(rows.problem))
    return {
        "name": name,
        "steps": [],
        "n": n,
        "shown": min(SHOWN, n),
        "total": len(names),
        "problems": [[problem, prompts[problem]] for problem in names],
    }


def _read(keys: list[Key], lexicon: Lexicon) -> list[list[Any]]:
    """Each response with its tokens, whether it ended by itself, the words that mark its thoughts, its behaviours."""
    counts = count(pd.Series([response for response, *_ in keys]), lexicon).drop(columns=EXECUTION).to_numpy().tolist()
    return [
        [response, tokens, int(finished), marks(response, lexicon), found]
        for (response, tokens, finished), found in zip(keys, counts, strict=True)
    ]


def marks(response: str, lexicon: Lexicon) -> list[int]:
    """The words by which thoughts are no execution: start, end (in characters) and kind (its place in the lexicon),
    one after the other."""
    found, place = [], 0
    kinds = list(lexicon.thoughts)
    for kind, thought in thoughts(response, lexicon):
        start = response.index(thought, place)
        place = start + len(thought)
        if kind in kinds:
            start += len(thought) - len(thought.lstrip())
            for match in re.finditer(lexicon.thoughts[kind], thought.strip(), re.IGNORECASE):
                found += [start + match.start(), start + match.end(), kinds.index(kind)]
    return found
