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
        f"{RESULTS}/base/seed0/model/model.safetensors" if CHAT else [],  # its chat template makes the prompts
    output:
        expand(
            f"{RESULTS}/problems/{{name}}.jsonl",
            name=["dev", *(["train"] if CHAT else []), *SCALE.problems.benchmarks],
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
        model=lambda w, input: f"--model {Path(input[0]).parent} --data-dir {DATA_DIR}" if CHAT else "",
        depends=dict(settings=settings("problems"), code=fingerprint("prerl.problems.sets")),
    shell:
        "prerl problems --scale {params.scale} {params.model} --out {params.out} 2> {log}"


# What the documents of pretraining are about.
DOCUMENTS = SCALE.problems.model_dump(include={"largest_number", "restates"}) if SCALE.pretrain else None
MADE_BY = dict(
    torch=TORCH if SCALE.pretrain else None,
    code=fingerprint("prerl.base.pretrain" if SCALE.pretrain else "prerl.base.published"),
)


BASE_RECORD = f"{RESULTS}/base/seed{{seed}}/run.json"  # of what runs start from
# Where the scale primes it, the published model is not what runs start from.
BEGUN = "published" if SCALE.prime else "base"


rule base:
    """A base model: a committed one, one pretrained here, or a published one."""
    output:
        model=f"{RESULTS}/{BEGUN}/seed{{seed}}/model/model.safetensors",
        record=f"{RESULTS}/{BEGUN}/seed{{seed}}/run.json",
    log:
        f"{LOGS}/{BEGUN}/seed{{seed}}.log",
    conda:
        "../envs/prerl.yaml"
    threads: lambda w: SCALE.pretrain.threads if SCALE.pretrain and int(w.seed) not in COMMITTED else 1
    resources:
        mem_mb=memory(beside=4000 + 4 * getattr(SCALE.model, "parameters", 0) // 10**6),
        runtime=minutes(240),
    params:
        scale=SCALE_FILE,
        out=subpath(output.record, parent=True),
        source=lambda w: f"--bases {BASES}" if int(w.seed) in COMMITTED else f"--data-dir {DATA_DIR}",
        depends=lambda w: dict(
            settings=settings("model", "pretrain"),
            documents=DOCUMENTS,
            **(dict(made=COMMITTED[int(w.seed)]) if int(w.seed) in COMMITTED else MADE_BY),
        ),
    shell:
        "prerl base --scale {params.scale} --seed {wildcards.seed} {params.source} --out {params.out} 2> {log}"


if SCALE.prime:

    rule prime:
        """The published model after a seed's worked solutions, some of which check themselves: a base model."""
        input:
            model=f"{RESULTS}/{BEGUN}/seed0/model/model.safetensors",
        output:
            model=f"{RESULTS}/base/seed{{seed}}/model/model.safetensors",
            record=f"{RESULTS}/base/seed{{seed}}/run.json",
        log:
            f"{LOGS}/prime/seed{{seed}}.log",
        conda:
            "../envs/prerl.yaml"
        threads: SCALE.prime.threads
        resources:
            gpu=gpus("prime"),
            mem_mb=memory(24),
            runtime=minutes(600),
        params:
            scale=SCALE_FILE,
            model=subpath(input.model, parent=True),
            out=subpath(output.record, parent=True),
            depends=dict(
                settings=settings("prime"), world=TRAINING_PROBLEMS, torch=TORCH, code=fingerprint("prerl.base.prime")
            ),
        shell:
            "prerl prime --scale {params.scale} --seed {wildcards.seed} --model {params.model} --out {params.out} 2> {log}"


if SCALE.pretrain:

    rule fresh_base:
        """A base model that is committed, pretrained anew."""
        output:
            f"{BASES}/seed{{seed}}/run.json",
        log:
            f"{LOGS}/bases/seed{{seed}}.log",
        conda:
            "../envs/prerl.yaml"
        threads: SCALE.pretrain.threads
        resources:
            mem_mb=memory(),
            runtime=minutes(240),
        params:
            scale=SCALE_FILE,
            out=subpath(output[0], parent=True),
            depends=dict(settings=settings("model", "pretrain"), documents=DOCUMENTS, **MADE_BY),
        shell:
            "prerl base --scale {params.scale} --seed {wildcards.seed} --out {params.out} 2> {log}"

    rule bases:
        """The base models that are committed, pretrained anew; studies start from them."""
        input:
            expand(rules.fresh_base.output, seed=sorted({*KEPT_BASES, *TUNING_BASES})),
