"""The page of a study that is still being made: what it says, when it gives way, that it ends with its workflow."""

import json
import os
import subprocess
import sys
import threading
import time

import pandas as pd
import pytest

from prerl.report import watch
from prerl.report.watch import MARK, drawing, finished_page, last_line, read_curve, state
from tests.helpers import ROOT

TEMPLATE = ROOT / "workflow/page/unfinished.html"


@pytest.fixture
def study(tmp_path):
    """A study of two runs and their evaluation, of which nothing is made yet: its directory, and its plan."""
    jobs = [
        {"rule": rule, "name": f"{rule} {seed}", "file": str(tmp_path / f"grpo/seed{seed}/{file}")}
        | {"log": str(tmp_path / f"logs/{rule}-{seed}.log"), "seconds": None}
        for seed in (0, 1)
        for rule, file in (("train", "run.json"), ("evaluate", "evaluate.json"))
    ]
    plan = {"name": "made-up", "description": "Two <runs>.", "seconds": 600.0, "jobs": jobs}
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/plan.json").write_text(json.dumps(plan))
    return tmp_path, plan


def make(root, job, accuracy=0.5):
    run = root / f"grpo/seed{job['name'][-1]}"
    run.mkdir(parents=True, exist_ok=True)
    if job["rule"] == "train":
        rows = [{"step": step, "score": float(number < accuracy * 4)} for step in (0, 5) for number in range(4)]
        pd.DataFrame(rows).to_parquet(run / "dev.parquet")
    (run / job["file"].rsplit("/", 1)[1]).write_text("{}")


def test_the_page_grows_with_every_run_and_ends_with_the_last(study, monkeypatch):
    root, plan = study
    monkeypatch.setattr(watch, "EVERY", 0.0)
    pages, jobs = [], iter(plan["jobs"])

    def sleep(_):
        pages.append((root / "index.html").read_text())
        if job := next(jobs, None):
            make(root, job, accuracy=0.25 + 0.5 * int(job["name"][-1]))

    monkeypatch.setattr(watch.time, "sleep", sleep)
    watch.watch(root / "logs/plan.json", TEMPLATE, root / "index.html", os.getpid())
    pages.append((root / "index.html").read_text())
    counts = [int(page.partition("</title>")[0].rpartition("made-up, ")[2].split(" of ")[0]) for page in pages]
    assert counts == [0, 1, 2, 3, 4] and all(MARK in page and "Two &lt;runs&gt;." in page for page in pages)
    assert "None has ended yet" in pages[0] and "about 10 more" in pages[0]
    assert "grpo: 0.250 at the end (1 run)" in pages[1] and "grpo: 0.500 at the end (2 runs)" in pages[-1]


def test_its_own_page_is_no_job_that_is_done(study, monkeypatch):
    root, plan = study
    page = {"rule": "page", "name": "page", "file": str(root / "index.html"), "log": str(root / "logs/page.log")}
    page |= {"seconds": None}
    (root / "logs/plan.json").write_text(json.dumps(plan | {"jobs": [*plan["jobs"], page]}))
    for job in plan["jobs"]:
        make(root, job)
    monkeypatch.setattr(watch, "LONG", ("page",))
    monkeypatch.setattr(watch, "EVERY", 0.0)
    looks = iter([True, True, False])
    monkeypatch.setattr(watch, "alive", lambda parent: next(looks))
    watch.watch(root / "logs/plan.json", TEMPLATE, root / "index.html", os.getpid())
    assert "4 of 5 jobs done" in (root / "index.html").read_text()


def test_the_finished_page_is_left_alone(study):
    root, _ = study
    page = root / "index.html"
    page.write_text("<!doctype html>\n<html>the real one")
    watch.watch(root / "logs/plan.json", TEMPLATE, page, os.getpid())
    assert finished_page(page) and page.read_text().endswith("the real one")


def test_it_ends_with_its_workflow(study):
    root, _ = study
    workflow = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    given = (root / "logs/plan.json", TEMPLATE, root / "index.html", workflow.pid)
    watching = threading.Thread(target=watch.watch, args=given)
    watching.start()
    while not (root / "index.html").is_file():
        time.sleep(0.05)
    workflow.communicate(b"\n")  # it ends, and is waited for
    watching.join(timeout=60)
    assert not watching.is_alive()
    page = (root / "index.html").read_text()
    assert "was stopped" in page and "The same command goes on" in page and "refresh" not in page


def test_what_runs_now_is_the_last_line_of_logs_that_are_written(study):
    root, plan = study
    (root / "logs/train-0.log").write_text("one\n\nstep 3/20  reward 0.5\n\n")
    old = root / "logs/train-1.log"
    old.write_text("long ago\n")
    os.utime(old, (0, 0))
    said = state(plan, [], plan["jobs"], 60)
    assert said["running"] == [{"name": "train 0", "line": "step 3/20  reward 0.5"}]
    assert (said["minutes"], said["remaining"], said["done"], said["all"]) == (1, 9, 0, 4)
    assert last_line(root / "logs/train-0.log") == "step 3/20  reward 0.5"


def test_curves_are_means_over_runs(study):
    root, plan = study
    make(root, plan["jobs"][0], 0.25)
    curve = read_curve(root / "grpo/seed0/dev.parquet")
    assert curve == {0: 0.25, 5: 0.25}
    drawn = drawing({"grpo": {0: curve, 1: {0: 0.25, 5: 0.75}}})
    (line,) = drawn["lines"]
    assert line["points"] == "0.0,120.0 640.0,0.0" and (drawn["last"], drawn["top"]) == (5, "0.50")


def test_what_is_left_goes_by_what_jobs_take():
    """Two of four jobs were done in four minutes: a tenth of the work where it is known how long each takes."""
    jobs = [{"rule": "train", "name": "", "file": "f", "log": "none", "seconds": own} for own in (1.0, 9.0, 45.0, 45.0)]
    study = {"seconds": 6000.0, "jobs": jobs}
    assert watch.state(study, jobs[:2], jobs[2:], 240.0)["remaining"] == 36
    assert watch.state(study, jobs[:1], jobs[1:], 240.0)["remaining"] == 96  # a hundredth tells nothing yet
    unknown = [job | {"seconds": None} for job in jobs]
    assert watch.state({"seconds": None, "jobs": unknown}, unknown[:2], unknown[2:], 240.0)["remaining"] == 4
