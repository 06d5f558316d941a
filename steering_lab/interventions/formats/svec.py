"""`.svec`, the JSON of CAST and of AISteer360: {"model_type", "directions": {layer: numbers}}.

The file does not say where a layer's numbers are added, and its users differ, so the reading is always named:

- "cast": before block k, one row (IBM activation-steering; Lee et al. 2024, arXiv:2409.05907), although that tool reads
  its own vectors after block k;
- "caa": after block k, one row (AISteer360's CAA);
- "act_add": before block k, one row per prompt token (AISteer360's ActAdd).

Both tools pass over our extra key `steering_lab`.
"""

from pathlib import Path
from typing import Literal, get_args

from steering_lab.interventions.formats.exchange import (
    Vectors,
    by_layer,
    json_in,
    only_row,
    provenance,
    source_in,
    vector_from,
    written,
)
from steering_lab.interventions.source import UNKNOWN
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.models.hook_points import HookSite, Stream
from steering_lab.models.hooked_model import HookedModel

Reading = Literal["cast", "caa", "act_add"]
_STREAMS: dict[str, Stream] = {"cast": "resid_pre", "caa": "resid_post", "act_add": "resid_pre"}


def export_svec(vectors: Vectors, path: str | Path, *, reading: Reading, coeff: float, model_type: str) -> Path:
    """Write `coeff` times the vectors for the tool that `reading` names; `model_type` as in a Hugging Face config.

    Args:
        vectors: What is written.
        path: The file.
        reading: Which tool's meaning: "act_add" (AISteer360) or "cast".
        coeff: What each vector is multiplied by.
        model_type: The architecture's name in a Hugging Face config, e.g. "gpt2".

    Raises:
        ValueError: an unknown reading, a path that does not end in .svec (both tools would append it), rows per token
            except for "act_add", or what `by_layer` refuses.
    """
    stream = _stream(reading)
    if Path(path).suffix != ".svec":
        raise ValueError(f"{path} does not end in .svec, which both tools would append")
    form = f"a .svec file read as {reading!r}"
    layers = by_layer(vectors, coeff, form, stream)
    rows = {layer: v.rows if reading == "act_add" else only_row(v, form) for layer, v in layers.items()}
    directions = {str(layer): numbers.tolist() for layer, numbers in rows.items()}
    content = {
        "model_type": model_type,
        "directions": directions,
        "steering_lab": {"reading": reading, **provenance(layers)},
    }
    if reading == "cast":  # it cannot load a file without them, and itself writes 1 where its method has none
        content["explained_variances"] = {str(layer): 1.0 for layer in layers}
    return written(path, content)


def read_svec(
    path: str | Path, *, reading: Reading, model: HookedModel | None = None
) -> dict[HookSite, SteeringVector]:
    """The vectors of `path` (.svec), at the sites where the tool that `reading` names would add them.

    `model` is the one that they are for where the file does not say, which only our own do.

    Raises:
        ValueError: an unknown reading or one that `export_svec` did not write the file for, not such a file, rows per
            token except for "act_add", or one direction per head.
    """
    stream = _stream(reading)
    path, content = json_in(path)
    if not isinstance(content, dict) or not isinstance(content.get("directions"), dict) or not content["directions"]:
        raise ValueError(f"{path} is not a .svec file: it has no 'directions'")
    if content.get("num_heads") is not None:
        raise ValueError(f"{path} holds a direction per attention head: only the residual stream is steered here")
    record = content.get("steering_lab")
    if record is not None and record.get("reading") != reading:
        raise ValueError(f"{path} was written to be read as {record.get('reading')!r}, not as {reading!r}")
    found = {}
    for layer, numbers in sorted(content["directions"].items(), key=lambda item: int(item[0])):
        site = HookSite(int(layer), stream)
        source = source_in(record, site, path, model=model, hint=str(content.get("model_type", UNKNOWN)))
        nested = bool(numbers) and isinstance(numbers[0], list)
        vector = vector_from(numbers, site, source, path, n_dims=2 if nested else 1)
        if reading != "act_add":
            only_row(vector, f"a .svec file read as {reading!r}")
        found[site] = vector
    return found


def _stream(reading: str) -> Stream:
    if reading not in _STREAMS:
        raise ValueError(f"reading is {reading!r}: choose one of {', '.join(map(repr, get_args(Reading)))}")
    return _STREAMS[reading]
