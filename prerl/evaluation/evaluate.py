"""Evaluation on lm-evaluation-harness: its task files, its loop, our samplers; every response is kept."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from prerl.errors import UserError
from prerl.evaluation.partial import Partial
from prerl.evaluation.scoring import SCORES
from prerl.files.atomic import read_jsonl, write_table
from prerl.files.checksums import checksums, intact, sha256
from prerl.files.fingerprint import fingerprint
from prerl.files.record import RunRecord
from prerl.model.processor import occupy
from prerl.settings.model import ChatProblems
from prerl.settings.scale import Evaluation, Scale
from prerl.verify import readable

QUIET: dict[str, Any] = {"log_samples": True, "bootstrap_iters": 0, "verbosity": "ERROR"}

if TYPE_CHECKING:
    from lm_eval.tasks import TaskManager

    from prerl.evaluation.lm import RecordingLM


def evaluate(scale: Scale, model: Path, problems: Path, tasks: Path, out: Path) -> None:
    """Runs the scale's benchmarks on a model directory.

    `problems` holds NAME.jsonl for each benchmark, `tasks` the lm-eval task files. Writes out/samples.parquet, a row a
    response (benchmark, problem, sample, response, tokens, entropy in nats a token, finished, answer, score), and
    out/evaluate.json, which also names by benchmark the public problems whose gold answer the verifier cannot read
    (`unreadable`): no spelling but its own is right. The entropy is exact with the local sampler, estimated with vLLM.
    Raises UserError for a missing model, benchmark or problem file. A killed evaluation goes on from where it was, with
    the same responses.
    """
    occupy(scale.threads, scale.local_device)
    settings = scale.evaluation
    files = {name: problems / f"{name}.jsonl" for name in settings.benchmarks}
    for file in (model / "model.safetensors", *files.values()):
        if not file.is_file():
            raise UserError(f"{file}: not found; run the stage that makes it")
        if file.stat().st_size == 0:
            raise UserError(f"{file}: is empty; delete it, and run the stage that makes it")
    for name in settings.lm_eval:
        own_tasks(name)  # before hours of sampling
    record = RunRecord("evaluate", settings.model_dump())
    lm = sampler(settings, model)
    if isinstance(scale.problems, ChatProblems):
        record.data["unreadable"] = {name: unreadable(file) for name, file in files.items()}
        lm.template_options = scale.problems.template_options
    record.data["versions"] |= lm.versions
    weights = intact(model / "model.safetensors", model.parent / "run.json")
    inputs = {"model": sha256(weights)} | {name: sha256(file) for name, file in files.items()}
    made = {"threads": scale.threads, "code": fingerprint(__name__)} | lm.versions
    partial = Partial(out / "evaluate-partial", record.data["config"] | inputs | made)
    lm.resume(partial)
    lm.chat = scale.problems.chat
    samples, averages = _run(scale, lm, files, tasks)
    for name, metric in settings.lm_eval.items():
        more, averages[name] = run_own(lm, name, metric, settings.max_new_tokens)
        samples = pd.concat([samples, more], ignore_index=True)
    write_table(out / "samples.parquet", samples)
    outputs = checksums([out / "samples.parquet"], out)
    tokens = int(samples.tokens.sum())
    record.write(out / "evaluate.json", inputs=inputs, outputs=outputs, averages=averages, tokens=tokens)
    partial.clear()


def unreadable(file: Path) -> list[str]:
    """The problems of a public set's file whose gold answer the verifier cannot read."""
    return [row["id"] for row in read_jsonl(file) if not readable(row["answer"])]


def sampler(settings: Evaluation, model: Path) -> "RecordingLM":
    """The model in a directory as an lm-eval model. Raises UserError if its sampler is not installed."""
    if settings.sampler is None:
        from prerl.evaluation.lm import LocalLM

        # lm-eval's register_model hides which class it returns.
        return LocalLM(model, settings.batch_size)  # pyright: ignore[reportCallIssue, reportReturnType]
    from prerl.evaluation.lm_vllm import VllmLM

    options = settings.sampler.model_dump()
    return VllmLM(model, settings.batch_size, **options)  # pyright: ignore[reportCallIssue, reportReturnType]


def run_own(lm: "RecordingLM", name: str, metric: str, max_new_tokens: int) -> tuple[pd.DataFrame, float]:
    """A row a problem of a task or group that lm-eval ships, and the mean score. `metric` is the one that counts, with
    its filter. Raises UserError if there is no such task, its data are not there, or it has no such metric."""
    from lm_eval.evaluator import simple_evaluate

    limit, chat = {"max_gen_toks": max_new_tokens}, bool(lm.tokenizer.chat_template)
    lm.chat = chat
    settings = {"gen_kwargs": limit, "apply_chat_template": chat, "task_manager": own_tasks(name)}
    results: Any = simple_evaluate(lm, tasks=[name], **settings, **QUIET)  # of several processes, the first's
    key, chosen = metric.split(",")
    rows = []
    for task, entries in results["samples"].items():
        for entry in entries:
            if entry["filter"] == chosen and key in entry:
                scored = {"answer": str(entry["filtered_resps"][0]), "score": float(entry[key])}
                (response,) = lm.generated[task, entry["doc_id"]]
                rows.append(
                    {"benchmark": name, "problem": f"{task}-{entry['doc_id']}", "sample": 0, **response, **scored}
                )
    if not rows:
        raise UserError(f"evaluation.lm_eval.{name}: lm-eval has no metric {metric!r} of this task")
    samples = pd.DataFrame(rows)
    return samples, float(samples.score.mean())


@cache
def _shipped() -> "TaskManager":
    """The index of lm-eval's tasks, which takes seconds to make."""
    from lm_eval.tasks import TaskManager

    return TaskManager()


def own_tasks(name: str) -> "TaskManager":
    """lm-eval's tasks, after the named one was loaded with its data. Raises UserError if that cannot be done, or its
    responses cannot be sampled as it asks."""
    from prerl.evaluation.lm_settings import sampling

    manager = _shipped()
    if name not in manager.task_index:
        raise UserError(f"evaluation.lm_eval: lm-eval has no task or group {name!r}")
    try:
        tasks = manager.load([name])["tasks"]
    except (OSError, ValueError) as error:  # also what datasets and the hub raise
        raise UserError(
            f"evaluation.lm_eval.{name}: its data cannot be loaded ({type(error).__name__}); with network, run "
            "`prerl fetch --scale` first"
        ) from error
    for task in tasks.values():
        sampling(task.config.generation_kwargs or {}, f"evaluation.lm_eval.{name}: task {task.config.task}")
    return manager


def _run(scale: Scale, lm: "RecordingLM", files: dict[str, Path], tasks: Path) -> tuple[pd.DataFrame, dict[str, float]]:
    """All responses to the scale's benchmarks, a row each, and lm-eval's own average of each benchmark.

    lm-eval's `simple_evaluate` would also ask pip and the compiler for their versions, which takes as long as sampling.
    """
    from lm_eval.evaluator import evaluate as run
    from lm_eval.tasks import TaskManager

    from prerl.evaluation.lm_settings import sampling

    manager = TaskManager(include_path=str(tasks), include_defaults=False)
    if missing := set(files) - set(manager.all_tasks):
        raise UserError(f"{tasks}: no task file for benchmark {min(missing)!r}; there are {manager.all_tasks}")
    for name in files:  # the scale's settings take the place of a file's, but not of what they do not say
        entry = manager.task_index[name]
        sampling((entry.cfg or {}).get("generation_kwargs") or {}, str(entry.yaml_path))
    group = {"group": "prerl", "task": [_task(scale, name, file) for name, file in files.items()]}
    loaded = manager.load([group])
    for task in loaded["tasks"].values():
        task.set_config(key="num_fewshot", value=0)
    results: Any = run(lm, loaded, **QUIET)  # none in any process but the first of several
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
