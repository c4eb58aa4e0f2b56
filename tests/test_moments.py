import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from linreg_lightning.metrics.regression import Moments


@given(sizes=st.lists(st.integers(0, 9), min_size=1, max_size=5), seed=st.integers(0, 99))
def test_merged_moments_equal_the_moments_of_all_rows(sizes: list[int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    parts = [torch.randn(size, 2, generator=generator, dtype=torch.float64) for size in sizes]
    weights = [torch.rand(size, generator=generator, dtype=torch.float64) for size in sizes]
    merged = Moments.of(parts[0], weights[0])
    for part, weight in zip(parts[1:], weights[1:], strict=True):
        merged = merged.merge(Moments.of(part, weight))
    values, weight = torch.cat(parts), torch.cat(weights)
    if not len(values):
        assert merged.total == 0
        return
    mean = np.average(values, axis=0, weights=weight)
    np.testing.assert_allclose(merged.total, weight.sum(), rtol=1e-13)
    np.testing.assert_allclose(merged.mean, mean, rtol=1e-9, atol=1e-13)
    squares = (weight[:, None].numpy() * (values.numpy() - mean) ** 2).sum(axis=0)
    np.testing.assert_allclose(merged.squares, squares, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("offset", [1e6, 1e12])
def test_moments_keep_their_digits_far_from_zero(offset: float) -> None:
    values = torch.arange(1000.0, dtype=torch.float64).unsqueeze(1)
    expected = (values - values.mean()).square().sum()
    merged = Moments.of(values[:400] + offset).merge(Moments.of(values[400:] + offset))
    torch.testing.assert_close(merged.squares[0], expected, rtol=1e-12, atol=0)
