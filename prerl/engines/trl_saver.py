"""Dev evaluations and checkpoints of a run with TRL, as the local engine's."""

from typing import TYPE_CHECKING, Any

import pandas as pd
from accelerate.utils import gather_object
from transformers import TrainerCallback

from prerl.model.sampler import Response

if TYPE_CHECKING:
    from prerl.engines.trl import PhaseTrainer


class Saver(TrainerCallback):
    """Saves before the first update, and whenever it is told to. Every process calls it."""

    def __init__(self, trainer: "PhaseTrainer") -> None:
        self.trainer = trainer

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """When processes share the model: the optimiser of a resumed run, or the base's dev evaluation."""
        trainer, session = self.trainer, self.trainer.session
        if session.done:
            model = trainer.accelerator.unwrap_model(trainer.model_wrapped)
            session.checkpoints.resume_optimizer(session.done, model, trainer.own_optimizer())
        elif not session.log:
            self.save()

    def save(self) -> None:
        """A dev evaluation, and a checkpoint, which one process writes."""
        trainer, session, step = self.trainer, self.trainer.session, self.trainer.at
        scores = trainer.policy.evaluate_dev(step) if trainer.engine.vllm is None else self._evaluate_dev(step)
        main = trainer.accelerator.is_main_process
        if main:
            session.progress.dev(step, scores)
        model, tokenizer = trainer.accelerator.unwrap_model(trainer.model_wrapped), trainer.policy.tokenizer
        session.checkpoints.save(step, model, tokenizer, trainer.own_optimizer(), session.log, scores, writes=main)
        if main:
            session.prune()
        trainer.accelerator.wait_for_everyone()

    def _evaluate_dev(self, step: int) -> pd.DataFrame:
        """A row a dev response, from vLLM; each process draws its share."""
        trainer, policy = self.trainer, self.trainer.policy
        repeats, processes = trainer.scale.rl.dev_samples, trainer.accelerator.num_processes
        prompts = [prompt for prompt in policy.read(policy.dev) for _ in range(repeats)]
        share = -(-len(prompts) // processes)
        start = trainer.accelerator.process_index * share
        mine = (prompts * 2)[start : start + share]  # the last share is filled with the first prompts
        found, ends = trainer.draw(mine, "dev"), set(trainer.eos_token_ids)
        responses = [Response(ids, logp, -sum(logp) / len(logp), ids[-1] in ends) for ids, logp in gather_object(found)]
        return policy.dev_table(step, responses[: len(prompts)])
