"""Cosines, their threshold and the plane of classes, against cases that can be worked out by hand."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import ortho_group

from steering_lab.analysis.geometry import cosine_by_layer, cosines, pca_of_classes, random_cosine
from steering_lab.interventions.source import Source
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.models.hook_points import HookSite, resid_post, resid_pre
from steering_lab.models.reading import read_stream
from tests.tiny_models import hooked, random_vector

CLASSES = {
    "love": ["I love you", "Love and joy", "we love the sea", "love is the question"],
    "hate": ["I hate you", "Hate and anger", "we hate the sea", "hate is the question"],
}


def vector(*rows: list[float], site: HookSite | None = None, basis: str = "raw") -> SteeringVector:
    return SteeringVector(torch.tensor(rows), site or resid_pre(0), Source("made", "none", "", basis))


@pytest.mark.parametrize(
    ("d_model", "expected"),
    [(3, 0.95), (2, math.cos(math.pi * 0.025))],  # in three dimensions a cosine is uniform, in two an angle is
)
def test_the_threshold_is_exact_where_geometry_gives_it(d_model: int, expected: float) -> None:
    assert random_cosine(d_model) == pytest.approx(expected)


def test_five_percent_of_random_directions_exceed_the_threshold() -> None:
    draws = torch.randn(40_000, 50, generator=torch.Generator().manual_seed(0))
    above = (draws[:, 0] / draws.norm(dim=1)).abs() > random_cosine(50)
    assert float(above.double().mean()) == pytest.approx(0.05, abs=0.0045)  # four standard errors


def test_cosines_are_those_of_the_plane() -> None:
    table = cosines({"east": vector([2.0, 0.0]), "north-east": vector([3.0, 3.0]), "west": vector([-1.0, 0.0])})
    found = table.set_index(["left", "right"])["cosine"]
    assert found["east", "north-east"] == pytest.approx(math.sqrt(0.5))
    assert found["west", "east"] == -1
    assert len(table) == 9
    assert (table["random"] == random_cosine(2)).all()


def test_cosines_are_symmetric_blind_to_length_and_to_rotation_of_the_stream() -> None:
    rows = torch.randn(5, 7, generator=torch.Generator().manual_seed(1))
    turn = torch.from_numpy(ortho_group.rvs(7, random_state=0)).float()
    plain, turned = (
        cosines({str(i): vector(row.tolist()) for i, row in enumerate(some)}).pivot(index="left", columns="right")
        for some in (rows, 3.0 * rows @ turn)
    )
    found = plain["cosine"].to_numpy()
    assert np.allclose(found, found.T)
    assert np.allclose(np.diag(found), 1)
    assert np.allclose(found, turned["cosine"].to_numpy(), atol=1e-5)


def test_a_zero_vector_has_no_cosine() -> None:
    table = cosines({"zero": vector([0.0, 0.0]), "one": vector([1.0, 0.0])})
    assert table["cosine"].isna().tolist() == [True, True, True, False]


def test_vectors_without_common_coordinates_are_refused() -> None:
    with pytest.raises(ValueError, match=r"b has 2 rows, a cosine is between two: take \.row\(i\)"):
        cosines({"a": vector([1.0, 0.0]), "b": vector([1.0, 0.0], [0.0, 1.0])})
    with pytest.raises(ValueError, match="a is 2 wide in the raw basis, b is 3 wide in the raw basis"):
        cosines({"a": vector([1.0, 0.0]), "b": vector([1.0, 0.0, 0.0])})
    with pytest.raises(ValueError, match="b is 2 wide in the centred basis"):
        cosines({"a": vector([1.0, 0.0]), "b": vector([1.0, 0.0], basis="centred")})
    with pytest.raises(ValueError, match="no vectors"):
        cosines({})


def test_layers_stand_in_the_order_of_the_stream_and_the_embedding_first() -> None:
    rows = {resid_post(1): [0.0, 1.0], resid_post(0): [1.0, 1.0], resid_pre(0): [1.0, 0.0]}
    table = cosine_by_layer({site: vector(row, site=site) for site, row in rows.items()})
    assert table["left"].unique().tolist() == ["embed", "0", "1"]
    neighbours = table[table["apart"] == 1].set_index(["left", "right"])["cosine"]
    assert neighbours.to_dict() == pytest.approx(
        dict.fromkeys([("embed", "0"), ("0", "embed"), ("0", "1"), ("1", "0")], math.sqrt(0.5))
    )


def test_one_stream_is_named_by_its_layers() -> None:
    table = cosine_by_layer({resid_pre(layer): vector([1.0, layer], site=resid_pre(layer)) for layer in (3, 0)})
    assert table["left"].unique().tolist() == ["0", "3"]
    assert table["apart"].max() == 3


# -- classes on their plane -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_the_plane_is_the_best_one_and_its_shares_are_its_variance(name: str) -> None:
    model, site = hooked(name), resid_post(1)
    plane = pca_of_classes(model, CLASSES, site)
    stream = read_stream(model, [p for c in CLASSES.values() for p in c], [site])[site].double().numpy()
    variances = np.sort(np.linalg.eigvalsh(np.cov(stream.T)))[::-1]
    assert plane.axes["explained"].to_numpy() == pytest.approx(variances[:2] / variances.sum())
    assert plane.points[["pc1", "pc2"]].var().to_numpy() == pytest.approx(variances[:2])
    assert plane.points[["pc1", "pc2"]].corr().iloc[0, 1] == pytest.approx(0, abs=1e-9)
    assert (plane.axes["explained_random"] == 1 / model.d_model).all()


def test_the_first_class_stands_on_the_positive_side_whatever_the_order_of_its_prompts() -> None:
    model, site = hooked("gpt2"), resid_post(0)
    plane = pca_of_classes(model, CLASSES, site).points.set_index("prompt")
    swapped = pca_of_classes(model, {"hate": CLASSES["hate"], "love": CLASSES["love"][::-1]}, site)
    means = plane.groupby("class")[["pc1", "pc2"]].mean()
    assert (means.loc["love"] >= means.loc["hate"]).all()
    there = swapped.points.set_index("prompt").loc[plane.index, ["pc1", "pc2"]]
    assert np.allclose(there, -plane[["pc1", "pc2"]])


def test_the_share_between_classes_is_that_of_the_means() -> None:
    plane = pca_of_classes(hooked("gpt2"), CLASSES, resid_post(1))
    for row in plane.axes.itertuples():
        values = plane.points[row.component]
        love, hate = values[:4], values[4:]
        between = ((love.mean() - values.mean()) ** 2 + (hate.mean() - values.mean()) ** 2) / 2
        assert row.between == pytest.approx(between / values.var(ddof=0))
        assert row.between_shuffled == pytest.approx(1 / 7)


def test_shuffled_classes_show_on_average_the_share_that_is_stated() -> None:
    values, rng = np.random.default_rng(0).normal(size=12), np.random.default_rng(1)
    shares = []
    for _ in range(4000):
        groups = rng.permuted(np.repeat([0, 1, 2], [2, 4, 6]))
        means = np.array([values[groups == g].mean() for g in range(3)])[groups]
        shares.append(means.var() / values.var())
    assert np.mean(shares) == pytest.approx(2 / 11, abs=0.01)


def test_a_vector_along_a_component_is_seen_at_its_full_length() -> None:
    model, site = hooked("gpt2"), resid_post(1)
    stream = read_stream(model, [p for c in CLASSES.values() for p in c], [site])[site]
    first = np.linalg.svd((stream - stream.mean(0)).double().numpy(), full_matrices=False)[2][0]
    along = pca_of_classes(model, CLASSES, site, vector=vector((2.0 * first).tolist(), site=site)).axes
    assert along["vector"].abs().to_numpy() == pytest.approx([2, 0], abs=1e-5)
    assert along["cosine"].abs().to_numpy() == pytest.approx([1, 0], abs=1e-5)
    other = pca_of_classes(model, CLASSES, site).axes
    assert other[["vector", "cosine"]].isna().all(axis=None)


def test_what_spans_no_plane_is_refused() -> None:
    model = hooked("gpt2")
    with pytest.raises(ValueError, match="two or more, each with prompts"):
        pca_of_classes(model, {"love": CLASSES["love"]}, resid_pre(1))
    with pytest.raises(ValueError, match="two or more, each with prompts"):
        pca_of_classes(model, CLASSES | {"none": []}, resid_pre(1))
    with pytest.raises(ValueError, match="do not differ in two directions"):
        pca_of_classes(model, {"a": ["I love you", "I love you"], "b": ["I hate you", "I hate you"]}, resid_pre(1))
    with pytest.raises(ValueError, match="not one row of 32"):
        pca_of_classes(model, CLASSES, resid_pre(1), vector=random_vector(model, resid_pre(1), 3))
