SUMMARY = f"{RESULTS}/{{study}}summary"
PAGE = expand("workflow/page/{name}", name=["layout.html", "index.html", "methods.html", "style.css", "page.js"])
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
    "alignment_updates",
    "alignment_tokens",
    "alignment_training",
    "runs",
    "claims",
    "claim_parts",
]
MAIN_FIGURES = [
    "learning_curves",
    "pass_at_k",
    "dynamics",
    "behaviours",
    "alignment",
    "alignment_updates",
    "alignment_positions",
    "alignment_training",
    "sample_efficiency",
    "claims",
]
MAIN_TABLES += ["overlap"] if PUBLIC else []
if SHOWN_TUNING:  # that of this scale is committed
    MAIN_TABLES.append("sensitivity")
    MAIN_FIGURES.append("sensitivity")
if not SCALE.analysis.alignment_methods:  # the base's alone, which another table and figure show
    MAIN_TABLES.remove("alignment_training")
    MAIN_FIGURES.remove("alignment_training")
BASE_TABLES = [
    "accuracy",
    "agreement",
    "pass_at_k",
    "behaviour",
    "alignment",
    "alignment_groups",
    "alignment_noise",
    "alignment_updates",
    "alignment_tokens",
    *(["overlap"] if PUBLIC else []),
    "claims",
    "claim_parts",
]
BASE_FIGURES = ["pass_at_k", "alignment", "alignment_updates", "alignment_positions", "claims"]
if not SCALE.analysis.alignment_batches:
    for names in (MAIN_TABLES, MAIN_FIGURES, BASE_TABLES, BASE_FIGURES):
        names.remove("alignment_updates")
ABLATION_TABLES = ["methods", "warm_up", "accuracy", "comparison", "speed", "runs", "claims", "claim_parts"]
ABLATION_FIGURES = ["warm_up", "ablations"]

SUMMED_BY = dict(
    settings=settings("description", "seeds", "rl", "analysis"), code=fingerprint("prerl.analysis.summary")
)


rule summary:
    """Every estimate of a study with its interval."""
    input:
        lambda w: measured(w.study),
        rules.problems.output if PUBLIC else [],
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
                "ratios.parquet",
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
                "updates.parquet",
                *(["overlap.parquet"] if PUBLIC else []),
                *(["sensitivity.parquet"] if SHOWN_TUNING else []),
                "scale.json",
                "provenance.json",
            ],
        ),
    log:
        f"{LOGS}/{{study}}summary.log",
    conda:
        "../envs/prerl.yaml"
    resources:
        mem_mb=memory(),
        runtime=minutes(60),
    params:
        scale=SCALE_FILE,
        results=lambda w, input: str(Path(input[0]).parents[2]),
        out=subpath(output[0], parent=True),
        names=lambda w: STUDIES[w.study],
        sensitivity=f"--sensitivity {KEPT_TUNING}/sensitivity.parquet" if SHOWN_TUNING else "",
        depends=lambda w: dict(
            SUMMED_BY, tuning=SHOWN_TUNING, phases={name: METHODS[name].model_dump() for name in STUDIES[w.study]}
        ),
    shell:
        "prerl summarize {params.names} --scale {params.scale} --results {params.results}"
        " --lexicon {input.lexicon} {params.sensitivity} --out {params.out} 2> {log}"


rule claims:
    """A verdict on each claim of the paper."""
    input:
        rules.summary.output,
        reported="paper/reported.yaml",
    output:
        claims=f"{RESULTS}/{{study}}claims.csv",
        parts=f"{RESULTS}/{{study}}claim_parts.csv",
    log:
        f"{LOGS}/{{study}}claims.log",
    conda:
        "../envs/prerl.yaml"
    resources:
        mem_mb=memory(),
        runtime=minutes(60),
    params:
        scale=SCALE_FILE,
        summary=subpath(input[0], parent=True),
        depends=dict(code=fingerprint("prerl.analysis.claims")),
    shell:
        "prerl claims --scale {params.scale} --summary {params.summary} --reported {input.reported} --out {output.claims}"
        " 2> {log}"


# Tables, figures and a page of each study: its rules' prefix, what it prints.
PRINTED = {
    "": ("", MAIN_TABLES, MAIN_FIGURES),
    "ablations/": ("ablation_", ABLATION_TABLES, ABLATION_FIGURES),
    "base-study/": ("base_", BASE_TABLES, BASE_FIGURES),
}

for study, (prefix, table_names, figure_names) in PRINTED.items():

    rule:
        """The tables of a study, as CSV, Markdown, LaTeX and JSON."""
        name:
            f"{prefix}tables"
        input:
            expand(rules.summary.output, study=study),
            expand(rules.claims.output, study=study),
            expand("workflow/report/tables/{name}.rst", name=table_names),
        output:
            printed(study, "tables", table_names, "csv", ["md", "tex", "json"]),
            captions=f"{RESULTS}/{study}tables/captions.json",
        log:
            f"{LOGS}/{study}tables.log",
        conda:
            "../envs/prerl.yaml"
        resources:
            mem_mb=memory(),
            runtime=minutes(60),
        params:
            scale=SCALE_FILE,
            names=table_names,
            summary=subpath(input[0], parent=True),
            out=subpath(output[0], parent=True),
            depends=dict(
                methods={name: METHODS[name].model_dump() for name in STUDIES[study]},
                code=fingerprint("prerl.report.tables.write"),
            ),
        shell:
            "prerl tables {params.names} --scale {params.scale} --summary {params.summary} --out {params.out} 2> {log}"

    rule:
        """The figures of a study, as SVG, PDF and PNG."""
        name:
            f"{prefix}figures"
        input:
            expand(rules.summary.output, study=study),
            expand(rules.claims.output, study=study),
            expand("workflow/report/figures/{name}.rst", name=figure_names),
        output:
            printed(study, "figures", figure_names, "svg", ["pdf", "png"]),
            captions=f"{RESULTS}/{study}figures/captions.json",
        log:
            f"{LOGS}/{study}figures.log",
        conda:
            "../envs/prerl.yaml"
        resources:
            mem_mb=memory(),
            runtime=minutes(60),
        params:
            scale=SCALE_FILE,
            names=figure_names,
            summary=subpath(input[0], parent=True),
            out=subpath(output[0], parent=True),
            depends=dict(
                labels={name: METHODS[name].label for name in STUDIES[study]},
                code=fingerprint("prerl.report.figures.write"),
            ),
        shell:
            "prerl figures {params.names} --scale {params.scale} --summary {params.summary} --out {params.out} 2> {log}"

    rule:
        """A page of a study, to be read offline."""
        name:
            f"{prefix}page"
        input:
            expand(rules.summary.output, study=study),
            expand(rules.claims.output, study=study),
            f"{RESULTS}/{study}tables/captions.json",
            f"{RESULTS}/{study}figures/captions.json",
            expand(f"{RESULTS}/{study}tables/{{name}}.json", name=table_names),
            expand(f"{RESULTS}/{study}figures/{{name}}.svg", name=figure_names),
            measured(study),
            rules.problems.output,
            PAGE,
            lexicon=LEXICON,
        output:
            f"{RESULTS}/{study}index.html",
        log:
            f"{LOGS}/{study}page.log",
        conda:
            "../envs/prerl.yaml"
        resources:
            mem_mb=memory(),
            runtime=minutes(60),
        params:
            scale=SCALE_FILE,
            results=subpath(output[0], ancestor=2 if study else 1),
            summary=subpath(input[0], parent=True),
            depends=dict(
                labels={name: METHODS[name].label for name in STUDIES[study]}, code=fingerprint("prerl.report.page")
            ),
        shell:
            "prerl page --scale {params.scale} --results {params.results} --summary {params.summary} --lexicon {input.lexicon} --out {output} 2> {log}"
