"""The formats of other tools by name, as `--export gguf=love.gguf` says them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from steering_lab.safe_files import check_folder

if TYPE_CHECKING:
    from steering_lab.interventions.steering_vector import SteeringVector
    from steering_lab.models.hooked_model import HookedModel

FORMATS = ("gguf", "svec:act_add", "svec:cast", "steering_vectors", "caa", "neuronpedia", "easysteer", "baked")
FOLDERS = ("caa", "baked")  # whose exports are a folder each
ROW_PER_TOKEN = ("svec:act_add", "easysteer")  # which hold as many rows as there are; all others hold one
Row = Literal["all", "last", "mean"]


def targets(asked: Sequence[str]) -> list[tuple[str, Path]]:
    """Format and path of each "FORMAT=PATH" that was `asked` for.

    Raises:
        ValueError: another form, or an unknown format.
    """
    found = []
    for text in asked:
        form, equals, path = text.partition("=")
        if not equals or not path or form not in FORMATS:
            raise ValueError(f"{text!r} is no FORMAT=PATH: the formats are {', '.join(FORMATS)}, say gguf=love.gguf")
        found.append((form, Path(path)))
    return found


def check_targets(paths: Sequence[tuple[str, Path]], *, force: bool) -> None:
    """Nothing where each path of a format can be written: asked before a model is loaded.

    Args:
        paths: What is written where: a format's name and its path.
        force: Whether what is there already may go.

    Raises:
        ValueError: one path twice, or a folder where the format is a file.
        FileExistsError: something is there already, and it was not said by `force` that it may go.
        NotADirectoryError: a folder that is wanted is a file.
    """
    named = [path.resolve() for _, path in paths]
    for form, path in paths:
        if named.count(path.resolve()) > 1:
            raise ValueError(f"{path} is named twice: one file would replace the other")
        check_folder(path if form in FOLDERS else path.parent)
        if path.is_dir() and form not in FOLDERS:
            raise ValueError(f"{path} is a folder, and {form} is written to a file")
        if not force and (any(path.iterdir()) if path.is_dir() else path.exists()):
            raise FileExistsError(f"{path} is there already: choose another name, or --force to write over it")


def with_row(vector: "SteeringVector", row: Row, wanted: Sequence[tuple[str, Path]]) -> "SteeringVector":
    """What is exported of a vector: all its rows, the last one, or their mean.

    Args:
        vector: With one row, it is returned as it is.
        row: Which.
        wanted: The formats and their paths.

    Raises:
        ValueError: all of several rows, for a format that adds one row to every token.
    """
    n_rows = vector.rows.shape[0]
    if n_rows == 1:
        return vector
    if row == "all" and (one := [form for form, _ in wanted if form not in ROW_PER_TOKEN]):
        raise ValueError(
            f"{one[0]} adds one row to every token, and the vector has {n_rows}, one per token: choose --row last or"
            " --row mean"
        )
    return {"all": vector, "last": vector.row(-1), "mean": vector.mean_row()}[row]


def export_to(form: str, path: Path, vector: "SteeringVector", coeff: float, lm: "HookedModel") -> Path:
    """`path`, after writing `coeff` times the vector there in the format `form`.

    Args:
        form: The format's name.
        path: The file or folder that is written.
        vector: What is written.
        coeff: What the vector is multiplied by.
        lm: The model that the vector belongs to.

    Raises:
        ValueError: what the format cannot say; see each of `interventions.formats`.
    """
    from steering_lab.interventions import formats

    model_type = str(getattr(lm.as_transformers().config, "model_type", lm.name))
    match form:
        case "gguf":
            formats.export_gguf(vector, path, coeff=coeff, model_type=model_type)
        case "svec:act_add":
            formats.export_svec(vector, path, reading="act_add", coeff=coeff, model_type=model_type)
        case "svec:cast":
            formats.export_svec(vector, path, reading="cast", coeff=coeff, model_type=model_type)
        case "steering_vectors":
            formats.export_steering_vectors(vector, path, coeff=coeff)
        case "caa":
            formats.export_caa(vector, path, coeff=coeff)
        case "neuronpedia":
            formats.export_neuronpedia(vector, path, coeff=coeff)
        case "easysteer":
            placed = vector.everywhere() if vector.rows.shape[0] == 1 else vector.at_front()
            formats.export_easysteer(coeff * placed, path)
        case "baked":
            formats.bake(lm.as_transformers(), vector, coeff=coeff).save_pretrained(path)
            lm.tokenizer.save_pretrained(path)
    return path
