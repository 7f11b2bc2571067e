"""vLLM's random stream in training. TRL gives the engine one fixed seed, the same for every run, and a run that goes on
after a kill would begin that stream again."""

from collections.abc import Callable
from typing import Any


def seed_responses(engine: Any, seeds: Callable[[int], list[int]]) -> None:
    """From now on each prompt that vLLM's `engine` answers has a seed of its own: `seeds(n)` of a call with n prompts.

    So responses follow from the seeds alone, whatever was sampled before, but for rounding: other prompts in a batch
    round the same logits otherwise, and where two tokens are nearly as likely that decides.
    """
    generate = engine.generate

    def seeded(prompts: list[Any], sampling_params: Any, **options: Any) -> list[Any]:
        each = []
        for seed in seeds(len(prompts)):
            settings = sampling_params.clone()
            settings.seed = seed
            each.append(settings)
        return generate(prompts, sampling_params=each, **options)

    engine.generate = seeded
