"""Gradient alignment: do log P(y) and log P(y|x) pull the parameters the same way? One comparison a rollout."""

import random
import sys
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedModel

from prerl.config import Scale
from prerl.model import LeanModel, load, response_logp
from prerl.objective import Batch, forget_prompt
from prerl.problems.countdown import draw, is_correct
from prerl.records import RunRecord, sha256, stream, write_table
from prerl.sampler import Sampling, sample

GROUP = 8  # rollouts a problem


def align(scale: Scale, model_path: Path, out: Path) -> None:
    """Compares the gradients of the mean token log-likelihood in both spaces on rollouts of a model.

    Writes out/alignment.parquet, two rows a rollout (`part` all, and body: without the tokens that restate the problem,
    which P(y) cannot foresee): problem, inner_product, cosine, norm_post_train, norm_pre_train, tokens, correct; and
    out/alignment.json, its record.
    """
    torch.set_num_threads(1)
    record = RunRecord("align", {"rollouts": scale.analysis.alignment_rollouts, "start_token": scale.start_token})
    model, tokenizer = load(model_path), AutoTokenizer.from_pretrained(model_path, local_files_only=True)
    rng, count = random.Random(stream("alignment")), scale.analysis.alignment_rollouts
    problems = [draw(rng, 3, scale.problems.largest_number, "train") for _ in range(-(-count // GROUP))]
    prompts = tokenizer([problem.prompt for problem in problems])["input_ids"]
    with torch.inference_mode():
        lean = LeanModel(model)
    sampling = Sampling(scale.rl.max_new_tokens, scale.rl.temperature, scale.rl.top_p)
    generator = torch.Generator().manual_seed(stream("alignment", "rollouts"))
    responses = sample(lean, prompts, GROUP, sampling, {tokenizer.eos_token_id}, tokenizer.pad_token_id, generator)[
        :count
    ]
    start, colon = tokenizer.convert_tokens_to_ids(scale.start_token), tokenizer.convert_tokens_to_ids(":")
    rows = []
    for index, response in enumerate(responses):
        text = tokenizer.decode(response.ids, skip_special_tokens=True)
        header = response.ids.index(colon) + 1 if colon in response.ids else 0
        correct = is_correct(text, problems[index // GROUP])
        batch = _single(prompts[index // GROUP], response.ids)
        given = response_gradients(model, batch, header)
        forgotten = response_gradients(model, forget_prompt(batch, start), header)
        for part in given:
            a, b = given[part], forgotten[part]
            rows.append(
                {
                    "rollout": index,
                    "problem": problems[index // GROUP].id,
                    "part": part,
                    "correct": correct,
                    "tokens": len(response.ids) - (header if part == "body" else 0),
                    "inner_product": float(a @ b),
                    "cosine": float(a @ b / (a.norm() * b.norm())),
                    "norm_post_train": float(a.norm()),
                    "norm_pre_train": float(b.norm()),
                }
            )
        if (index + 1) % 100 == 0:
            print(f"alignment  rollout {index + 1}/{count}", file=sys.stderr, flush=True)
    write_table(out / "alignment.parquet", pd.DataFrame(rows))
    record.write(out / "alignment.json", inputs={"model": sha256(model_path / "model.safetensors")})


def response_gradients(model: PreTrainedModel, batch: Batch, header: int) -> dict[str, Tensor]:
    """Gradient of the mean token log-likelihood of a batch's one response, over all parameters, flat.

    `all` of its tokens, and `body`: without the first `header` ones (missing if none are left).
    """
    logp = response_logp(LeanModel(model), batch)[0]
    parts = {"all": logp.mean()} | ({"body": logp[header:].mean()} if header < len(logp) else {})
    parameters = list(model.parameters())
    return {
        part: torch.cat([g.flatten() for g in torch.autograd.grad(value, parameters, retain_graph=True)])
        for part, value in parts.items()
    }


def _single(prompt: list[int], response: list[int]) -> Batch:
    """A batch of one response."""
    return Batch(
        prompt_ids=torch.tensor([prompt]),
        prompt_mask=torch.ones(1, len(prompt), dtype=torch.long),
        response_ids=torch.tensor([response]),
        response_mask=torch.ones(1, len(response)),
        rewards=torch.zeros(1),
        group=torch.zeros(1, dtype=torch.long),
        old_logp=None,
    )
