rule evaluate:
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
    params:
        scale=SCALE_FILE,
        model=subpath(input.model, parent=True),
        problems=lambda w, input: str(Path(input.problems[0]).parent),
        out=subpath(output.record, parent=True),
        settings=settings("threads", "evaluation"),
        torch=TORCH,
        code=fingerprint("prerl.evaluation.evaluate"),
    shell:
        "prerl evaluate --scale {params.scale} --model {params.model} --problems {params.problems}"
        " --out {params.out} > {log} 2>&1"


rule align_base:
    input:
        dev=rules.train.input.dev,
        train=rules.train.input.train,
        model=rules.base.output.model,
    output:
        table=f"{RESULTS}/base/alignment.parquet",
        positions=f"{RESULTS}/base/positions.parquet",
        noise=f"{RESULTS}/base/noise.parquet",
        halves=f"{RESULTS}/base/halves.parquet",
        record=f"{RESULTS}/base/alignment.json",
    log:
        f"{LOGS}/align/base.log",
    conda:
        "../envs/prerl.yaml"
    threads: SCALE.threads
    params:
        scale=SCALE_FILE,
        model=subpath(input.model, parent=True),
        out=subpath(output.record, parent=True),
        settings=settings("start_token", "threads", "rl"),
        rollouts=SCALE.analysis.alignment_rollouts,
        problems=subpath(input.dev, parent=True),
        world=TRAINING_PROBLEMS,
        torch=TORCH,
        code=fingerprint("prerl.evaluation.alignment"),
    shell:
        "prerl align-base --scale {params.scale} --model {params.model} --problems {params.problems} --out {params.out} 2> {log}"


rule align_run:
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
    params:
        scale=SCALE_FILE,
        run=subpath(input.record, parent=True),
        settings=settings("start_token", "threads", "rl"),
        rollouts=SCALE.analysis.alignment_rollouts,
        steps=SCALE.analysis.alignment_steps,
        seeds=len(SCALE.seeds),
        problems=subpath(input.dev, parent=True),
        world=TRAINING_PROBLEMS,
        torch=TORCH,
        code=fingerprint("prerl.evaluation.alignment"),
    shell:
        "prerl align-run --scale {params.scale} --run {params.run} --problems {params.problems} --out {params.run} 2> {log}"
