"""Made-up counts of right responses and of words."""

import numpy as np
from scipy import special


def world(rng, seeds, problems, n, seed_sd, ease=0.0):
    """Shares of right responses (seeds, problems) where seeds, problems and their pairing all matter, on the logit."""
    parts = (
        seed_sd * rng.normal(size=(seeds, 1)),
        2 * rng.normal(size=problems),
        0.8 * rng.normal(size=(seeds, problems)),
    )
    return rng.binomial(n, special.expit(ease + sum(parts))) / n


def counts(rng, seeds, rate, tokens, problems, seed_sd=0.1):
    """Occurrences in 16 responses to each problem, and their tokens: problems and seeds differ in both."""
    level = rate * np.exp(
        seed_sd * rng.normal(size=(seeds, 1)) + problems + 0.2 * rng.normal(size=(seeds, len(problems)))
    )
    length = tokens * np.exp(0.5 * problems + 0.1 * rng.normal(size=(seeds, len(problems))))
    return rng.poisson(16 * level).astype(float), 16 * length
