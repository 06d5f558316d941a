"""A logit difference as a direction of the stream: exact on every norm, whatever its weights look like."""

import pytest
import torch

from steering_lab.models.final_norm import logit_directions
from steering_lab.models.hook_points import resid_post
from steering_lab.models.hooked_model import HookedModel
from tests.tiny_models import MODELS, PROMPTS, hooked

TOWARD, AGAINST = [7, 8, 9], [100, 101, 8]


def uncapped(model: HookedModel, resid: torch.Tensor) -> torch.Tensor:
    """logit(toward) - logit(against) of each row, before a soft cap."""
    logits = model.unembed(resid).double()
    cap = getattr(model.backend.cfg, "output_logits_soft_cap", None)
    if cap is not None and cap > 0:
        logits = cap * torch.atanh(logits / cap)
    rows = range(len(resid))
    return logits[rows, TOWARD] - logits[rows, AGAINST]


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_the_direction_reads_the_logit_difference_off_the_stream_but_for_a_constant(name: str) -> None:
    """Between two streams the constant (the norm's and the unembedding's biases) cancels."""
    model = hooked(name)
    stream = model.residuals(model.to_tokens(PROMPTS), [resid_post(2)])[resid_post(2)]
    one, other = stream[:, -1], 0.3 * stream[:, -2]
    read = [(x * logit_directions(model, x, TOWARD, AGAINST)).sum(-1).double() for x in (one, other)]
    wanted = uncapped(model, one) - uncapped(model, other)
    assert float(wanted.abs().min()) > 1e-2
    assert torch.allclose(read[0] - read[1], wanted, rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_swapped_tokens_turn_it_round_and_a_longer_stream_shortens_it() -> None:
    model = hooked("llama")
    resid = torch.randn(1, model.d_model, generator=torch.Generator().manual_seed(0))
    there, back = logit_directions(model, resid, [7], [8]), logit_directions(model, resid, [8], [7])
    assert torch.equal(there, -back)
    assert torch.allclose(logit_directions(model, 10 * resid, [7], [8]), there / 10, rtol=1e-4)


def test_what_is_no_pair_of_tokens_is_refused() -> None:
    model = hooked("gpt2")
    resid = torch.ones(2, model.d_model)
    with pytest.raises(ValueError, match="2 rows need as many tokens on both sides, not 2 and 1"):
        logit_directions(model, resid, [1, 2], [3])
    with pytest.raises(ValueError, match=r"token 320 is outside 0\.\.319"):
        logit_directions(model, resid, [1, 2], [3, 320])
