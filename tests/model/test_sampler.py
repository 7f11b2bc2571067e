import pytest
import torch

from prerl.model.lean import LeanModel
from prerl.model.sampler import Sampling, distribution, pick, sample

PROMPTS = [[1, 20, 30], [1, 40, 50, 60, 21], [1, 33]]
LONG = [[1, *range(20, 45)], [1, *range(30, 65), 21], [1, 33]]  # longer than responses: rows share what was read


@pytest.fixture
def lean(model):
    with torch.inference_mode():
        return LeanModel(model)


def draw(lean, sampling, prompts=PROMPTS, repeats=4, end=(2,), seed=0):
    return sample(lean, prompts, repeats, sampling, set(end), 0, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("prompts", [PROMPTS, PROMPTS[:1], LONG, LONG[:1]], ids=["short", "one", "long", "one long"])
def test_greedy_equals_transformers_generate(model, lean, prompts):
    for response, prompt in zip(draw(lean, Sampling(12, temperature=0), prompts, repeats=1), prompts, strict=True):
        out = model.generate(torch.tensor([prompt]), do_sample=False, max_new_tokens=12, pad_token_id=0)
        assert response.ids == out[0, len(prompt) :].tolist()


@pytest.mark.parametrize("prompts", [PROMPTS, LONG], ids=["short", "long"])
@pytest.mark.parametrize("sampling", [Sampling(20), Sampling(20, temperature=0.5), Sampling(20, top_p=0.7)], ids=str)
def test_log_probs_are_those_of_the_sampled_distribution(model, lean, sampling, prompts):
    for index, response in enumerate(draw(lean, sampling, prompts, end=range(2, 40))):
        prompt = prompts[index // 4]
        with torch.inference_mode():
            logits = model(torch.tensor([prompt + response.ids])).logits[0, len(prompt) - 1 : -1]
        log_probs = distribution(logits, sampling)
        logp = log_probs.gather(1, torch.tensor(response.ids)[:, None])[:, 0]
        torch.testing.assert_close(torch.tensor(response.logp), logp, atol=1e-5, rtol=1e-5)
        entropy = torch.distributions.Categorical(logits=log_probs).entropy().mean()
        assert response.entropy == pytest.approx(float(entropy), abs=1e-4)


def test_responses_end_at_the_end_token_or_the_limit(lean):
    responses = draw(lean, Sampling(20), repeats=32, end=range(20))
    for response in responses:
        assert response.finished == (response.ids[-1] < 20)
        assert len(response.ids) == 20 or response.finished
        assert all(token >= 20 for token in response.ids[:-1])
    assert 0 < sum(response.finished for response in responses) < len(responses)
    assert len({len(response.ids) for response in responses}) > 3  # so rows did leave the batch at different times


def test_without_end_tokens_all_go_to_the_limit(lean):
    """And all that is returned was sampled: with a probability, none twice as padding."""
    found = sample(lean, [[1, 5]], 20, Sampling(30), set(), 0, torch.Generator().manual_seed(0))
    assert all(len(one.ids) == len(one.logp) == 30 and all(value < 0 for value in one.logp) for one in found)
    with pytest.raises(ValueError, match="end token -1"):
        sample(lean, [[1, 5]], 2, Sampling(3), {-1}, 0, torch.Generator())


def test_the_same_seed_repeats_and_another_does_not(lean):
    first, again, other = (draw(lean, Sampling(10), seed=seed) for seed in (0, 0, 1))
    assert [r.ids for r in first] == [r.ids for r in again] != [r.ids for r in other]


def test_frequencies_follow_the_distribution(model, lean):
    responses = draw(lean, Sampling(1), prompts=[PROMPTS[0]], repeats=20_000)
    counts = torch.bincount(torch.tensor([r.ids[0] for r in responses]), minlength=126)
    with torch.inference_mode():
        expected = model(torch.tensor([PROMPTS[0]])).logits[0, -1].softmax(-1) * 20_000
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    assert chi_square < 125 + 5 * (2 * 125) ** 0.5  # mean and five deviations at 125 degrees of freedom


def test_the_random_number_names_the_word_however_improbable(monkeypatch):
    """0 is in the first word that has a probability; the one of 2^-27 is hit behind 1/2, and not far behind."""
    probs = torch.tensor([0.0, 0.5, 0.0, 2**-27, 0.25, 0.0])
    numbers = torch.tensor([[0.0], [0.4], [0.5 + 2**-28], [0.5 + 2**-26], [0.7]], dtype=torch.float64)
    monkeypatch.setattr("prerl.model.sampler.torch.rand", lambda *size, **options: numbers / probs.double().sum())
    assert pick(probs.expand(5, -1), torch.Generator()).tolist() == [1, 1, 3, 4, 4]


def test_words_without_probability_are_never_picked_and_rare_ones_are():
    rare = torch.tensor([0.0, 1 - 1e-3, 0.0, 1e-3, 0.0]).expand(200_000, -1)
    counts = pick(rare, torch.Generator().manual_seed(0)).bincount(minlength=5).tolist()
    assert counts[0] == counts[2] == counts[4] == 0 and counts[3] == pytest.approx(200, abs=5 * 200**0.5)


def test_top_p_keeps_the_smallest_set_that_reaches_the_mass():
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    for top_p, kept in [(0.49, 1), (0.51, 2), (0.79, 2), (0.81, 3), (1.0, 4), (0.01, 1)]:
        probs = distribution(logits, Sampling(1, top_p=top_p)).exp()[0]
        assert int((probs > 0).sum()) == kept, top_p
        assert float(probs.sum()) == pytest.approx(1)
