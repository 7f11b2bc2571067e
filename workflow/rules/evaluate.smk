ALIGNED_BY = dict(
    settings=settings("start_token", "threads", "rl"),
    rollouts=SCALE.analysis.alignment_rollouts,
    world=TRAINING_PROBLEMS,
    torch=TORCH,
    code=fingerprint("prerl.evaluation.alignment"),
)


rule evaluate:
    """The responses of one model, the base's or a run's, to every benchmark, with their scores."""
    input:
        model=f"{RESULTS}/{{run}}/model/model.safetensors",
        problems=expand(f"{RESULTS}/problems/{{name}}.jsonl", name=SCALE.evaluation.benchmarks),
        tasks=[
            *expand("workflow/tasks/{name}.yaml", name=SCALE.evaluation.benchmarks),
            *sorted(map(str, Path("workflow/tasks").glob("_*.yaml"))),  # what those include
        ],
    output:
        samples=f"{RESULTS}/{{run}}/samples.parquet",
        record=f"{RESULTS}/{{run}}/evaluate.json",
    log:
        f"{LOGS}/evaluate/{{run}}.log",
    conda:
        "../envs/prerl.yaml"
    threads: SCALE.threads
    resources:
        gpu=gpus("evaluate"),
        mem_mb=memory(4),
        runtime=minutes(480),
    params:
        scale=SCALE_FILE,
        model=subpath(input.model, parent=True),
        problems=lambda w, input: str(Path(input.problems[0]).parent),
        out=subpath(output.record, parent=True),
        depends=dict(
            settings=settings("threads", "evaluation"), torch=TORCH, code=fingerprint("prerl.evaluation.evaluate")
        ),
    shell:
        "prerl evaluate --scale {params.scale} --model {params.model} --problems {params.problems}"
        " --out {params.out} > {log} 2>&1"


rule align_base:
    """The gradients of log P(y) and log P(y|x) on a base's rollouts, side by side; and methods' updates on its batches."""
    input:
        dev=rules.train.input.dev,
        train=rules.train.input.train,
        model=f"{RESULTS}/base/seed{{seed}}/model/model.safetensors",
    output:
        table=f"{RESULTS}/base/seed{{seed}}/alignment.parquet",
        positions=f"{RESULTS}/base/seed{{seed}}/positions.parquet",
        noise=f"{RESULTS}/base/seed{{seed}}/noise.parquet",
        halves=f"{RESULTS}/base/seed{{seed}}/halves.parquet",
        updates=f"{RESULTS}/base/seed{{seed}}/updates.parquet",
        record=f"{RESULTS}/base/seed{{seed}}/alignment.json",
    log:
        f"{LOGS}/align/base-seed{{seed}}.log",
    conda:
        "../envs/prerl.yaml"
    threads: SCALE.threads
    resources:
        gpu=gpus("align"),
        mem_mb=memory(16),  # whole gradients, in float32
        runtime=minutes(480),
    params:
        scale=SCALE_FILE,
        model=subpath(input.model, parent=True),
        out=subpath(output.record, parent=True),
        problems=subpath(input.dev, parent=True),
        methods=METHODS_FILE,
        depends=dict(
            ALIGNED_BY,
            seeds=len(SCALE.base_seeds),
            batches=SCALE.analysis.alignment_batches,
            phases={name: METHODS[name].model_dump() for name in UPDATE_METHODS if name in METHODS},
            functions=[METHODS[name].sources() for name in UPDATE_METHODS if name in METHODS],
        ),
    shell:
        "prerl align-base --scale {params.scale} --methods {params.methods} --seed {wildcards.seed} --model {params.model}"
        " --problems {params.problems} --out {params.out} 2> {log}"


rule align_run:
    """The same on rollouts of a run's checkpoints."""
    input:
        dev=rules.train.input.dev,
        train=rules.train.input.train,
        record=f"{RESULTS}/{{method}}/seed{{seed}}/run.json",
    output:
        table=f"{RESULTS}/{{method}}/seed{{seed}}/alignment.parquet",
        record=f"{RESULTS}/{{method}}/seed{{seed}}/alignment.json",
    log:
        f"{LOGS}/align/{{method}}-seed{{seed}}.log",
    conda:
        "../envs/prerl.yaml"
    threads: SCALE.threads
    resources:
        gpu=gpus("align"),
        mem_mb=memory(beside=8000),  # the weights are in checkpoints/, no input, see train.smk
        runtime=minutes(480),
    params:
        scale=SCALE_FILE,
        run=subpath(input.record, parent=True),
        problems=subpath(input.dev, parent=True),
        depends=dict(ALIGNED_BY, steps=SCALE.analysis.alignment_steps, seeds=len(SCALE.seeds)),
    shell:
        "prerl align-run --scale {params.scale} --run {params.run} --problems {params.problems} --out {params.run} 2> {log}"
