"""How a model's output follows from its unembedding: one positive factor, then a soft cap where there is one.

    logits = cap * tanh(scale * unembed(ln_final(resid)) / cap)

Granite divides its logits, Cohere and Falcon-H1 multiply them, most models do neither. The factor is measured at load,
from the model's own output, so that no architecture's name for it need be known; every view of logits goes through
`HookedModel.unembed`, which applies it.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class OutputScale:
    """The factor `scale` between unembedding and output, and the `cap` that the output approaches (None: none)."""

    scale: float = 1.0
    cap: float | None = None

    def scaled(self, raw: Float[Tensor, "*batch d_vocab"]) -> Float[Tensor, "*batch d_vocab"]:
        """Logits before the cap, in which the unembedding is linear, of what it gives: `raw`."""
        return raw if self.scale == 1.0 else raw * self.scale

    def output(self, raw: Float[Tensor, "*batch d_vocab"]) -> Float[Tensor, "*batch d_vocab"]:
        """The model's logits, of what its unembedding gives: `raw`."""
        logits = self.scaled(raw)
        return logits if self.cap is None else self.cap * torch.tanh(logits / self.cap)


def fitted_output_scale(
    raw: Float[Tensor, "*batch d_vocab"], output: Float[Tensor, "*batch d_vocab"], cap: float | None, tolerance: float
) -> OutputScale | None:
    """The factor that turns `raw` into `output` under `cap`, by least squares; None where there is none.

    `tolerance` is the largest gap allowed, relative to the largest logit. A factor within it of 1 is 1.

    Args:
        raw: Logits from the unembedding.
        output: The model's own.
        cap: The soft cap of the configuration; None is none.
        tolerance: The largest gap allowed, relative to the largest logit.
    """
    x, y = raw.double(), output.double()
    linear = y if cap is None else cap * torch.atanh((y / cap).clamp(-0.9, 0.9))
    bent_little = torch.ones_like(y, dtype=torch.bool) if cap is None else y.abs() < 0.9 * cap
    x_fit, y_fit = x[bent_little], linear[bent_little]
    if not float(x_fit.square().sum()) > 0:
        return None
    factor = float((x_fit * y_fit).sum() / x_fit.square().sum())
    if not factor > 0:
        return None
    found = OutputScale(1.0 if abs(factor - 1) <= tolerance else factor, cap)
    gap = float((found.output(x) - y).abs().max() / y.abs().max().clamp(min=1e-30))
    return found if gap <= tolerance else None
