rule problems:
    output:
        expand(
            f"{RESULTS}/problems/{{name}}.jsonl",
            name=["dev", *SCALE.problems.benchmarks],
        ),
    log:
        f"{LOGS}/problems.log",
    conda:
        "../envs/prerl.yaml"
    params:
        scale=SCALE_FILE,
        out=subpath(output[0], parent=True),
        settings=settings("problems"),
        code=fingerprint("prerl.problems.sets"),
    shell:
        "prerl problems --scale {params.scale} --out {params.out} 2> {log}"


rule base:
    output:
        model=f"{RESULTS}/base/model/model.safetensors",
        record=f"{RESULTS}/base/run.json",
        log=f"{RESULTS}/base/log.parquet",
    log:
        f"{LOGS}/base.log",
    conda:
        "../envs/prerl.yaml"
    threads: SCALE.pretrain.threads
    params:
        scale=SCALE_FILE,
        out=subpath(output.record, parent=True),
        settings=settings("model", "pretrain"),
        largest_number=SCALE.problems.largest_number,
        code=fingerprint("prerl.base"),
    shell:
        "prerl base --scale {params.scale} --out {params.out} 2> {log}"
