"""Controls have the vector's norms row by row, and point where their names say."""

from itertools import combinations

import numpy as np
import pytest
import torch
from torch import Tensor

from steering_lab.evaluation.running.control_vectors import (
    CONTROLS,
    RANDOM_CONTROLS,
    Control,
    at_norms_of,
    check_controls,
    check_exchanges,
    covariance_controls,
    covariance_like,
    exchanges,
    random_controls,
    relabellings,
    shuffled_layer,
)
from steering_lab.evaluation.running.grid import layer_coeff_grid
from steering_lab.interventions.source import Source
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.models.hook_points import HookSite, resid_pre

WIDTH = 8


def vector(rows: Tensor, layer: int = 0) -> SteeringVector:
    return SteeringVector(rows, resid_pre(layer), Source("v", "tiny", "f"))


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def front(layer: int = 0) -> SteeringVector:
    """An ActAdd vector: a row for each token, the first zero."""
    return vector(
        torch.cat([torch.zeros(1, WIDTH), noise(3, WIDTH, seed=layer) * torch.tensor([[1.0], [5], [30]])]), layer
    )


VECTORS = {resid_pre(layer): front(layer) for layer in range(4)}
STREAMS: dict[HookSite, Tensor] = {
    site: noise(6, WIDTH, seed=9) @ torch.diag(torch.arange(WIDTH) + 1.0) for site in VECTORS
}


def every_kind() -> list[Control]:
    other = {site: at_norms_of(v, vector(noise(1, WIDTH)), "another concept") for site, v in VECTORS.items()}
    return [
        *random_controls(VECTORS, 2, 0),
        *covariance_controls(VECTORS, STREAMS, 2, 0),
        Control("other_concept", other),
        shuffled_layer(VECTORS),
    ]


def test_every_control_has_the_vectors_norms_row_by_row_and_leaves_the_first_token_alone() -> None:
    for control in every_kind():
        for site, own in control.vectors.items():
            assert own.site == site
            torch.testing.assert_close(own.norms, VECTORS[site].norms)
            assert not own.rows[0].any()
            assert not torch.allclose(own.rows, VECTORS[site].rows)


def test_draws_follow_from_their_seed_site_and_number() -> None:
    for make in (random_controls, lambda v, n, seed: covariance_controls(v, STREAMS, n, seed)):
        draws, again, others = make(VECTORS, 3, 0), make(VECTORS, 3, 0), make(VECTORS, 3, 1)
        rows = [one.vectors[site].rows for one in (*draws, *others) for site in VECTORS]
        for one, same in zip(draws, again, strict=True):
            assert all(torch.equal(one.vectors[site].rows, same.vectors[site].rows) for site in VECTORS)
        directions = [torch.nn.functional.normalize(own, dim=-1) for own in rows]
        assert not any(torch.allclose(a, b) for a, b in combinations(directions, 2))


def test_a_covariance_draw_lies_in_the_span_of_the_centred_activations() -> None:
    stream = noise(4, WIDTH)  # fewer tokens than dimensions
    basis = torch.linalg.svd((stream - stream.mean(dim=0)).double(), full_matrices=False).Vh[:3]
    drawn = covariance_like(front(), stream, 0).rows.double()
    torch.testing.assert_close(drawn @ basis.T @ basis, drawn, atol=1e-4, rtol=1e-4)


def test_covariance_draws_have_the_covariance_of_the_activations() -> None:
    """Rows of length 1 in many draws: their second moment is that of normalised normal draws of that covariance."""
    stream = noise(50, WIDTH) @ torch.diag(torch.tensor([10.0, 3, 1, 1, 1, 1, 1, 0.1])) + 100.0
    one = vector(torch.ones(1, WIDTH))
    drawn = torch.cat([covariance_like(one, stream, seed).unit().rows for seed in range(4000)]).double()
    rng = np.random.default_rng(0)
    expected = rng.multivariate_normal(np.zeros(WIDTH), np.cov(stream.numpy().T), 40_000)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert np.abs(np.cov(drawn.numpy().T) - np.cov(expected.T)).max() < 0.02
    assert np.abs(drawn.mean(dim=0).numpy()).max() < 0.05  # it is centred: the stream's mean of 100 is nowhere in it
    isotropic = torch.cat([c.vectors[one.site].unit().rows for c in random_controls({one.site: one}, 4000, 0)])
    assert np.abs(np.cov(isotropic.numpy().T) - np.cov(expected.T)).max() > 0.3


@pytest.mark.parametrize("stream", [noise(1, WIDTH), noise(0, WIDTH), torch.ones(5, WIDTH)])
def test_tokens_without_covariance_are_refused(stream: Tensor) -> None:
    with pytest.raises(ValueError, match="have no covariance"):
        covariance_like(front(), stream, 0)


def test_the_shuffled_layer_takes_the_vector_half_the_sites_away() -> None:
    control = shuffled_layer(VECTORS)
    for layer in range(4):
        own, other = control.vectors[resid_pre(layer)], VECTORS[resid_pre((layer + 2) % 4)]
        torch.testing.assert_close(own.unit().rows, other.unit().rows)
    with pytest.raises(ValueError, match="needs two layers or more"):
        shuffled_layer({resid_pre(0): front()})


def test_another_concepts_rows_are_taken_in_turn_where_their_numbers_differ() -> None:
    short = vector(torch.cat([torch.zeros(1, WIDTH), torch.eye(WIDTH)[:2]]))
    rows = at_norms_of(front(), short, "another").unit().rows
    torch.testing.assert_close(rows, torch.eye(WIDTH)[[0, 0, 1, 0]] * torch.tensor([[0.0], [1], [1], [1]]))
    with pytest.raises(ValueError, match="is zero and has no direction"):
        at_norms_of(front(), vector(torch.zeros(1, WIDTH)), "another")


@pytest.mark.parametrize("n_pairs", [2, 3, 4, 5, 12])
def test_half_the_pairs_are_exchanged_and_no_draw_is_anothers_line(n_pairs: int) -> None:
    n_draws = {2: 1, 3: 3, 4: 3}.get(n_pairs, 10)
    draws = exchanges(n_pairs, n_draws, 0)
    assert draws == exchanges(n_pairs, n_draws, 0)
    signs = np.where(draws, -1, 1)
    assert set(np.abs(signs.sum(axis=1))) == {n_pairs % 2}
    lines = signs * signs[:, :1]
    assert len(np.unique(lines, axis=0)) == n_draws


def test_what_all_pairs_share_cancels_where_half_of_them_are_exchanged() -> None:
    shared, own = 10 * noise(WIDTH), noise(12, WIDTH, seed=1)
    for flips in exchanges(12, 5, 0):
        shuffled = ((shared + own) * torch.where(torch.tensor(flips), -1.0, 1.0)[:, None]).mean(dim=0)
        assert float((shuffled @ shared / shared.norm()).abs()) < 1.0  # of a shared part of about 28


@pytest.mark.parametrize(
    ("n_pairs", "n_draws", "message"),
    [(1, 1, "one pair has no labels to shuffle"), (2, 2, "2 pairs have 1 ways"), (4, 4, "4 pairs have 3 ways")],
)
def test_labels_that_cannot_be_shuffled_so_often_are_refused(n_pairs: int, n_draws: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        exchanges(n_pairs, n_draws, 0)
    with pytest.raises(ValueError, match=message):
        check_exchanges(n_pairs, n_draws)


def test_whether_labels_can_be_shuffled_is_counted_and_not_tried() -> None:
    check_exchanges(200, 10**19)  # drawn, they would fill the memory


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["random", "isotropic"], "unknown control 'isotropic': choose among random, covariance, shuffled_labels, "),
        (["random", "random"], "'random' is named twice"),
        (["other_concept"], "hold no random vector"),
        ([], "hold no random vector"),
    ],
)
def test_wrong_controls_are_refused_with_what_is_allowed(names: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_controls(names)
    check_controls(CONTROLS)


def test_a_grids_further_controls_stand_at_every_cell_with_its_norm() -> None:
    norms = dict.fromkeys(VECTORS, 4.0)
    grid = layer_coeff_grid(VECTORS, [-1.0, 2.0], norms, method="caa", controls=every_kind())
    cells = {(c.factors.layer, c.factors.coeff): c.factors.relative_norm for c in grid if c.factors.role == "steered"}
    controls = [c.factors for c in grid if c.factors.role == "control"]
    assert len(controls) == len(cells) * 6
    for facts in controls:
        assert facts.relative_norm == pytest.approx(cells[facts.layer, facts.coeff])
        assert (facts.control_of, facts.place, facts.draw is None) == (
            "caa", "front", facts.method not in RANDOM_CONTROLS
        )  # fmt: skip


@pytest.mark.parametrize(("n_positive", "n_negative"), [(6, 3), (3, 6), (4, 4), (12, 5)])
def test_relabelling_two_lists_cancels_what_they_share_as_nearly_as_whole_texts_can(
    n_positive: int, n_negative: int
) -> None:
    draws = relabellings(n_positive, n_negative, 4, 0)
    assert draws == relabellings(n_positive, n_negative, 4, 0)
    assert len(set(draws)) == 4

    def left(k: int) -> float:
        return abs(1 - k / n_positive - k / n_negative)

    for flips in draws:
        changed, other = sum(flips[:n_positive]), sum(flips[n_positive:])
        assert changed == other
        assert left(changed) == min(left(k) for k in range(min(n_positive, n_negative) + 1))
        assert tuple(not flip for flip in flips) not in draws


def test_lists_too_short_to_relabel_are_refused_with_the_reason() -> None:
    with pytest.raises(ValueError, match="needs two texts or more on both sides"):
        relabellings(1, 5, 3, 0)
    with pytest.raises(ValueError, match="lists of 2 and 2 texts have 2 ways to exchange 1 of each, and 3 are asked"):
        relabellings(2, 2, 3, 0)
