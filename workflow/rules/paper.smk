rule paper:
    """The paper, all of whose numbers are read from the results."""
    input:
        expand(rules.summary.output, study=""),
        expand(rules.claims.output, study=""),
        rules.tables.output,
        rules.figures.output,
        source="paper/main.typ",
        references="paper/references.bib",
        departures="paper/departures.yaml",
        baselines=sorted(map(str, Path("results/baselines").glob("*/alignment.json"))),
    output:
        report(f"{RESULTS}/paper.pdf", caption="../report/paper.rst", category="Paper", labels={"name": "paper"}),
    log:
        f"{LOGS}/paper.log",
    conda:
        "../envs/prerl.yaml"
    resources:
        mem_mb=memory(),
        runtime=minutes(60),
    params:
        results=subpath(output[0], parent=True),
        depends=dict(code=fingerprint("prerl.report.paper")),
    shell:
        "prerl paper --results {params.results} --source {input.source} --out {output} 2> {log}"
