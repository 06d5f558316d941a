"""What every format asks of vectors before writing and gives to vectors after reading. No format is known here."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from steering_lab.interventions.intervention import Edit, Intervention
from steering_lab.interventions.source import UNKNOWN, Source
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.models.hook_points import HookSite, Stream, resid_post, resid_pre
from steering_lab.models.hooked_model import HookedModel
from steering_lab.safe_files import make_folder

Vectors = SteeringVector | Mapping[HookSite, SteeringVector]


def scaled(vectors: Vectors | Intervention | Edit, coeff: float, form: str) -> list[SteeringVector]:
    """`coeff` times each vector, in the order of the stream: what a file of the kind `form` will hold.

    Raises:
        ValueError: not vectors, none, one under another's site, another basis than raw, unequal widths, several
            models, or a coefficient that is not finite.
    """
    if isinstance(vectors, SteeringVector):
        vectors = {vectors.site: vectors}
    if not isinstance(vectors, Mapping):
        raise ValueError(
            f"{form} holds vectors to add and nothing else, not {vectors!r}: pass a SteeringVector or a mapping from"
            f" site to SteeringVector; ablation, clamping, preserved norms and places cannot be said in it"
        )
    if not vectors:
        raise ValueError(f"no vectors were given: {form} needs at least one")
    if not math.isfinite(coeff):
        raise ValueError(f"coeff is {coeff}: choose a finite number")
    for site, vector in vectors.items():
        if site != vector.site:
            raise ValueError(f"the vector given under {site} belongs to {vector.site}")
        check_basis(vector.source.basis, vector.source.recipe, form)
    widths = {vector.rows.shape[-1] for vector in vectors.values()}
    if len(widths) > 1:
        raise ValueError(f"vectors of widths {sorted(widths)} cannot belong to one model")
    if len(models := {vector.source.belongs_to: vector.source.where for vector in vectors.values()}) > 1:
        raise ValueError(
            f"vectors of {' and of '.join(models.values())} cannot belong to one model: write a file for each"
        )
    in_order = sorted(vectors.values(), key=lambda vector: (vector.site.layer, vector.site.stream == "resid_post"))
    return [vector if coeff == 1 else coeff * vector for vector in in_order]


def check_basis(basis: str, label: str, form: str) -> None:
    """Nothing when `basis` is Hugging Face's own.

    Args:
        basis: "raw" is Hugging Face's own.
        label: The vector, as an error names it.
        form: The format, as an error names it.

    Raises:
        ValueError: it is not.
    """
    if basis != "raw":
        raise ValueError(
            f"{label or 'the vector'} was made in the {basis} basis, {form} is for models in the raw basis: make the"
            f" vector with a model that load_model opened from Hugging Face weights"
        )


def by_layer(
    vectors: Vectors | Intervention | Edit, coeff: float, form: str, stream: Stream = "resid_post"
) -> dict[int, SteeringVector]:
    """`coeff` times each vector by layer, all at `stream`; what meets at one layer is summed.

    `resid_pre(l + 1)` and `resid_post(l)` are the same tensor, so either is moved to the one the format knows. How many
    layers the model has is not known here: `resid_post` of the last block has no `resid_pre` in any model.

    Args:
        vectors: What is written.
        coeff: What each vector is multiplied by.
        form: The format's name, for errors.
        stream: The one that the format knows.

    Raises:
        ValueError: as in `scaled`, or `resid_pre(0)` where the format only knows block outputs.
    """
    found: dict[int, SteeringVector] = {}
    for vector in scaled(vectors, coeff, form):
        site = same_place(vector.site, stream, form)
        moved = replace(vector, site=site)
        found[site.layer] = found[site.layer] + moved if site.layer in found else moved
    return found


def same_place(site: HookSite, stream: Stream, form: str) -> HookSite:
    """The site at `stream` that names the same tensor as `site`.

    Args:
        site: Where the vector is.
        stream: The stream that the format knows.
        form: The format, as an error names it.

    Raises:
        ValueError: the embedding, which no block puts out.
    """
    if site.stream == stream:
        return site
    if stream == "resid_pre":
        return resid_pre(site.layer + 1)
    if site.layer == 0:
        raise ValueError(
            f"{form} only knows what blocks put out, and {site} stands before the first: choose layer 1 up"
        )
    return resid_post(site.layer - 1)


def only_row(vector: SteeringVector, form: str) -> Tensor:
    """The one row of `vector`, as `[d_model]`; `form` is the format that takes no more, as an error names it.

    Raises:
        ValueError: it has one row per token.
    """
    if vector.rows.shape[0] != 1:
        raise ValueError(
            f"{form} adds one row to every token, {vector.source.recipe} at {vector.site} has {vector.rows.shape[0]}"
            f" rows, one per token: take one with .row(-1) or .mean_row()"
        )
    return vector.rows[0]


def vector_from(values: Any, site: HookSite, source: Source, path: Path, *, n_dims: int = 1) -> SteeringVector:
    """A float32 vector at `site` from the numbers a file holds: one row, or with `n_dims=2` one row per token.

    Args:
        values: The numbers, in any shape that becomes an array.
        site: The hook point that the numbers are for.
        source: Where they come from.
        path: The file.
        n_dims: 1 for one row, 2 for one row per token.

    Raises:
        ValueError: `values` are not numbers of that shape.
    """
    try:
        rows = torch.as_tensor(values)
        if rows.is_complex() or rows.dtype == torch.bool:
            raise TypeError(f"they are {rows.dtype}")
        rows = rows.to(torch.float32)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path}: what it holds for {site} is not a list of numbers ({error})") from error
    if rows.ndim != n_dims or rows.numel() == 0:
        raise ValueError(f"{path}: what it holds for {site} has shape {tuple(rows.shape)}, {n_dims}-D is expected")
    return SteeringVector(rows, site, source)


def provenance(vectors: Mapping[int, SteeringVector] | list[SteeringVector]) -> dict[str, Any]:
    """The sources of `vectors`, by hook name: what our own keys carry, and other tools pass over."""
    listed = vectors.values() if isinstance(vectors, Mapping) else vectors
    return {"format": 1, "sources": {vector.site.name: asdict(vector.source) for vector in listed}}


def source_in(
    record: Any, site: HookSite, path: Path, *, model: HookedModel | None = None, hint: str = UNKNOWN
) -> Source:
    """The source that `provenance` recorded for `site`, or one that names the file where there is no record.

    Without a record nothing says which weights the numbers are for: those of the caller's `model`, or unknown ones,
    which `steer` refuses unless asked; `hint` is then the name that the file gives. Such numbers are taken to be in the
    raw basis, which is what runtimes without TransformerLens use.

    Args:
        record: What the file says of its source, if anything.
        site: The hook point that the numbers are for.
        path: The file.
        model: Whose weights the numbers are for, where the file has no record.
        hint: The name that the file gives.

    Raises:
        ValueError: a record that is not one of ours.
    """
    if record is None:
        nobody = Source(f"read from {path.name}", hint, UNKNOWN, dtype=UNKNOWN, software={})
        if model is None:
            return nobody
        return replace(nobody, model=model.name, fingerprint=model.fingerprint, prefix=model.prefix)
    try:
        return Source.read(record["sources"][site.name])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: its provenance does not say where {site} comes from ({error})") from error


def written(path: str | Path, content: Mapping[str, Any]) -> Path:
    """`path`, after writing `content` there as JSON."""
    path = Path(path)
    make_folder(path.parent)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def json_in(path: str | Path) -> tuple[Path, Any]:
    """The path, and what JSON it holds.

    Raises:
        ValueError: it is not JSON.
    """
    path = Path(path)
    try:
        return path, json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
