import re
import subprocess
import sys

import pytest

from prerl.errors import UserError
from prerl.settings.methods import check_methods
from prerl.settings.scale import load_scale
from tests.helpers import PAPER, ROOT, SMOKE_FILE, broken


@pytest.mark.parametrize("name", ["tiny", "smoke"])
def test_scales_name_methods_and_benchmarks_that_exist(name, methods):
    scale = load_scale(ROOT / f"workflow/scales/{name}.yaml")
    assert {*scale.methods, *scale.ablations} <= set(methods)
    for benchmark in scale.evaluation.benchmarks:
        assert (ROOT / f"workflow/tasks/{benchmark}.yaml").is_file()
    if name == "tiny":
        assert scale.methods[:8] == PAPER and len(scale.seeds) == 5
        assert {*scale.methods, *scale.further, *scale.ablations, "dsrl-body"} == set(methods)


@pytest.mark.parametrize(
    ("name", "restates"), [("tiny", "nothing"), ("tiny-target", "target"), ("tiny-restating", "all")]
)
def test_what_responses_tell_is_all_that_the_tiny_worlds_differ_in(name, restates, methods):
    scale, tiny = (load_scale(ROOT / f"workflow/scales/{which}.yaml") for which in (name, "tiny"))
    check_methods(name, scale, methods)
    assert scale.problems == tiny.problems.model_copy(update={"restates": restates})
    assert (scale.rl, scale.evaluation, scale.methods, scale.seeds) == (
        tiny.rl,
        tiny.evaluation,
        tiny.methods,
        tiny.seeds,
    )


GPUS = {
    **{
        "name": "trl",
        "device": "cuda",
        "processes": 4,
        "launch": "x.yaml",
        "precision": "bfloat16",
        "gradient_checkpointing": True,
    },
    "vllm": {"tensor_parallel": 2, "memory": 0.5, "max_length": 512},
}
VLLM = {"tensor_parallel": 1, "memory": 0.9, "max_length": 4096, "precision": "bfloat16"}
BAD_SCALES = {
    "rl.stepz: unknown key": lambda data: data["rl"].update(stepz=1),
    "rl.steps: Input should be greater than 0": lambda data: data["rl"].update(steps=-1),
    "rl.group_size: Input should be greater than or equal to 2": lambda data: data["rl"].update(group_size=1),
    "pretrain.learning_rate: Input should be a valid number": lambda data: data["pretrain"].update(
        learning_rate="fast"
    ),
    "seeds: List should have at least 1 item": lambda data: data.update(seeds=[]),
    "seeds must be distinct": lambda data: data.update(seeds=[0, 0]),
    "methods must be distinct": lambda data: data.update(ablations=["grpo"]),
    "problems.benchmarks.sudoku": lambda data: data["problems"]["benchmarks"].update(sudoku=3),
    "evaluation.benchmarks: 'gsm8k' is not among": lambda data: data["evaluation"]["benchmarks"].update(gsm8k=3),
    "alignment_methods: 'ppp' is not among methods": lambda data: data["analysis"].update(alignment_methods=["ppp"]),
    "alignment_steps: no checkpoint at 7": lambda data: data["analysis"].update(alignment_steps=[5, 7]),
    "alignment_steps: no checkpoint at 25": lambda data: data["analysis"].update(alignment_steps=[25]),
    "evaluation.sampler.speed: unknown key": lambda data: data["evaluation"].update(sampler=VLLM | {"speed": 9}),
    "evaluation: sampler.max_length must hold": lambda data: data["evaluation"].update(
        sampler=VLLM | {"max_length": 96}
    ),
    "rl: checkpoint_every: 6 must divide the 20 steps": lambda data: data["rl"].update(checkpoint_every=6),
    "rl: checkpoint_every: 40 must divide the 20 steps": lambda data: data["rl"].update(checkpoint_every=40),
    "rl.temperature: Input should be greater than or equal to 0.01": lambda data: data["rl"].update(temperature=1e-9),
    "rl.steps: Input should be a number, not true": lambda data: data["rl"].update(steps=True),
    "seeds.1: Input should be a number, not false": lambda data: data.update(seeds=[0, False]),
    "seeds.0: Input should be less than 2147483648": lambda data: data.update(seeds=[2**31]),
    "threads: Input should be less than or equal to 1024": lambda data: data.update(threads=10**6),
    "pretrain: warmup_steps must not exceed steps": lambda data: data["pretrain"].update(warmup_steps=1501),
    "model: num_key_value_heads must divide": lambda data: data["model"].update(num_key_value_heads=3),
    "model: head_dim must be even": lambda data: data["model"].update(head_dim=15),
    "problems: dev: an interval over problems needs two": lambda data: data["problems"].update(dev=1),
    "problems: countdown: an interval over": lambda data: data["problems"]["benchmarks"].update(countdown=1),
    "evaluation.benchmarks.countdown: Input should be greater than or equal to 2": lambda data: data["evaluation"][
        "benchmarks"
    ].update(countdown=1),
    "evaluation.benchmarks: Dictionary should have at least 1 item": lambda data: data["evaluation"].update(
        benchmarks={}
    ),
    "evaluation: lm_eval: 'countdown' is a benchmark's name too": lambda data: data["evaluation"].update(
        lm_eval={"countdown": "exact_match,none"}
    ),
    "analysis.alignment_rollouts: Input should be greater than or equal to 32": lambda data: data["analysis"].update(
        alignment_rollouts=4
    ),
    "analysis: alignment_batches: an interval over batches needs two": lambda data: data["analysis"].update(
        alignment_batches=1
    ),
    "analysis.alignment_rollouts: 32 shared by 8 seeds": lambda data: data.update(seeds=list(range(8))),
    "analysis.bootstrap: Input should be greater than or equal to 40": lambda data: data["analysis"].update(
        bootstrap=1
    ),
    "analysis: alignment_methods and alignment_steps go together": lambda data: data["analysis"].update(
        alignment_steps=[]
    ),
    "analysis.alignment_steps must be distinct: 5 stands": lambda data: data["analysis"].update(
        alignment_steps=[5, 20, 5]
    ),
    "analysis.claims_on.in_domain must be distinct": lambda data: data["analysis"]["claims_on"].update(
        in_domain=["countdown", "countdown"]
    ),
    "engine: vllm.tensor_parallel: 2 GPUs hold a copy": lambda data: data.update(engine=GPUS | {"processes": 3}),
    "engine.vllm.max_length must hold a prompt and rl.max_new_tokens": lambda data: data.update(
        engine=GPUS | {"vllm": GPUS["vllm"] | {"max_length": 96}}
    ),
    "model: Field required": lambda data: data.pop("model") and None,
    "expected keys and values": lambda data: "- 1\n- 2\n",
    "not valid YAML": lambda data: "rl: [1, 2\nseeds: 3",
    "rl: duplicate key": lambda data: "rl: {steps: 1}\nrl: {steps: 2}\n",
}


@pytest.mark.parametrize("message", BAD_SCALES)
def test_a_bad_scale_is_one_line_that_names_file_and_key(tmp_path, message):
    path = broken(tmp_path, BAD_SCALES[message])
    with pytest.raises(UserError, match=re.escape(message)) as error:
        load_scale(path)
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)


PUBLIC_ALONE = {
    "problems: benchmarks: 'gsm8k-train' is the training set": {"gsm8k": 100, "gsm8k-train": None},
    "problems: benchmarks: 'dev' names the file of another set": {"gsm8k": 100, "dev": None},
}


@pytest.mark.parametrize("message", PUBLIC_ALONE)
def test_nothing_is_tested_on_what_it_was_trained_on(tmp_path, message):
    source = ROOT / "workflow/scales/smollm.yaml"
    path = broken(tmp_path, lambda data: data["problems"].update(benchmarks=PUBLIC_ALONE[message]), source)
    with pytest.raises(UserError, match=re.escape(f"{path}: {message}")):
        load_scale(path)


def test_gpus_and_rollouts_that_fit_are_taken(tmp_path):
    """What the bad scales above change one number of."""
    load_scale(broken(tmp_path, lambda data: data.update(engine=GPUS, seeds=list(range(7)))))


def test_the_least_number_of_rollouts_fills_every_part_of_the_problems(tmp_path):
    from prerl.evaluation.comparison import BLOCKS, GROUP

    assert GROUP == 4  # as prerl/settings/scale.py and prerl/problems/sets.py say
    load_scale(broken(tmp_path, lambda data: data["analysis"].update(alignment_rollouts=BLOCKS * GROUP)))
    with pytest.raises(UserError, match="alignment_rollouts"):
        load_scale(broken(tmp_path, lambda data: data["analysis"].update(alignment_rollouts=BLOCKS * GROUP - 1)))


def test_a_scale_like_one_that_is_itself_like_another_is_refused(tmp_path):
    for name, text in {"a": "like: b", "b": "like: c\nseeds: [1]"}.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    with pytest.raises(UserError, match=r"a\.yaml: like: .*b\.yaml is itself like c"):
        load_scale(tmp_path / "a.yaml")


def prerl(*arguments):
    return subprocess.run(
        [sys.executable, "-c", "from prerl.cli import main; main()", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )


@pytest.mark.slow
def test_a_users_mistake_is_one_line_and_exit_code_2(tmp_path):
    path = broken(tmp_path, BAD_SCALES["rl.stepz: unknown key"])
    for arguments in (
        ["problems", "--scale", path, "--out", tmp_path],
        ["problems", "--scale", tmp_path / "none.yaml", "--out", tmp_path],
        [
            "train",
            "--scale",
            SMOKE_FILE,
            "--method",
            "grpoo",
            "--seed",
            0,
            "--model",
            "x",
            "--problems",
            "x",
            "--out",
            "x",
        ],
        ["evaluate", "--scale", SMOKE_FILE, "--model", tmp_path, "--problems", tmp_path, "--out", tmp_path],
    ):
        result = prerl(*arguments)
        assert result.returncode == 2 and result.stderr.count("\n") == 1, result.stderr
        assert result.stderr.startswith("prerl: ")


def test_every_stage_documents_itself_without_torch():
    code = "import sys; from prerl.cli import app; from typer.testing import CliRunner; r = CliRunner()\n"
    for stage in (
        "problems",
        "base",
        "train",
        "evaluate",
        "align-base",
        "align-run",
        "summarize",
        "claims",
        "tables",
        "figures",
    ):
        code += (
            f"out = r.invoke(app, ['{stage}', '--help']); assert out.exit_code == 0 and '--out' in out.output, out\n"
        )
    code += "assert 'torch' not in sys.modules"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={"COLUMNS": "200"})
    assert result.returncode == 0, result.stderr
