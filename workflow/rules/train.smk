TRAINED_BY = dict(
    settings=settings("start_token", "threads", "engine", "rl"),
    world=TRAINING_PROBLEMS,
    torch=TORCH,
    code=fingerprint(f"prerl.engines.{SCALE.engine.name}"),
)


# A run's checkpoints/, from which it goes on and which align_run reads, is no output: before a job is tried again,
# Snakemake deletes its outputs, and with them would go all that an interrupted run has. The record, which is written
# last, stands for them.
rule train:
    """One method from one seed: the model of the update that was best on dev, and what was logged on the way."""
    input:
        model=base_model,
        dev=f"{RESULTS}/problems/dev.jsonl",
        train=f"{RESULTS}/problems/train.jsonl" if CHAT else [],
        tuned=lambda w: f"{SENSITIVITY}/summary/choices.yaml" if NAMED[w.method].tune else [],
    output:
        model=f"{RESULTS}/{{method}}/seed{{seed}}/model/model.safetensors",
        record=f"{RESULTS}/{{method}}/seed{{seed}}/run.json",
        log=f"{RESULTS}/{{method}}/seed{{seed}}/log.parquet",
        dev=f"{RESULTS}/{{method}}/seed{{seed}}/dev.parquet",
    log:
        f"{LOGS}/train/{{method}}-seed{{seed}}.log",
    conda:
        "../envs/prerl.yaml"
    threads: SCALE.threads
    resources:
        gpu=gpus("train"),
        mem_mb=memory(24),  # in float32 weights, gradient, Adam's two moments, and a copy a process in a checkpoint
        runtime=minutes(1440),
    params:
        scale=SCALE_FILE,
        model=subpath(input.model, parent=True),
        out=subpath(output.record, parent=True),
        methods=lambda w: NEW_FILE if w.method == NEW else METHODS_FILE,
        problems=subpath(input.dev, parent=True),
        tuned=lambda w, input: f"--tuned {input.tuned}" if input.tuned else "",
        depends=lambda w: dict(
            TRAINED_BY,
            phases=[phase.model_dump() for phase in METHODS[w.method].phases],
            functions=METHODS[w.method].sources(),
            kept=SCALE.analysis.alignment_steps if w.method in SCALE.analysis.alignment_methods else [],
        ),
    shell:
        "prerl train --scale {params.scale} --methods {params.methods:q} --method {wildcards.method} --seed {wildcards.seed}"
        " --model {params.model} --problems {params.problems} {params.tuned} --out {params.out} 2> {log}"
