"""One measurement a process: `python -m prerl.bench.measure NAME JSON` prints its result as JSON, behind MARK."""

import json
import resource
import sys
from collections.abc import Callable
from typing import Any

import torch

from prerl.bench.sampling import local_sampling, transformers_sampling, vllm_sampling
from prerl.bench.training import growth, local_step, trl_engine_step, trl_step, where
from prerl.bench.work import timed


def peak(threads: int) -> dict[str, Any]:
    """Floating-point operations a second of a matrix product, the most that a model can reach."""
    torch.set_num_threads(threads)
    a = torch.randn(2048, 2048)

    def run(_: int) -> int:
        for _ in range(5):
            torch.mm(a, a)
        return 5 * 2 * 2048**3

    return {"flops": timed(run)["tokens_per_second"]}


MARK = "measured: "  # in front of what is found, on stdout


MEASURES: dict[str, Callable[..., dict[str, Any]]] = {
    function.__name__: function
    for function in (
        peak,
        local_step,
        trl_step,
        local_sampling,
        transformers_sampling,
        vllm_sampling,
        growth,
        where,
        trl_engine_step,
    )
}


def main() -> None:
    name, settings = sys.argv[1:]
    found = MEASURES[name](**json.loads(settings))
    unit = 1 if sys.platform == "darwin" else 1024
    found["peak_memory_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    print(MARK + json.dumps(found), flush=True)  # vLLM's processes write behind it


if __name__ == "__main__":
    main()
