rule evaluate:
    input:
        model=f"{RESULTS}/{{run}}/model/model.safetensors",
        problems=expand(f"{RESULTS}/problems/{{name}}.jsonl", name=SCALE.evaluation.benchmarks),
        tasks=[
            *expand("workflow/benchmarks/{name}.yaml", name=SCALE.evaluation.benchmarks),
            *sorted(map(str, Path("workflow/benchmarks").glob("_*.yaml"))),  # what those include
        ],
    output:
        samples=f"{RESULTS}/{{run}}/samples.parquet",
        record=f"{RESULTS}/{{run}}/evaluate.json",
    log:
        f"{LOGS}/evaluate/{{run}}.log",
    conda:
        "../envs/prerl.yaml"
    params:
        scale=SCALE_FILE,
        model=subpath(input.model, parent=True),
        problems=lambda w, input: str(Path(input.problems[0]).parent),
        out=subpath(output.record, parent=True),
        settings=settings("evaluation"),
        code=fingerprint("prerl.evaluate"),
    shell:
        "prerl evaluate --scale {params.scale} --model {params.model} --problems {params.problems}"
        " --out {params.out} > {log} 2>&1"


rule align:
    input:
        model=rules.base.output.model,
    output:
        table=f"{RESULTS}/base/alignment.parquet",
        record=f"{RESULTS}/base/alignment.json",
    log:
        f"{LOGS}/align.log",
    conda:
        "../envs/prerl.yaml"
    params:
        scale=SCALE_FILE,
        model=subpath(input.model, parent=True),
        out=subpath(output.record, parent=True),
        settings=settings("analysis", "start_token", "rl"),
        largest_number=SCALE.problems.largest_number,
        code=fingerprint("prerl.alignment"),
    shell:
        "prerl align --scale {params.scale} --model {params.model} --out {params.out} 2> {log}"
