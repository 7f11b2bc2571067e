"""Gradients compared: by groups of parameters, in halves, folded."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch

from prerl.evaluation.gradients import Sketch, compare, gathered, halves, parameter_groups


def test_parameter_groups_are_disjoint_and_whole(model):
    groups = parameter_groups(model)
    total = sum(parameter.numel() for parameter in model.parameters())
    assert set(groups) == {"embedding", "attention", "mlp", "norm"}
    places = sorted((place.start, place.stop) for group in groups.values() for place in group)
    assert places[0][0] == 0 and places[-1][1] == total
    assert all(first[1] == second[0] for first, second in pairwise(places))
    names = [name for name, _ in model.named_parameters()]
    norms = sum(p.numel() for name, p in model.named_parameters() if "norm" in name)
    assert sum(place.stop - place.start for place in groups["norm"]) == norms and any(
        "q_norm" in name for name in names
    )


def test_compare_by_hand_and_groups_add_up(model):
    groups = parameter_groups(model)
    generator = torch.Generator().manual_seed(0)
    size = sum(parameter.numel() for parameter in model.parameters())
    a, b = torch.randn(2, size, generator=generator)
    rows = pd.DataFrame(compare({"post_train": a, "pre_train": b}, groups)).set_index("group")
    assert rows.inner_product["whole"] == pytest.approx(float((a * b).sum()), rel=1e-3)
    assert rows.cosine["whole"] == pytest.approx(float(torch.cosine_similarity(a, b, 0)), abs=1e-4)
    assert rows.inner_product.drop("whole").sum() == pytest.approx(rows.inner_product["whole"], abs=0.1)
    assert rows.other_prompt.isna().all()
    zero = compare({"post_train": torch.zeros(size), "pre_train": b}, groups)
    assert all(np.isnan(row["cosine"]) and row["inner_product"] == 0 for row in zero)


def test_the_null_of_a_comparison_is_the_post_train_gradient_behind_another_prompt(model):
    groups = parameter_groups(model)
    size = sum(parameter.numel() for parameter in model.parameters())
    a, b, c = torch.randn(3, size, generator=torch.Generator().manual_seed(0))
    c = a + c
    rows = pd.DataFrame(compare({"post_train": a, "pre_train": b, "other_prompt": c}, groups)).set_index("group")
    assert rows.other_prompt["whole"] == pytest.approx(float(torch.cosine_similarity(a, c, 0)), abs=1e-4)
    parts = [torch.cat([flat[place] for place in groups["mlp"]]) for flat in (a, c)]
    assert rows.other_prompt["mlp"] == pytest.approx(float(torch.cosine_similarity(*parts, 0)), abs=1e-4)


def test_a_flat_gradient_is_the_parameters_and_leaves_none_behind(model):
    values = list(model.parameters())
    with gathered(model) as flat:
        sum((number + 1) * value.sum() for number, value in enumerate(values)).backward()
    assert torch.equal(flat, torch.cat([torch.full((value.numel(),), n + 1.0) for n, value in enumerate(values)]))
    assert all(value.grad is None for value in values)


def test_halves_are_all_equal_splits_and_their_cosines():
    generator = torch.Generator().manual_seed(0)
    sums = torch.randn(4, 2, 50, generator=generator)
    rows = pd.DataFrame(halves("all", sums))
    assert len(rows) == 3  # of four blocks
    first, second = sums[[0, 1]].sum(0), sums[[2, 3]].sum(0)
    assert rows.within_post_train[0] == pytest.approx(float(torch.cosine_similarity(first[0], second[0], 0)), abs=1e-5)
    assert rows.within_pre_train[0] == pytest.approx(float(torch.cosine_similarity(first[1], second[1], 0)), abs=1e-5)
    both = [torch.cosine_similarity(half[0], half[1], 0) for half in (first, second)]
    assert rows.across[0] == pytest.approx(float(sum(both)) / 2, abs=1e-5)


def test_a_folded_gradient_keeps_its_cosines_and_a_short_one_stays():
    generator = torch.Generator().manual_seed(0)
    first, noise = (torch.randn(3 * Sketch.WIDTH + 7, generator=generator) for _ in range(2))
    second = 0.6 * first + 0.8 * noise
    sketch = Sketch(len(first))
    folded = sketch(first), sketch(second)
    assert folded[0].shape == (Sketch.WIDTH,) == (sketch.size,)
    expected = torch.cosine_similarity(first, second, 0)
    assert torch.cosine_similarity(*folded, 0) == pytest.approx(float(expected), abs=0.005)
    assert torch.allclose(sum(folded), sketch(first + second), atol=1e-4)
    short = torch.randn(5)
    assert Sketch(5)(short) is short and Sketch(5).size == 5
