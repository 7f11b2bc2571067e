PAGE = expand(
    "workflow/page/{name}", name=["layout.html", "index.html", "methods.html", "style.css", "page.js", "samples.js"]
)
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
MAIN_TABLES += ["published"] if SCALE.published else []
if {path.parts[-3] for path in Path("results/baselines").glob("*/tables/claim_parts.csv")} - {SCALE_NAME}:
    MAIN_TABLES.append("sizes")
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
BASELINE_TABLES = ["methods", "accuracy", "pass_at_k", "comparison", "spread", "speed", "behaviour", "runs"]

# Of the committed baselines, which the page of the main study shows too.
FURTHER = [f"{BASELINES}/tables/{name}.json" for name in ("accuracy", "comparison")] if SCALE.further else []
FURTHER = [path for path in FURTHER if os.path.isfile(path)]


# Tables, figures and a page of each study: its rules' prefix, what it prints.
PRINTED = {
    "": ("", MAIN_TABLES, MAIN_FIGURES),
    "ablations/": ("ablation_", ABLATION_TABLES, ABLATION_FIGURES),
    "base-study/": ("base_", BASE_TABLES, BASE_FIGURES),
}
if SCALE.further:
    PRINTED["baselines/"] = ("baseline_", BASELINE_TABLES, ["learning_curves"])

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
            [] if study else [*FURTHER, *ENTRIES],
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
            further=f"--further {BASELINES}/tables" if FURTHER and not study else "",
            entries="--entries results/entries" if not study else "",
            depends=dict(
                labels={name: METHODS[name].label for name in STUDIES[study]},
                baselines=(
                    checksums([Path(f"{BASELINES}/baselines.json")], Path(BASELINES)) if ENTRIES and not study else {}
                ),
                code=fingerprint("prerl.report.page", "prerl.report.entries"),
            ),
        shell:
            "prerl page --scale {params.scale} --results {params.results} --summary {params.summary} --lexicon {input.lexicon}"
            " {params.further} {params.entries} --out {output} 2> {log}"
