"""A conversation as the text that is put to a language model."""

from datetime import date
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError

from prerl.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Messages = list[dict[str, str]]  # role (system, user or assistant) and content
# What templates that tell the model the date are told, that of Llama 3's own: a prompt is the same tomorrow.
TODAY = date(2024, 7, 26)


def chat_text(tokenizer: "PreTrainedTokenizerBase", messages: Messages, **options: Any) -> str:
    """The conversation by the tokenizer's chat template, which is called with the options; start and end tokens are
    part of the text. Without a template it is `plain_text`.

    Where the template has no system role, the system's message stands in front of the first question. Raises UserError
    if the template refuses the conversation.
    """
    if not tokenizer.chat_template:
        return plain_text(messages)
    options = {"strftime_now": TODAY.strftime, **options}
    system = "\n\n".join(message["content"] for message in messages if message["role"] == "system")
    others = [message for message in messages if message["role"] != "system"]
    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False, **options)
        if system.strip() in text:
            return text
    except (TemplateError, ValueError) as error:
        if others == messages:
            raise _refused(tokenizer, error) from error
    # The template refuses the role, or leaves it out.
    first = others[0]["content"]
    joined = [{**others[0], "content": f"{system}\n\n{first}" if system else first}, *others[1:]]
    try:
        return tokenizer.apply_chat_template(joined, tokenize=False, **options)
    except (TemplateError, ValueError) as error:
        raise _refused(tokenizer, error) from error


def plain_text(messages: Messages) -> str:
    """For a model without chat template: the system's message, then `Question: ...` and `Answer: ...` in turns, up to
    the answer that is asked for."""
    forms = {"system": "{}\n\n", "user": "Question: {}\nAnswer:", "assistant": " {}\n\n"}
    return "".join(forms[message["role"]].format(message["content"]) for message in messages if message["content"])


def _refused(tokenizer: "PreTrainedTokenizerBase", error: Exception) -> UserError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return UserError(f"{tokenizer.name_or_path}: its chat template refuses the conversation: {reason}")
