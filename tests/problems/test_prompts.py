"""Conversations as prompts: templates with and without system role, and models without template."""

import pytest

from prerl.errors import UserError
from prerl.problems.prompts import chat_text
from tests.speakers import CONVERSATION, PROMPTS, SPEAKERS, tokenizer


@pytest.mark.parametrize("name", SPEAKERS)
def test_the_prompt_of_each_template(name):
    """The system's message stands before the first question where the template refuses the role."""
    assert chat_text(tokenizer(SPEAKERS[name]), CONVERSATION, add_generation_prompt=True) == PROMPTS[name]


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{% for m in messages if m.role != 'system' %}{{ m.content }}|{% endfor %}", "Think.\n\n2+2?|4|1+1?|"),
        (
            "{{ strftime_now('%d.%m.%Y') }}{% for m in messages %} {{ m.content }}{% endfor %}",
            "26.07.2024 Think. 2+2? 4 1+1?",
        ),
    ],
    ids=["leaves out the system's message", "tells the date"],
)
def test_templates_with_ways_of_their_own(template, text):
    made = tokenizer(SPEAKERS["qwen"])
    made.chat_template = template
    assert chat_text(made, CONVERSATION) == text


def test_an_empty_system_message_is_none_where_there_is_no_such_role():
    made = tokenizer(SPEAKERS["gemma"])
    conversation = [{"role": "system", "content": ""}, {"role": "user", "content": "1+1?"}]
    assert chat_text(made, conversation) == "<bos><start_of_turn>user\n1+1?<end_of_turn>\n"


@pytest.mark.parametrize(
    "template", ["{{ raise_exception('not\nthis') }}", "{{ messages[0].no.more }}", "{% if %}", "Hi!"]
)
def test_a_template_that_refuses_every_conversation_is_one_line(template):
    made = tokenizer(SPEAKERS["llama"])
    made.name_or_path = "a/model"
    made.chat_template = template
    for conversation in (CONVERSATION, CONVERSATION[1:]):
        with pytest.raises(UserError) as refused:
            chat_text(made, conversation)
        assert str(refused.value).startswith("a/model: its chat template refuses the conversation: ")
        assert "\n" not in str(refused.value)
