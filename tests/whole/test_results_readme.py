"""results/README.md against the tables and records that the stages write."""

import json
import re
import shutil
from dataclasses import dataclass

import pandas as pd
import pyarrow.parquet
import pytest

from prerl.analysis.behaviour import load_lexicon
from prerl.analysis.sensitivity import summarize_tuning
from prerl.analysis.summary import summarize
from prerl.base.committed import take_base
from prerl.base.pretrain import pretrain
from prerl.compare.baselines import Baselines
from prerl.compare.entries import submit
from prerl.compare.versus import TABLES, compare
from prerl.compare.written import write_baselines
from prerl.engines.local import train
from prerl.evaluation.alignment import align_base, align_run
from prerl.evaluation.evaluate import evaluate
from prerl.report.tables.write import TABLES as REGISTERED
from prerl.report.tables.write import write_tables
from prerl.settings.scale import load_scale
from tests.helpers import CAPTIONS, ROOT, SMOKE_FILE, changed
from tests.study import ACCURACIES, LEXICON

README = ROOT / "results/README.md"
RECORD, SOURCES = "Every record", "Tables with all numbers"
# What a test of this package alone cannot write: it takes a GPU, a published model, or responses to public problems.
ELSEWHERE = {"hardware.gpu", "peak_gpu_memory_bytes", "inputs", "unreadable"}
STUDIES = re.compile(
    r"^(ablations/|base-study/|compare/([^/]+/(?=summary/|tables/))?|sensitivity/(?=summary/|tables/))"
)
PLACES = {"METHOD": "[^/]+", "seedN": r"seed\d+", "NAME": "[^/]+", "SCALE": "[^/]+"}


@dataclass
class Section:
    """What the README says of a file: its columns, and which of these are there only in some cases."""

    columns: set[str]
    optional: set[str]


def cells(text):
    """The rows below the head of the first Markdown table in a text."""
    rows = [line.strip("|").split(" | ") for line in re.findall(r"^\|(.+)\|$", text, re.MULTILINE)]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def sections():
    """(heading, text) of the README's third level."""
    return re.findall(r"^### (.+)\n((?:(?!^##).*\n?)*)", README.read_text(encoding="utf-8"), re.MULTILINE)


def documented():
    """Path, with places for what varies -> Section; also that of every record."""
    found = {}
    for heading, text in sections():
        if heading == SOURCES:
            continue
        section = Section(set(), set())
        for names, meaning, _ in cells(text):
            if names == "*every record*":
                section.columns |= found[RECORD].columns
                section.optional |= found[RECORD].optional
            named = set(re.findall(r"`([^`]+)`", names))
            assert not named & section.columns, f"{heading}: {names} twice"
            section.columns |= named
            section.optional |= named if meaning.startswith("*Only ") else set()
        found |= dict.fromkeys(re.findall(r"`([^`]+)`", heading) or [heading], section)
    return found


def sources():
    """Table -> the file whose columns it has."""
    rows = cells(dict(sections())[SOURCES])
    return {name: source.strip("`") for names, source in rows for name in re.findall(r"`(\w+)`", names)}


def pattern(path):
    return re.sub("|".join(PLACES), lambda found: PLACES[found[0]], path.replace(".", r"\."))


def section_of(path, known):
    """The section about a file, by its path below results/SCALE or results."""
    path = path if path in known else STUDIES.sub("", path)
    table = re.fullmatch(r"tables/(\w+)\.csv", path)
    path = sources().get(table[1], path) if table else path
    found = [name for name in known if re.fullmatch(pattern(name), path)]
    return found[0] if found else None


def keys(data, listed, prefix=""):
    """The keys of a record as the README names them: `a.b` below `a`, `a[].b` in the members of a list."""
    for name, value in data.items():
        path = prefix + name
        inside = f"{path}[]." if isinstance(value, list) else f"{path}."
        if not any(other.startswith(inside) for other in listed):
            yield path
            continue
        for one in value if isinstance(value, list) else [value]:
            yield from keys(one, listed, inside)


def columns(path, listed):
    """The columns or keys of a file."""
    if path.suffix == ".parquet":
        return set(pyarrow.parquet.read_schema(path).names)
    if path.suffix == ".csv":
        return set(pd.read_csv(path, nrows=0).columns)
    text = path.read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()] if path.suffix == ".jsonl" else [json.loads(text)]
    return {key for row in rows for key in keys(row, listed)}


def below(root, *places):
    """Path below a root -> file, of the tables and records at these places."""
    kinds, models = {".parquet", ".csv", ".json", ".jsonl"}, r"(^|/)(model|checkpoints|baselines/\w+/base)/|captions"
    files = {file for place in places for file in (root / place, *(root / place).rglob("*")) if file.suffix in kinds}
    paths = {file.relative_to(root).as_posix(): file for file in sorted(files)}
    return {path: file for path, file in paths.items() if not re.search(models, path)}


@pytest.fixture(scope="module")
def real(scale, trained, methods, tmp_path_factory):
    """A study of one run, as small as it goes, by the stages themselves."""
    root = tmp_path_factory.mktemp("real")
    small = changed(
        scale,
        pretrain=changed(scale.pretrain, steps=2, warmup_steps=1),
        rl=changed(scale.rl, steps=2, checkpoint_every=1, dev_samples=2),
        evaluation=changed(scale.evaluation, benchmarks=dict.fromkeys(scale.evaluation.benchmarks, 2)),
        analysis=changed(scale.analysis, alignment_methods=["grpo"], alignment_steps=[1], bootstrap=40),
        methods=["grpo"],
        seeds=[0],
    )
    base, run, problems = root / "base/seed0", root / "grpo/seed0", root / "problems"
    shutil.copytree(trained / "problems", problems)
    pretrain(small, 0, base)
    train(small, "grpo", methods["grpo"], 0, base / "model", problems, run)
    for path in (base, run):
        evaluate(small, path / "model", problems, ROOT / "workflow/tasks", path)
    align_base(small, methods, 0, base / "model", problems, base)
    align_run(small, run, problems, run)
    summarize(small, {"grpo": methods["grpo"]}, load_lexicon(LEXICON), root, root / "summary")
    return below(root, ".")


@pytest.fixture(scope="module")
def compared(printed, methods, tmp_path_factory):
    """Baselines of the made-up study, and a new method that is compared with them."""
    root, scale, lexicon = tmp_path_factory.mktemp("fixed"), load_scale(SMOKE_FILE), load_lexicon(LEXICON)
    old = {name: methods[name] for name in ACCURACIES}
    write_baselines(scale, old, lexicon, printed, root / "baselines/made-up")
    fixed, results, new = Baselines(root / "baselines/made-up"), root / "compare", changed(methods["grpo"], label="New")
    shutil.copytree(printed / "problems", results / "problems")
    shutil.copytree(root / "baselines/made-up/bases", results / "base")
    shutil.copytree(printed / "grpo", results / "new")
    compare(scale, fixed, "new", new, lexicon, results, results / "new/summary")
    (root / "new.yaml").write_text("label: New\nphases: [{space: post-train, samples: all, advantage: std}]")
    submit(scale, fixed, root / "new.yaml", lexicon, results, root / "entries")
    write_tables([*TABLES], results / "new/summary", old | {"new": new}, CAPTIONS / "tables", results / "new/tables")
    kept = [f"baselines/made-up/{name}" for name in ("tests.parquet", "dev.parquet", "baselines.json")]
    kept += [f"entries/new/{name}" for name in ("tests.parquet", "dev.parquet", "entry.json")]
    return below(root, *kept, "compare/new/summary", "compare/new/tables", "compare/ledger.jsonl")


@pytest.fixture(scope="module")
def tuned(printed, as_written, tmp_path_factory):
    """The outcome of the made-up study's tuning."""
    root, scale = tmp_path_factory.mktemp("tuned"), load_scale(SMOKE_FILE)
    few, summary = {name: as_written[name] for name in ACCURACIES}, root / "sensitivity/summary"
    summarize_tuning(scale, scale.tuning, few, printed / "sensitivity", summary)
    write_tables(["sensitivity"], summary, as_written, CAPTIONS / "tables", root / "sensitivity/tables")
    return below(root, ".")


@pytest.fixture(scope="module")
def taken(tmp_path_factory):
    """A base model that was not pretrained, but committed."""
    root = tmp_path_factory.mktemp("taken")
    take_base(
        load_scale(ROOT / "workflow/scales/tiny.yaml"), ROOT / "results/baselines/tiny/bases", 0, root / "base/seed0"
    )
    return below(root, "base")


@pytest.fixture(scope="module")
def written(real, public_sets, compared, tuned, taken, printed):
    """(path, file) of one of every kind, also of what is committed."""
    committed = below(ROOT / "results", "baselines/tiny")
    bench = below(ROOT / "results/baselines", "bench")
    bench = {f"bench/{file.name}": file for file in bench.values()}
    made_up = below(printed, "summary", "tables", "claims.csv", "claim_parts.csv", "claims_elsewhere.csv")
    return [
        item
        for files in (real, below(public_sets, "."), compared, tuned, taken, made_up, committed, bench)
        for item in files.items()
    ]


def test_every_file_has_the_columns_that_the_readme_lists(written):
    known, wrong = documented(), []
    seen = {id(section): set() for section in known.values()}
    for path, file in written:
        name = section_of(path, known)
        if name is None:
            wrong.append(f"{path}: not in the README")
            continue
        section = known[name]
        if file.suffix == ".parquet" and not pyarrow.parquet.read_metadata(file).num_rows:
            continue  # it has no columns; whether there is a row may depend on chance
        found = columns(file, section.columns)
        seen[id(section)] |= found
        seen[id(known[RECORD])] |= found & known[RECORD].columns
        more, missing = found - section.columns, section.columns - section.optional - found
        wrong += [f"{path}: not in the README: {', '.join(sorted(more))}"] if more else []
        wrong += [f"{path}: in the README alone: {', '.join(sorted(missing))}"] if missing else []
    for name, section in known.items():
        common = known[RECORD].columns if name != RECORD else set()
        if never := section.columns - common - seen[id(section)] - ELSEWHERE:
            wrong.append(f"{name}: no file has {', '.join(sorted(never))}")
    assert not wrong, "\n".join(wrong)


def test_the_readme_names_a_source_of_every_table():
    others = {"methods", "sensitivity", "published"}
    assert set(sources()) == {*REGISTERED} - others
    assert set(sources().values()) <= set(documented())


def test_a_column_that_is_not_as_written_is_found(written, monkeypatch, tmp_path):
    text = README.read_text(encoding="utf-8")
    renamed = text.replace("| `used_samples` | responses that", "| `useful_samples` | responses that")
    (tmp_path / "README.md").write_text(renamed, encoding="utf-8")
    assert renamed != text
    monkeypatch.setattr("tests.whole.test_results_readme.README", tmp_path / "README.md")
    with pytest.raises(AssertionError) as error:
        test_every_file_has_the_columns_that_the_readme_lists(written)
    assert "log.parquet: not in the README: used_samples" in str(error.value)
    assert "log.parquet: in the README alone: useful_samples" in str(error.value)
