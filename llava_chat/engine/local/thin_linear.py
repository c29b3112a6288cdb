"""Large linear layers, which a CPU multiplies faster another way when only a few rows come in.

PyTorch hands x W^T to MKL, which for a single row uses one thread, and for a few rows a kernel made
for many. W x^T is the same numbers transposed, and there MKL has a kernel for it. On two cores with
AVX-512 (torch 2.13, MKL, float32) a word table of 32,064 x 512 took 3.7 times as long for one row
the usual way, 8.3 times for two and 1.5 times for sixteen; replies of a model with that table and
64 million parameters came 1.25 times as fast. Imports torch only.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

# Beyond it both ways take the same time. With one thread they do from some five rows on.
MOST_ROWS = 64
MOST_ROWS_OF_ONE_THREAD = 4
# Of wider ones a single row is no faster: 4096 x 4096 took as long either way.
MOST_IN_FEATURES = 2048
# Small layers lose more by their threads' meeting than they gain: with those of 512 x 512 done so,
# too, a token took 1.14 times as long; with those of 512 x 1408 it took the same time.
LEAST_WEIGHTS = 1_000_000


class ThinLinear(nn.Linear):
    """An nn.Linear for inference; the results differ from its own by rounding."""

    @classmethod
    def of(cls, linear: nn.Linear) -> ThinLinear:
        """With the same weights, not a copy of them."""
        with torch.device("meta"):
            thin = cls(linear.in_features, linear.out_features, bias=False)
        thin.weight, thin.bias = linear.weight, linear.bias
        return thin.train(linear.training)

    def forward(self, input: Tensor) -> Tensor:
        """(..., in_features) -> (..., out_features)."""
        rows = input.numel() // self.in_features
        most = MOST_ROWS if torch.get_num_threads() > 1 else MOST_ROWS_OF_ONE_THREAD
        if rows > most or rows == 0:
            return super().forward(input)
        thin = input.reshape(rows, self.in_features)
        if rows == 1:  # a matrix times a vector has no such kernel
            thin = thin.repeat(2, 1)
        product = torch.mm(self.weight, thin.t()).t()[:rows]
        if self.bias is not None:
            product = product + self.bias
        return product.reshape(*input.shape[:-1], self.out_features)


def thin_out(model: nn.Module) -> None:
    """Put ThinLinear in the place of the linear layers that it is faster than; any number of times.

    Those are float32 on a CPU with MKL, as they are: not quantised ones, nor those with hooks that
    move their inputs between devices.
    """
    if not torch.backends.mkl.is_available():
        return
    for name, module in [*model.named_modules()]:
        if type(module) is nn.Linear and _gains(module):
            model.set_submodule(name, ThinLinear.of(module))


def _gains(linear: nn.Linear) -> bool:
    weight = linear.weight
    plain = weight.device.type == "cpu" and weight.dtype == torch.float32
    sized = linear.in_features <= MOST_IN_FEATURES and weight.numel() >= LEAST_WEIGHTS
    return plain and sized and not hasattr(linear, "_hf_hook")
