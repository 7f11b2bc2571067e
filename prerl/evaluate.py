"""Evaluation on lm-evaluation-harness: its task files, its loop, our sampler; every response is kept."""

from pathlib import Path
from typing import Any

import pandas as pd
import torch

from prerl.config import Scale
from prerl.errors import UserError
from prerl.records import RunRecord, sha256, write_table
from prerl.scoring import SCORES


def evaluate(scale: Scale, model: Path, problems: Path, tasks: Path, out: Path) -> None:
    """Runs the scale's benchmarks on a model directory.

    `problems` holds NAME.jsonl for each benchmark, `tasks` the lm-eval task files. Writes out/samples.parquet, a row
    a response (benchmark, problem, sample, response, tokens, entropy in nats a token, finished, answer, score), and
    out/evaluate.json. Raises UserError for a missing model, benchmark or problem file.
    """
    torch.set_num_threads(scale.threads)
    settings = scale.evaluation
    files = {name: problems / f"{name}.jsonl" for name in settings.benchmarks}
    for file in (model / "model.safetensors", *files.values()):
        if not file.is_file():
            raise UserError(f"{file}: not found; run the stage that makes it")
    record = RunRecord("evaluate", settings.model_dump())
    samples, averages = _run(scale, model, files, tasks)
    inputs = {"model": sha256(model / "model.safetensors")} | {name: sha256(file) for name, file in files.items()}
    write_table(out / "samples.parquet", samples)
    record.write(out / "evaluate.json", inputs=inputs, averages=averages, tokens=int(samples.tokens.sum()))


def _run(scale: Scale, model: Path, files: dict[str, Path], tasks: Path) -> tuple[pd.DataFrame, dict[str, float]]:
    """All responses, a row each, and lm-eval's own average of each benchmark."""
    from lm_eval.evaluator import simple_evaluate
    from lm_eval.tasks import TaskManager

    from prerl.lm import LocalLM

    settings = scale.evaluation
    manager = TaskManager(include_path=str(tasks), include_defaults=False)
    if missing := set(files) - set(manager.all_tasks):
        raise UserError(f"{tasks}: no task file for benchmark {min(missing)!r}; there are {manager.all_tasks}")
    lm = LocalLM(model, settings.batch_size)
    results = simple_evaluate(
        lm,
        tasks=[{"group": "prerl", "task": [_task(scale, name, file) for name, file in files.items()]}],
        task_manager=manager,
        log_samples=True,
        bootstrap_iters=0,
        verbosity="ERROR",
    )
    averages = {name: results["results"][name]["avg,all"] for name in files}
    docs = {(name, entry["doc_id"]): entry["doc"] for name in files for entry in results["samples"][name]}
    rows = []
    for (name, doc_id), responses in lm.generated.items():
        doc = docs[name, doc_id]
        texts = [response["response"] for response in responses]
        for index, scored in enumerate(SCORES[scale.problems.world](doc, texts)):
            rows.append({"benchmark": name, "problem": doc["id"], "sample": index, **responses[index], **scored})
    samples = pd.DataFrame(rows)
    ours = samples.groupby("benchmark").score.mean()
    if any(abs(ours[name] - average) > 1e-9 for name, average in averages.items()):
        raise RuntimeError(f"the kept responses do not give lm-eval's averages: {ours.to_dict()} against {averages}")
    return samples, averages


def _task(scale: Scale, name: str, file: Path) -> dict[str, Any]:
    """The task file's entry with this scale's data, repeats and sampling."""
    settings, repeats = scale.evaluation, scale.evaluation.benchmarks[name]
    return {
        "task": name,
        "dataset_kwargs": {"data_files": {"test": str(file.resolve())}},
        "repeats": repeats,
        "filter_list": [{"name": "all", "filter": [{"function": "take_first_k", "k": repeats}]}],
        "generation_kwargs": {
            "do_sample": True,
            "temperature": settings.temperature,
            "top_p": settings.top_p,
            "top_k": 0,
            "max_gen_toks": settings.max_new_tokens,
            "until": [],
        },
    }
