rule bench:
    """Speed side by side with TRL, transformers and vLLM, on a machine that does nothing else."""
    input:
        model=f"{RESULTS}/base/seed0/model/model.safetensors",
        problems=rules.problems.output,
    output:
        json=f"{RESULTS}/bench/bench.json",
        table=f"{RESULTS}/bench/bench.md",
        growth=f"{RESULTS}/bench/growth.csv",
        figure=f"{RESULTS}/bench/growth.svg",
    log:
        f"{LOGS}/bench.log",
    conda:
        "../envs/prerl.yaml"
    threads: whole_machine
    resources:
        mem_mb=memory(),
        runtime=minutes(60),
    params:
        scale=SCALE_FILE,
        results=subpath(input.model, ancestor=4),
        out=subpath(output.json, parent=True),
    shell:
        "prerl bench --scale {params.scale} --results {params.results} --growth --out {params.out} 2> {log}"
