"""Any causal language model, behind `HookedModel`, with hook points that were seen to show its residual stream.

Models are opened as a TransformerBridge in Hugging Face's own weights, so that `resid_pre(l)` is `hidden_states[l]`
and a vector means the same in every other runtime. Weights are frozen; the caller's objects are never changed.
"""

from pathlib import Path
from typing import Any

import torch

from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.loading.adapter import adapter_tokenizer, is_adapted, merged, merged_copy
from steering_lab.models.loading.adopted import adopt
from steering_lab.models.loading.at_hand import open_smollm2
from steering_lab.models.loading.boot import boot, sharing_copy
from steering_lab.models.loading.checkpoint import check_decoder
from steering_lab.models.loading.gguf_file import dequantised_to, is_gguf, open_gguf
from steering_lab.models.loading.given import check_in_memory, check_name
from steering_lab.models.loading.placement import resolve_device, resolve_dtype
from steering_lab.models.loading.pretrained import display_name, open_pretrained
from steering_lab.models.loading.sources import Opened
from steering_lab.models.loading.synthetic import organism_at, organism_name
from steering_lab.models.runtimes import RuntimeName
from steering_lab.models.runtimes.parity import Attention
from steering_lab.models.threads import use_what_there_is


def load_model(
    name_or_path_or_model: Any,
    *,
    tokenizer: Any = None,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
    prefix: str | None = None,
    revision: str | None = None,
    adapter: str | Path | None = None,
    device_map: Any = None,
    quantization: Any = None,
    attention: Attention = "auto",
    runtime: RuntimeName | None = None,
) -> HookedModel:
    """The model, its residual stream exposed and checked.

    Two runtimes stand around one set of weights (`models.runtimes`): TransformerLens's, with every hook point, and the
    plain modules of Hugging Face, which write text. Which of them runs follows from what hangs on the model.

    Args:
        name_or_path_or_model: "organism" (the synthetic model of this package), "organism:FOLDER" (another seed of it,
            trained by `experiments/organism`), "smollm2" (SmolLM2-135M-Instruct from its package), a name on the
            Hugging Face hub, a folder written by `save_pretrained`, a GGUF file, a Hugging Face model in memory, or a
            TransformerBridge or HookedTransformer, whose basis is measured.
        tokenizer: of a model in memory, or instead of the one found beside the weights.
        device: "auto" is the GPU where there is one. Weights go there one by one, with no whole copy on the CPU,
            except that transformers reads most kinds of GGUF files whole.
        dtype: "auto" is the checkpoint's own on a GPU and float32 on a CPU; a model in memory keeps what it has.
        prefix: what stands in front of a text (`models.prefix`): "tokenizer", the default, is what plain Hugging Face
            puts there; "bos" one beginning-of-text token, the ActAdd paper's convention on GPT-2; "<|endoftext|>" that
            special token. A TransformerLens object keeps its own convention unless another is asked for.
        revision: a branch, tag or commit on the hub.
        adapter: a folder written by PEFT (say, a LoRA), merged into the weights before anything is hooked, and checked
            against PEFT's own forward pass. A tokenizer in it counts, with the tokens that it adds.
        device_map: transformers' placement of layers over several devices, instead of `device`.
        quantization: "8bit" or "4bit" (bitsandbytes), or a quantization configuration of transformers; not for GGUF
            files, which are dequantised as they are read.
        attention: transformers' implementation in the plain runtime: "eager", "sdpa", "flash_attention_2" and others;
            "auto" is "sdpa" where the architecture has it. TransformerLens's own runtime is always "eager".
        runtime: "hooked" or "plain" for every pass; left out, the plain one wherever it can (`HookedModel.runtime`).

    Raises:
        ValueError: no model, or one loaded already; a dtype, device or prefix that is not there; a model in memory
            without a tokenizer; options that do not apply; no decoder of text (`checkpoint.check_decoder`); more memory
            than is free; an adapter that cannot be merged; a GGUF file that cannot be dequantised; hook points that do
            not show the stream (`check_stream`); an attention or a runtime that the model does not have.
        OSError: neither a folder nor a model that the hub gave; "smollm2" is not installed; no adapter in its folder.
        ImportError: an adapter or a quantization whose package is not installed.
    """
    use_what_there_is()
    given = name_or_path_or_model
    if isinstance(given, str | Path):
        asked = {
            "name_or_path_or_model": str(given), "tokenizer": tokenizer, "device": device, "dtype": dtype,
            "prefix": prefix, "revision": revision, "adapter": adapter, "device_map": device_map,
            "quantization": quantization, "attention": attention, "runtime": runtime,
        }  # fmt: skip
        check_name(str(given))
        if adapter is not None:
            tokenizer = tokenizer or adapter_tokenizer(Path(adapter))
        opened = _open(str(given), tokenizer, device, dtype, revision, device_map, quantization)
        if adapter is not None:
            opened = _adapted(opened, Path(adapter), tokenizer)
        opened = opened._replace(tokenizer=tokenizer or opened.tokenizer)
        model = boot(opened, prefix or "tokenizer", attention).always(runtime)
        model.loaded_as = asked
        return model
    check_in_memory(given)
    if (device, dtype) != ("auto", "auto") or any(x is not None for x in (revision, adapter, device_map, quantization)):
        raise ValueError(
            "device, dtype, revision, adapter, device_map and quantization choose how a name or folder is loaded: move"
            " the model in memory yourself, and merge its adapter"
        )
    tokenizer = tokenizer or getattr(given, "tokenizer", None)
    if tokenizer is None:
        raise ValueError("a model in memory comes without a tokenizer: pass load_model(model, tokenizer=...)")
    if hasattr(given, "hook_dict"):
        if attention != "auto":
            raise ValueError("a TransformerLens object runs attention as it was made to: leave attention out")
        return adopt(given, tokenizer, prefix).always(runtime)
    if getattr(given, "_hf_peft_config_loaded", False) and not is_adapted(given):
        raise ValueError(
            f"{type(given).__name__} carries adapters that transformers attached: pass a PeftModel instead"
        )
    base = given.get_base_model() if is_adapted(given) else given
    name = display_name(getattr(given.config, "_name_or_path", "") or type(base).__name__)
    check_decoder(name, base.config, type(base).__name__, type(base))
    plain = merged_copy(given) if is_adapted(given) else sharing_copy(given)
    if is_adapted(given):
        name += "+" + "+".join(given.active_adapters)
    return boot(Opened(plain, tokenizer, name), prefix or "tokenizer", attention).always(runtime)


def _adapted(opened: Opened, adapter: Path, tokenizer: Any) -> Opened:
    """The model with the adapter merged; `tokenizer` is the one given or the adapter's own, where there is one."""
    hf_model = merged(opened.hf_model, adapter, tokenizer)
    return opened._replace(hf_model=hf_model, name=f"{opened.name}+{adapter.resolve().name}")


def _open(
    name: str, tokenizer: Any, device: Any, dtype: Any, revision: str | None, device_map: Any, quantization: Any
) -> Opened:
    """The plain model that `name` stands for, on its device."""
    if device_map is not None and device != "auto":
        raise ValueError("device_map places the layers by itself: leave device out")
    where = resolve_device(device)
    what = resolve_dtype(dtype, where)
    synthetic = organism_at(name)
    source = name if synthetic is None else str(synthetic)
    if revision is not None and (name == "smollm2" or Path(source).exists()):
        raise ValueError(f"revision {revision!r} is one of the hub's: {name!r} is here as it is")
    if name == "smollm2":
        return open_smollm2(what, device=where, device_map=device_map, quantization=quantization)
    if is_gguf(name):
        if quantization is not None:
            raise ValueError(f"{name!r} is a GGUF file, which is dequantised as it is read: leave quantization out")
        return open_gguf(Path(name), dequantised_to(what), device=where, device_map=device_map)
    opened = open_pretrained(
        source,
        tokenizer=tokenizer,
        device=where,
        dtype=what,
        revision=revision,
        device_map=device_map,
        quantization=quantization,
    )
    return opened if synthetic is None else opened._replace(name=organism_name(name))
