# The paper, end to end:  base -> train -> evaluate -> align -> summary -> tables, figures, paper, page
#
#   snakemake --cores all                           everything, in miniature
#   snakemake --cores all --config scale=smoke      the same in two minutes, to see that it works
#   snakemake --cores all ablations                 the ablations of DSRL, beside the rest
#   snakemake --cores all sensitivity               every method's learning rate and warm-up, tuned alike
#   snakemake --cores all base_study                what the base alone can tell: accuracy, gradients, behaviour
#   snakemake --cores all compare --config method=FILE.yaml    a new method against the fixed baselines
#   snakemake --cores all baselines                 the fixed baselines anew
#   snakemake --cores all bases                     the base models anew that studies start from
#   snakemake --cores all bench                     how fast, and against what
#   snakemake --cores all results/tiny/dsrl/seed0/run.json     one run
#   snakemake --list-rules                          what each rule does
from snakemake.utils import min_version

min_version("9.12")  # earlier ones do not know the names of rules that are made in a loop, as in report.smk


report: "workflow/report/study.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/base.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/sensitivity.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/summary.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/paper.smk"
include: "workflow/rules/compare.smk"
include: "workflow/rules/bench.smk"


rule all:
    """The main study: tables, figures, paper and page."""
    default_target: True
    input:
        sources(""),
        rules.tables.output,
        rules.figures.output,
        rules.paper.output,
        rules.page.output,


rule base_study:
    """What the base alone can tell: accuracy, gradients, behaviour."""
    input:
        sources("base-study/"),
        rules.base_tables.output,
        rules.base_figures.output,
        rules.base_page.output,


rule ablations:
    """The ablations of DSRL, beside the main study."""
    input:
        sources("ablations/"),
        rules.ablation_tables.output,
        rules.ablation_figures.output,
        rules.ablation_page.output,
