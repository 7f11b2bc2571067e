import os
import sys
import time
from importlib.metadata import version
from pathlib import Path
from shlex import quote

from prerl.base.committed import committed_bases
from prerl.commands.start import public_sets
from prerl.settings.scale import load_scale
from prerl.settings.options import load_options
from prerl.settings.methods import UPDATE_METHODS, check_methods, fit_methods, load_methods, new_method
from prerl.settings.tuning import check_tuned
from prerl.errors import UserError
from prerl.files.checksums import checksums
from prerl.files.fingerprint import fingerprint

# On one machine the cores limit what is started. Snakemake's own limit, 100 jobs a second, wakes its scheduler every
# second, once more often with every job that has ended: after 40 minutes that takes more than a job's processor time.
if workflow.local_exec and workflow.scheduling_settings:
    workflow.scheduling_settings.max_jobs_per_timespan = None

# Jobs find the `prerl` command of this Python also when its environment is not activated.
os.environ.update(PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()]))

# The schema of `--config` is a pydantic model, as of every other file that is read here: snakemake.utils.validate would
# be a second one, and shows a mistyped key with a traceback.
try:
    OPTIONS = load_options(config, Path("workflow/scales"))
except UserError as error:
    sys.exit(f"prerl: {error}")

SCALE_NAME = OPTIONS.scale
SCALE_FILE = f"workflow/scales/{SCALE_NAME}.yaml"
BASELINES = f"results/baselines/{SCALE_NAME}"  # committed
BASES = f"{BASELINES}/bases"  # base models
ENTRIES = sorted(map(str, Path("results/entries").glob("[!.]*/entry.json")))  # of others, which the leaderboard shows
NEW_FILE = OPTIONS.method  # of a method that is to be compared with them
# Its runs start from the baselines' own base model, and so lie apart.
RESULTS = f"results/{SCALE_NAME}/compare" if NEW_FILE else f"results/{SCALE_NAME}"
LOGS = f"{RESULTS}/logs"
METHODS_FILE = "workflow/methods.yaml"
NEW = None  # its name

try:
    SCALE = load_scale(Path(SCALE_FILE))
    NAMED = load_methods(Path(METHODS_FILE))  # as their file has them; METHODS as they are trained at the scale
    check_tuned(SCALE_FILE, SCALE, NAMED)
    METHODS = fit_methods(SCALE, NAMED)
    check_methods(SCALE_FILE, SCALE, METHODS)
    public_sets(Path(SCALE_FILE), Path("workflow/problems.yaml"))
    # The base models that are taken from there, by seed; others are made. A comparison starts from the baselines' own.
    TAKEN = NEW_FILE or (OPTIONS.bases or SCALE.bases) == "committed"
    COMMITTED = committed_bases(SCALE, Path(BASES)) if TAKEN else {}
    if NEW_FILE:
        from prerl.compare.baselines import Baselines  # and pandas and scipy with it, for which no other study waits
        from prerl.compare.tuned import check_tuning

        NEW, METHODS[NEW] = new_method(Path(NEW_FILE), SCALE, METHODS)
        NAMED |= load_methods(Path(NEW_FILE))
        FIXED = Baselines(Path(BASELINES))
        FIXED.check_fit(SCALE)
        if NAMED[NEW].tune:
            check_tuning(FIXED, SCALE)
except UserError as error:
    sys.exit(f"prerl: {error}")


# The main study, and beside it, in directories of their own, one of DSRL's ablations, one of the base alone, and one of
# all baselines where the main study does not train them all.
STUDIES = {
    "": SCALE.methods,
    "ablations/": [
        *(name for name in ("grpo", "dsrl", "nsr-rl-grpo") if name in SCALE.methods),
        *SCALE.ablations,
    ],
    "base-study/": [],
    **({"baselines/": [*SCALE.methods, *SCALE.further]} if SCALE.further else {}),
}
FIXED_STUDY = "baselines/" if SCALE.further else ""  # what the fixed baselines are made from


# The outcome of tuning: of all methods, which is committed and shown with the main study, or of a new one that asks.
KEPT_TUNING = f"{BASELINES}/sensitivity"
SENSITIVITY = f"{RESULTS}/{NEW}/sensitivity" if NEW else f"{RESULTS}/sensitivity"
SHOWN_TUNING = checksums([Path(f"{KEPT_TUNING}/sensitivity.parquet")], Path(KEPT_TUNING))


# Tuning: the same candidates of every method of the study and the baselines, or of a new method that asks for it, each
# from the same base model and seeds, which no other run has.
TUNED = {NEW: NAMED[NEW]} if NEW else {name: NAMED[name] for name in [*SCALE.methods, *SCALE.further]}
CANDIDATES = {
    method: {one.name: one for one in SCALE.tuning.candidates(named)} if SCALE.tuning else {}
    for method, named in TUNED.items()
}
TUNING_RUN = f"{RESULTS}/sensitivity/{{method}}/{{candidate}}/seed{{seed}}"


def candidate_phases(wildcards):
    """The phases of a method with a candidate's values."""
    scale = SCALE.tuned_to(wildcards.method, CANDIDATES[wildcards.method][wildcards.candidate])
    method = fit_methods(scale, {wildcards.method: NAMED[wildcards.method]})[wildcards.method]
    return [phase.model_dump() for phase in method.phases]


def tuning_runs(wildcards):
    if not SCALE.tuning:
        raise WorkflowError(f"sensitivity: {SCALE_FILE} has no section `tuning`, which says what is tried")
    return [
        f"{TUNING_RUN}/{file}".format(method=method, candidate=candidate, seed=seed)
        for method, candidates in CANDIDATES.items()
        for candidate in candidates
        for seed in SCALE.tuning.seeds
        for file in ("dev.parquet", "run.json")
    ]


def runs(study):
    return expand("{method}/seed{seed}", method=STUDIES[study], seed=SCALE.seeds)


# Of the main study; and of all that is committed.
KEPT_BASES = sorted({SCALE.base_of(seed) for seed in [*SCALE.seeds, *SCALE.more_seeds]})
TUNING_BASES = [SCALE.base_of(SCALE.tuning.base_seed)] if SCALE.tuning else []
BASE_RUNS = expand("base/seed{seed}", seed=SCALE.base_seeds)


def base_model(wildcards):
    """The base model that a run starts from."""
    return f"{RESULTS}/base/seed{SCALE.base_of(int(wildcards.seed))}/model/model.safetensors"


def needs_method(wildcards):
    raise WorkflowError("compare: name the new method's file: --config method=FILE.yaml")


def settings(*keys):
    """Sections of the scale that a job depends on; a change of any other section reruns nothing."""
    return SCALE.model_dump(include=set(keys))


# Resources grow with the attempts at a job (`--retries`, the SLURM profile), for the last one may have lacked them.
# Three times as much must do: later failures may all be preemptions. A profile's `set-resources` goes before them.
def minutes(runtime):
    """`runtime`: a limit for a scheduler, not what the job takes."""
    return lambda wildcards, attempt: runtime * min(attempt, 3)


def memory(times_input=0, beside=4000):
    """`mem_mb`, of the machine, not of its GPUs: so many times the size of the inputs, the model's weights among them,
    and what is needed beside."""
    return lambda wildcards, input, attempt: int(
        (beside + (times_input * input.size_mb if times_input else 0)) * min(attempt, 3)
    )


def whole_machine(wildcards):
    """`threads` of a job that wants the machine for itself. On a cluster no number says that: there it asks for those
    that it uses, and the profile for a node alone."""
    return workflow.cores if workflow.local_exec else SCALE.threads


def gpus(stage):
    """GPUs of a stage's jobs: of training one a process, of an evaluation vLLM's, else the local engine's, if it has
    one. All are on one machine."""
    engine, sampler = SCALE.engine, SCALE.evaluation.sampler
    if stage == "train" and engine.name == "trl":
        return engine.processes if engine.device == "cuda" else 0
    if stage == "evaluate" and sampler:
        return sampler.tensor_parallel
    return int(SCALE.local_device == "cuda")


def reported(study, kind, name, suffix):
    """A table or figure that stands, with its caption, in Snakemake's report."""
    labels = {"name": name.replace("_at_", "@").replace("_", " ")}
    categories = {"": "Main study", "ablations/": "Ablations", "base-study/": "Base", "baselines/": "Baselines"}
    options = {"category": categories[study], "subcategory": kind.capitalize(), "labels": labels}
    return report(f"{RESULTS}/{study}{kind}/{name}.{suffix}", caption=f"../report/{kind}/{name}.rst", **options)


def printed(study, kind, names, shown, others):
    """The files of tables or figures, in the suffix that the report shows and in the others."""
    files = expand(f"{RESULTS}/{study}{kind}/{{name}}.{{suffix}}", name=names, suffix=others)
    return [reported(study, kind, name, shown) for name in names] + files


def measured(study):
    """What a study's runs left to be summed up."""
    aligned = [name for name in STUDIES[study] if name in SCALE.analysis.alignment_methods]
    return [
        *expand(
            f"{RESULTS}/{{run}}/{{file}}",
            run=[*BASE_RUNS, *runs(study)],
            file=["samples.parquet", "evaluate.json", "run.json"],
        ),
        *expand(f"{RESULTS}/{{run}}/dev.parquet", run=runs(study)),
        *expand(rules.align_base.output, seed=SCALE.base_seeds),
        *expand(rules.align_run.output.table, method=aligned, seed=SCALE.seeds),
    ]


def sources(study):
    """What is behind a study's tables and figures. A target that asks for it too makes it anew where it is missing,
    which Snakemake would not do for the sake of a table that is there."""
    return [*measured(study), *expand(rules.summary.output, study=study), *expand(rules.claims.output, study=study)]


PUBLIC = SCALE.problems.world == "public"
CHAT = SCALE.problems.chat  # problems in words, whose prompts the tokenizer makes
DATA_DIR = quote(OPTIONS.data_dir)  # what was downloaded; it may hold spaces
LEXICON = f"workflow/lexicons/{'natural' if CHAT else 'countdown'}.yaml"
# What training problems are drawn from; other keys of the section say what they are tested on.
TRAINING_PROBLEMS = SCALE.problems.model_dump(exclude={"dev", "benchmarks"})


wildcard_constraints:
    method="|".join(METHODS),
    seed=r"\d+",
    study="|ablations/|base-study/|baselines/",
    run=rf"(base|{'|'.join(METHODS)})/seed\d+",


# The parameter `depends` gathers what no command names, but a change of which makes a result anew: code, sections of
# the scale, versions. `benchmark:` is not used: what a job took stands with its hardware in the records (run.json,
# evaluate.json, alignment.json), where tables and page read it.
# What a model makes depends on it; read without importing it, which takes seconds.
TORCH = version("torch")
STARTED = time.time()
