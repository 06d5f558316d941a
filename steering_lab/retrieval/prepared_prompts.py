"""Prompts that were read ahead, on disk: one safetensors file each, found by a hash of all that determines it.

A file that does not read as a whole under its own key is taken for absent and written anew; files appear under their
name only when complete.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from steering_lab.evaluation.running.condition import Condition
from steering_lab.evaluation.running.evaluate import Decoding, cell_key
from steering_lab.interventions.intervention import Intervention
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.prompt_states import PromptStates
from steering_lab.safe_files import make_folder, replace_file

FORMAT = 1  # part of every key: raise it when what is kept changes


@dataclass(frozen=True)
class Gated:
    """What the conflict gate said of a prompt (`methods.conflict_gate`).

    Args:
        steered: Whether the gate was open, so that the prompt was read under the intervention.
        divergence: Between the next-token distributions with and without the passage, in nats.
        memory: What the model says closed book.
    """

    steered: bool
    divergence: float
    memory: str


@dataclass(frozen=True, eq=False)
class Prepared:
    """A prompt that was read, steered where the gate was open."""

    states: PromptStates
    gate: Gated


@dataclass(frozen=True)
class PreparedPrompts:
    """The prepared prompts of one folder.

    Args:
        folder: Where they lie; made when the first is kept.
    """

    folder: str | Path

    @staticmethod
    def key(model: HookedModel, with_passage: str, closed_book: str, intervention: Intervention, decides: str) -> str:
        """A hash of model, numerics, both prompts, the edit, and what decides whether it is made.

        Args:
            model: The model that reads.
            with_passage: The prompt.
            closed_book: The same without its passage.
            intervention: What is done where the gate is open.
            decides: The settings of the gate, as text.
        """
        condition = Condition("prepared", intervention)
        cell = cell_key(model, condition, [with_passage, closed_book], Decoding(1, 1))
        kinds = [type(with_passage).__name__, type(closed_book).__name__]  # a chat is no plain text that reads the same
        return hashlib.sha256(json.dumps([FORMAT, cell, kinds, decides]).encode()).hexdigest()[:32]

    def find(self, key: str) -> Prepared | None:
        """What was kept under `key`, or None where there is none that is whole."""
        path = self._path(key)
        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                header = json.loads((file.metadata() or {})["steering_lab"])
                if header["key"] != key:
                    return None
                layers = range(header["n_layers"])
                keys, values = (tuple(file.get_tensor(f"{name}.{i}") for i in layers) for name in ("keys", "values"))
                states = PromptStates(tuple(header["ids"]), keys, values, file.get_tensor("logits"))
            return Prepared(states, Gated(**header["gate"]))
        except (SafetensorError, KeyError, TypeError, ValueError, OSError):
            return None

    def keep(self, key: str, prepared: Prepared) -> Path:
        """Writes `prepared` under `key`, in one step. Raises OSError where it cannot; names the file."""
        states = prepared.states
        tensors: dict[str, torch.Tensor] = {"logits": states.logits}
        for name in ("keys", "values"):
            tensors |= {f"{name}.{i}": tensor.contiguous() for i, tensor in enumerate(getattr(states, name))}
        header = {"key": key, "ids": states.ids, "n_layers": len(states.keys), "gate": asdict(prepared.gate)}
        make_folder(self.folder)
        return replace_file(self._path(key), save(tensors, {"steering_lab": json.dumps(header)}))

    def _path(self, key: str) -> Path:
        return Path(self.folder) / f"{key}.safetensors"
