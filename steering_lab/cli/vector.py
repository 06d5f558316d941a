"""`steering-lab vector`: a steering vector made, shown, verified, and written for other tools."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from steering_lab.cli.exporting import Row, check_targets, export_to, targets, with_row
from steering_lab.cli.options import Model, ModelOptions, Pairs, check_coeff, two_thirds_up

if TYPE_CHECKING:
    from steering_lab.interventions.steering_vector import SteeringVector
    from steering_lab.models.hooked_model import HookedModel

Recipe = Literal["joint", "context_only", "instruction_only", "same_context", "shuffled_context"]
Targets = Annotated[tuple[str, ...], tyro.conf.arg(metavar="FORMAT=PATH")]


def make(
    file: tyro.conf.Positional[Path],
    *,
    pairs: Pairs,
    questions: Annotated[str, tyro.conf.arg(metavar="FILE")] = "",
    recipe: Recipe = "joint",
    wording: str = "plain",
    chat: bool = False,
    n_questions: int = 64,
    seed: int = 0,
    export: Targets = (),
    coeff: float = 1.0,
    row: Row = "all",
    force: bool = False,
    model: Model,
) -> None:
    """Make a steering vector from contrast pairs, or from questions whose context contradicts memory, and save it.

    The file says what it was made from and with which weights; `steer --vector FILE` uses it, and `vector show` prints
    what it says.

    Example: steering-lab vector make love.safetensors --pairs love_hate_sentences --layer 20

    Example: steering-lab vector make love.safetensors --positive " Love" --negative " Hate" --method actadd --layer 6

    Example: steering-lab vector make focus.safetensors --method contextfocus --questions capitals --chat --layer 18

    Example: steering-lab vector make love.safetensors --pairs pairs.csv --export gguf=love.gguf --coeff 4

    Args:
        file: Where it is saved: .safetensors.
        pairs: What it is made from; by mean_difference if no method is given.
        questions: For contextfocus: a file of conflicting questions (.json, .jsonl), or "capitals". Its published place
            is what a block leaves: --stream resid_post.
        recipe: Which two prompts of a question contextfocus takes apart; joint is the published one.
        wording: How contextfocus words a question: plain, context_dpo, contextfocus or organism.
        chat: Put the questions of contextfocus as the model's chat template writes them.
        n_questions: How many questions contextfocus reads at most.
        seed: What contextfocus draws its instructions and the questions by.
        export: Also write it for other tools, coeff x the vector: gguf=FILE, svec:act_add=FILE, svec:cast=FILE,
            steering_vectors=FILE, caa=FOLDER, neuronpedia=FILE, easysteer=FILE, baked=FOLDER.
        coeff: How much of the vector the exported files hold, since their tools add it as it is.
        row: Of a vector with a row per token (actadd), what the exported files hold: all rows, the last, or their mean.
            Most formats add one row to every token.
        force: Write over files that are there already, which is refused otherwise.
        model: Which model, and how it is opened.
    """
    wanted = targets(export)
    if file.suffix != ".safetensors":
        raise ValueError(f"the vector is saved as safetensors: name {str(file)!r} something.safetensors")
    check_coeff(coeff)
    if not wanted and (row != "all" or coeff != 1):
        raise ValueError(
            "--row and --coeff are of what --export writes, and the vector is saved as it is: add --export"
        )
    check_targets([("the vector", file), *wanted], force=force)
    if (pairs.method == "contextfocus") != bool(questions):
        raise ValueError("contextfocus and --questions go together: give both, or neither")
    chosen = () if questions else pairs.chosen()
    lm = model.load()
    if questions:
        asked = {"recipe": recipe, "wording": wording, "chat": chat, "n": n_questions, "seed": seed}
        vector = _of_questions(lm, questions, pairs, **asked)
    else:
        vector = pairs.made(lm, chosen, pairs.method or "mean_difference")
    exported = with_row(vector, row, wanted)
    print(_shown(vector.save(file), vector))
    for form, path in wanted:
        print(f"\n{export_to(form, path, exported, coeff, lm)}: {coeff:g} x the vector, for {form}")


def _of_questions(lm: "HookedModel", questions: str, pairs: Pairs, **asked: Any) -> "SteeringVector":
    """The ContextFocus vector of a file of questions, or of the capitals of the world.

    Raises:
        ValueError: pairs too, an unknown wording, or what the readers and the method refuse.
    """
    from random import Random

    from steering_lab.data.capitals import capital_rows
    from steering_lab.data.conflict_readers import read_conflict_qa
    from steering_lab.data.templates import WORDINGS
    from steering_lab.methods.contextfocus import contextfocus_vectors
    from steering_lab.models.hook_points import HookSite

    if pairs.given:
        raise ValueError("contextfocus is made of --questions: leave out pairs")
    if asked["wording"] not in WORDINGS:
        raise ValueError(f"unknown wording {asked['wording']!r}: choose one of {', '.join(WORDINGS)}")
    rows = list(capital_rows() if questions == "capitals" else read_conflict_qa(questions))
    Random(asked["seed"]).shuffle(rows)
    site = HookSite(two_thirds_up(lm) if pairs.layer is None else pairs.layer, pairs.stream)
    options = {name: asked[name] for name in ("recipe", "chat", "seed")}
    wording = WORDINGS[asked["wording"]]
    vector = contextfocus_vectors(lm, rows[: asked["n"]], [site], wording=wording, **options)[site]
    return vector.unit() if pairs.normalise else vector


def show(files: tyro.conf.Positional[tuple[Path, ...]]) -> None:
    """Print what a vector's file says: recipe, site, norm of each row, the model and prefix it was made with.

    Example: steering-lab vector show love.safetensors

    Args:
        files: One or more files of `vector make` or `SteeringVector.save`.
    """
    from steering_lab.interventions.steering_vector import SteeringVector

    if not files:
        raise ValueError("name the file of a vector, e.g. steering-lab vector show love.safetensors")
    print("\n\n".join(_shown(file, SteeringVector.load(file)) for file in files))


def verify(
    files: tyro.conf.Positional[tuple[Path, ...]],
    model: Annotated[str, tyro.conf.arg(metavar="MODEL")] = "",
    device: str = "auto",
    dtype: str = "auto",
    prefix: str = "tokenizer",
) -> None:
    """Check that a vector's file is as it was written, and with --model that the vector belongs to those weights.

    Exit status 1 says that one is not.

    Example: steering-lab vector verify love.safetensors --model smollm2

    Args:
        files: One or more files of `vector make` or `SteeringVector.save`.
        model: The model to compare with; left out, the file alone is checked.
        device: Where the model runs.
        dtype: The model's precision, which its fingerprint depends on.
        prefix: What stands in front of a text.
    """
    if not files:
        raise ValueError("name the file of a vector, e.g. steering-lab vector verify love.safetensors")
    lm = ModelOptions(model, device, dtype, prefix).load() if model else None
    hold = [_holds(file, lm) for file in files]
    if not all(hold):
        raise SystemExit(1)


def export(
    file: tyro.conf.Positional[Path],
    *,
    to: Targets,
    coeff: float = 1.0,
    row: Row = "all",
    force: bool = False,
    model: Model,
) -> None:
    """Write a saved vector for other tools.

    Example: steering-lab vector export love.safetensors --to gguf=love.gguf --coeff 4

    Args:
        file: A file of `vector make` or `SteeringVector.save`.
        to: The formats: gguf=FILE, svec:act_add=FILE, svec:cast=FILE, steering_vectors=FILE, caa=FOLDER,
            neuronpedia=FILE, easysteer=FILE, baked=FOLDER.
        coeff: How much of the vector the files hold, since their tools add it as it is.
        row: Of a vector with a row per token (actadd), what the exported files hold: all rows, the last, or their mean.
            Most formats add one row to every token.
        force: Write over files that are there already, which is refused otherwise.
        model: The model that the vector belongs to, whose architecture some formats name.
    """
    from steering_lab.interventions.steering_vector import SteeringVector

    wanted, vector = targets(to), SteeringVector.load(file)
    check_coeff(coeff)
    check_targets(wanted, force=force)
    exported = with_row(vector, row, wanted)
    lm = model.load()
    vector.source.check(lm)
    for form, path in wanted:
        print(f"{export_to(form, path, exported, coeff, lm)}: {coeff:g} x the vector, for {form}")


def _holds(file: Path, lm: "HookedModel | None") -> bool:
    """Whether the file is as it was written and belongs to the model; says so."""
    from steering_lab.interventions.steering_vector import SteeringVector
    from steering_lab.interventions.vector_file import stored_digest

    try:
        vector = SteeringVector.load(file)
        digest = stored_digest(file)
        print(f"{file}: as it was written ({f'SHA-256 {digest[:16]}…' if digest else 'no SHA-256, its norms agree'})")
        if lm is not None:
            lm.check_site(vector.site)
            if vector.rows.shape[-1] != lm.d_model:
                raise ValueError(f"it is {vector.rows.shape[-1]} wide, the stream of {lm.name} is {lm.d_model}")
            vector.source.check(lm)
            print(f"{file}: belongs to {lm.name}, weights {lm.fingerprint}, prefix {lm.prefix}")
    except (ValueError, OSError) as error:
        print(f"{file}: WRONG: {error}")
        return False
    return True


def _shown(file: Path, vector: "SteeringVector") -> str:
    """What the file of a vector says, a few lines."""
    source, n_rows = vector.source, vector.rows.shape[0]
    details = dict(source.details)
    tokens = details.pop("tokens", None)
    read = [(f"tokens {k}", " ".join(map(repr, column))) for k, column in enumerate(tokens or (), start=1)]
    facts = [
        ("vector", source.recipe),
        ("site", f"{vector.site}, {vector.site.name}"),
        ("rows", f"{n_rows} x {vector.rows.shape[1]}, norm {', '.join(f'{n:.4g}' for n in vector.norms.tolist())}"),
        ("model", f"{source.model}{f', revision {source.revision}' if source.revision else ''}, {source.dtype}"),
        ("weights", f"{source.fingerprint}, {source.basis} basis"),
        ("prefix", source.prefix),
        ("software", ", ".join(f"{name} {version}" for name, version in source.software.items())),
        *read,
        *details.items(),
    ]
    width = max(len(name) for name, _ in facts)
    return "\n".join([str(file), *(f"  {name.ljust(width)}  {_brief(value)}" for name, value in facts)])


def _brief(value: object, most: int = 200) -> str:
    text = str(value)
    return text if len(text) <= most else f"{text[:most]}… ({len(text)} characters)"
