import hashlib
import json
import os
import shutil

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TQDM_DISABLE", "1")

import pytest
import torch
from safetensors.torch import load_file

from prerl.base import pretrain as base
from prerl.base.committed import pretraining
from prerl.files.atomic import write_json
from prerl.files.checksums import checksums
from prerl.problems.public import PublicSet
from prerl.problems.sets import write_problem_sets
from prerl.report.figures.write import draw_figures
from prerl.report.tables.write import write_tables
from prerl.settings.methods import fit_methods, load_methods
from prerl.settings.model import Architecture
from prerl.settings.scale import load_scale
from tests.double import exact, mix_rewards
from tests.helpers import CAPTIONS, METHODS_FILE, SMOKE_FILE, STUDY_FIGURES, STUDY_TABLES, small_scale
from tests.pretrained import MODEL
from tests.study import write_study

torch.set_num_threads(1)


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(items):
    """Who needs the printed study waits for all its tables and figures."""
    for item in items:
        if "printed" in item.fixturenames:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def scale():
    return small_scale(load_scale(SMOKE_FILE))


@pytest.fixture(scope="session")
def as_written():
    """All methods as their file has them."""
    return load_methods(METHODS_FILE)


@pytest.fixture(scope="session")
def methods(as_written):
    """All methods as they are trained at the smoke scale."""
    return fit_methods(load_scale(SMOKE_FILE), as_written)


@pytest.fixture(scope="session")
def model():
    """An untrained model of the smallest scale."""
    architecture = Architecture(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        intermediate_size=48,
    )
    return base.fresh_model(architecture, seed=0, longest=256)


@pytest.fixture(scope="session")
def tokenizer():
    return base.tokenizer()


@pytest.fixture(scope="session")
def trained(scale, tmp_path_factory):
    """Directory of a base model that was really pretrained, and of the problem sets."""
    root = tmp_path_factory.mktemp("base")
    shutil.copytree(MODEL, root / "model")
    parameters = sum(weight.numel() for weight in load_file(root / "model/model.safetensors").values())
    made = {"commit": None, "versions": {}, "hardware": {}}
    record = {"config": pretraining(scale, 0), "parameters": parameters} | made
    write_json(root / "run.json", record | {"outputs": checksums([root / "model"], root)})
    write_problem_sets(scale.problems, root / "problems")
    return root


@pytest.fixture
def mixed_rewards(monkeypatch):
    mix_rewards(monkeypatch)


@pytest.fixture
def double(monkeypatch):
    exact(monkeypatch)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="session")
def study(tmp_path_factory, methods):
    """Directory of the results of the made-up study, with summaries and claims."""
    results = tmp_path_factory.mktemp("study") / "results/made-up"
    write_study(results, methods)
    return results


@pytest.fixture(scope="session")
def printed(study, methods, tmp_path_factory):
    """A copy of it with every table and figure, as the DAG leaves them."""
    results = tmp_path_factory.mktemp("printed") / "results/made-up"
    shutil.copytree(study, results)
    write_tables(STUDY_TABLES, results / "summary", methods, CAPTIONS / "tables", results / "tables")
    draw_figures(STUDY_FIGURES, results / "summary", methods, CAPTIONS / "figures", results / "figures")
    return results


@pytest.fixture(scope="session")
def chromium():
    playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests need the package playwright")
    installed = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with playwright.sync_playwright() as running:
        try:
            browser = running.chromium.launch(executable_path=installed, args=["--no-sandbox"])
        except playwright.Error:
            pytest.skip("the browser tests need Chromium: install it, or run `playwright install chromium`")
        yield browser
        browser.close()


@pytest.fixture
def made(tmp_path):
    """A public set of two problems, one of them twice, in a directory, under a name of its own."""
    rows = [
        {"text": [{"ask": "one?"}, {"ask": "two?"}], "gold": ["1"]},
        {"text": [{"ask": "one?"}, {"ask": "three?"}], "gold": ["2"]},
        {"text": [{"ask": "x"}, {"ask": "two?"}], "gold": ["1"]},  # again
    ]
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    (tmp_path / "whatever.jsonl").write_bytes(content)
    (tmp_path / "other.jsonl").write_text("{}\n")
    entry = PublicSet(
        repository="some/where",
        revision="0" * 40,
        path="deep/file.jsonl",
        sha256=hashlib.sha256(content).hexdigest(),
        question="text.1.ask",
        answer="gold.0",
        problems=2,
    )
    return entry, tmp_path
