"""A text classifier on this machine as a measure: the probability that it gives to one of its labels.

It is what transformers opens with AutoModelForSequenceClassification, in a folder or by its name on the hub. What is
wrong with it is said when it is named, before any text is written, and so its weights are read then. Nothing here knows
whether a classifier is right about steered text.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from os.path import isdir
from pathlib import Path
from typing import Any

import pandas as pd

from steering_lab.numerics.kinds import Bounds, Kind
from steering_lab.tables import Scale

MOST_TOKENS = 2**20  # what is read of a text where neither tokenizer nor configuration has a limit


@dataclass(frozen=True, eq=False)
class Classifier:
    """The probability of `label` for each text, in [0, 1]; a measure (`measures.Measure`).

    A softmax over the labels, or for a classifier of several labels at once, or of one, that label's own sigmoid: as
    transformers' text-classification pipeline has it. In float32 and without dropout, so that the same text has the
    same value up to rounding, whatever stands beside it in a batch. Of a text longer than `max_tokens` only the
    beginning is read. A text without a word is NaN.

    Bounded, as `repetition` is: a classifier's probabilities are mostly at one end. No real one has been counted.

    Args:
        name: The metric's name in tables.
        folder: What the classifier is called: its folder's last part, or its name on the hub.
        label: The label whose probability it is.
        hf_model: The transformers model.
        tokenizer: Its own.
        batch_size: Texts that are read at once; one where it has no token to pad with.

    Raises:
        ValueError: a label that it has not.
    """

    name: str
    folder: str
    label: str
    hf_model: Any
    tokenizer: Any
    batch_size: int = 32
    weight: None = field(default=None, init=False)
    scale: Scale = field(default="difference", init=False)
    kind: Kind = field(default=Kind.BOUNDED, init=False)
    bounds: Bounds = field(default=(0, 1), init=False)

    def __post_init__(self) -> None:
        if self.label not in (labels := labels_of(self.hf_model.config)):
            raise ValueError(f"{self.folder} has no label {self.label!r}: choose one of {', '.join(labels)}")

    @property
    def max_tokens(self) -> int:
        """How many tokens of a text are read: the tokenizer's limit, or the model's where that is lower."""
        config = self.hf_model.config
        most = min(self.tokenizer.model_max_length, getattr(config, "max_position_embeddings", None) or MOST_TOKENS)
        for name, module in self.hf_model.named_modules():
            if name.endswith("position_embeddings") and hasattr(module, "num_embeddings"):
                padding = module.padding_idx  # RoBERTa's first token stands behind this position
                most = min(most, module.num_embeddings - (0 if padding is None else padding + 1))
        return int(most)

    def described(self) -> dict[str, Any]:
        """Where its probabilities come from, for a run's provenance; `weights` as `HookedModel.fingerprint` has it."""
        from steering_lab.models.hooked_model import fingerprint_of

        config, said = self.hf_model.config, ("name", "folder", "label", "max_tokens")
        return {
            **{name: getattr(self, name) for name in said},
            "labels": labels_of(config),
            "weights": fingerprint_of(self.hf_model.parameters()),
            "revision": getattr(config, "_commit_hash", None),
        }

    def __call__(self, generations: pd.DataFrame) -> pd.Series:
        texts = [text if isinstance(text, str) and text.strip() else None for text in generations["text"]]
        different = sorted({text for text in texts if text is not None}, key=lambda text: (len(text), text))
        found = dict(zip(different, self.probabilities(different), strict=True))
        values = [float("nan") if text is None else found[text] for text in texts]
        return pd.Series(values, index=generations.index, dtype=float)

    def probabilities(self, texts: Sequence[str]) -> list[float]:
        """The probability of the label for each text, on the GPU where there is one.

        Args:
            texts: Read in batches in this order; those alike in length need least padding.
        """
        import torch

        from steering_lab.models.loading.placement import resolve_device

        model, config, found = self.hf_model.to(resolve_device("auto")), self.hf_model.config, list[float]()
        own = config.problem_type == "multi_label_classification" or config.num_labels == 1
        padded = None not in (self.tokenizer.pad_token_id, getattr(config, "pad_token_id", None))
        size, place = self.batch_size if padded else 1, labels_of(config).index(self.label)
        most = self.max_tokens
        for start in range(0, len(texts), size):
            asked = self.tokenizer(
                list(texts[start : start + size]),
                padding=padded,
                truncation=True,
                max_length=most,
                return_tensors="pt",
            )
            with torch.inference_mode():
                logits = model(**asked.to(model.device)).logits
            found += (logits.sigmoid() if own else logits.softmax(dim=-1))[:, place].tolist()
        return found


def read_classifier(said: str, name: str) -> Classifier:
    """The classifier of "FOLDER" or "FOLDER:LABEL"; of two labels the second is meant where none is named.

    Args:
        said: A folder, or a name on the hub, and a label.
        name: The metric's name.

    Raises:
        ValueError: no classifier that can be opened, a label that it has not, or none named and not two to choose from.
    """
    from steering_lab.models.loading.pretrained import display_name

    folder, label = folder_and_label(said)
    model, tokenizer = _opened(str(Path(folder).resolve()) if isdir(folder) else folder)
    labels = labels_of(model.config)
    if not label and len(labels) != 2:
        raise ValueError(f"{name!r} names no label: write classifier:{folder}:LABEL, LABEL one of {', '.join(labels)}")
    return Classifier(name, display_name(folder), label or labels[1], model, tokenizer)


def folder_and_label(said: str) -> tuple[str, str]:
    """The folder, and the label behind the last colon; "" where none is named."""
    folder, colon, label = said.rpartition(":")
    return (folder, label) if colon and not isdir(said) else (said, "")


def labels_of(config: Any) -> list[str]:
    """The labels in the order of the logits."""
    return [str(config.id2label[i]) for i in range(config.num_labels)]


@lru_cache(maxsize=2)  # settings name their measures more than once
def _opened(folder: str) -> tuple[Any, Any]:
    """The model, on the CPU, and its tokenizer.

    Raises:
        ValueError: neither a folder nor a name on the hub, no whole classifier, one of a value, or no tokenizer.
    """
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from steering_lab.models.loading.checkpoint import check_tokenizer
    from steering_lab.models.loading.hub import hub_answers, hub_left_alone
    from steering_lab.models.loading.sources import weight_bar

    local, called = isdir(folder), f"the classifier {folder!r}"
    if not local and (Path(folder).is_absolute() or folder.startswith((".", "~")) or not folder):
        raise ValueError(f"{called}: there is no such folder")
    away = local or not hub_answers()
    options: dict[str, Any] = {"local_files_only": away, "trust_remote_code": False}
    where = "the folder holds none that can be opened"
    try:
        with hub_left_alone(away), weight_bar(shown=not local):
            model, loading = AutoModelForSequenceClassification.from_pretrained(
                folder, dtype=torch.float32, output_loading_info=True, **options
            )
            where = "no tokenizer with a vocabulary stands beside its weights"
            tokenizer = AutoTokenizer.from_pretrained(folder, **options)
            check_tokenizer(folder, tokenizer)
    except (OSError, ValueError) as error:
        where = where if local else "it is no folder here, and the Hugging Face hub did not give it"
        raise ValueError(f"{called}: {where} ({' '.join(str(error).split())[:160]})") from error
    if lacking := sorted(loading["missing_keys"]):
        raise ValueError(f"{called} is no whole classifier: its files lack {', '.join(lacking[:6])}")
    if model.config.problem_type == "regression":
        raise ValueError(f"{called} gives a value and no probability (problem_type is 'regression')")
    return model.eval().requires_grad_(False), tokenizer
