import gc
from dataclasses import replace

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

from prerl.model.block import Attention, Mlp, Unit
from prerl.model.decode import Decoder
from prerl.model.joint import Joint
from prerl.model.lean import LeanModel
from prerl.model.likelihood import read_prompts, response_hidden, response_logp
from prerl.model.rows import RowCache, SharedCache
from tests.helpers import random_batch

COMMON = {"vocab_size": 61, "hidden_size": 48, "num_hidden_layers": 3, "intermediate_size": 80}


def models():
    qwen3 = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}
    return {
        "qwen3": Qwen3ForCausalLM(Qwen3Config(**COMMON, **qwen3, tie_word_embeddings=True)),
        "qwen3 untied, one kv head, wide heads": Qwen3ForCausalLM(
            Qwen3Config(**COMMON, num_attention_heads=6, num_key_value_heads=1, head_dim=20, tie_word_embeddings=False)
        ),
        "llama": LlamaForCausalLM(
            LlamaConfig(**COMMON, num_attention_heads=3, num_key_value_heads=3, tie_word_embeddings=True)
        ),
        "qwen2 with biases": Qwen2ForCausalLM(Qwen2Config(**COMMON, num_attention_heads=4, num_key_value_heads=2)),
    }


@pytest.fixture(params=["attention at once", "long attention"])
def both_attentions(request, monkeypatch):
    """Every sequence counts as short, or as long."""
    monkeypatch.setattr("prerl.model.lean.SCORES_AT_ONCE", 1 << 30 if request.param == "attention at once" else 0)


@pytest.fixture(params=["qwen3", "qwen3 untied, one kv head, wide heads", "llama", "qwen2 with biases"])
def pair(request):
    torch.manual_seed(0)
    model = models()[request.param]
    with torch.no_grad():  # norms and biases away from their initial ones and zeros
        for name, parameter in model.named_parameters():
            if "norm" in name or "bias" in name:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return model.float().eval()


def test_forward_equals_transformers(pair, both_attentions):
    ids = torch.randint(0, 61, (4, 17))
    lean = LeanModel(pair)
    torch.testing.assert_close(lean.logits(lean.hidden(ids)), pair(ids).logits, atol=1e-5, rtol=1e-5)


def test_gradient_equals_transformers(pair, both_attentions):
    ids = torch.randint(0, 61, (3, 9))
    gradients = []
    for logits in (pair(ids).logits, None):
        pair.zero_grad()
        if logits is None:
            lean = LeanModel(pair)
            logits = lean.logits(lean.hidden(ids))
        logits.log_softmax(-1)[..., 5].sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in pair.parameters()]))
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_cache_and_left_padding_change_nothing(pair, both_attentions):
    lean = LeanModel(pair)
    rows = [torch.randint(3, 61, (n,)) for n in (4, 7, 6)]
    pad = torch.tensor([7 - len(row) for row in rows])
    ids = torch.stack(
        [torch.cat([torch.zeros(int(p), dtype=torch.long), row]) for p, row in zip(pad, rows, strict=True)]
    )
    cache = lean.cache(3, 10)
    hidden = [lean.hidden(ids, cache, pad)[:, -1]]
    more = torch.randint(3, 61, (3, 3))
    for t in range(3):
        hidden.append(lean.hidden(more[:, t : t + 1], cache, pad)[:, 0])
    logits = lean.logits(torch.stack(hidden, 1))  # (3, 4, vocabulary)
    for index, row in enumerate(rows):
        alone = pair(torch.cat([row, more[index]])[None]).logits[0, len(row) - 1 :]
        torch.testing.assert_close(logits[index], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", [RowCache, SharedCache])
@torch.inference_mode()
def test_decoding_equals_transformers_when_rows_leave(pair, kind, monkeypatch):
    """Prompts of several lengths, several rows each, some of which leave between two tokens; tables that grow."""
    monkeypatch.setattr("prerl.model.rows.GROWTH", 2)
    lean = LeanModel(pair)
    prompts = [torch.randint(3, 61, (n,)) for n in (4, 7, 6)]
    pad = torch.tensor([7 - len(prompt) for prompt in prompts])
    ids = torch.stack([torch.cat([torch.zeros(7 - len(prompt), dtype=torch.long), prompt]) for prompt in prompts])
    read = lean.cache(3, 7)
    last = lean.hidden(ids, read, pad)[:, -1]
    each, more = torch.tensor([0, 0, 1, 2, 2]), torch.randint(3, 61, (5, 4))
    decoder = Decoder(lean, kind(read, pad, each, 4, lean.heads // lean.kv_heads))
    rows = torch.arange(5)
    found = {0: (rows, lean.logits(last)[each])}
    for t in range(4):
        if t == 2:
            left = torch.tensor([1, 2, 4])
            rows = rows[left]
            decoder.take(left)
        found[t + 1] = rows, decoder.step(more[rows, t])
    for t, (rows, logits) in found.items():
        for row, predicted in zip(rows.tolist(), logits, strict=True):
            alone = pair(torch.cat([prompts[each[row]], more[row, :t]])[None]).logits[0, -1]
            torch.testing.assert_close(predicted, alone, atol=1e-5, rtol=1e-5)


def test_logits_in_chunks_give_the_same_values_and_gradients(pair, monkeypatch):
    batch = random_batch(torch.Generator().manual_seed(2), vocabulary=61)
    found = []
    for at_once in (1 << 24, 61 * 7, 1):
        monkeypatch.setattr("prerl.model.likelihood.LOGITS_AT_ONCE", at_once)
        pair.zero_grad()
        logp = response_logp(LeanModel(pair), batch, temperature=0.7)
        (logp * batch.response_mask).sum().backward()
        found.append((logp.detach(), torch.cat([p.grad.flatten() for p in pair.parameters()])))
    for logp, gradient in found[1:]:
        torch.testing.assert_close(logp, found[0][0], atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(gradient, found[0][1], atol=1e-5, rtol=1e-4)


def test_response_logp_for_prompts_of_any_length(pair):
    batch = random_batch(torch.Generator().manual_seed(2), vocabulary=61)
    logp = response_logp(LeanModel(pair), batch)
    for row in range(len(batch.rewards)):
        prompt = batch.prompt_ids[row][batch.prompt_mask[row] == 1]
        response = batch.response_ids[row][batch.response_mask[row] == 1]
        logits = pair(torch.cat([prompt, response])[None, :-1]).logits[0, len(prompt) - 1 :]
        expected = logits.log_softmax(-1).gather(1, response[:, None])[:, 0]
        torch.testing.assert_close(logp[row, : len(response)], expected, atol=1e-5, rtol=1e-5)


def test_a_cut_graph_gives_the_same_values_and_gradients(pair, both_attentions):
    """Prompts of two lengths, each of several rows, read once; the rows in two passes; against one graph a row."""
    sizes = ((9, 4), (9, 2), (9, 3), (6, 4), (6, 1))
    batch = random_batch(torch.Generator().manual_seed(2), 61, sizes)
    first = torch.tensor([0, 0, 0, 3, 3])
    batch = replace(batch, prompt_ids=batch.prompt_ids[first], prompt_mask=batch.prompt_mask[first])
    found = []

    def note(logp):
        found.append((logp * batch.response_mask, torch.cat([p.grad.flatten() for p in pair.parameters()])))
        pair.zero_grad()

    rows = [response_logp(LeanModel(pair), batch.rows(torch.tensor([row]))) for row in range(5)]
    (torch.cat(rows) * batch.response_mask).sum().backward()
    note(torch.cat(rows).detach())
    whole = response_logp(LeanModel(pair), batch)
    (whole * batch.response_mask).sum().backward()
    note(whole.detach())
    weights, read, parts = Joint(), Joint(), []
    lean = LeanModel(pair, weights)
    prompts, each = read_prompts(lean, batch, read)
    assert len(prompts.last) == 2
    for index in (torch.tensor([0, 1, 3]), torch.tensor([2, 4])):
        part = batch.rows(index)
        logp = response_logp(lean, part, response_hidden(lean, part, prompts.take(each[index])))
        (logp * part.response_mask).sum().backward()
        parts.append(logp.detach())
    read.back()
    weights.back()
    note(torch.cat(parts)[torch.tensor([0, 1, 3, 2, 4])])
    for logp, gradient in found[1:]:
        torch.testing.assert_close(logp, found[0][0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(gradient, found[0][1], atol=1e-4, rtol=1e-4)


def test_the_way_back_of_each_half_of_a_block_is_the_derivative_of_its_way_there():
    """In double precision, by finite differences: every input that can have a gradient, with and without biases, norms
    of heads, and tokens before."""
    generator = torch.Generator().manual_seed(3)

    def drawn(*sizes):
        return torch.randn(*sizes, generator=generator, dtype=torch.float64).requires_grad_()

    least = (torch.tensor(0.1, dtype=torch.float64), torch.tensor(0.2, dtype=torch.float64))
    turns = torch.rand(3, 1, 2, generator=generator, dtype=torch.float64) * 6
    angles = torch.polar(torch.ones_like(turns), turns)
    for plain in (True, False):
        before = 0 if plain else 2
        past = (None, None) if plain else (drawn(2, 2, 2, 4), drawn(2, 2, 2, 4))
        mask = torch.full((3, before + 3), -torch.inf, dtype=torch.float64).triu(before + 1)
        bias, qk_norm, out_bias = (None, None, None) if plain else (drawn(32), drawn(6, 4), drawn(5))
        inputs = (drawn(2, 3, 5), *past, mask, angles, drawn(32, 5), bias, qk_norm, drawn(5, 16), out_bias, (4, 2, 4))
        assert torch.autograd.gradcheck(Attention.apply, (*inputs, least))
        biases = (None, None) if plain else (drawn(14), drawn(5))
        assert torch.autograd.gradcheck(
            Mlp.apply, (drawn(2, 3, 5), drawn(14, 5), biases[0], drawn(5, 7), biases[1], least[0])
        )
    assert torch.autograd.gradcheck(Unit.apply, (drawn(2, 3, 5), least[0]))


def test_a_graph_that_is_kept_for_another_way_back_is_let_go_with_its_result(model):
    """Gradients of single rollouts share the joined weights, so their graphs are kept: 400 of them filled gigabytes."""
    lean, batch = LeanModel(model), random_batch(torch.Generator().manual_seed(0))

    def tensors():
        response_logp(lean, batch).mean().backward(retain_graph=True)
        model.zero_grad()
        gc.collect()
        return sum(issubclass(type(one), torch.Tensor) for one in gc.get_objects())

    assert tensors() == tensors() == tensors()
