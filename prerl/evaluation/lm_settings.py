"""lm-eval's generation settings: what the samplers do is checked, what they do not is refused."""

from typing import Any

from prerl.errors import UserError
from prerl.model.sampler import Sampling
from prerl.settings.reading import check
from prerl.settings.values import NotNegative, Positive, Share, Strict

# Settings of other samplers, with the values at which they do nothing.
WITHOUT_EFFECT = {
    "top_k": (0, -1),
    "min_p": (0,),
    "typical_p": (1,),
    "repetition_penalty": (1,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "no_repeat_ngram_size": (0,),
    "min_new_tokens": (0,),
    "num_beams": (1,),
}


class Generation(Strict):
    """What the samplers do. Of several limits the first that is given counts, as in lm-eval."""

    until: list[str] | str | None = None
    do_sample: bool | None = None  # None: if a temperature is given
    temperature: NotNegative | None = None
    top_p: Share | None = None
    max_gen_toks: Positive | None = None
    max_new_tokens: Positive | None = None
    max_tokens: Positive | None = None
    max_completion_tokens: Positive | None = None


def sampling(settings: dict[str, Any], where: str) -> Sampling:
    """What the settings of a task mean; null is the same as leaving a key out. Raises UserError, which names `where`
    and the key, for what the samplers do not do."""
    for key, value in settings.items():
        if key in Generation.model_fields or value is None or value in WITHOUT_EFFECT.get(key, ()):
            continue
        off = "".join(f", or set it to {value}" for value in WITHOUT_EFFECT.get(key, ())[:1])
        raise UserError(f"{where}: generation_kwargs: {key}: {value!r}: the samplers do not do this; leave it out{off}")
    known = {key: value for key, value in settings.items() if key in Generation.model_fields}
    given = check(Generation, known, f"{where}: generation_kwargs")
    limits = (given.max_gen_toks, given.max_new_tokens, given.max_tokens, given.max_completion_tokens)
    drawn = bool(given.temperature) if given.do_sample is None else given.do_sample
    temperature = (1.0 if given.temperature is None else given.temperature) if drawn else 0.0
    return Sampling(next(filter(None, limits), 256), temperature, 1.0 if given.top_p is None else given.top_p)
