# Speed side by side with TRL, transformers and vLLM. It wants a machine that does nothing else: all cores are asked for.
rule bench:
    input:
        model=rules.base.output.model,
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
    threads: 1000  # Snakemake takes the cores that there are
    params:
        scale=SCALE_FILE,
        results=subpath(input.model, ancestor=3),
        out=subpath(output.json, parent=True),
    shell:
        "prerl bench --scale {params.scale} --results {params.results} --growth --out {params.out} 2> {log}"
