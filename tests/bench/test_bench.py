"""That `prerl bench` measures what it says; how fast things are is for the bench itself to say."""

import json
import re
import shutil

import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from prerl.base.committed import pretraining
from prerl.bench import measure, report
from prerl.bench.quick import Pace, quick, said, study_seconds
from prerl.bench.work import flops
from prerl.cli import app
from prerl.errors import UserError
from prerl.files.atomic import write_json
from prerl.files.checksums import checksums
from prerl.model.plain import load_pretrained
from tests.helpers import ROOT, SMOKE_FILE, broken, changed

SIZES = {"prompts": 2, "group": 2, "length": 12}


@pytest.fixture(scope="module")
def results(trained, tmp_path_factory):
    root = tmp_path_factory.mktemp("bench")
    (root / "base/seed0").mkdir(parents=True)
    (root / "base/seed0/model").symlink_to(trained / "model")
    (root / "problems").symlink_to(trained / "problems")
    return root


@pytest.fixture(scope="module")
def work(results):
    return {
        "scale": str(SMOKE_FILE),
        "model": str(results / "base/seed0/model"),
        "problems": str(results / "problems"),
    } | SIZES


def test_trls_batches_are_even_where_ours_need_not_be(work, tmp_path, monkeypatch):
    pytest.importorskip("trl")
    path = broken(tmp_path, lambda data: data["rl"].update(micro_batch=3) or data)
    monkeypatch.setattr("prerl.bench.work.REPEATS", 1)
    assert len(measure.MEASURES["trl_step"](**work | {"scale": str(path)})["tokens_per_second"]) == 1


@pytest.mark.parametrize("name", ["local_step", "local_sampling", "transformers_sampling", "trl_step"])
def test_a_measurement_counts_the_tokens_that_were_made(work, name, monkeypatch):
    """Against a clock that moves by one second a look."""
    if name == "trl_step":
        pytest.importorskip("trl")
    threads = torch.get_num_threads()
    clock = iter(range(10_000))
    monkeypatch.setattr("prerl.bench.work.REPEATS", 2)
    monkeypatch.setattr("prerl.bench.work.time.monotonic", lambda: float(next(clock)))
    found = measure.MEASURES[name](**work)
    torch.set_num_threads(threads)
    assert len(found["tokens_per_second"]) == 2
    assert all(0 < pace <= 4 * 12 for pace in found["tokens_per_second"])  # a step is a look or more
    if name == "local_step":
        assert found["used_samples"] == 2 * 4  # of the smallest model's none is right, and yet no update is skipped


def test_flops_are_two_a_weight_that_is_used(trained):
    model = load_pretrained(trained / "model")
    inputs = torch.tensor([[1, 5, 9]])
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counted, torch.no_grad():
        model(inputs)
    products = sum(v for name, v in counted.get_flop_counts()["Global"].items() if "attention" not in str(name))
    assert flops(model) * 3 == pytest.approx(products, rel=0.01)  # norms and rotations are no products


def test_the_report_gives_medians_ratios_and_shares(results, tmp_path, monkeypatch):
    paces = {"local_step": 300.0, "trl_step": 100.0, "local_sampling": 800.0, "transformers_sampling": 200.0}

    def measured(name, **settings):
        if name == "peak":
            return {"flops": [1e9] * 5}
        if name == "where":
            return {"operations": {"aten::mm": 0.5}}
        pace = paces.get(name, 50.0)
        more = {"tokens": 1000, "generate_seconds": 1.0, "update_seconds": 2.0, "flops_per_token": 100_000}
        return {"tokens_per_second": [pace / 2, pace, pace, pace, 3 * pace], "peak_memory_bytes": 1e8} | more

    monkeypatch.setattr(report, "measured", measured)
    from prerl.settings.scale import load_scale

    text = report.bench(SMOKE_FILE, load_scale(SMOKE_FILE), results, SIZES, tmp_path)
    assert "| 300 " in text and "150 to 900" in text and "**3.0 times**" in text and "**4.0 times**" in text
    assert "sampling reaches 10% of it" in text and "update reaches 15% of it" in text
    record = json.loads((tmp_path / "bench.json").read_text())
    assert record["measures"]["trl_step"]["tokens_per_second"] == [50, 100, 100, 100, 300]
    assert (tmp_path / "bench.md").read_text() == text


@pytest.mark.slow
def test_growth_is_measured_in_processes_of_their_own_and_drawn(tmp_path, monkeypatch):
    points = {"batch": [{"batch": 8, "length": 4}], "length": [{"batch": 8, "length": 8}]}
    monkeypatch.setattr(report, "AXES", points | {"size": [{"size": "0.6M", "batch": 8, "length": 4}]})
    table = report.grow(1, tmp_path)
    assert len(table) == 3 and (table.parameters > 400_000).all() and (table.peak_memory_bytes > 1e8).all()
    assert (table.sampling_tokens_per_second > 0).all() and (table.update_tokens_per_second > 0).all()
    report.draw_growth(table, tmp_path)
    assert len(pd.read_csv(tmp_path / "growth.csv")) == 3 and (tmp_path / "growth.svg").stat().st_size > 5000


@pytest.mark.slow
def test_a_bench_without_a_base_or_that_fails_is_one_line(tmp_path):
    with pytest.raises(UserError, match="no base model; run"):
        report.bench(SMOKE_FILE, None, tmp_path, SIZES, tmp_path)
    with pytest.raises(UserError, match=r"bench: growth failed: .+"):
        report.measured("growth", wrong=1)


@pytest.mark.parametrize(("option", "value"), [("--prompts", 0), ("--group", 1), ("--length", -1)])
def test_a_bench_of_nothing_is_refused(tmp_path, option, value):
    result = CliRunner().invoke(app, ["bench", "--results", "x", "--out", str(tmp_path), option, str(value)])
    assert result.exit_code == 2 and option in result.output and not isinstance(result.exception, UserError)


def test_the_quick_bench_counts_what_a_study_consists_of(scale):
    pace = Pace(start=1.0, update=2.0, dev=4.0, response=0.01, gradients=0.5, tokens=1000.0)
    study = changed(
        scale,
        methods=["grpo", "dsrl", "nsr-rl"],
        seeds=[0, 1],
        rl=changed(scale.rl, steps=6, checkpoint_every=3),
        analysis=changed(scale.analysis, alignment_methods=["grpo", "dsrl"], alignment_steps=[3, 6]),
    )
    found = study_seconds(study, pace)
    assert found["training"] == 6 * (1 + 6 * 2 + 3 * 4)
    responses = sum(24 * repeats for repeats in study.evaluation.benchmarks.values())
    assert found["evaluation"] == pytest.approx(7 * (1 + responses * 0.01))
    assert found["gradients"] == 5 * 1 + 32 * (1 + 2 * 2) * 0.5 + 4 * 7 * 2  # six methods and the null on each batch
    assert "With 1 job at once" in said(study, pace, 1) and "With 4 jobs at once" in said(study, pace, 4)
    minutes = sum(found.values()) / 2 / 60
    assert f"about {minutes:.0f} minutes" in said(study, pace, 2)


@pytest.mark.slow
def test_the_quick_bench_measures_what_it_counts(scale, trained, tmp_path, monkeypatch):
    root = tmp_path / "bases/seed0"
    shutil.copytree(trained / "model", root / "model")
    outputs = checksums([root / "model"], root)
    record = {"config": pretraining(scale, 0), "parameters": 1, "commit": None, "versions": {}, "hardware": {}}
    write_json(root / "run.json", record | {"outputs": outputs})
    monkeypatch.setattr("prerl.bench.quick.SECONDS", 0)
    monkeypatch.chdir(ROOT)
    threads = torch.get_num_threads()
    text = quick(scale, root.parent)
    torch.set_num_threads(threads)
    assert re.search(r"makes [\d,]+ tokens a second .* samples [\d,]+ responses a second, .* about \d+ minutes", text)
    with pytest.raises(UserError, match="no base model"):
        quick(scale, tmp_path / "none")
