"""Where TRL's responses come from: the same problems, sampler and random streams as those of the local engine, or vLLM;
and TRL's dictionary as this package's batch."""

import random
from typing import Any, cast

import torch
from datasets import Dataset
from torch import Tensor
from transformers import PrinterCallback, TrainerCallback
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from prerl.engines.policy import Policy
from prerl.engines.session import Session
from prerl.engines.trl_settings import check_length, settings
from prerl.engines.trl_step import Step, measures
from prerl.engines.trl_vllm import seed_responses
from prerl.engines.update import advantages_of
from prerl.objective import Batch
from prerl.seeds import seed_of
from prerl.settings.engine import TrlEngine
from prerl.settings.methods import Method
from prerl.settings.scale import Scale


class RolloutTrainer(GRPOTrainer):
    """GRPOTrainer that samples as the local engine does, or by vLLM, one response a random stream."""

    args: GRPOConfig
    step: Step  # set before anything is sampled
    updates: int  # of a batch

    def __init__(
        self, scale: Scale, method: Method, policy: Policy, session: Session, callback: TrainerCallback
    ) -> None:
        assert isinstance(scale.engine, TrlEngine)
        self.scale, self.policy, self.session = scale, policy, session
        rl, self.room = scale.rl, scale.engine.vllm  # what vLLM takes; None: the local engine's sampler draws
        self.problems = [
            problem
            for step in range(session.done + 1, rl.steps + 1)
            for problem in policy.world.draw(random.Random(seed_of(policy.seed, "problems", step)), rl.prompts_per_step)
        ]
        if self.room is not None:
            longest = max(map(len, policy.read([*self.problems, *policy.dev])))
            check_length(self.room, longest, rl.max_new_tokens)
        rows = {"prompt": [problem.prompt for problem in self.problems], "place": range(len(self.problems))}
        super().__init__(
            model=policy.model,
            reward_funcs=self.score,
            args=settings(scale, method, policy.seed, rl.steps - session.done, session.out, policy.tokens.ends),
            train_dataset=Dataset.from_dict(rows),
            processing_class=policy.tokenizer,
            callbacks=[callback],
        )
        self.eos_token_ids = policy.tokens.ends  # TRL leaves out that of the chat template
        self.remove_callback(PrinterCallback)
        self.drawing: tuple[Any, ...] = ()  # the names of the random stream that responses are drawn from
        if self.room is not None:
            seed_responses(self.vllm_generation.llm, self._seeds)

    def _seeds(self, count: int) -> list[int]:
        """A seed for each of the responses that this process's engine draws next. Processes that share an engine ask it
        for the same ones; the others follow."""
        assert self.room is not None
        first = self.accelerator.process_index // self.room.tensor_parallel * count
        return [seed_of(*self.drawing, place) for place in range(first, first + count)]

    @property
    def at(self) -> int:
        """The number of batches that were learnt from, as TRL has counted their updates."""
        return self.session.done + self.state.global_step // self.updates

    def score(self, completion_ids: list[list[int]], place: list[int], **_: Any) -> list[float | None]:
        """The rewards of responses (token ids) to the problems at these places: TRL calls it as a reward function."""
        problems, texts = [self.problems[index] for index in place], self.policy.tokens.texts(completion_ids)
        self.step.rewards = [self.policy.score(*pair) for pair in zip(texts, problems, strict=True)]
        return list(self.step.rewards)

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
        return self.policy.tokens.read(prompts, self.policy.world.chat), None, {}

    def _generate_single_turn(
        self, prompt_ids: list[list[int]], *args: Any, **options: Any
    ) -> tuple[list[list[int]], Any]:
        """Responses and their log-probabilities: vLLM's, or else from the sampler of this package. Then each process
        draws those of all and keeps its own, so that the number of processes does not change them: for one machine."""
        if self.room is not None:
            return super()._generate_single_turn(prompt_ids, *args, **options)
        rl = self.scale.rl
        first = (self.at - self.session.done) * rl.prompts_per_step
        problems = self.problems[first : first + rl.prompts_per_step]
        seed = seed_of(self.policy.seed, "rollout", self.at + 1)
        _, responses, _ = self.policy.rollout(problems, rl.group_size, seed)
        start = self.accelerator.process_index * len(prompt_ids)
        self.step.responses = responses[start : start + len(prompt_ids)]
        return [response.ids for response in self.step.responses], [response.logp for response in self.step.responses]

    def draw(self, prompts: list[list[int]], *names: Any) -> list[tuple[list[int], list[float]]]:
        """vLLM's responses, one a prompt, and their log-probabilities, from the random stream of that name."""
        self.drawing = names
        return list(zip(*self._generate_single_turn(prompts, None, {}, 1), strict=True))

    def _batch(self, output: dict[str, Any]) -> Batch:
        """This process's responses, scored, from TRL's dictionary."""
        lengths, ids = output["completion_mask"].sum(1).tolist(), output["completion_ids"].tolist()
        rewards = torch.tensor(self.step.rewards, device=self.accelerator.device)
        first = self.accelerator.process_index * len(rewards)
        header = self.policy.header([row[:length] for row, length in zip(ids, lengths, strict=True)])
        return Batch(
            prompt_ids=output["prompt_ids"],
            prompt_mask=output["prompt_mask"],
            response_ids=output["completion_ids"],
            response_mask=output["completion_mask"].to(torch.get_default_dtype()),
            rewards=rewards,
            group=torch.arange(first, first + len(rewards), device=rewards.device) // self.scale.rl.group_size,
            sampler_logp=output.get("sampling_per_token_logps"),
            header=None if header is None else header.to(rewards.device),
        )

    def now(self) -> dict[str, int]:
        """The batch being learnt from, for an author's functions that ask."""
        return {"step": self.at + 1, "steps": self.scale.rl.steps}

    def _advantage(self, scored: Batch) -> Tensor:
        """(B,) of this process's responses, by the rewards of all."""
        rewards, group = self._gather(scored.rewards), self._gather(scored.group)
        first = self.accelerator.process_index * len(scored.rewards)
        return advantages_of(rewards, group, self.step.phase, **self.now())[first : first + len(scored.rewards)]

    def _row(self, batch: Batch) -> dict[str, Any]:
        """Of the log: what it says of the responses of all processes."""
        columns = measures(batch, self.step.responses, self.eos_token_ids)
        reward, length, share, surprise = self._gather(columns).double().mean(0).tolist()
        return {
            "reward": reward,
            "response_tokens": length,
            "entropy": surprise / length,
            "finished": share,
            "tokens": round(length * self.scale.rl.prompts_per_step * self.scale.rl.group_size),
        }

    def _gather(self, own: Tensor) -> Tensor:
        """Of all processes, along the first dimension."""
        return cast(Tensor, self.accelerator.gather(own))
