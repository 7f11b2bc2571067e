SUMMARY = f"{RESULTS}/{{study}}summary"
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
        elsewhere=sorted(map(str, Path("results/baselines").glob("*/tables/claim*.csv"))),
    output:
        claims=f"{RESULTS}/{{study}}claims.csv",
        parts=f"{RESULTS}/{{study}}claim_parts.csv",
        elsewhere=f"{RESULTS}/{{study}}claims_elsewhere.csv",
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
