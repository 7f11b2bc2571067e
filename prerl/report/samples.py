"""The samples that a page carries: an unselected part of every run's responses, and all counts of right ones."""

import base64
import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from prerl.analysis.behaviour import EXECUTION, Lexicon, count, thoughts
from prerl.analysis.scores import BASE
from prerl.analysis.study import Study
from prerl.files.atomic import read_json, read_jsonl
from prerl.files.checksums import read_table

LIMIT = 4_500_000  # bytes that the packed samples may take: the whole page stays below 8 MB and opens at once
SHOWN = 4  # responses a problem, at most
DEV = "dev"


def pack(data: dict[str, Any]) -> str:
    """As text that fits into a page: JSON, gzip, base64. The same bytes for the same data."""
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
    shown, problems = SHOWN, None
    while True:
        data = _collect(results, study, lexicon, shown, problems)
        most = max(len(entry["problems"]) for entry in data["sets"])
        if len(pack(data)) <= limit or (shown == 1 and most == 1):
            return data
        if shown > 1:
            shown //= 2
        else:
            problems = -(-most // 2)


def _collect(results: Path, study: Study, lexicon: Lexicon, shown: int, problems: int | None) -> dict[str, Any]:
    texts: dict[tuple, int] = {}
    sets: dict[str, dict[str, Any]] = {}
    runs = {}
    for method, seed, run in _runs(results, study):
        for name, step, rows in _parts(run):
            if name not in sets:
                sets[name] = _set(results, name, rows, shown, problems)
            entry = sets[name]
            if name == DEV and step not in entry["steps"]:
                entry["steps"].append(step)
            names = [problem for problem, _ in entry["problems"]]
            solved = rows.groupby("problem").score.sum().reindex(names)
            few = rows[rows["sample"] < entry["shown"]].set_index(["problem", "sample"])
            few = few.reindex(pd.MultiIndex.from_product([names, range(entry["shown"])]))
            keys = zip(few.response, few.tokens.astype(int).tolist(), few.finished.astype(bool).tolist(), strict=True)
            runs[f"{name}/{method}/{seed}/{step if name == DEV else ''}"] = {
                "step": step,
                "texts": [texts.setdefault(key, len(texts)) for key in keys],
                "right": "".join("1" if score == 1 else "0" for score in few.score),
                "solved": solved.astype(int).tolist(),
            }
    return {
        "methods": [{"name": name, "label": label} for name, label in study.labels.items()],
        "seeds": study.scale["seeds"],
        "behaviours": [name for name in lexicon.names if name != EXECUTION],
        "marked": len(lexicon.thoughts),
        "texts": _read(list(texts), lexicon),
        "sets": list(sets.values()),
        "runs": runs,
    }


def _runs(results: Path, study: Study) -> Iterator[tuple[str, int, Path]]:
    yield BASE, study.scale["seeds"][0], results / BASE
    for method in study.scale["methods"]:
        for seed in study.scale["seeds"]:
            yield method, seed, results / method / f"seed{seed}"


def _parts(run: Path) -> Iterator[tuple[str, int, pd.DataFrame]]:
    """The test benchmarks of a run at the step that was chosen on dev, then dev at each step: (set, step, rows)."""
    columns = ["problem", "sample", "response", "tokens", "finished", "score"]
    tested = read_table(run / "samples.parquet", columns=["benchmark", *columns])
    chosen = 0 if run.name == BASE else read_json(run / "run.json")["selected_step"]
    for name, rows in tested.groupby("benchmark", sort=False):
        yield str(name), chosen, rows
    if run.name != BASE:
        for step, rows in read_table(run / "dev.parquet", columns=["step", *columns]).groupby("step"):
            yield DEV, int(step), rows  # pyright: ignore[reportArgumentType]  (pandas' stubs do not know the key's kind)


def _set(results: Path, name: str, rows: pd.DataFrame, shown: int, problems: int | None) -> dict[str, Any]:
    problem_rows = read_jsonl(results / "problems" / f"{name}.jsonl")
    prompts = {row["id"]: row.get("question", row["prompt"]) for row in problem_rows}
    n = int(rows["sample"].max()) + 1
    names = list(dict.fromkeys(rows.problem))
    return {
        "name": name,
        "steps": [],
        "n": n,
        "shown": min(shown, n),
        "total": len(names),
        "problems": [[problem, prompts[problem]] for problem in names[:problems]],
    }


def _read(keys: list[tuple[str, int, bool]], lexicon: Lexicon) -> list[list[Any]]:
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
