"""Entries: a comparison packed so that others can commit it beside the baselines, look at it, and train it again.

An entry's functions are a stranger's Python code. To pack, to check and to draw entries reads files alone; only
`reproduce_entry` runs that code, and only where it is told to.
"""

import datetime
import math
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from prerl.analysis.behaviour import Lexicon
from prerl.analysis.counts import Runs
from prerl.analysis.entries import METHOD, RECORD, TABLES, Against, Entry, check_files, check_size, data_of, read_entry
from prerl.analysis.scores import averaged, check_alike
from prerl.compare import baselines as fixed
from prerl.compare.baselines import Baselines, by_run, identity
from prerl.compare.differences import PRIMARY, at_an_end, versus
from prerl.compare.ledger import LEDGER, checksum, checksum_of, standing
from prerl.compare.levels import level_of, replicates
from prerl.compare.reproduce import Kept, again
from prerl.compare.tuned import as_tuned, tuned_values
from prerl.compare.written import made_with, tables_of
from prerl.errors import UserError
from prerl.files.atomic import read_json, write, write_json, write_table
from prerl.files.checksums import checksums, sha256
from prerl.settings.functions import source
from prerl.settings.methods import PLACES, Method, load_methods, new_method
from prerl.settings.reading import check, difference
from prerl.settings.scale import Scale


def submit(
    scale: Scale,
    baselines: Baselines,
    file: Path,
    lexicon: Lexicon,
    results: Path,
    out: Path,
    author: str | None = None,
    stated: int = 1,
) -> Entry:
    """Packs the comparison of the method in a file, whose runs lie under `results`, into the directory out/NAME:

    method.yaml      the method with every value, and beside it the files of its functions
    tests.parquet, dev.parquet, updates.parquet   counts and logs, as those of baselines
    entry.json       the record, see `Entry`; with the comparison with GRPO, as it follows from the counts

    Of the variants `stated` and those in the ledger the larger number counts. Raises UserError if the comparison was
    not made, is not of this method, or does not fit the baselines; if the entry is too large; or if there is another
    one of its name.
    """
    baselines.check_fit(scale)
    name, method = new_method(file, scale, baselines.methods())
    written, summary = load_methods(file)[name], results / name / "summary/scale.json"
    if not summary.is_file():
        raise UserError(f"{summary}: not there: compare first, `snakemake --cores all compare --config method={file}`")
    look = read_json(summary).get("look")
    tuned = tuned_values(baselines, name, method, results / name).get(name)
    method = as_tuned(scale, name, written, {name: tuned} if tuned else {})
    seeds = replicates(baselines.seeds, baselines.seeds_of(PRIMARY), look)
    baselines.check_inputs(results, sorted({scale.base_of(seed) for seed in seeds}))
    runs = {seed: results / name / f"seed{seed}" for seed in seeds}
    for run in runs.values():
        _check_run(run, method, file)
    tables = tables_of(named := {(name, seed): run for seed, run in runs.items()}, named, lexicon)
    variants = max(standing(results / LEDGER, method)[1], stated)
    record = {
        "name": name,
        "label": method.label,
        "author": author,
        "date": _date(out / name),
        "scale": baselines.record["scale"],
        "baselines": data_of(baselines.path / fixed.RECORD),
        "identity": identity(scale),
        "seeds": seeds,
        "look": look,
        "variants": variants,
        "method": checksum(method),
        "tuned": tuned.model_dump() if tuned else None,
        "made_with": made_with(scale, lexicon, [*runs.values()]),
        "comparison": against_grpo(scale, baselines, name, by_run(tables["tests"])[name], look, variants),
    }

    def produce(path: Path) -> None:
        path.mkdir()
        _write_method(written, path)
        for key in TABLES:
            write_table(path / f"{key}.parquet", tables[key])
        whole = record | {"files": checksums([path], path)}
        check(Entry, whole, str(out / name / RECORD))
        write_json(path / RECORD, whole)
        check_size(path)
        if (out / name).exists() and checksums([path], path) != checksums([out / name], out / name):
            raise UserError(
                f"{out / name}: there is another entry of that name: delete it, or rename the method's file"
            )

    write(out / name, produce)
    return read_entry(out / name)


def _check_run(run: Path, method: Method, file: Path) -> None:
    """Raises UserError if a run is not whole, or of another method."""
    lacking = [name for name in ("run.json", "evaluate.json") if not (run / name).is_file()]
    if lacking:
        raise UserError(f"{run / lacking[0]}: missing: `snakemake --cores all compare --config method={file}` makes it")
    config = read_json(run / "run.json")["config"]
    if checksum_of(config["phases"], config["functions"]) != checksum(method):
        raise UserError(f"{run}: a run of the method as it was before {file} was changed: compare again")


def _date(directory: Path) -> str:
    """Today, or when an entry that is there was made."""
    there = directory / RECORD
    return read_json(there).get("date") if there.is_file() else datetime.date.today().isoformat()


def _write_method(method: Method, out: Path) -> None:
    """Writes a method and the files of its functions to a directory, where they are found by their names alone."""
    data = method.model_dump(exclude_defaults=True)
    for place in method.functions:
        copy = out / source(place).name
        if copy.exists() and sha256(copy) != sha256(source(place)):
            raise UserError(f"{place}: another file of its functions is called {copy.name} too: rename one of them")
        shutil.copyfile(source(place), copy)
        for phase in data["phases"]:
            own = {key: f"{copy.name}:{place.rpartition(':')[2]}" for key in PLACES if phase.get(key) == place}
            phase.update(own)
    (out / METHOD).write_text(yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=120), encoding="utf-8")


def against_grpo(
    scale: Scale, baselines: Baselines, name: str, tests: Runs, look: int | None, variants: int
) -> dict[str, Any]:
    """The comparison of a method with GRPO, from the counts of its test responses: what `Against` says. Raises
    UserError if they are not counts of the same problems, or if GRPO is not among the baselines."""
    if PRIMARY not in baselines.methods():
        raise UserError(f"{baselines.path}: without {PRIMARY}, which an entry is compared with")
    others, everything = list(baselines.methods()), baselines.tests() | {name: tests}
    check_alike(everything)
    left_out = at_an_end(everything, others, list(scale.evaluation.benchmarks))
    benchmarks = [benchmark for benchmark in scale.evaluation.benchmarks if benchmark not in left_out]
    level = level_of(look, variants)
    rows = versus(everything, name, others, benchmarks, level)
    row = next(row for row in rows if row["baseline"] == PRIMARY)  # of all benchmarks first
    share, weights, _ = averaged(tests, benchmarks)
    numbers = {key: row[key] for key in Against.model_fields if key in row}
    return {"accuracy": float((share * weights).mean()), **numbers}


@dataclass(frozen=True)
class Opened:
    """An entry that is whole and fits the baselines; none of its code has run."""

    path: Path
    entry: Entry
    method: Method  # as it was trained
    tests: Runs
    updates: pd.DataFrame  # method, seed, and a row an update


def open_entry(path: Path, scale: Scale, baselines: Baselines) -> Opened:
    """An entry, checked. Raises UserError if a file is damaged or changed, or if it does not fit the baselines: their
    record, what they have in common, replicates, and a name of its own."""
    entry = read_entry(path)
    check_files(path, entry)
    baselines.check_fit(scale)
    if entry.scale != baselines.record["scale"] or entry.baselines != data_of(baselines.path / fixed.RECORD):
        raise UserError(f"{path}: compared with other baselines than {baselines.path}: not comparable")
    if found := difference(baselines.record["identity"], entry.identity):
        raise UserError(f"{path / RECORD}: identity: differs from {baselines.path} ({found}): not comparable")
    if entry.seeds != replicates(baselines.seeds, baselines.seeds_of(PRIMARY), entry.look):
        raise UserError(f"{path / RECORD}: seeds: not those that a comparison takes")
    if entry.name in baselines.methods():
        raise UserError(f"{path}: a baseline has that name")
    tests = by_run(pd.read_parquet(path / "tests.parquet"))
    if list(tests) != [entry.name] or list(tests[entry.name]) != entry.seeds:
        raise UserError(f"{path / 'tests.parquet'}: not of the method and seeds in {RECORD}")
    method = packed_method(path, entry, scale)
    return Opened(path, entry, method, tests[entry.name], pd.read_parquet(path / "updates.parquet"))


def packed_method(path: Path, entry: Entry, scale: Scale) -> Method:
    """The method of an entry as it was trained; its functions are not loaded. Raises UserError if it is not the one
    that the entry's record has the checksum of, or if a function stands elsewhere than in a file of the entry."""
    [method, *others] = load_methods(path / METHOD).values()
    for place in method.functions:  # before anything looks for it: to find a module imports the packages around it
        there = Path(place.rpartition(":")[0])
        if there.name not in entry.code or there.resolve() != (path / there.name).resolve():
            raise UserError(f"{path / METHOD}: {place}: an entry's functions stand in files beside it")
    used = {Path(place.rpartition(":")[0]).name for place in method.functions}
    if unused := sorted(set(entry.code) - used):
        raise UserError(f"{path / unused[0]}: no function of the method stands there")
    method = as_tuned(scale, entry.name, method, {entry.name: entry.tuned} if entry.tuned else {})
    if others or checksum(method) != entry.method or method.label != entry.label:
        raise UserError(f"{path / METHOD}: not the method in {RECORD}")
    return method


def recompute(opened: Opened, scale: Scale, baselines: Baselines) -> tuple[bool, str]:
    """Whether the comparison in an entry's record follows from its counts. (whether, the answer in words)"""
    entry = opened.entry
    found = against_grpo(scale, baselines, entry.name, opened.tests, entry.look, entry.variants)
    stated = entry.comparison.model_dump()
    wrong = [
        f"{key} is {stated[key]} there, {value} by the counts"
        for key, value in found.items()
        if (value != stated[key] if key == "verdict" else not math.isclose(value, stated[key], abs_tol=1e-6))
    ]
    if wrong:
        return False, f"{opened.path / RECORD}: comparison: does NOT follow from the counts: {'; '.join(wrong)}."
    return True, (
        f"{entry.label}, {len(entry.seeds)} replicates: {100 * found['estimate']:+.1f} points against GRPO "
        f"[{100 * found['sure_low']:+.1f}, {100 * found['sure_high']:+.1f}], which allows for {entry.variants} "
        "variants tried: this follows from the entry's counts."
    )


def reproduce_entry(
    opened: Opened, scale: Scale, baselines: Baselines, seed: int | None, tasks: Path, run_its_code: bool
) -> tuple[bool, str]:
    """Trains and evaluates one run of an entry anew, its first without a seed; see `again`. Raises UserError if the
    entry has no such run, or functions and nobody said that these may run."""
    entry = opened.entry
    seed = entry.seeds[0] if seed is None else seed
    if seed not in entry.seeds:
        raise UserError(f"{opened.path}: no run with seed {seed}; there are {', '.join(map(str, entry.seeds))}")
    if entry.code and not run_its_code:
        raise UserError(
            f"{opened.path / entry.code[0]}: its author's code, which training would run: read it, then add "
            "--run-its-code"
        )
    log = opened.updates[(opened.updates["method"] == entry.name) & (opened.updates["seed"] == seed)]
    with tempfile.TemporaryDirectory() as directory:  # what runs is what was checked, and leaves nothing beside it
        for name in (*entry.files, RECORD):
            shutil.copyfile(opened.path / name, Path(directory) / name)
        check_files(Path(directory), entry)
        method, made = packed_method(Path(directory), entry, scale), entry.made_with.model_dump()
        kept = Kept("entry", opened.path, entry.name, method, opened.tests, log.reset_index(drop=True), made)
        return again(scale, baselines, kept, seed, tasks)
