"""TRL's settings of a run. All that bear on the result are explicit: defaults move between releases."""

from pathlib import Path

from trl import GRPOConfig  # pyright: ignore[reportPrivateImportUsage]  (trl imports it lazily)

from prerl.errors import UserError
from prerl.seeds import seed_of
from prerl.settings.engine import LocalEngine, TrlEngine, Vllm
from prerl.settings.methods import Method
from prerl.settings.scale import Scale


def trl_engine(scale: Scale) -> TrlEngine:
    """The scale's engine. Raises ValueError if it is the local one, which is not TRL's to run."""
    if isinstance(scale.engine, LocalEngine):
        raise ValueError("the scale's engine is the local one")
    return scale.engine


def check_length(vllm: Vllm, longest: int, max_new_tokens: int) -> None:
    """Raises UserError if vLLM has no room for a prompt of `longest` tokens and the longest response to it: it would
    cut the response, or stop at the first such prompt."""
    if vllm.max_length < longest + max_new_tokens:
        raise UserError(
            f"engine.vllm.max_length: {vllm.max_length} tokens do not hold the longest prompt ({longest}) and "
            f"rl.max_new_tokens ({max_new_tokens})"
        )


def settings(
    scale: Scale, method: Method, seed: int, batches: int, out: Path, ends: list[int] | None = None
) -> GRPOConfig:
    """TRL's configuration of a run of `batches` more batches; with vLLM, the tokens `ends` alone end a response. Raises
    UserError if the processes cannot share what an update learns from evenly."""
    rl, engine, phase = scale.rl, trl_engine(scale), method.phases[0]  # in all of them there are as many updates
    prompts, odd = divmod(rl.prompts_per_step, phase.mini_batches)
    rollouts = prompts * rl.group_size
    micro_batches, rest = divmod(rollouts, rl.micro_batch * engine.processes)
    if odd or rest:
        raise UserError(
            f"rl.micro_batch: {rl.micro_batch} responses in each of {engine.processes} processes do not divide the "
            f"{rollouts} of an update"
        )
    if phase.mini_batches > 1 and prompts % engine.processes:
        raise UserError(
            f"mini_batches: the {prompts} prompts of an update cannot be shared by {engine.processes} processes"
        )
    vllm = engine.vllm
    return GRPOConfig(
        output_dir=str(out / "trl"),
        seed=seed_of(seed, "trl") % 2**31,
        # the batch
        max_steps=batches * phase.updates,
        per_device_train_batch_size=rl.micro_batch,
        gradient_accumulation_steps=micro_batches,
        steps_per_generation=micro_batches * phase.mini_batches,
        num_iterations=phase.passes,
        num_generations=rl.group_size,
        shuffle_dataset=False,
        remove_unused_columns=False,
        # sampling
        max_completion_length=rl.max_new_tokens,
        temperature=rl.temperature,
        top_p=rl.top_p,
        top_k=0,
        min_p=None,
        repetition_penalty=1.0,
        use_vllm=vllm is not None,
        vllm_mode="colocate",
        vllm_gpu_memory_utilization=vllm.memory if vllm else 0.3,
        vllm_tensor_parallel_size=vllm.tensor_parallel if vllm else 1,
        vllm_max_model_length=vllm.max_length if vllm else None,
        vllm_enable_sleep_mode=vllm is not None,
        generation_kwargs={"ignore_eos": True, "stop_token_ids": ends} if vllm and ends else None,
        vllm_importance_sampling_correction=False,  # as the authors; in the pre-train space it means nothing
        # the loss is that of prerl.objective; for TRL, beta says whether there is a reference model
        beta=max(phase.kl_coefficient for phase in method.phases),
        scale_rewards="none",  # TRL's own advantages are not used
        mask_truncated_completions=False,
        top_entropy_quantile=1.0,
        entropy_coef=0.0,
        disable_dropout=True,
        # the optimiser
        learning_rate=rl.learning_rate,
        weight_decay=rl.weight_decay,
        max_grad_norm=rl.max_grad_norm,
        # the machine
        use_cpu=engine.device == "cpu",
        bf16=engine.precision == "bfloat16",
        fp16=False,
        gradient_checkpointing=engine.gradient_checkpointing,
        ddp_find_unused_parameters=False,
        dataloader_num_workers=0,
        # the log and the checkpoints are ours
        logging_steps=1,
        save_strategy="no",
        eval_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
