if SCALE.tuning:

    # Of the model that it leaves nothing is asked.
    rule tune:
        """One candidate of a method from one seed of the tuning."""
        input:
            model=f"{RESULTS}/base/seed{TUNING_BASES[0]}/model/model.safetensors",
            dev=rules.train.input.dev,
            train=rules.train.input.train,
        output:
            record=f"{TUNING_RUN}/run.json",
            log=f"{TUNING_RUN}/log.parquet",
            dev=f"{TUNING_RUN}/dev.parquet",
        log:
            f"{LOGS}/tune/{{method}}-{{candidate}}-seed{{seed}}.log",
        wildcard_constraints:
            candidate=r"[\de.w-]+",
        conda:
            "../envs/prerl.yaml"
        threads: SCALE.threads
        resources:
            gpu=gpus("train"),
            mem_mb=memory(24),  # as of rule train
            runtime=minutes(1440),
        params:
            scale=SCALE_FILE,
            model=subpath(input.model, parent=True),
            out=subpath(output.record, parent=True),
            methods=NEW_FILE or METHODS_FILE,
            problems=subpath(input.dev, parent=True),
            values=lambda w: CANDIDATES[w.method][w.candidate].model_dump(),
            depends=lambda w: dict(TRAINED_BY, phases=candidate_phases(w), functions=NAMED[w.method].sources()),
        shell:
            "prerl train --scale {params.scale} --methods {params.methods:q} --method {wildcards.method} --seed {wildcards.seed}"
            " --learning-rate-factor {params.values[learning_rate_factor]} --warm-ups {params.values[warm_ups]}"
            " --model {params.model} --problems {params.problems} --out {params.out} 2> {log}"


rule sensitivity:
    """The choice among what was tried of every method, with the whole curve; what is committed of it."""
    input:
        tuning_runs,
        "workflow/report/tables/sensitivity.rst",
        "workflow/report/figures/sensitivity.rst",
    output:
        expand(f"{SENSITIVITY}/summary/{{name}}", name=["sensitivity.parquet", "choices.yaml", "scale.json"]),
        expand(f"{SENSITIVITY}/tables/sensitivity.{{suffix}}", suffix=["csv", "md", "tex", "json"]),
        expand(f"{SENSITIVITY}/figures/sensitivity.{{suffix}}", suffix=["svg", "pdf", "png"]),
        *([] if NEW else expand(f"{KEPT_TUNING}/sensitivity.{{suffix}}", suffix=["parquet", "md", "png"])),
        *([] if NEW else [f"{KEPT_TUNING}/choices.yaml"]),
    log:
        f"{LOGS}/sensitivity.log",
    conda:
        "../envs/prerl.yaml"
    resources:
        mem_mb=memory(),
        runtime=minutes(60),
    params:
        names=list(TUNED),
        scale=SCALE_FILE,
        methods=NEW_FILE or METHODS_FILE,
        results=lambda w, input: str(Path(input[0]).parents[3]),
        out=subpath(output[0], ancestor=2),
        keep="" if NEW else f"--keep {KEPT_TUNING}",
        depends=dict(
            settings=settings("description", "tuning"),
            steps=[SCALE.rl.steps, SCALE.rl.checkpoint_every],
            labels={name: method.label for name, method in TUNED.items()},
            code=fingerprint(
                "prerl.analysis.sensitivity", "prerl.report.tables.sensitivity", "prerl.report.figures.sensitivity"
            ),
        ),
    shell:
        "prerl sensitivity {params.names} --scale {params.scale} --methods {params.methods:q} --results {params.results}"
        " --out {params.out} {params.keep} 2> {log}"
