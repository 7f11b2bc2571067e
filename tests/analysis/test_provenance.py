"""What a result came from: every set of versions and hardware, and what of it is mixed."""

import json
import re
import shutil
from pathlib import Path

import pytest

from prerl.analysis.behaviour import load_lexicon
from prerl.analysis.provenance import mixed, provenance
from prerl.analysis.summary import summarize
from prerl.report.page import machine, write_page
from prerl.report.paper import compile_paper
from tests.helpers import ROOT
from tests.study import LEXICON, few_resamples


def remade(record, **changes):
    """Another record, of a job that was made otherwise: versions, hardware or commit."""
    old = json.loads(record.read_text())
    record.write_text(json.dumps(old | {k: old[k] | v if isinstance(v, dict) else v for k, v in changes.items()}))


def test_provenance_adds_up_the_cost_of_each_stage(study, tmp_path):
    made = json.loads((study / "summary/provenance.json").read_text())
    assert made["parameters"] == 1000 and made["mixed"] == []
    assert made["hardware"] == [{"jobs": 16, "hardware": {"machine": "abacus", "cpus": 2}}]
    assert made["commit"] == "0123456789abcdef" and made["commits"] == [{"jobs": 16, "commit": "0123456789abcdef"}]
    stages = {stage["stage"]: stage for stage in made["stages"]}
    assert set(stages) == {"base model", "training", "evaluation"}  # no records of alignment here
    training = stages["training"]
    assert (training["jobs"], training["wall_seconds"], training["tokens"]) == (6, 18.0, 600)
    assert stages["evaluation"]["jobs"] == 8 and stages["base model"]["peak_memory_bytes"] == 30


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"commit": "another"}, "commit is 0123456789abcdef in 15 jobs and another in 1 job"),
        ({"versions": {"torch": "2.0"}}, "torch is 1.0 in 15 jobs and 2.0 in 1 job"),
        ({"hardware": {"processor": "Z80"}}, "the processor is not named in 15 jobs and Z80 in 1 job"),
        ({"hardware": {"machine": "slide rule"}}, "the architecture is abacus in 15 jobs and slide rule in 1 job"),
        ({"hardware": {"kernel": "AVX2"}}, "torch's CPU kernel is not named in 15 jobs and AVX2 in 1 job"),
        ({"hardware": {"gpu": "Voodoo 2"}}, "the GPU is not named in 15 jobs and Voodoo 2 in 1 job"),
        ({"hardware": {"cpus": 64}}, None),
    ],
)
@pytest.mark.parametrize("name", ["grpo/seed0/evaluate.json", "dsrl/seed1/run.json"])
def test_a_mixed_study_is_warned_of_and_lists_every_set(study, methods, tmp_path, capsys, name, changes, sentence):
    """Wherever among the records the other job is."""
    copy = tmp_path / "made-up"
    shutil.copytree(study, copy)
    remade(copy / name, **changes)
    chosen = {name: methods[name] for name in ("grpo", "nsr-prerl", "dsrl")}
    summarize(few_resamples(), chosen, load_lexicon(LEXICON), copy, tmp_path / "summary")
    made = json.loads((tmp_path / "summary/provenance.json").read_text())
    assert made["mixed"] == ([sentence] if sentence else [])
    warned = f"prerl: warning: {copy}: {sentence}\n" if sentence else ""
    assert capsys.readouterr().err == warned and (made["commit"] is None) == ("commit" in changes)
    for key, plural in (("commit", "commits"), ("versions", "versions"), ("hardware", "hardware")):
        assert [one["jobs"] for one in made[plural]] == ([15, 1] if key in changes else [16])
        if key in changes:
            assert made[plural][1][key] == json.loads((copy / name).read_text())[key]


def test_a_run_that_several_machines_made_in_turn_counts_for_each(study, methods, tmp_path):
    copy = tmp_path / "made-up"
    shutil.copytree(study, copy)
    path = copy / "grpo/seed0/run.json"
    record = json.loads(path.read_text())
    began = {key: record[key] for key in ("versions", "commit")} | {"hardware": {"processor": "Z80"}}
    path.write_text(json.dumps(record | {"earlier": [began]}))
    found = provenance([copy / "base/seed0"], [path.parent])
    assert {"jobs": 1, "hardware": {"processor": "Z80"}} in found["hardware"]
    assert any("Z80 in 1 job" in sentence for sentence in found["mixed"])


def test_what_stages_differ_in_by_their_nature_is_not_mixed():
    """The base has its own number of threads, and is only copied in a comparison; TRL serves training alone."""
    base = {"versions": {"torch": "1.0"}, "hardware": {"threads": 2}, "commit": "a"}
    training = {"versions": {"torch": "1.0", "trl": "1"}, "hardware": {"threads": 1, "processor": "Z80"}, "commit": "a"}
    evaluation = {"versions": {"torch": "1.0"}, "hardware": {"threads": 1, "processor": "Z80"}, "commit": "a"}
    assert mixed([[base], [training] * 2, [evaluation] * 2]) == []
    slow = {**training, "hardware": {"threads": 2, "processor": "Z80"}}
    assert mixed([[base], [training, slow]]) == ["the number of threads is 2 in 2 jobs and 1 in 1 job"]
    other = {**evaluation, "hardware": {"threads": 1, "processor": "6502"}}
    assert mixed([[base], [training], [other]]) == ["the processor is Z80 in 1 job and 6502 in 1 job"]


FULL = {"machine": "x86_64", "system": "Linux", "cpus": 2, "processor": "Z80", "kernel": "AVX2", "threads": 1}


def test_a_machine_in_words():
    assert machine(FULL) == "Z80, x86_64, torch's kernel AVX2, 1 thread, 2 CPUs, Linux"
    assert machine(FULL | {"gpu": "Voodoo 2", "threads": 4}).endswith("4 threads, 2 CPUs, Voodoo 2, Linux")
    assert machine({"machine": "abacus", "cpus": 1}) == "abacus, 1 CPU"


@pytest.fixture
def mixture(printed, tmp_path):
    """The printed study, of which three jobs of 14 were made with another torch on another processor."""
    results = shutil.copytree(printed, tmp_path / "results/made-up")
    path = results / "summary/provenance.json"
    made = json.loads(path.read_text())
    versions = made["versions"][0]["versions"]
    made["versions"] = [{"jobs": 11, "versions": versions}, {"jobs": 3, "versions": versions | {"torch": "2.0"}}]
    made["hardware"] = [{"jobs": 11, "hardware": FULL | {"processor": "6502"}}, {"jobs": 3, "hardware": FULL}]
    made["mixed"] = ["torch is 1.0 in 11 jobs and 2.0 in 3 jobs"]
    path.write_text(json.dumps(made))
    return results


def test_the_page_shows_every_set_and_warns_of_a_mixture(printed, mixture, methods, tmp_path):
    pages = []
    for results in (printed, mixture):
        out = tmp_path / "index.html"
        write_page(results, results / "summary", methods, load_lexicon(LEXICON), ROOT / "workflow/page/index.html", out)
        pages.append(re.sub(r"<script.*?</script>", "", out.read_text(), flags=re.DOTALL))
    whole, mixed_page = pages
    assert "Mixed results" not in whole and "<dd>abacus, 2 CPUs</dd>" in whole and " jobs)" not in whole
    assert "Mixed results" in mixed_page and "torch is 1.0 in 11 jobs and 2.0 in 3 jobs" in mixed_page
    assert mixed_page.index("Mixed results") < mixed_page.index('id="claims"')
    for text in ("Hardware (11 jobs)", "Hardware (3 jobs)", "Versions (11 jobs)", "Versions (3 jobs)"):
        assert f"<dt>{text}</dt>" in mixed_page
    assert "6502, x86_64" in mixed_page and "Z80, x86_64" in mixed_page and "torch 2.0" in mixed_page


def test_the_paper_shows_every_set_and_warns_of_a_mixture(printed, mixture, tmp_path, monkeypatch):
    import typst

    shutil.copytree(ROOT / "paper", tmp_path / "paper")
    shutil.copytree(printed, tmp_path / "results/whole")
    monkeypatch.chdir(tmp_path)
    texts = {}
    for name in ("made-up", "whole"):
        results = Path("results") / name
        compile_paper(Path("paper/main.typ"), results, Path("results/baselines"), results / "paper.pdf")
        texts[name] = typst.query("paper/main.typ", "<made>", root=".", sys_inputs={"results": f"/results/{name}"})
    for text in ("Mixed results", "torch is 1.0 in 11 jobs", "6502", "Z80"):
        assert text in texts["made-up"] and text not in texts["whole"]
    assert "abacus" in texts["whole"]
