import re
import subprocess
import sys

import pytest
import yaml

from prerl.config import load_scale
from prerl.errors import UserError
from prerl.methods import KINDS, load_methods
from tests.helpers import METHODS_FILE, ROOT, SMOKE_FILE

PAPER = ["grpo", "psr-rl", "nsr-rl", "prerl", "psr-prerl", "nsr-prerl", "dsrl", "nsr-rl-grpo"]


def test_the_methods_of_the_paper(methods):
    assert set(PAPER) <= set(methods)
    table = {name: [(phase.space, phase.samples, phase.advantage) for phase in methods[name].phases] for name in PAPER}
    grpo, nsr_prerl = ("post-train", "all", "std"), ("pre-train", "negative", "mean")
    assert table == {
        "grpo": [grpo],
        "psr-rl": [("post-train", "positive", "std")],
        "nsr-rl": [("post-train", "negative", "std")],
        "prerl": [("pre-train", "all", "mean")],
        "psr-prerl": [("pre-train", "positive", "mean")],
        "nsr-prerl": [nsr_prerl],
        "dsrl": [nsr_prerl, grpo],
        "nsr-rl-grpo": [("post-train", "negative", "std"), grpo],
    }


def test_all_methods_share_one_clip_range(methods):
    ranges = {name: {(phase.clip_low, phase.clip_high) for phase in method.phases} for name, method in methods.items()}
    assert ranges.pop("dapo-clip") == {(0.2, 0.28)}
    assert all(range == {(0.2, 0.2)} for range in ranges.values())


def test_ablations_change_one_thing(methods):
    dsrl = methods["dsrl"]
    changes = {}
    for name, method in methods.items():
        if name.startswith("dsrl-") and name != "dsrl-reversed":
            assert method.phases[1:] == dsrl.phases[1:]
            mine, its = method.phases[0].model_dump(), dsrl.phases[0].model_dump()
            changes[name] = {key: value for key, value in mine.items() if value != its[key]}
    assert changes == {
        **{f"dsrl-{steps}": {"steps": steps} for steps in (5, 10, 25, 40)},
        "dsrl-start": {"start_token": "<eos>"},
        "dsrl-body": {"tokens": "body"},
        "dsrl-slow": {"learning_rate_factor": 0.333},
        "dsrl-fast": {"learning_rate_factor": 3.0},
    }


def test_advantages_named_in_the_configuration_are_registered():
    from prerl.objective import ADVANTAGES

    assert set(KINDS) == {*ADVANTAGES, "critic"}


@pytest.mark.parametrize("name", ["tiny", "smoke"])
def test_scales_name_methods_and_benchmarks_that_exist(name, methods):
    scale = load_scale(ROOT / f"workflow/scales/{name}.yaml")
    assert {*scale.methods, *scale.ablations} <= set(methods)
    for benchmark in scale.evaluation.benchmarks:
        assert (ROOT / f"workflow/benchmarks/{benchmark}.yaml").is_file()
    if name == "tiny":
        assert scale.methods[:8] == PAPER and len(scale.seeds) == 3
        assert {*scale.methods, *scale.ablations, "dapo-clip"} == set(methods)  # see there why it is not trained


def broken(tmp_path, change, source=SMOKE_FILE):
    """A copy of a configuration with a change made to its data (or text), as a file."""
    data = yaml.safe_load(source.read_text())
    text = change(data)
    path = tmp_path / "broken.yaml"
    path.write_text(text if isinstance(text, str) else yaml.safe_dump(data))
    return path


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


BAD_METHODS = {
    "methods.grpo: phases.0.space": lambda data: data["methods"]["grpo"]["phases"][0].update(space="prompt"),
    "methods.grpo: phases.0.color: unknown key": lambda data: data["methods"]["grpo"]["phases"][0].update(color=1),
    "methods.dsrl: (top level): exactly one phase must be without steps": lambda data: (
        data["methods"]["dsrl"]["phases"][0].pop("steps") and None
    ),
    "phases.0: a critic values tokens": lambda data: data["methods"]["ppo"]["phases"][0].update(samples="negative"),
    "phases.0: start_token has no meaning": lambda data: data["methods"]["grpo"]["phases"][0].update(
        start_token="<bos>"
    ),
    "defaults: unknown key": lambda data: "standards: {}\nmethods: {}",
    "methods: expected a mapping": lambda data: data.update(methods=["grpo"]),
    "phases.0.clip_low: Field required": lambda data: data["defaults"].pop("clip_low") and None,
}
BAD_METHODS["standards: unknown key"] = BAD_METHODS.pop("defaults: unknown key")


@pytest.mark.parametrize("message", BAD_METHODS)
def test_a_bad_method_is_one_line_that_names_file_and_key(tmp_path, message):
    path = broken(tmp_path, BAD_METHODS[message], METHODS_FILE)
    with pytest.raises(UserError, match=re.escape(message)) as error:
        load_methods(path)
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)


def prerl(*arguments):
    return subprocess.run(
        [sys.executable, "-c", "from prerl.cli import main; main()", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )


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
