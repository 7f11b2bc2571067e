SUMMARY = f"{RESULTS}/{{study}}summary"
PAGE = expand("workflow/page/{name}", name=["layout.html", "index.html", "style.css", "page.js"])
MAIN_TABLES = [
    "methods",
    "accuracy",
    "agreement",
    "pass_at_k",
    "comparison",
    "spread",
    "speed",
    "behaviour",
    "alignment",
    "alignment_groups",
    "alignment_noise",
    "alignment_tokens",
    "alignment_training",
    "runs",
    "claims",
]
MAIN_FIGURES = [
    "learning_curves",
    "pass_at_k",
    "dynamics",
    "behaviours",
    "alignment",
    "alignment_positions",
    "alignment_training",
    "sample_efficiency",
    "claims",
]
if PUBLIC:
    MAIN_TABLES += ["overlap"]
BASE_TABLES = [
    "accuracy",
    "agreement",
    "pass_at_k",
    "behaviour",
    "alignment",
    "alignment_groups",
    "alignment_noise",
    "alignment_tokens",
    *(["overlap"] if PUBLIC else []),
    "claims",
]
BASE_FIGURES = ["pass_at_k", "alignment", "alignment_positions", "claims"]
ABLATION_TABLES = ["methods", "warm_up", "accuracy", "comparison", "speed", "runs", "claims"]
ABLATION_FIGURES = ["warm_up", "ablations"]
COMPARE_TABLES = ["leaderboard", "versus", "effort", "behaviour", "methods"]
COMPARE_FIGURES = ["differences", "new_curves"]


rule summary:
    input:
        lambda w: expand(
            f"{RESULTS}/{{run}}/{{file}}",
            run=["base", *runs(w.study)],
            file=["samples.parquet", "evaluate.json", "run.json"],
        ),
        lambda w: expand(f"{RESULTS}/{{run}}/dev.parquet", run=runs(w.study)),
        rules.align_base.output,
        rules.problems.output if PUBLIC else [],
        lambda w: expand(
            rules.align_run.output.table,
            method=[name for name in STUDIES[w.study] if name in SCALE.analysis.alignment_methods],
            seed=SCALE.seeds,
        ),
        lexicon=LEXICON,
    output:
        expand(
            "{summary}/{name}",
            summary=SUMMARY,
            name=[
                "scores.parquet",
                "comparisons.parquet",
                "spread.parquet",
                "changes.parquet",
                "speeds.parquet",
                "warm_ups.parquet",
                "behaviour.parquet",
                "curves.parquet",
                "seeds.parquet",
                "runs.parquet",
                "alignment.parquet",
                "rollouts.parquet",
                "positions.parquet",
                "noise.parquet",
                "pairs.parquet",
                *(["overlap.parquet"] if PUBLIC else []),
                "scale.json",
                "provenance.json",
            ],
        ),
    log:
        f"{LOGS}/{{study}}summary.log",
    conda:
        "../envs/prerl.yaml"
    params:
        scale=SCALE_FILE,
        results=lambda w, input: str(Path(input[0]).parents[1]),
        out=subpath(output[0], parent=True),
        names=lambda w: STUDIES[w.study],
        phases=lambda w: {name: METHODS[name].model_dump() for name in STUDIES[w.study]},
        settings=settings("description", "seeds", "rl", "analysis"),
        code=fingerprint("prerl.summary"),
    shell:
        "prerl summarize {params.names} --scale {params.scale} --results {params.results}"
        " --lexicon {input.lexicon} --out {params.out} 2> {log}"


rule claims:
    input:
        rules.summary.output,
        reported="paper/reported.yaml",
    output:
        f"{RESULTS}/{{study}}claims.csv",
    log:
        f"{LOGS}/{{study}}claims.log",
    conda:
        "../envs/prerl.yaml"
    params:
        summary=subpath(input[0], parent=True),
        code=fingerprint("prerl.claims"),
    shell:
        "prerl claims --summary {params.summary} --reported {input.reported} --out {output} 2> {log}"


rule tables:
    input:
        expand(rules.summary.output, study=""),
        expand(rules.claims.output, study=""),
        expand("workflow/report/tables/{name}.rst", name=MAIN_TABLES),
    output:
        printed("", "tables", MAIN_TABLES, "csv", ["md", "tex", "json"]),
        captions=f"{RESULTS}/tables/captions.json",
    log:
        f"{LOGS}/tables.log",
    conda:
        "../envs/prerl.yaml"
    params:
        names=MAIN_TABLES,
        summary=subpath(input[0], parent=True),
        out=subpath(output[0], parent=True),
        methods={name: METHODS[name].model_dump() for name in STUDIES[""]},
        code=fingerprint("prerl.tables"),
    shell:
        "prerl tables {params.names} --summary {params.summary} --out {params.out} 2> {log}"


rule figures:
    input:
        expand(rules.summary.output, study=""),
        expand(rules.claims.output, study=""),
        expand("workflow/report/figures/{name}.rst", name=MAIN_FIGURES),
    output:
        printed("", "figures", MAIN_FIGURES, "svg", ["pdf", "png"]),
        captions=f"{RESULTS}/figures/captions.json",
    log:
        f"{LOGS}/figures.log",
    conda:
        "../envs/prerl.yaml"
    params:
        names=MAIN_FIGURES,
        summary=subpath(input[0], parent=True),
        out=subpath(output[0], parent=True),
        labels={name: METHODS[name].label for name in STUDIES[""]},
        code=fingerprint("prerl.figures"),
    shell:
        "prerl figures {params.names} --summary {params.summary} --out {params.out} 2> {log}"


use rule tables as ablation_tables with:
    input:
        expand(rules.summary.output, study="ablations/"),
        expand(rules.claims.output, study="ablations/"),
        expand("workflow/report/tables/{name}.rst", name=ABLATION_TABLES),
    output:
        printed("ablations/", "tables", ABLATION_TABLES, "csv", ["md", "tex", "json"]),
        captions=f"{RESULTS}/ablations/tables/captions.json",
    log:
        f"{LOGS}/ablations/tables.log",
    params:
        names=ABLATION_TABLES,
        summary=subpath(input[0], parent=True),
        out=subpath(output[0], parent=True),
        methods={name: METHODS[name].model_dump() for name in STUDIES["ablations/"]},
        code=fingerprint("prerl.tables"),


use rule figures as ablation_figures with:
    input:
        expand(rules.summary.output, study="ablations/"),
        expand(rules.claims.output, study="ablations/"),
        expand("workflow/report/figures/{name}.rst", name=ABLATION_FIGURES),
    output:
        printed("ablations/", "figures", ABLATION_FIGURES, "svg", ["pdf", "png"]),
        captions=f"{RESULTS}/ablations/figures/captions.json",
    log:
        f"{LOGS}/ablations/figures.log",
    params:
        names=ABLATION_FIGURES,
        summary=subpath(input[0], parent=True),
        out=subpath(output[0], parent=True),
        labels={name: METHODS[name].label for name in STUDIES["ablations/"]},
        code=fingerprint("prerl.figures"),


rule paper:
    input:
        expand(rules.summary.output, study=""),
        expand(rules.claims.output, study=""),
        rules.tables.output,
        rules.figures.output,
        source="paper/main.typ",
        references="paper/references.bib",
        baselines=sorted(map(str, Path("results/baselines").glob("*/alignment.json"))),
    output:
        report(f"{RESULTS}/paper.pdf", caption="../report/paper.rst", category="Paper", labels={"name": "paper"}),
    log:
        f"{LOGS}/paper.log",
    conda:
        "../envs/prerl.yaml"
    params:
        results=subpath(output[0], parent=True),
        code=fingerprint("prerl.paper"),
    shell:
        "prerl paper --results {params.results} --source {input.source} --out {output} 2> {log}"


rule page:
    input:
        expand(rules.summary.output, study=""),
        expand(rules.claims.output, study=""),
        rules.tables.output,
        rules.figures.output,
        page_inputs(""),
        PAGE,
        lexicon=LEXICON,
    output:
        f"{RESULTS}/index.html",
    log:
        f"{LOGS}/page.log",
    conda:
        "../envs/prerl.yaml"
    params:
        results=subpath(output[0], parent=True),
        summary=subpath(input[0], parent=True),
        labels={name: METHODS[name].label for name in STUDIES[""]},
        code=fingerprint("prerl.page"),
    shell:
        "prerl page --results {params.results} --summary {params.summary} --lexicon {input.lexicon} --out {output} 2> {log}"


use rule page as ablation_page with:
    input:
        expand(rules.summary.output, study="ablations/"),
        expand(rules.claims.output, study="ablations/"),
        rules.ablation_tables.output,
        rules.ablation_figures.output,
        page_inputs("ablations/"),
        PAGE,
        lexicon=LEXICON,
    output:
        f"{RESULTS}/ablations/index.html",
    log:
        f"{LOGS}/ablations/page.log",
    params:
        results=subpath(output[0], ancestor=2),
        summary=subpath(input[0], parent=True),
        labels={name: METHODS[name].label for name in STUDIES["ablations/"]},
        code=fingerprint("prerl.page"),


use rule tables as base_tables with:
    input:
        expand(rules.summary.output, study="base-study/"),
        expand(rules.claims.output, study="base-study/"),
        expand("workflow/report/tables/{name}.rst", name=BASE_TABLES),
    output:
        printed("base-study/", "tables", BASE_TABLES, "csv", ["md", "tex", "json"]),
        captions=f"{RESULTS}/base-study/tables/captions.json",
    log:
        f"{LOGS}/base-study/tables.log",
    params:
        names=BASE_TABLES,
        summary=subpath(input[0], parent=True),
        out=subpath(output[0], parent=True),
        methods={name: METHODS[name].model_dump() for name in STUDIES["base-study/"]},
        code=fingerprint("prerl.tables"),


use rule figures as base_figures with:
    input:
        expand(rules.summary.output, study="base-study/"),
        expand(rules.claims.output, study="base-study/"),
        expand("workflow/report/figures/{name}.rst", name=BASE_FIGURES),
    output:
        printed("base-study/", "figures", BASE_FIGURES, "svg", ["pdf", "png"]),
        captions=f"{RESULTS}/base-study/figures/captions.json",
    log:
        f"{LOGS}/base-study/figures.log",
    params:
        names=BASE_FIGURES,
        summary=subpath(input[0], parent=True),
        out=subpath(output[0], parent=True),
        labels={name: METHODS[name].label for name in STUDIES["base-study/"]},
        code=fingerprint("prerl.figures"),


use rule page as base_page with:
    input:
        expand(rules.summary.output, study="base-study/"),
        expand(rules.claims.output, study="base-study/"),
        rules.base_tables.output,
        rules.base_figures.output,
        page_inputs("base-study/"),
        PAGE,
        lexicon=LEXICON,
    output:
        f"{RESULTS}/base-study/index.html",
    log:
        f"{LOGS}/base-study/page.log",
    params:
        results=subpath(output[0], ancestor=2),
        summary=subpath(input[0], parent=True),
        labels={name: METHODS[name].label for name in STUDIES["base-study/"]},
        code=fingerprint("prerl.page"),
