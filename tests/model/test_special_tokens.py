"""Start and end tokens that a tokenizer has, lacks or only declares."""

import json

import pytest
from transformers import AutoTokenizer

from prerl.base.pretrain import save
from prerl.commands.start import problems
from prerl.engines.local import Run
from prerl.errors import UserError
from prerl.evaluation.comparison import Comparison
from prerl.model.tokens import Tokens
from tests.helpers import ROOT, changed
from tests.speakers import public_scale, write_problems, write_speaker


@pytest.fixture
def llama(tmp_path):
    return write_speaker("llama", tmp_path / "model")


def test_an_unknown_start_token_is_refused_by_every_stage(llama, methods, tmp_path):
    """Of the scale or of a phase."""
    known = public_scale("llama")
    scale, method = changed(known, start_token="<none>"), methods["nsr-prerl"]
    other = changed(method, phases=[changed(method.phases[0], start_token="<none>")])
    sets = write_problems(scale, Tokens(llama).tokenizer, tmp_path / "problems")
    for refused in (
        lambda: Comparison(scale, llama, sets, 1, "test"),
        lambda: Run(scale, method, 0, llama, sets),
        lambda: Run(known, other, 0, llama, sets),
    ):
        with pytest.raises(UserError) as error:
            refused()
        assert str(error.value) == f"{llama}: its tokenizer has no token '<none>'; name another as start_token"


@pytest.fixture
def countdown(model, tokenizer, tmp_path):
    save(model, tokenizer, tmp_path)
    return tmp_path


def test_an_unknown_start_token_is_not_the_unknown_word(countdown, scale):
    """Countdown's tokenizer reads any unknown word as <pad>."""
    with pytest.raises(UserError, match=r"its tokenizer has no token '<start>'; name another as start_token"):
        Comparison(changed(scale, start_token="<start>"), countdown, countdown, 1, "test")
    assert Tokens(countdown).id_of("<pad>") == 0


def test_countdowns_tokens_are_what_they_were(countdown, tokenizer):
    tokens, prompts = Tokens(countdown), ["Q get 14 with 7 4 3 A", "Q get 2 with 1 1 A"]
    assert tokens.read(prompts, chat=False) == tokenizer(prompts)["input_ids"]
    assert (tokens.ends, tokens.pad) == ([tokenizer.eos_token_id], tokenizer.pad_token_id)
    assert tokens.texts([[5, 6, tokenizer.eos_token_id], [5]]) == tokenizer.batch_decode([[5, 6], [5]])


def test_a_declared_end_token_that_is_a_word_ends_nothing(llama):
    """Transformers' default of Llama is 2, in other vocabularies than Llama's a letter."""
    letter = Tokens(llama).tokenizer.convert_tokens_to_ids("A")
    (llama / "generation_config.json").write_text(json.dumps({"eos_token_id": letter}))
    assert letter not in Tokens(llama).ends and len(Tokens(llama).ends) == 2


def test_without_a_tokenizer_or_an_end_token_it_is_one_line(llama):
    made = AutoTokenizer.from_pretrained(llama)
    for file in [*llama.glob("*token*"), *llama.glob("*.jinja"), llama / "generation_config.json"]:
        file.unlink()
    with pytest.raises(UserError) as refused:
        Tokens(llama)
    assert str(refused.value).startswith(f"{llama}: transformers cannot read its tokenizer: ")
    assert "\n" not in str(refused.value)
    made.chat_template = made.eos_token = None
    made.save_pretrained(llama)
    with pytest.raises(
        UserError, match=r"no token ends a response; name one as eos_token in its tokenizer_config\.json"
    ):
        Tokens(llama)


def test_problem_sets_for_a_model_without_tokenizer_are_one_line(tmp_path):
    scale = ROOT / "workflow/scales/smollm.yaml"
    with pytest.raises(UserError, match=f"{tmp_path}: transformers cannot read its tokenizer: "):
        problems(scale=scale, out=tmp_path / "problems", model=tmp_path)


def test_a_template_that_says_nothing_of_an_answer_ends_none(llama):
    made = AutoTokenizer.from_pretrained(llama)
    made.chat_template = "<|eot_id|>"
    made.save_pretrained(llama)
    assert Tokens(llama).tokenizer.convert_ids_to_tokens(Tokens(llama).ends) == ["<|end_of_text|>", "<|eom_id|>"]


def test_an_end_token_of_the_template_alone_is_enough(llama):
    """Then it pads, too; and a library that asks the tokenizer finds it."""
    made = AutoTokenizer.from_pretrained(llama)
    made.eos_token = None
    made.save_pretrained(llama)
    (llama / "generation_config.json").unlink()
    tokens = Tokens(llama)
    assert tokens.tokenizer.eos_token == tokens.tokenizer.pad_token == "<|eot_id|>"
    assert tokens.ends == [tokens.pad] == [tokens.tokenizer.eos_token_id]
