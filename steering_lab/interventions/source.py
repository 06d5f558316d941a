"""Where a vector comes from, and which model it therefore belongs to."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict, get_args

from steering_lab.models.hooked_model import Basis, HookedModel
from steering_lab.models.prefix import PREFIXES, text_ids
from steering_lab.models.provenance import software

UNKNOWN: Literal["unknown"] = "unknown"


class Permissions(TypedDict, total=False):
    """What a caller lets through: a vector of other weights (a fine-tune's), or one made behind another prefix."""

    allow_other_model: bool
    allow_other_prefix: bool


@dataclass(frozen=True)
class Source:
    """Where a vector comes from: its recipe, the model it was read from, and what the method keeps.

    `fingerprint` is that of the weights and `prefix` what stood in front of the texts read; either is "unknown" for
    numbers from elsewhere. `details` is JSON: token strings read, padding policy, data hash, seed, diagnostics.

    Args:
        recipe: How it was made, in words.
        model: The name of the model that was read.
        fingerprint: That of its weights, or "unknown".
        basis: "raw" or "centred": whether the stream was as Hugging Face has it.
        revision: The checkpoint's revision.
        dtype: The precision that the model was read in.
        details: What the method keeps beside, as JSON.
        software: The versions of the software.
        prefix: What stood in front of the texts read, or "unknown".

    Raises:
        ValueError: a basis or prefix that there is not.
    """

    recipe: str
    model: str
    fingerprint: str
    basis: Basis = "raw"
    revision: str | None = None
    dtype: str = "torch.float32"
    details: Mapping[str, Any] = field(default_factory=dict)
    software: Mapping[str, str] = field(default_factory=software)
    prefix: str = UNKNOWN

    def __post_init__(self) -> None:
        if self.basis not in get_args(Basis):
            raise ValueError(f"basis is {self.basis!r}: choose one of {', '.join(map(repr, get_args(Basis)))}")
        if self.prefix not in (*PREFIXES, UNKNOWN) and not re.fullmatch(r"[<\[]\S+", self.prefix):
            known = ", ".join(map(repr, (*PREFIXES, UNKNOWN)))
            raise ValueError(f"prefix is {self.prefix!r}: choose one of {known}, or a special token")

    @classmethod
    def of(cls, model: HookedModel, recipe: str, **details: Any) -> "Source":
        """The source of a vector just read from `model` by `recipe`, with `details` to remember."""
        numerics = (model.fingerprint, model.basis, model.revision, str(model.dtype))
        return cls(recipe, model.name, *numerics, details, prefix=model.prefix)

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> "Source":
        """The source in the `record` of a file. Files older than the choice of a prefix were made behind "bos".

        Raises:
            ValueError: not the fields of a source, or values of another type.
        """
        try:
            source = cls(**{"prefix": "bos", **record})
        except TypeError as error:
            raise ValueError(f"its provenance is not one of ours: {error}") from error
        texts = (source.recipe, source.model, source.fingerprint, source.dtype, source.revision or "")
        if not all(isinstance(text, str) for text in texts):
            raise ValueError(f"its provenance holds something else than text among {texts}")
        if not isinstance(source.details, Mapping) or not isinstance(source.software, Mapping):
            raise ValueError("its provenance holds something else than a mapping as details or software")
        return source

    @property
    def belongs_to(self) -> tuple[str, str, str]:
        """Basis, weights and prefix: vectors that agree in them are of one model."""
        return self.basis, self.fingerprint, self.prefix

    @property
    def where(self) -> str:
        """The same in words."""
        return f"{self.model}, weights {self.fingerprint}, {self.basis} basis, prefix {self.prefix}"

    def check(self, model: HookedModel, *, allow_other_model: bool = False, allow_other_prefix: bool = False) -> None:
        """Nothing when a vector of this source belongs to `model`.

        Raises:
            ValueError: made in another basis of the stream; with other weights, or unknown ones, unless
                `allow_other_model`; behind other tokens than stand in front of this model's texts, unless
                `allow_other_prefix`. Policies that put the same tokens there are the same.
        """
        what = self.recipe or "the vector"
        if self.basis != model.basis:
            raise ValueError(
                f"{what} was made in the {self.basis} basis, {model.name} runs in the {model.basis} basis: make the"
                f" vector with this model"
            )
        if self.fingerprint == UNKNOWN and not allow_other_model:
            raise ValueError(
                f"{what} does not say which weights it was made with: name the model where the file is read, say"
                f" read_gguf(path, model=model), or allow it with steer(..., allow_other_model=True)"
            )
        if self.fingerprint != model.fingerprint and not allow_other_model:
            raise ValueError(
                f"{what} was made with {self.model} ({self.dtype}, weights {self.fingerprint}), this is {model.name}"
                f" ({model.dtype}, weights {model.fingerprint}): other weights or another precision. Make the vector"
                f" with this model, or allow it (for fine-tunes of one base) with steer(..., allow_other_model=True)"
            )
        if self.prefix != UNKNOWN and not allow_other_prefix and not _same_front(model, self.prefix):
            raise ValueError(
                f"{what} was made with prefix={self.prefix!r}, {model.name} was loaded with prefix={model.prefix!r}, so"
                f" other tokens stand in front of a text: load the model with prefix={self.prefix!r}, make the vector"
                f" again, or allow it with steer(..., allow_other_prefix=True)"
            )


def _same_front(model: HookedModel, prefix: str) -> bool:
    """Whether `prefix` tokenises a text as the model does. Without a beginning-of-text token, "bos" puts none there."""
    if prefix == "bos" and model.tokenizer.bos_token_id is None:
        prefix = "none"
    if prefix not in (*PREFIXES, *model.tokenizer.all_special_tokens):
        return False
    return text_ids(model.tokenizer, "a", prefix) == text_ids(model.tokenizer, "a", model.prefix)
