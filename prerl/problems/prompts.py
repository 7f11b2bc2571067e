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
    first = others[0]["content"]
    joined = [{**others[0], "content": f"{system}\n\n{first}" if system else first}, *others[1:]]
    reason = ""
    for form in (messages, joined):
        try:
            text = tokenizer.apply_chat_template(form, tokenize=False, **options)
        except (TemplateError, ValueError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            continue
        if all(said.strip() in text for said in (system, others[-1]["content"])):
            return text  # pyright: ignore[reportReturnType]  (token ids would come with tokenize=True)
        reason = "it leaves out what is said"
    raise UserError(f"{tokenizer.name_or_path}: its chat template refuses the conversation: {reason}")


def plain_text(messages: Messages) -> str:
    """For a model without chat template: the system's message, then `Question: ...` and `Answer: ...` in turns, up to
    the answer that is asked for."""
    forms = {"system": "{}\n\n", "user": "Question: {}\nAnswer:", "assistant": " {}\n\n"}
    return "".join(forms[message["role"]].format(message["content"]) for message in messages if message["content"])
