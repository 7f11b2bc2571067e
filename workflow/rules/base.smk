rule fetch:
    """All that the scale downloads, so that later jobs need no network."""
    log:
        f"{LOGS}/fetch.log",
    localrule: True
    conda:
        "../envs/prerl.yaml"
    params:
        scale=SCALE_FILE,
        data_dir=DATA_DIR,
    shell:
        "prerl fetch --scale {params.scale} --data-dir {params.data_dir} 2> {log}"


rule problems:
    """The problem sets: dev, the benchmarks, and what is trained on where problems are not drawn without end."""
    input:
        f"{RESULTS}/base/model/model.safetensors" if PUBLIC else [],  # its chat template makes the prompts
    output:
        expand(
            f"{RESULTS}/problems/{{name}}.jsonl",
            name=["dev", *(["train"] if PUBLIC else []), *SCALE.problems.benchmarks],
        ),
    log:
        f"{LOGS}/problems.log",
    conda:
        "../envs/prerl.yaml"
    resources:
        mem_mb=memory(),
        runtime=minutes(60),
    params:
        scale=SCALE_FILE,
        out=subpath(output[0], parent=True),
        model=lambda w, input: f"--model {Path(input[0]).parent} --data-dir {DATA_DIR}" if PUBLIC else "",
        depends=dict(settings=settings("problems"), code=fingerprint("prerl.problems.sets")),
    shell:
        "prerl problems --scale {params.scale} {params.model} --out {params.out} 2> {log}"


MADE_BY = dict(
    torch=TORCH if SCALE.pretrain else None,
    code=fingerprint("prerl.base.pretrain" if SCALE.pretrain else "prerl.base.published"),
)


rule base:
    """The base model: a committed one, one pretrained here, or a published one."""
    output:
        model=f"{RESULTS}/base/model/model.safetensors",
        record=f"{RESULTS}/base/run.json",
    log:
        f"{LOGS}/base.log",
    conda:
        "../envs/prerl.yaml"
    threads: SCALE.pretrain.threads if SCALE.pretrain and not COMMITTED else 1
    resources:
        mem_mb=memory(beside=4000 + 4 * getattr(SCALE.model, "parameters", 0) // 10**6),
        runtime=minutes(240),
    params:
        scale=SCALE_FILE,
        out=subpath(output.record, parent=True),
        source=f"--bases {BASES}" if COMMITTED else f"--data-dir {DATA_DIR}",
        depends=dict(
            settings=settings("model", "pretrain"),
            documents=SCALE.problems.largest_number if SCALE.pretrain else None,
            **(dict(made=checksums([Path(BASES)], Path(BASES))) if COMMITTED else MADE_BY),
        ),
    shell:
        "prerl base --scale {params.scale} {params.source} --out {params.out} 2> {log}"


if SCALE.pretrain:

    rule bases:
        """The base model that is committed, pretrained anew; studies start from it."""
        output:
            f"{BASES}/seed0/run.json",
        log:
            f"{LOGS}/bases.log",
        conda:
            "../envs/prerl.yaml"
        threads: SCALE.pretrain.threads
        resources:
            mem_mb=memory(),
            runtime=minutes(240),
        params:
            scale=SCALE_FILE,
            out=subpath(output[0], parent=True),
            depends=dict(settings=settings("model", "pretrain"), documents=SCALE.problems.largest_number, **MADE_BY),
        shell:
            "prerl base --scale {params.scale} --out {params.out} 2> {log}"
