"""The distributed engine: TRL's GRPOTrainer (Accelerate, FSDP, vLLM), with this package's objective.

TRL samples, scores and steps. What a method changes happens in between, on TRL's batch: advantages, the samples kept,
the prompt forgotten. A run's directory, log and checkpoints are those that `prerl.engines.local` describes.
"""

import os
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from prerl.engines.policy import Policy
from prerl.engines.session import Session
from prerl.engines.trl_rollout import RolloutTrainer
from prerl.engines.trl_saver import Saver
from prerl.engines.trl_step import AdamW, Step
from prerl.engines.update import own_loss, own_transform, phase_at
from prerl.errors import check_finite
from prerl.model.processor import occupy
from prerl.objective import Batch, Lesson, lesson, loss_of
from prerl.settings.engine import TrlEngine
from prerl.settings.methods import Method
from prerl.settings.scale import Scale


def train(scale: Scale, method_name: str, method: Method, seed: int, base: Path, problems: Path, out: Path) -> None:
    """Trains one method from one seed, on the problem sets in a directory; every process of a run calls it. Writes to
    `out` model/ (the best checkpoint on dev), log.parquet (a row an update), dev.parquet (a row a dev response) and
    run.json. Can be killed: it goes on from its last checkpoint."""
    assert isinstance(scale.engine, TrlEngine)
    occupy(max(1, scale.threads // scale.engine.processes))
    session = Session(scale, method_name, method, seed, base, problems, out)
    packages = ["trl", "accelerate", *(["vllm"] if scale.engine.vllm else [])]
    session.record.data["versions"] |= {name: version(name) for name in packages}
    policy = Policy(scale, method, seed, base, problems)
    session.begin(*session.checkpoints.resume(policy.model))
    main = os.environ.get("RANK", "0") == "0"  # of several processes, one writes
    if main:
        session.sign()
    if session.done < scale.rl.steps and not session.collapsed:
        trainer = PhaseTrainer(scale, method, policy, session)
        with session.naming():
            trainer.train()
    if main:
        session.finish()


class PhaseTrainer(RolloutTrainer):
    """GRPOTrainer whose every update follows the method's phase."""

    step: Step  # set before anything is sampled

    def __init__(self, scale: Scale, method: Method, policy: Policy, session: Session) -> None:
        self.method, self.updates = method, method.phases[0].updates  # of a batch, the same in all phases
        self.saver = Saver(self)
        super().__init__(scale, method, policy, session, self.saver)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """AdamW with one group: all parameters decay, as the authors' and `prerl.engines.local`'s; TRL excepts some."""
        rl = self.scale.rl
        trained: Any = model or self.model
        self.optimizer = AdamW(trained.parameters(), lr=rl.learning_rate, weight_decay=rl.weight_decay, fused=True)
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """The phase's learning rate at every update."""

        def factor(made: int) -> float:
            step = min(self.session.done + made // self.updates + 1, self.scale.rl.steps)
            return phase_at(self.method, step, self.scale.rl.steps)[1].learning_rate_factor

        self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer or self.optimizer, factor)
        return self.lr_scheduler

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        """The next micro-batch, a Lesson. TRL would shuffle responses; here a mini-batch keeps whole groups."""
        inputs = super()._prepare_inputs(generation_batch)
        if self.step.micro_batches:  # the batch was sampled just now
            self._buffered_inputs, self.step.micro_batches = self.step.micro_batches, []
            inputs = self._buffered_inputs[0]
        return inputs

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        rl, policy = self.scale.rl, self.policy
        self.step = step = Step(*phase_at(self.method, self.at + 1, rl.steps))
        self.drawing = (policy.seed, "rollout", self.at + 1)
        output = super()._generate_and_score_completions(inputs)
        batch, phase = self._batch(output), step.phase
        step.row = {"phase": step.index, **self._row(batch)}
        transform = own_transform(phase, **self.now())
        start_token_id = policy.start_token_id(phase)
        learnt = lesson(batch, phase, transform, self._advantage, start_token_id, rl.max_new_tokens)
        learnt = self._compared(learnt, output)
        parts = learnt.mini_batches(phase.mini_batches)
        for part in parts:
            step.denominators.append(self._gather(part.denominator).sum())
            step.used.append(int(self._gather(part.useful.sum()).sum()))
            rows = torch.arange(len(part.weights), device=part.weights.device).split(rl.micro_batch)
            step.micro_batches += [part.rows(index).trimmed() for index in rows]
        used = sum(step.used)
        step.generated = time.monotonic()
        step.row |= {"used_samples": used, "skipped": used == 0, "generate_seconds": step.generated - step.start}
        return output

    def _compared(self, learnt: Lesson, output: dict[str, Any]) -> Lesson:
        """With the log-probabilities that the policy's will be compared with: its own before the first of several
        updates, and the reference's. TRL has them already, of the prompts that were sampled from."""
        phase, known = self.step.phase, output if learnt.batch.prompt_ids is output["prompt_ids"] else {}
        if phase.updates > 1:
            old = known.get("old_per_token_logps")
            learnt = replace(learnt, old_logp=self._logp(self.model, learnt.batch) if old is None else old)
        if phase.kl_coefficient:
            ref = known.get("ref_per_token_logps")
            learnt = replace(learnt, ref_logp=self._logp(self.ref_model, learnt.batch) if ref is None else ref)
        return learnt

    @torch.no_grad()
    def _logp(self, model: Any, batch: Batch) -> Tensor:
        """(B, T) of the response tokens."""
        return self._read(model, batch, batch_size=self.scale.rl.micro_batch)[0]

    def _read(self, model: Any, batch: Batch, **options: Any) -> tuple[Tensor, Tensor | None]:
        """Log-probabilities and, if the options ask for them, entropies of the response tokens, (B, T) each."""
        ids = torch.cat([batch.prompt_ids, batch.response_ids], 1)
        mask = torch.cat([batch.prompt_mask, batch.response_mask.to(batch.prompt_mask.dtype)], 1)
        found = self._get_per_token_logps_and_entropies(model, ids, mask, batch.response_ids.shape[1], **options)
        return found[0], found[1]

    def own_optimizer(self) -> AdamW:
        """Ours, inside Accelerate's."""
        return getattr(self.optimizer, "optimizer", self.optimizer)

    def _compute_loss(self, model: Any, inputs: Any) -> Tensor:
        """Of a micro-batch; the sum over those of an update, and the mean over processes, is the phase's loss."""
        learnt, step, phase = cast(Lesson, inputs), self.step, self.step.phase
        place = self.state.global_step % self.updates % phase.mini_batches
        self.own_optimizer().skip = step.used[place] == 0
        logp, entropy = self._read(model, learnt.batch, compute_entropy=bool(phase.entropy_coefficient))
        found = loss_of(learnt, phase, logp, entropy, own_loss(phase, **self.now()))
        scale = self.accelerator.num_processes * phase.loss_coefficient
        loss = (found * learnt.weights).sum() / step.denominators[place].clamp(min=1) * scale
        check_finite("loss", float(loss.detach()))
        step.tally.add(learnt, phase, logp.detach())
        return loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """TRL calls this after every update, already counted: the row of our log, and a checkpoint where one is due."""
        super().log(logs, start_time)
        if "grad_norm" not in logs:  # the summary at the end
            return
        step, norm = self.step, float(logs["grad_norm"])
        check_finite("gradient's norm", norm)
        if not self.own_optimizer().skip:
            step.tally.norms.append(norm)
        if self.state.global_step % self.updates:
            return  # more are made on this batch
        tally, device = step.tally, self.accelerator.device
        tally.counts = self._gather(tally.counts[None].to(device)).sum(0).cpu()
        tally.gaps = self._gather(torch.tensor(tally.gaps or [torch.nan], device=device)).tolist()
        row = {**step.row, **tally.row(), "redrawn": 0, "update_seconds": time.monotonic() - step.generated}
        self.session.add(self.at, row, shown=self.accelerator.is_main_process)
        if self.session.due(self.at):
            self.saver.save()
        if self.session.collapsed:
            self.control.should_training_stop = True
