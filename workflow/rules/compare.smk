# A new method against fixed baselines. `baselines` makes these, in a directory that is committed; `compare` reads them.
if NEW:
    from prerl.compare.versus import FIGURES as COMPARE_FIGURES, TABLES as COMPARE_TABLES

    from prerl.compare.differences import PRIMARY
    from prerl.compare.levels import replicates

    LOOK = int(OPTIONS.look) if OPTIONS.look else None
    try:
        SEEDS = replicates(FIXED.seeds, FIXED.seeds_of(PRIMARY), LOOK)
    except UserError as error:
        sys.exit(f"prerl: {error}")
    FILES = ["samples.parquet", "evaluate.json", "dev.parquet", "run.json"]

    rule compare:
        """The new method against the baselines: a leaderboard, differences with intervals, a conclusion in words."""
        default_target: True
        input:
            expand(f"{RESULTS}/{NEW}/seed{{seed}}/{{file}}", seed=SEEDS, file=FILES),
            expand(BASE_RECORD, seed=sorted({SCALE.base_of(seed) for seed in SEEDS})),
            rules.problems.output,
            f"{SENSITIVITY}/summary/choices.yaml" if NAMED[NEW].tune else [],
            PAGE,
            ENTRIES,
            "workflow/page/compare.html",
            expand("workflow/report/tables/{name}.rst", name=COMPARE_TABLES),
            expand("workflow/report/figures/{name}.rst", name=COMPARE_FIGURES),
            method=NEW_FILE,
            lexicon=LEXICON,
        output:
            f"{RESULTS}/{NEW}/index.html",
            f"{RESULTS}/{NEW}/summary/conclusion.json",
            expand(f"{RESULTS}/{NEW}/tables/{{name}}.csv", name=COMPARE_TABLES),
            expand(f"{RESULTS}/{NEW}/figures/{{name}}.svg", name=COMPARE_FIGURES),
        log:
            f"{LOGS}/compare/{NEW}.log",
        conda:
            "../envs/prerl.yaml"
        resources:
            mem_mb=memory(),
            runtime=minutes(60),
        params:
            scale=SCALE_FILE,
            results=subpath(output[0], ancestor=2),
            baselines=BASELINES,
            out=subpath(output[0], parent=True),
            look=f"--look {LOOK}" if LOOK else "",
            depends=dict(
                made=FIXED.record["files"],
                code=fingerprint(
                    "prerl.compare.versus",
                    "prerl.report.tables.write",
                    "prerl.report.figures.write",
                    "prerl.report.page",
                    "prerl.report.entries",
                ),
            ),
        shell:
            "prerl compare --scale {params.scale} --method {input.method:q} --results {params.results}"
            " --baselines {params.baselines} --lexicon {input.lexicon} --out {params.out} {params.look} 2>&1 | tee {log}"

else:
    BASELINE_METHODS = [*SCALE.methods, *SCALE.further]
    BASELINE_RUNS = [
        *expand("{method}/seed{seed}", method=BASELINE_METHODS, seed=SCALE.seeds),
        *expand("grpo/seed{seed}", seed=SCALE.more_seeds),
    ]
    BASELINE_BASES = expand("base/seed{seed}", seed=KEPT_BASES)

    rule compare:
        """A new method against the baselines; wants --config method=FILE.yaml."""
        input:
            needs_method,

    rule baselines:
        """The fixed baselines anew."""
        input:
            expand(
                f"{RESULTS}/{{run}}/{{file}}",
                run=[*BASELINE_BASES, *BASELINE_RUNS],
                file=["samples.parquet", "run.json"],
            ),
            expand(
                f"{RESULTS}/{{run}}/{{file}}", run=BASELINE_RUNS, file=["dev.parquet", "log.parquet", "evaluate.json"]
            ),
            expand(BASE_RECORD, seed=TUNING_BASES),
            rules.problems.output,
            f"{RESULTS}/{FIXED_STUDY}tables/captions.json",
            f"{RESULTS}/tables/captions.json",
            f"{RESULTS}/figures/captions.json",
            f"{RESULTS}/claims.csv",
            lexicon=LEXICON,
        output:
            f"{BASELINES}/baselines.json",
        log:
            f"{LOGS}/baselines.log",
        conda:
            "../envs/prerl.yaml"
        resources:
            mem_mb=memory(),
            runtime=minutes(60),
        params:
            scale=SCALE_FILE,
            results=subpath(input[0], ancestor=3),
            out=subpath(output[0], parent=True),
            depends=dict(
                methods={name: METHODS[name].model_dump() for name in BASELINE_METHODS},
                tuning=settings("tuning", "tuned"),
                code=fingerprint("prerl.compare.written"),
            ),
        shell:
            "prerl baselines --scale {params.scale} --results {params.results} --lexicon {input.lexicon}"
            " --out {params.out} 2> {log}"
