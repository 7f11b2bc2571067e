"""What a study runs on: the engine that trains, and vLLM."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from prerl.settings.values import Positive, Share, Strict


class Vllm(Strict):
    """How much of a machine an engine of vLLM takes."""

    tensor_parallel: Positive
    memory: Share  # of each GPU; where there is none, of the machine's memory
    max_length: Positive  # prompt and response


class VllmSampler(Vllm):
    """vLLM as the sampler of an evaluation."""

    precision: Literal["float32", "bfloat16"]  # of weights and cache; part of the result


class LocalEngine(Strict):
    """One process."""

    name: Literal["local"] = "local"
    device: Literal["cpu", "cuda"] = "cpu"  # of sampler, updates, gradients and evaluation


class TrlEngine(Strict):
    """TRL's trainer on Accelerate: several processes, on one machine or many."""

    name: Literal["trl"]
    device: Literal["cpu", "cuda"]
    processes: Positive  # of an update, each on a GPU of its own; each holds rl.micro_batch responses a forward pass
    launch: str | None  # of several GPUs, an Accelerate configuration beside the scales, e.g. ../accelerate/fsdp.yaml
    precision: Literal["float32", "bfloat16"]  # of the forward pass; weights and optimiser are float32
    gradient_checkpointing: bool
    vllm: Vllm | None  # on the trainer's GPUs; None: responses come from the sampler of the local engine

    @model_validator(mode="after")
    def _one_kind_of_machine(self) -> "TrlEngine":
        several = self.device == "cuda" and self.processes > 1
        if several != (self.launch is not None):
            raise ValueError("launch: several GPUs need one, and a CPU or one GPU none")
        if self.vllm and self.device == "cpu":
            raise ValueError("vllm: beside a trainer it needs GPUs (device: cuda)")
        if several and not self.vllm:
            raise ValueError("vllm: where GPUs share a model, only vLLM samples from it")
        if self.vllm and self.processes % self.vllm.tensor_parallel:
            raise ValueError(
                f"vllm.tensor_parallel: {self.vllm.tensor_parallel} GPUs hold a copy of the model, which must divide "
                f"the {self.processes} processes"
            )
        return self


Engine = Annotated[LocalEngine | TrlEngine, Field(discriminator="name")]
