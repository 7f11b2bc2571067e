rule train:
    input:
        model=rules.base.output.model,
        dev=f"{RESULTS}/problems/dev.jsonl",
        train=f"{RESULTS}/problems/train.jsonl" if PUBLIC else [],
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
    params:
        scale=SCALE_FILE,
        model=subpath(input.model, parent=True),
        out=subpath(output.record, parent=True),
        methods=lambda w: NEW_FILE if w.method == NEW else METHODS_FILE,
        phases=lambda w: [phase.model_dump() for phase in METHODS[w.method].phases],
        functions=lambda w: METHODS[w.method].sources(),
        settings=settings("start_token", "threads", "engine", "rl"),
        kept=lambda w: SCALE.analysis.alignment_steps if w.method in SCALE.analysis.alignment_methods else [],
        problems=subpath(input.dev, parent=True),
        world=TRAINING_PROBLEMS,
        torch=TORCH,
        code=fingerprint(f"prerl.engines.{SCALE.engine.name}"),
    shell:
        "prerl train --scale {params.scale} --methods {params.methods:q} --method {wildcards.method} --seed {wildcards.seed}"
        " --model {params.model} --problems {params.problems} --out {params.out} 2> {log}"
