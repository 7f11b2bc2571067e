"""What the cost of a scale is reckoned with."""

from typing import Annotated

from pydantic import Field

from prerl.settings.values import NotNegative, Number, Positive, Rate, Strict


class Deviations(Strict):
    """Standard deviations over seeds, in points, of one run's accuracy; None: not known."""

    in_domain: Rate | None
    hard: Rate | None
    out_of_domain: Rate | None


class Plan(Strict):
    """What the cost of a scale is reckoned with before anything is run: assumptions, not measurements."""

    gpu_memory_gb: Rate
    prompt_tokens: Positive  # mean
    response_tokens: Positive  # mean over training, and of an evaluation
    generate_tokens_per_second: Rate  # a GPU, or a process on the CPU
    update_tokens_per_second: Rate
    overhead: Annotated[Number, Field(ge=1)]  # times those: what comes between
    cpu_tflops: Rate  # of a job's threads, for the gradients
    gpu_hour_price: NotNegative
    deviations: Deviations
