RUNS = expand("{method}/seed{seed}", method=SCALE.methods, seed=SCALE.seeds)


rule summary:
    input:
        expand(
            f"{RESULTS}/{{run}}/{{file}}",
            run=["base", *RUNS],
            file=["samples.parquet", "evaluate.json", "run.json"],
        ),
        expand(f"{RESULTS}/{{run}}/dev.parquet", run=RUNS),
        rules.align.output,
        lexicon="workflow/lexicons/countdown.yaml",
    output:
        expand(
            f"{RESULTS}/summary/{{name}}",
            name=[
                "scores.parquet",
                "comparisons.parquet",
                "spread.parquet",
                "behaviour.parquet",
                "curves.parquet",
                "seeds.parquet",
                "runs.parquet",
                "alignment.parquet",
                "rollouts.parquet",
                "scale.json",
            ],
        ),
    log:
        f"{LOGS}/summary.log",
    conda:
        "../envs/prerl.yaml"
    params:
        scale=SCALE_FILE,
        results=lambda w, output: str(Path(output[0]).parents[1]),
        out=subpath(output[0], parent=True),
        settings=settings("description", "methods", "seeds", "rl", "analysis"),
        code=fingerprint("prerl.summary"),
    shell:
        "prerl summarize --scale {params.scale} --results {params.results} --lexicon {input.lexicon}"
        " --out {params.out} 2> {log}"


rule tables:
    input:
        rules.summary.output,
    output:
        expand(
            f"{RESULTS}/tables/{{name}}.{{kind}}",
            name=[
                "methods",
                "accuracy",
                "pass_at_k",
                "comparison",
                "spread",
                "behaviour",
                "alignment",
                "runs",
            ],
            kind=["csv", "md", "tex"],
        ),
    log:
        f"{LOGS}/tables.log",
    conda:
        "../envs/prerl.yaml"
    params:
        summary=subpath(input[0], parent=True),
        out=subpath(output[0], parent=True),
        methods={name: METHODS[name].model_dump() for name in SCALE.methods},
        code=fingerprint("prerl.tables"),
    shell:
        "prerl tables --summary {params.summary} --out {params.out} 2> {log}"


rule figures:
    input:
        rules.summary.output,
    output:
        expand(
            f"{RESULTS}/figures/{{name}}.{{kind}}",
            name=["learning_curves", "pass_at_k", "dynamics", "alignment"],
            kind=["svg", "pdf", "png"],
        ),
    log:
        f"{LOGS}/figures.log",
    conda:
        "../envs/prerl.yaml"
    params:
        summary=subpath(input[0], parent=True),
        out=subpath(output[0], parent=True),
        labels={name: METHODS[name].label for name in SCALE.methods},
        code=fingerprint("prerl.figures"),
    shell:
        "prerl figures --summary {params.summary} --out {params.out} 2> {log}"
