"""Options that several commands share: a model, how a prompt is put to it, where a vector comes from."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

if TYPE_CHECKING:
    from steering_lab.data.contrast_lists import ContrastLists
    from steering_lab.data.contrast_pairs import ContrastPair
    from steering_lab.evaluation.running.writing import Prefixed
    from steering_lab.interventions.steering_vector import SteeringVector
    from steering_lab.models.hooked_model import HookedModel

Place = Literal["front", "everywhere", "from_last_prompt_token", "generated"]  # evaluation.condition.PlaceName
MethodName = Literal["actadd", "mean_difference", "pca", "probe", "contextfocus"]  # methods.by_name's, and one more
Stream = Literal["resid_pre", "resid_post"]  # models.hook_points.Stream


@dataclass(frozen=True)
class ModelOptions:
    """The model.

    Args:
        model: "smollm2", "organism", a Hugging Face hub name, a local folder, or a GGUF file.
        device: Where it runs: "cpu", "cuda", ...; "auto" is a GPU where there is one.
        dtype: Its precision, say "bfloat16"; "auto" is float32 on a CPU and the checkpoint's own on a GPU.
        prefix: In front of a text: "tokenizer" is what its tokenizer puts there, "bos" one beginning-of-text token (the
            ActAdd paper's convention on GPT-2), or a special token by its name.
    """

    model: str = "smollm2"
    device: str = "auto"
    dtype: str = "auto"
    prefix: str = "tokenizer"

    def load(self) -> "HookedModel":
        """The model, loaded."""
        from steering_lab.models import loading

        return loading.load_model(self.model, device=self.device, dtype=self.dtype, prefix=self.prefix)


@dataclass(frozen=True)
class ChatOptions:
    """How a prompt is put to the model.

    Args:
        chat: Put each prompt as a user's turn, as the model's chat template writes it; pairs stay plain text, and the
            first tokens of the prompt are then the template's.
        system: The system turn before it, which implies --chat; left out, the template's own default.
    """

    chat: bool = False
    system: Annotated[str | None, tyro.conf.arg(metavar="TEXT")] = None

    def writing(self, lm: "HookedModel") -> "Prefixed":
        """How a prompt is put to the model `lm`: as it stands, or as a user's turn.

        Raises:
            ValueError: a chat, and the model has no template for it or one without system turns.
        """
        from steering_lab.evaluation.running.writing import Prefixed

        write = Prefixed("", lm.chat_text, self.system) if self.chat or self.system is not None else Prefixed()
        write("Hello")
        return write


@dataclass(frozen=True)
class PairOptions:
    """What a vector is made from.

    Args:
        pairs: A built-in set of pairs, or a file of them (.json, .jsonl, .csv, .toml), or of two lists of texts.
        positive: Of one pair instead: the prompt to steer toward; spaces at its ends count.
        negative: The prompt to steer away from; may be empty.
        method: actadd: one pair's difference, token by token; mean_difference: the mean of the pairs' differences at
            the last token; pca: their first principal component; probe: the direction that separates the two sides;
            contextfocus: of questions instead of pairs (vector make). Left out: actadd at the front, mean_difference
            elsewhere.
        layer: The block whose stream is read and edited, from 0; left out, two thirds of the way up.
        stream: What the block reads (resid_pre), or what it leaves (resid_post).
        normalise: Scale every row to length 1.
    """

    pairs: Annotated[str | None, tyro.conf.arg(metavar="STR")] = None
    positive: Annotated[str | None, tyro.conf.arg(metavar="STR")] = None
    negative: Annotated[str | None, tyro.conf.arg(metavar="STR")] = None
    method: Annotated[MethodName | None, tyro.conf.arg(metavar="NAME")] = None
    layer: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    stream: Stream = "resid_pre"
    normalise: bool = False

    @property
    def given(self) -> bool:
        """Whether pairs or one pair were named."""
        return not (self.pairs is None and self.positive is None and self.negative is None)

    def chosen(self, otherwise: str = "") -> "tuple[ContrastPair, ...] | ContrastLists":
        """The pairs or the two lists, those of `otherwise` where none were named.

        Raises:
            ValueError: a set and a pair, neither, or what `find_contrasts` refuses.
        """
        from steering_lab.data.contrast_lists import find_contrasts
        from steering_lab.data.contrast_pairs import ContrastPair

        one = not (self.positive is None and self.negative is None)
        if one and self.pairs is not None:
            raise ValueError(f"give --pairs ({self.pairs!r}) or one pair, --positive and --negative, not both")
        pairs = otherwise if self.pairs is None else self.pairs
        if not one and not pairs:
            raise ValueError("give --pairs, a built-in set or a file, or one pair, --positive and --negative")
        return (ContrastPair(self.positive or "", self.negative or ""),) if one else find_contrasts(pairs)

    def made(
        self, lm: "HookedModel", pairs: "tuple[ContrastPair, ...] | ContrastLists", method: MethodName
    ) -> "SteeringVector":
        """The vector of `pairs` by `method` at the layer asked for.

        Args:
            lm: The model; a layer left out is two thirds of the way up it.
            pairs: What the vector is made from.
            method: Any but "contextfocus".

        Raises:
            ValueError: a layer outside the model, pairs that the method does not take, or a vector of length 0.
        """
        from steering_lab.methods.by_name import pair_vectors
        from steering_lab.models.hook_points import HookSite

        if method == "contextfocus":
            raise ValueError(
                "contextfocus is made of questions: steering-lab vector make --questions, then --vector FILE"
            )
        site = HookSite(two_thirds_up(lm) if self.layer is None else self.layer, self.stream)
        vector = pair_vectors(method, lm, pairs, [site], normalise=self.normalise)[site]
        if not vector.norm > 0:
            raise ValueError(
                f"{vector.source.recipe} has norm 0 at {site}: the two sides are read alike there, as where both end in"
                " one token and layer 0 is asked for; choose a higher --layer, or other pairs"
            )
        return vector


@dataclass(frozen=True)
class VectorOptions(PairOptions):
    """The vector that is added.

    Args:
        vector: A file of `steering-lab vector make` or `SteeringVector.save`, instead of pairs; it says its own site.
            Or a bare tensor (.pt, .npy, .safetensors) for this model, at the --layer and --stream that you name.
    """

    vector: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None

    @property
    def given(self) -> bool:
        """Whether a vector, pairs or one pair were named."""
        return self.vector is not None or super().given

    def check(self, place: Place, otherwise: str = "") -> None:
        """Nothing where the options agree with one another and with the place: asked before a model is loaded.

        Args:
            place: Where the vector will be added.
            otherwise: The set of pairs that is taken where none are named; "" is none.

        Raises:
            ValueError: a file and pairs, a file that holds no vector, pairs twice or none, several pairs at the front.
            FileNotFoundError: there is no such file.
        """
        if self.vector is not None:
            if super().given or self.method is not None:
                raise ValueError(f"--vector {self.vector} is a vector already: leave out pairs and --method")
            self._read(self.vector, None)
            return
        from steering_lab.data.contrast_lists import ContrastLists

        chosen, name = self.chosen(otherwise), self.pairs or otherwise
        if place == "front" and self.method in (None, "actadd"):
            if isinstance(chosen, ContrastLists):
                raise ValueError(f"at the front stands one pair, {name} is two lists: choose --method mean_difference")
            if len(chosen) > 1:
                raise ValueError(
                    f"at the front stands one pair, {name} has {len(chosen)}: give --positive and --negative"
                )

    def found(self, lm: "HookedModel", place: Place, otherwise: str = "") -> "tuple[SteeringVector, str]":
        """The vector, and what it is in words; pairs are those of `otherwise` where nothing was named.

        Args:
            lm: The model that the vector is made with, or must belong to.
            place: At the front alone may a vector have several rows.
            otherwise: The set of pairs that is taken where none are named; "" is none.

        Raises:
            ValueError: what `check` refuses, rows per token at every token, a file's own layer contradicted, or as
                `made`.
        """
        self.check(place, otherwise)
        vector, what = self._read(self.vector, lm) if self.vector is not None else self._of_pairs(lm, place, otherwise)
        if vector.rows.shape[0] > 1 and place != "front":
            raise ValueError(f"{what} has {vector.rows.shape[0]} rows, one per token: choose --place front")
        return vector, what

    def _of_pairs(self, lm: "HookedModel", place: Place, otherwise: str) -> "tuple[SteeringVector, str]":
        pairs, name = self.chosen(otherwise), self.pairs or otherwise
        method: MethodName = self.method or ("actadd" if place == "front" else "mean_difference")
        by = {"pca": "first component", "probe": "probe"}.get(method, "mean")
        vector = self.made(lm, pairs, method)
        if not isinstance(pairs, tuple):
            return vector, f"{name}, {by} of {pairs}"
        return vector, str(pairs[0]) if len(pairs) == 1 else f"{name}, {by} of {len(pairs)} pairs"

    def _read(self, path: Path, lm: "HookedModel | None") -> "tuple[SteeringVector, str]":
        from steering_lab.interventions.formats.bare import is_bare, read_tensor, site_asked
        from steering_lab.interventions.steering_vector import SteeringVector

        if is_bare(path):
            site = site_asked(
                path, self.layer, self.stream, "--layer N, and --stream resid_post where a block leaves it"
            )
            vector = read_tensor(path, site, model=lm)
            return vector.unit() if self.normalise else vector, str(path)
        vector = SteeringVector.load(path)
        if self.layer is not None and (self.layer, self.stream) != (vector.site.layer, vector.site.stream):
            raise ValueError(f"--layer is {self.layer}, {path} is a vector for {vector.site}: leave --layer out")
        return vector.unit() if self.normalise else vector, str(path)


def check_coeff(coeff: float) -> None:
    """Nothing when `coeff` times a vector can be added: asked before a model is loaded.

    Raises:
        ValueError: 0, a number that is not finite, or one that no vector's length makes small enough to add.
    """
    from steering_lab.interventions.steering_vector import LONGEST

    if coeff == 0:
        raise ValueError("--coeff is 0, which is the unsteered text: choose another coefficient")
    if not abs(coeff) < LONGEST:
        raise ValueError(f"--coeff is {coeff:g}: choose a number between {-LONGEST:g} and {LONGEST:g}, and not 0")


def two_thirds_up(lm: "HookedModel") -> int:
    """The layer two thirds up `lm`, where mean differences of sentiment act best on SmolLM2 (20 of 30)."""
    return lm.n_layers * 2 // 3


# Flags without the name of the parameter in front: `--layer`, not `--vector.layer`.
Model = tyro.conf.OmitArgPrefixes[ModelOptions]
Chat = tyro.conf.OmitArgPrefixes[ChatOptions]
Pairs = tyro.conf.OmitArgPrefixes[PairOptions]
Vector = tyro.conf.OmitArgPrefixes[VectorOptions]
