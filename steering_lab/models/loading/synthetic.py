"""The synthetic model by its name: the one of this package, or another seed of it that was trained elsewhere."""

from importlib import resources
from pathlib import Path


def organism_folder() -> Path:
    """Where the synthetic model of this package is on disk."""
    return Path(str(resources.files("steering_lab"))) / "organism" / "weights"


def organism_at(name: str) -> Path | None:
    """Where the synthetic model of that name is on disk, None where the name is of another model.

    Args:
        name: "organism" is the one of this package, "organism:FOLDER" one that was trained like it.
    """
    kind, _, folder = name.partition(":")
    if kind != "organism":
        return None
    return Path(folder) if folder else organism_folder()


def organism_name(name: str) -> str:
    """How a synthetic model is called: "organism", or "organism-seed2" of "organism:runs/seed2"."""
    folder = name.partition(":")[2]
    return f"organism-{Path(folder).resolve().name}" if folder else "organism"
