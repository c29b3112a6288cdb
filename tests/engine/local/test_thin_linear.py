"""The other way to multiply gives the same numbers, with the same weights."""

import pytest
import torch
from torch import nn

from llava_chat.engine.local.thin_linear import (
    LEAST_WEIGHTS,
    MOST_IN_FEATURES,
    MOST_ROWS,
    ThinLinear,
    thin_out,
)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "shape", [(1,), (2,), (1, 1), (5, 1), (1, 3), (2, 3), (MOST_ROWS + 1,), (0,)]
)
@torch.no_grad()
def test_the_numbers_are_those_of_a_linear_layer(shape: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(24, 37, bias=bias)
    states = torch.randn(*shape, 24)
    found, expected = ThinLinear.of(linear)(states), linear(states)
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(not torch.backends.mkl.is_available(), reason="this torch has no MKL")
def test_only_layers_that_gain_are_replaced_and_none_is_copied() -> None:
    rows = LEAST_WEIGHTS // 128
    model = nn.Sequential(
        nn.Linear(128, rows + 1),
        nn.Linear(128, rows - 1),
        nn.Linear(MOST_IN_FEATURES + 1, rows),
        nn.Linear(128, rows + 1).bfloat16(),
    )
    weights = [layer.weight for layer in model]
    for _ in range(2):
        thin_out(model)
        assert [type(layer) for layer in model] == [ThinLinear, nn.Linear, nn.Linear, nn.Linear]
    assert all(layer.weight is weight for layer, weight in zip(model, weights, strict=True))
    assert not any(parameter.is_meta for parameter in model.parameters())
