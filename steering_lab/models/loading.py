"""Any causal language model, behind `HookedModel`, with hook points that were seen to tell the truth.

Models are opened as a TransformerBridge in Hugging Face's own weights, so that `resid_pre(l)` is `hidden_states[l]`
and a vector means the same in every other runtime. Weights are frozen; the caller's objects are never changed.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import torch

from steering_lab.models.bridging import boot_transformers
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.stream_check import check_stream, measured_basis, probe_ids, reference_stream

ADAPTER_CONFIG = "adapter_config.json"


def load_model(
    name_or_path_or_model: Any,
    *,
    tokenizer: Any = None,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
    revision: str | None = None,
    adapter: str | Path | None = None,
) -> HookedModel:
    """The model, its residual stream exposed and checked.

    Takes "organism" (the model that comes with this package), the name of a model on the Hugging Face hub, a folder
    written by `save_pretrained`, a Hugging Face model in memory (with its `tokenizer`), or a TransformerBridge or
    HookedTransformer that already exists, whose basis is measured. `device="auto"` is the GPU where there is one.
    `dtype="auto"` is the checkpoint's own on a GPU and float32 on a CPU; a model in memory keeps what it has.
    `adapter` is a folder written by PEFT (say, a LoRA), merged into the weights before anything is hooked.

    Raises:
        ValueError: a dtype or device that is not there, a model in memory without a tokenizer, options that do not
            apply, an adapter that cannot be merged, or hook points that lie (`check_stream`).
        OSError: neither a folder nor a model that the hub gave; no adapter in its folder.
        ImportError: an adapter, and PEFT is not installed.
    """
    given = name_or_path_or_model
    if isinstance(given, str | Path):
        hf_model, found_tokenizer = _from_pretrained(str(given), device, dtype, revision)
        name = _display_name(str(given))
        if adapter is not None:
            hf_model, name = _merged(hf_model, Path(adapter)), f"{name}+{Path(adapter).name}"
        return _boot(hf_model, tokenizer or found_tokenizer, name, revision)
    if device != "auto" or dtype != "auto" or revision is not None or adapter is not None:
        raise ValueError(
            "device, dtype, revision and adapter choose how a name or folder is loaded: move the model in memory"
            " yourself, and merge its adapter"
        )
    tokenizer = tokenizer or getattr(given, "tokenizer", None)
    if tokenizer is None:
        raise ValueError("a model in memory comes without a tokenizer: pass load_model(model, tokenizer=...)")
    if hasattr(given, "hook_dict"):
        return _adopt(given, tokenizer)
    if not hasattr(given, "config"):
        raise ValueError(f"{type(given).__name__} is neither a name, a Hugging Face model nor a TransformerLens model")
    own = _sharing_copy(given)
    return _boot(
        own, tokenizer, _display_name(getattr(given.config, "_name_or_path", "") or type(given).__name__), None
    )


def organism_folder() -> Path:
    """Where the embedded model lies on disk."""
    return Path(str(resources.files("steering_lab.models") / "organism"))


def _from_pretrained(name: str, device: Any, dtype: Any, revision: str | None) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where, what = _resolve_device(device), _resolve_dtype(dtype, device)
    source = str(organism_folder()) if name == "organism" else name
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, revision=revision)
        with _bar(shown=name != "organism"):
            hf_model = AutoModelForCausalLM.from_pretrained(
                source, revision=revision, dtype=what, attn_implementation="eager"
            )
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise OSError(
            f"cannot load {name!r}: it is no folder with a saved model here, and the Hugging Face hub did not give it"
            f" ({reason}). Check the spelling and the network, or pass a local folder, a model in memory, or 'organism'"
        ) from error
    return hf_model.to(where), tokenizer


@contextmanager
def _bar(*, shown: bool) -> Iterator[None]:
    """transformers' bar over the weights: kept for models that take a while, left out where it would only flash."""
    from transformers.utils import logging

    was = logging.is_progress_bar_enabled()
    if not shown:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        if was:
            logging.enable_progress_bar()


def is_adapter(folder: str | Path) -> bool:
    """Whether `folder` holds a PEFT adapter, which needs the model it was trained on, and not a whole model."""
    return (Path(folder) / ADAPTER_CONFIG).is_file()


def _merged(hf_model: Any, adapter: Path) -> Any:
    """The model with the adapter's change added to its weights; the adapter's own modules are gone."""
    if not is_adapter(adapter):
        raise OSError(f"{adapter} holds no {ADAPTER_CONFIG}: an adapter is a folder that PEFT's save_pretrained wrote")
    try:
        from peft import PeftModel
    except ModuleNotFoundError as error:
        raise ImportError(f"the adapter {adapter} needs one more package: pip install peft") from error
    adapted = PeftModel.from_pretrained(hf_model, str(adapter))
    if not hasattr(adapted.base_model, "merge_and_unload"):
        kind = type(adapted.base_model).__name__
        raise ValueError(f"the adapter {adapter} adds to the prompt, not to the weights ({kind}): it cannot be merged")
    return adapted.merge_and_unload()


def _boot(hf_model: Any, tokenizer: Any, name: str, revision: str | None) -> HookedModel:
    hf_model = hf_model.eval().requires_grad_(False)
    hf_model.set_attn_implementation("eager")
    weight = next(hf_model.parameters())
    ids = probe_ids(tokenizer, hf_model.config.get_text_config().vocab_size, weight.device)
    reference, weights = reference_stream(hf_model, ids, name), list(hf_model.parameters())
    bridge = boot_transformers(
        name, hf_model=hf_model, tokenizer=_as_it_is(tokenizer), device=str(weight.device), dtype=weight.dtype
    )
    model = HookedModel(bridge, copy.deepcopy(tokenizer), name, "raw", revision, weights)
    for parameter in bridge.parameters():
        parameter.requires_grad_(False)
    check_stream(model, ids, reference)
    return model


def _adopt(backend: Any, tokenizer: Any) -> HookedModel:
    """An existing TransformerLens object as it is; only its parameters' gradients are switched off."""
    backend.eval()
    for parameter in backend.parameters():
        parameter.requires_grad_(False)
    model = HookedModel(backend, tokenizer, _display_name(str(backend.cfg.model_name)))
    ids = probe_ids(tokenizer, model.d_vocab, model.device)
    model.basis = measured_basis(model, ids)
    check_stream(model, ids)
    return model


def _sharing_copy(hf_model: Any) -> Any:
    """A copy with its own modules around the same weights: booting a bridge rewires the modules it is given."""
    memo: dict[int, Any] = {}
    for parameter in hf_model.parameters():
        memo[id(parameter)] = torch.nn.Parameter(parameter.data, requires_grad=False)
    for buffer in hf_model.buffers():
        memo[id(buffer)] = buffer
    return copy.deepcopy(hf_model, memo)


def _as_it_is(tokenizer: Any) -> Any:
    """A copy that TransformerLens uses as it is; unmarked, it would be read anew from the name it came from."""
    own = copy.deepcopy(tokenizer)
    own.init_kwargs = {"name_or_path": ""} | own.init_kwargs | {"add_bos_token": True}
    return own


def _display_name(name: str) -> str:
    """A hub name stays whole; of a folder only its last part is kept, since a path means nothing elsewhere."""
    return Path(name).name if Path(name).is_absolute() or Path(name).exists() else name


def _resolve_device(device: str | torch.device) -> torch.device:
    if device != "auto":
        try:
            torch.empty(0, device=device)
            return torch.device(device)
        except (RuntimeError, AssertionError) as error:
            available = ", ".join(["cpu", *(["cuda"] if torch.cuda.is_available() else [])])
            raise ValueError(f"device {str(device)!r} is not here: available are {available}") from error
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _resolve_dtype(dtype: str | torch.dtype, device: str | torch.device) -> torch.dtype | str:
    where = _resolve_device(device)
    if dtype == "auto":
        return "auto" if where.type == "cuda" else torch.float32
    what = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if not isinstance(what, torch.dtype) or not what.is_floating_point:
        raise ValueError(f"unknown dtype {dtype!r}: choose 'auto', 'float32', 'bfloat16', 'float16' or 'float64'")
    try:
        square = torch.ones(2, 2, dtype=what, device=where)
        torch.nn.functional.layer_norm(square @ square, (2,)).softmax(dim=-1)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"{where.type} cannot compute in {what}: choose 'float32'") from error
    return what
