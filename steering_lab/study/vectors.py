"""Methods by the names that a TOML file gives them: what a form of steering adds, where, and how it is made."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from steering_lab.data.contrast_lists import ContrastLists, find_contrasts
from steering_lab.data.contrast_pairs import PAIRS, ContrastPair, find_pairs
from steering_lab.evaluation.running.control_vectors import exchanges, relabellings
from steering_lab.evaluation.running.grid import PlaceName, check_coeffs
from steering_lab.interventions.formats.bare import is_bare, read_tensor, site_asked
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.methods.by_name import MethodName, check_takes, pair_vectors
from steering_lab.methods.mean_difference import mean_difference_vectors
from steering_lab.models.hook_points import HookSite
from steering_lab.models.hooked_model import HookedModel
from steering_lab.study.settings import LayerSettings

Vectors = Mapping[HookSite, SteeringVector]
Given = Sequence[ContrastPair] | ContrastLists
FILE = "vector:"
OF_PAIRS: dict[MethodName, str] = {
    "actadd": "ActAdd",
    "mean_difference": "Mean difference",
    "pca": "Principal component",
    "probe": "Probe",
}
METHODS: dict[str, str] = {
    **{str(name): label for name, label in OF_PAIRS.items()},
    "contextfocus": "ContextFocus",
    f"{FILE}FILE": "Vector",
}


class Described(NamedTuple):
    """A form by its method and place in tables, as a reader calls it (`label`), and what it adds.

    Args:
        method: Its method in tables.
        place: Where its vectors are added.
        label: What a reader calls it: "ActAdd, front".
        what: What is added: "Love − Hate".
    """

    method: str
    place: PlaceName
    label: str
    what: str


class Contrast(NamedTuple):
    """Contrasts that vectors are made from: how many, and the vectors that come of them with some sides exchanged.

    Args:
        n: How many contrasts there are; of two lists, how many positive texts.
        exchanged: A model's vectors at sites, the sides of those contrasts (of two lists: of those texts, the positive
            ones first) exchanged for which there is True.
        n_negative: How many negative texts two lists hold; None of pairs.
    """

    n: int
    exchanged: Callable[[HookedModel, Sequence[HookSite], Sequence[bool]], Vectors]
    n_negative: int | None = None

    def drawn(self, n_draws: int, seed: int) -> list[tuple[bool, ...]]:
        """Draws of shuffled labels: what is exchanged in each (`exchanges`, of two lists `relabellings`).

        Raises:
            ValueError: fewer such draws than asked for.
        """
        if self.n_negative is None:
            return exchanges(self.n, n_draws, seed)
        return relabellings(self.n, self.n_negative, n_draws, seed)


@dataclass(frozen=True, eq=False)
class Form:
    """One way of steering: vectors for a model's sites, all added at one place, at several coefficients.

    Args:
        method: Its name in tables.
        label: What a reader calls the method.
        what: What is added, in a few words: "Love − Hate".
        place: Where a vector is added.
        coeffs: At which coefficients.
        sites: The sites that are searched, of a model.
        vectors: The vectors of a model at sites.
        pairs: What they are made from, where it is pairs, or two lists side by side; prompting writes the first.
        contrast: How they are made from contrasts whose sides can be exchanged, and how many contrasts there are.
    """

    method: str
    label: str
    what: str
    place: PlaceName
    coeffs: tuple[float, ...]
    sites: Callable[[HookedModel], Sequence[HookSite]]
    vectors: Callable[[HookedModel, Sequence[HookSite]], Vectors]
    pairs: tuple[ContrastPair, ...] = field(default=(), repr=False)
    contrast: Contrast | None = field(default=None, repr=False)

    @property
    def described(self) -> Described:
        """The form in words, for the run's folder."""
        return Described(self.method, self.place, f"{self.label}, {self.place.replace('_', ' ')}", self.what)


def vectors_at(
    method: MethodName, model: HookedModel, pairs: Given, sites: Sequence[HookSite], place: PlaceName
) -> Vectors:
    """The vectors of a method that takes contrast pairs, for a place.

    ActAdd at the front has one row per token of its one pair; anywhere else it is the pair's difference at the last
    token.

    Args:
        method: A method that takes pairs.
        model: The model that reads them.
        pairs: Contrast pairs, or two lists.
        sites: Where the stream is read, and steered later.
        place: Where the vectors will be added.

    Raises:
        ValueError: ActAdd of several pairs, or what `pair_vectors` refuses.
    """
    if method == "actadd" and not isinstance(pairs, ContrastLists) and len(pairs) > 1:
        raise ValueError(f'method "actadd" takes one pair, and here are {len(pairs)}: take "mean_difference"')
    check_takes(method, pairs)
    last = method == "actadd" and place != "front"
    return pair_vectors("mean_difference" if last else method, model, pairs, sites)


def contrast_of(pairs: Given, make: Callable[[HookedModel, Sequence[HookSite], Any], Vectors]) -> Contrast:
    """The contrast of pairs, or of two lists, from which `make` makes vectors."""
    if isinstance(pairs, ContrastLists):
        lists = pairs

        def relabelled(model: HookedModel, sites: Sequence[HookSite], flips: Sequence[bool]) -> Vectors:
            return make(model, sites, lists.relabelled(flips))

        return Contrast(len(lists.positive), relabelled, len(lists.negative))

    def exchanged(model: HookedModel, sites: Sequence[HookSite], flips: Sequence[bool]) -> Vectors:
        return make(model, sites, exchange(pairs, flips))

    return Contrast(len(pairs), exchanged)


def exchange(pairs: Sequence[ContrastPair], flips: Sequence[bool]) -> list[ContrastPair]:
    """The pairs, reversed where `flips` has True."""
    return [pair.reversed() if flip else pair for pair, flip in zip(pairs, flips, strict=True)]


def said_pairs(setting: str | Given, pairs: Given) -> str:
    """What pairs are called: the one pair, or their set's name (else the first of them) and how many there are.

    Two lists are their file's name, or their first texts, and how many texts are on each side.

    Args:
        setting: As the user named them: a set, a file, or the pairs themselves.
        pairs: The pairs that this is, one or more, or the two lists.
    """
    if isinstance(pairs, ContrastLists):
        called = Path(setting).stem if isinstance(setting, str) else f"{pairs.side_by_side()[0]} and others"
        return f"{called} (mean of {len(pairs.positive)} texts − mean of {len(pairs.negative)})"
    if len(pairs) == 1:
        return str(pairs[0])
    name = Path(setting).stem if isinstance(setting, str) else f"{pairs[0]} and others"
    return f"{name} (mean of {len(pairs)} pairs)"


@dataclass(frozen=True)
class VectorSettings(LayerSettings):
    """One form of steering by name.

    Args:
        method: "actadd", "mean_difference", "pca", "probe", "contextfocus", or "vector:FILE" (of `vector make`, or a
            bare tensor for this model, .pt, .npy or .safetensors, at the one layer that `layers` names).
        pairs: What the first four are made from: a list of {positive, negative}, a built-in set
            (`data.contrast_pairs.PAIRS`), or a file of pairs; for "mean_difference" and "probe" also two lists of
            texts, {positive = [...], negative = [...]}, of whatever lengths, here or in a file.
        weights: Instead of `pairs`, sets or files of pairs with a number each: what is added is the sum of their mean
            differences, each at length 1 times its number.
        normalise: Every row at length 1, so that a coefficient is a length in residual-stream units.
        place: Where the vector is added.
        coeffs: At which coefficients, for every layer.

    Raises:
        ValueError: an unknown method, pairs where the method takes none or the reverse, weights beside pairs or of
            another method than the mean difference, or 0, or coefficients that cannot be swept.
    """

    method: str = "mean_difference"
    pairs: str | tuple[ContrastPair, ...] | ContrastLists = ""
    weights: Mapping[str, float] = field(default_factory=dict)
    normalise: bool = False
    place: PlaceName = "everywhere"
    coeffs: tuple[float, ...] = (-1.0, -0.5, 0.5, 1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        known = {*OF_PAIRS, "contextfocus"}
        if self.method not in known and not (self.method.startswith(FILE) and self.method != FILE):
            raise ValueError(f"method is {self.method!r}: choose one of {', '.join(METHODS)}")
        if self.pairs and self.method not in OF_PAIRS:
            raise ValueError(f'pairs are for the methods {", ".join(OF_PAIRS)}, not for "{self.method}"')
        if self.weights and (self.pairs or self.method != "mean_difference"):
            raise ValueError('weights are of sets of pairs for method = "mean_difference", and stand instead of pairs')
        if wrong := {name: w for name, w in self.weights.items() if not math.isfinite(w) or w == 0}:
            raise ValueError(f"weights {wrong} must be numbers other than 0")
        if not self.pairs and not self.weights and self.method in OF_PAIRS:
            raise ValueError(
                f'method "{self.method}" needs pairs: a list of {{positive, negative}}, a file of pairs, or one of'
                f" the sets {', '.join(PAIRS)}"
            )
        if isinstance(self.pairs, ContrastLists):
            check_takes(next(name for name in OF_PAIRS if name == self.method), self.pairs)
        check_coeffs("coeffs", self.coeffs)

    def form(self) -> Form:
        """The form of steering that the settings name, of pairs or of a file.

        Raises:
            ValueError: neither a built-in set nor a file of pairs; a file that holds no vector, or one at another layer
                than those named.
        """
        if self.method.startswith(FILE):
            return self._of_file(Path(self.method.removeprefix(FILE)))
        if self.weights:
            return self._weighted()
        method = next(name for name in OF_PAIRS if name == self.method)
        pairs = find_contrasts(self.pairs) if isinstance(self.pairs, str) else self.pairs
        if isinstance(pairs, ContrastLists):
            check_takes(method, pairs)

        def make(model: HookedModel, sites: Sequence[HookSite], some: Given = pairs) -> Vectors:
            return self.scaled(vectors_at(method, model, some, sites, self.place))

        what, contrast = said_pairs(self.pairs, pairs), contrast_of(pairs, make)
        said = pairs.side_by_side() if isinstance(pairs, ContrastLists) else pairs
        return Form(method, OF_PAIRS[method], what, self.place, self.coeffs, self.sites, make, said, contrast)

    def _weighted(self) -> Form:
        """The weighted sum of several sets' directions."""
        sets = {name: find_pairs(name) for name in self.weights}
        every = tuple(pair for pairs in sets.values() for pair in pairs)

        def make(model: HookedModel, sites: Sequence[HookSite], some: Sequence[ContrastPair] = every) -> Vectors:
            rest, found = list(some), dict[HookSite, SteeringVector]()
            for name, weight in self.weights.items():
                own, rest = rest[: len(sets[name])], rest[len(sets[name]) :]
                for site, vector in _some_length(mean_difference_vectors(model, own, sites)).items():
                    term = weight * vector.unit()
                    found[site] = found[site] + term if site in found else term
            return self.scaled(found)

        what = " + ".join(f"{weight:g} {Path(name).stem}" for name, weight in self.weights.items())
        what = what.replace("+ -", "− ")
        less = [self.weights[name] < 0 for name, pairs in sets.items() for _ in pairs]
        said = tuple(exchange(every, less))  # prompting writes what is added
        label, contrast = OF_PAIRS["mean_difference"], contrast_of(every, make)
        return Form("mean_difference", label, what, self.place, self.coeffs, self.sites, make, said, contrast)

    def scaled(self, vectors: Vectors) -> Vectors:
        """The vectors, with `normalise` every row at length 1.

        Raises:
            ValueError: a vector without length, which adds nothing at any coefficient.
        """
        _some_length(vectors)
        return {site: vector.unit() for site, vector in vectors.items()} if self.normalise else vectors

    def _of_file(self, path: Path) -> Form:
        if is_bare(path):
            return self._of_tensor(path)
        vector = SteeringVector.load(path)
        if self.layers not in ((), (vector.site.layer,)):
            raise ValueError(f"{path} holds a vector at layer {vector.site.layer}, not at layers {list(self.layers)}")

        def make(model: HookedModel, sites: Sequence[HookSite]) -> Vectors:
            vector.source.check(model)
            return self.scaled({vector.site: vector})

        return Form("vector", METHODS[f"{FILE}FILE"], path.stem, self.place, self.coeffs, lambda _: [vector.site], make)

    def _of_tensor(self, path: Path) -> Form:
        """A bare tensor for the run's own model, at the one layer that is named (what the block reads)."""
        if len(self.layers) > 1:
            raise ValueError(f"{path} is one vector, and layers are {list(self.layers)}: name one")
        how = "layers = [N], the layer whose input it is for"
        site = site_asked(path, self.layers[0] if self.layers else None, "resid_pre", how)
        read_tensor(path, site)

        def make(model: HookedModel, sites: Sequence[HookSite]) -> Vectors:
            return self.scaled({site: read_tensor(path, site, model=model)})

        return Form("vector", METHODS[f"{FILE}FILE"], path.stem, self.place, self.coeffs, lambda _: [site], make)


def _some_length(vectors: Vectors) -> Vectors:
    """The vectors. Raises ValueError for one without length, which has no direction and adds nothing."""
    for site, vector in vectors.items():
        if not vector.norm > 0:
            raise ValueError(f"the vector at {site} is zero ({vector.source.recipe}): both sides are alike there")
    return vectors


def as_json(forms: Sequence[Form]) -> list[dict[str, Any]]:
    """What a run's folder says of its forms."""
    return [{**form.described._asdict(), "pairs": [asdict(pair) for pair in form.pairs]} for form in forms]


def from_json(forms: Sequence[Mapping[str, Any]]) -> list[Described]:
    """The forms that `as_json` wrote."""
    return [Described(*(form[name] for name in Described._fields)) for form in forms]
