"""Gradient alignment: do log P(y) and log P(y|x) pull the parameters the same way? On single rollouts of the base and
along training, and in whole updates of the base.
"""

import shutil
from pathlib import Path
from typing import Any

import pandas as pd

from prerl.errors import UserError
from prerl.evaluation.comparison import GROUP, Comparison
from prerl.evaluation.partial import Partial, Rows
from prerl.evaluation.updates import COLUMNS, Updates
from prerl.files.atomic import write_table
from prerl.files.checksums import broken, checksums, intact, sha256
from prerl.files.fingerprint import fingerprint
from prerl.files.record import RunRecord
from prerl.model.checkpoint import DROPPED
from prerl.model.processor import occupy
from prerl.settings.methods import UPDATE_METHODS, Method
from prerl.settings.scale import Scale


def align_base(scale: Scale, methods: dict[str, Method], seed: int, model: Path, problems: Path, out: Path) -> None:
    """Compares the gradients on rollouts and training batches of a base model. Bases of several seeds share the scale's
    rollouts and batches, each with problems of its own. Writes

    out/alignment.parquet  a row a rollout, part and parameter group, see `compare`
    out/positions.parquet  a row a token: rollout, problem, position, body, logp_post_train, logp_pre_train (nats)
    out/noise.parquet      a row a rollout and part: its cosine with a rollout of another problem, `across` the spaces
                           (log P(y) against log P(y'|x')) and `within` the post-train space
    out/halves.parquet     a row an equal split of up to eight blocks of problems and part: cosines of the halves' mean
                           gradients within each space, and of the two spaces' mean gradients on one half
    out/updates.parquet    a row a training batch and method, see `Updates.compare`
    out/alignment.json     the record
    """
    occupy(scale.threads, scale.local_device)
    bases = len(scale.base_seeds)
    count = -(-scale.analysis.alignment_rollouts // (GROUP * bases))
    batches = -(-scale.analysis.alignment_batches // bases)
    updating = {name: methods[name] for name in UPDATE_METHODS if name in methods}
    sizes = {"seed": seed, "problems": count, "batches": batches}
    phases = {name: method.model_dump(include={"phases"}) | method.sources() for name, method in updating.items()}
    record = RunRecord("align", _config(scale, {**sizes, "methods": phases}))
    inputs = {"model": sha256(intact(model / "model.safetensors", model.parent / "run.json"))}
    key, partials = record.data["config"] | inputs | {"code": fingerprint(__name__)}, out / "alignment-partial"
    comparison = Comparison(scale, model, problems, count, f"alignment base seed {seed}", seed)
    tables = comparison.run(Partial(partials / "rollouts", key), noise=True)
    frames = {name: pd.DataFrame(rows) for name, rows in tables.items()}
    rows = Updates(comparison, updating).run(Partial(partials / "updates", key), batches)
    frames["updates"] = pd.DataFrame(rows, columns=COLUMNS)
    for name, frame in frames.items():
        write_table(out / f"{name}.parquet", frame)
    outputs = checksums([out / f"{name}.parquet" for name in frames], out)
    record.write(out / "alignment.json", inputs=inputs, outputs=outputs)
    shutil.rmtree(partials)


def align_run(scale: Scale, run: Path, problems: Path, out: Path) -> None:
    """Compares the gradients of log P(y) and log P(y|x) on rollouts of a training run's checkpoints, at each of the
    scale's alignment steps; seeds share the scale's rollouts, all runs meet the same problems, and a run that stopped
    early keeps its last checkpoint. Writes out/alignment.parquet, whose columns are those of `align_base` and step, and
    out/alignment.json, the record. Raises UserError if the run has no checkpoints, or one is damaged."""
    occupy(scale.threads, scale.local_device)
    count = -(-scale.analysis.alignment_rollouts // (GROUP * len(scale.seeds)))
    record = RunRecord("align", _config(scale, {"problems": count, "steps": scale.analysis.alignment_steps}))
    models = sorted((run / "checkpoints").glob("step-*/model.safetensors"))
    saved = {int(path.parent.name.removeprefix("step-")): path.parent for path in models}
    if not saved:
        raise UserError(f"{run}/checkpoints: no checkpoints; train the run again")
    rows: Rows = []
    for path in saved.values():
        if broken(path, DROPPED):
            raise UserError(f"{path}: damaged; delete {run}/run.json and run again to train it anew")
    inputs = {path.name: sha256(path / "model.safetensors") for path in saved.values()}
    key, partials = record.data["config"] | {"code": fingerprint(__name__)}, out / "alignment-partial"
    for step in scale.analysis.alignment_steps:
        path = saved[max(number for number in saved if number <= step)]
        partial = Partial(partials / path.name, key | {"model": inputs[path.name]})
        name = f"alignment {run.parent.name} {run.name} step {step}"
        compared = Comparison(scale, path, problems, count, name).run(partial, noise=False)
        rows += [{"step": step, **row} for row in compared["alignment"]]
    write_table(out / "alignment.parquet", pd.DataFrame(rows))
    record.write(out / "alignment.json", inputs=inputs, outputs=checksums([out / "alignment.parquet"], out))
    shutil.rmtree(partials)


def _config(scale: Scale, more: dict[str, Any]) -> dict[str, Any]:
    settings = {"start_token": scale.start_token, "threads": scale.threads, "rl": scale.rl.model_dump()}
    return {"rollouts_a_problem": GROUP} | settings | more
