"""PEFT adapters: a LoRA's change added to the weights before anything is hooked, and seen to be the same model.

PEFT's own forward pass is the truth: the merged model must give its logits on a probe, or it is refused. What merging
alone gets wrong is mended first: an adapter on one of two tied embeddings, and a LoRA with a bias on a layer without.
"""

import copy
import warnings
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from steering_lab.models.loading.adapter_vocabulary import fit_vocabulary
from steering_lab.numerics.log_probs import to_log_probs

ADAPTER_CONFIG = "adapter_config.json"


def is_adapter(folder: str | Path) -> bool:
    """Whether `folder` holds a PEFT adapter, which needs the model it was trained on, and not a whole model."""
    return (Path(folder) / ADAPTER_CONFIG).is_file()


def is_adapted(model: Any) -> bool:
    """Whether `model` is PEFT's wrapper around a Hugging Face model."""
    return any(kind.__module__.split(".")[0] == "peft" for kind in type(model).__mro__)


def adapter_tokenizer(adapter: Path) -> Any:
    """The tokenizer that was saved beside the adapter, or None where the base model's own stayed."""
    if not (adapter / "tokenizer_config.json").is_file():
        return None
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(adapter)


def merged(hf_model: Any, adapter: Path, tokenizer: Any = None) -> Any:
    """The model with the adapter's change added to its weights; the adapter's own modules are gone.

    Args:
        hf_model: The model that the adapter was trained on; it is changed.
        adapter: A folder written by PEFT.
        tokenizer: The adapter's own, where it has one: its added tokens need rows of their own in the embedding.

    Raises:
        OSError: no adapter in the folder.
        ImportError: PEFT is not installed.
        ValueError: the adapter does not fit the model, adds to the prompt and not to the weights, or its change cannot
            be added to them.
    """
    if not is_adapter(adapter):
        raise OSError(f"{adapter} holds no {ADAPTER_CONFIG}: an adapter is a folder that PEFT's save_pretrained wrote")
    try:
        from peft import PeftModel
    except ModuleNotFoundError as error:
        raise ImportError(f"the adapter {adapter} needs one more package: pip install peft") from error
    name = f"the adapter {adapter.name}"
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Found missing adapter keys")  # it would be a model without its adapter
        try:
            fit_vocabulary(hf_model, adapter, tokenizer)
            adapted = PeftModel.from_pretrained(hf_model, str(adapter))
        except Exception as error:  # PEFT raises what its many kinds of adapters stumble over
            raise ValueError(f"{name} does not fit this model: {_first_line(error)}") from error
    return _merged(adapted, name)


def merged_copy(adapted: Any) -> Any:
    """`adapted`, a PeftModel in memory, as a plain model: weights that merging touches are copied, all others shared.

    Raises:
        ValueError: the adapter adds to the prompt and not to the weights, or its change cannot be added to them.
    """
    touched = {id(p) for layer in _tuned(adapted) for p in layer.get_base_layer().parameters()}
    memo: dict[int, Any] = {}
    for parameter in adapted.parameters():
        if id(parameter) not in touched and type(parameter) is torch.nn.Parameter:
            memo[id(parameter)] = torch.nn.Parameter(parameter.data, requires_grad=False)
    for layer in _tuned(adapted):
        memo[id(getattr(layer, "kwargs", None))] = {}  # what it was made with; parts of it cannot be copied
    kinds = {config.peft_type.value.lower() for config in adapted.peft_config.values()}
    return _merged(copy.deepcopy(adapted, memo), f"this {', '.join(sorted(kinds))} adapter")


def _merged(adapted: Any, name: str) -> Any:
    """The plain model inside `adapted`, whose logits on a probe are those of PEFT's forward pass."""
    if not hasattr(adapted.base_model, "merge_and_unload"):
        kind = type(adapted.base_model).__name__
        raise ValueError(f"{name} adds to the prompt, not to the weights ({kind}): it cannot be merged")
    adapted.eval()
    ids = _probe(adapted)
    try:
        wanted = _log_probs(adapted, ids)
        _untie(adapted)
        _make_room_for_biases(adapted)
        plain = adapted.merge_and_unload()
    except Exception as error:
        raise ValueError(f"{name} cannot be merged into the weights: {_first_line(error)}") from error
    gap = float((_log_probs(plain, ids) - wanted).abs().max())
    allowed = (1e-4 if plain.dtype in (torch.float32, torch.float64) else 0.05) * max(1.0, float(wanted.abs().max()))
    if not gap <= allowed:
        raise ValueError(
            f"{name} cannot be merged into the weights: the merged model's log-probabilities differ from PEFT's own by"
            f" {gap:.2g} (allowed {allowed:.2g}); merge it yourself and load the merged model, and where the base is"
            " quantised, load it without"
        )
    return plain


def _tuned(model: Any) -> list[Any]:
    """The layers that an adapter wraps."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    return [module for module in model.modules() if isinstance(module, BaseTunerLayer)]


def _untie(adapted: Any) -> None:
    """Gives each of two tied embeddings its own weights where an adapter changes one of them, or each differently.

    Rows of trained tokens are the exception: PEFT changes them in the one weight that both share.
    """
    plain = adapted.get_base_model()
    embeddings = [plain.get_input_embeddings(), plain.get_output_embeddings()]
    if None in embeddings:
        return
    own = [getattr(e, "get_base_layer", lambda e=e: e)() for e in embeddings]
    changed = [e for e in embeddings if e in _tuned(adapted) and "trainable_tokens" not in type(e).__module__]
    if changed and own[0].weight is own[1].weight:
        own[1].weight = torch.nn.Parameter(own[1].weight.detach().clone(), requires_grad=False)
        for config in (plain.config, plain.config.get_text_config()):
            config.tie_word_embeddings = False


def _make_room_for_biases(adapted: Any) -> None:
    """A bias of zeros on layers that have none, where a LoRA brings one."""
    for layer in _tuned(adapted):
        base = layer.get_base_layer()
        if any(getattr(layer, "lora_bias", {}).values()) and getattr(base, "bias", 0) is None:
            up = next(iter(layer.lora_B.values()))
            base.bias = torch.nn.Parameter(torch.zeros_like(up.bias, dtype=base.weight.dtype), requires_grad=False)


def _probe(adapted: Any) -> Int[Tensor, "1 pos"]:
    """Ordinary tokens, the last of the vocabulary, where added ones stand, and those that the adapter trained."""
    embedding = adapted.get_base_model().get_input_embeddings().weight
    d_vocab = adapted.get_base_model().config.get_text_config().vocab_size
    trained = [
        i for layer in _tuned(adapted) for row in getattr(layer, "token_indices", {}).values() for i in list(row)[:8]
    ]
    ordinary = [(7919 * i + 17) % d_vocab for i in range(6)]
    return torch.tensor([[*ordinary, *range(max(0, d_vocab - 3), d_vocab), *trained]], device=embedding.device)


@torch.no_grad()
def _log_probs(model: Any, ids: Int[Tensor, "1 pos"]) -> Float[Tensor, "1 pos d_vocab"]:
    return to_log_probs(model(input_ids=ids, use_cache=False).logits)


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
