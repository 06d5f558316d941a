"""The controls that a sweep's settings name, made for one form of steering."""

from collections.abc import Sequence

from steering_lab.data.contrast_pairs import ContrastPair, find_pairs
from steering_lab.evaluation.running.control_vectors import (
    Control,
    Vectors,
    at_norms_of,
    covariance_controls,
    random_controls,
    shuffled_layer,
)
from steering_lab.evaluation.running.seeds import seed_of
from steering_lab.methods.by_name import MethodName
from steering_lab.models.hook_points import HookSite
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.reading import read_tokens
from steering_lab.study.settings import NamedControlSettings
from steering_lab.study.vectors import Form, vectors_at

OTHER_PAIR, OTHER_PAIRS = "french_english", "wedding_sentences"  # the other concept, unless the settings name one


def check_form(form: Form, config: NamedControlSettings) -> None:
    """Nothing when every control of the settings can be made for the form, as far as can be said without a model.

    Args:
        form: What is swept.
        config: Which controls, and how many draws; its layers count where it has any.

    Raises:
        ValueError: shuffled labels of no pairs, of too few, or under a method that does not read labels; another
            concept whose pairs are the form's own, or none; a single layer, which has no other.
    """
    if "shuffled_labels" in config.controls:
        _check_labels(form, config)
    if "other_concept" in config.controls:
        other_pairs(form, config)
    layers = getattr(config, "layers", ())
    if "shuffled_layer" in config.controls and (len(layers) == 1 or form.method == "vector"):
        raise ValueError(
            f'the control "shuffled_layer" takes the vector of another layer, and {form.label} has'
            " one layer alone: name two or more, or leave layers empty"
        )


def _check_labels(form: Form, config: NamedControlSettings) -> None:
    if form.contrast is None:
        raise ValueError(f'the control "shuffled_labels" needs pairs, and {form.label} is not made from any here')
    if form.method == "pca":
        raise ValueError(
            'the control "shuffled_labels" cannot be made for "pca": the differences\' first component is the same line'
            " whichever sides are exchanged"
        )
    form.contrast.drawn(config.n_shuffled, config.seed)


def other_pairs(form: Form, config: NamedControlSettings) -> Sequence[ContrastPair]:
    """The pairs of the other concept: all of them, or the first for a method that takes one.

    Args:
        form: What is swept.
        config: Which pairs; left out, a pair or a set of weddings that comes along.

    Raises:
        ValueError: no such pairs, or one of the form's own among them.
    """
    name = config.other_pairs or (OTHER_PAIR if len(form.pairs) == 1 else OTHER_PAIRS)
    pairs = find_pairs(name)
    if shared := {pair for own in form.pairs for pair in (own, own.reversed())} & set(pairs):
        raise ValueError(
            f'the control "other_concept" takes {name}, but {form.label} is made from {next(iter(shared))} of it: set'
            " other_pairs to those of another concept"
        )
    return pairs[:1] if form.method == "actadd" else pairs


def controls_of(
    form: Form, model: HookedModel, sites: Sequence[HookSite], config: NamedControlSettings, *,
    prompts: Sequence[str], n_random: int, seed: int,
) -> tuple[Vectors, list[Control]]:  # fmt: skip
    """The form's vectors at `sites`, and its controls there.

    Args:
        form: What is swept.
        model: The model that is read.
        sites: The cells' sites; the layer's control may come from any of the form's.
        config: Which controls, and how many draws of each.
        prompts: What the stream's covariance is read from, as the model gets them.
        n_random: Draws of each kind of random vector.
        seed: What the draws follow from.

    Raises:
        ValueError: a control that cannot be made here.
    """
    named, found = config.controls, list[Control]()
    vectors = form.vectors(model, sites)
    if "random" in named:
        found += random_controls(vectors, n_random, seed)
    if "covariance" in named:
        found += covariance_controls(vectors, read_tokens(model, prompts, sites), n_random, seed)
    if "shuffled_labels" in named and form.contrast is not None:
        draws = form.contrast.drawn(config.n_shuffled, seed_of(seed, "shuffled_labels"))
        for draw, flips in enumerate(draws):
            shuffled = form.contrast.exchanged(model, sites, flips)
            found.append(
                Control("shuffled_labels", _at_norms(vectors, shuffled, f"shuffled labels, draw {draw}"), draw)
            )
    if "other_concept" in named:
        other = vectors_at(_method(form), model, other_pairs(form, config), sites, form.place)
        found.append(Control("other_concept", _at_norms(vectors, other, "another concept")))
    if "shuffled_layer" in named:
        found.append(shuffled_layer({**form.vectors(model, form.sites(model)), **vectors}))
    return vectors, found


def _method(form: Form) -> MethodName:
    """The form's own method where it takes pairs, else the mean difference: only a direction is wanted."""
    return form.method if form.method in ("actadd", "pca", "probe") else "mean_difference"  # type: ignore[return-value]


def _at_norms(vectors: Vectors, other: Vectors, recipe: str) -> Vectors:
    return {site: at_norms_of(vector, other[site], recipe) for site, vector in vectors.items()}
