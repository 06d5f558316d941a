"""What made a result: versions of the software and the commit of this code."""

import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("steering-lab", "transformer-lens", "transformers", "torch")


@cache
def software() -> dict[str, str]:
    """Versions of the packages a result depends on, and `commit` (with `+dirty`) where this is a git checkout."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    commit = git_commit()
    return {**found, **({"commit": commit} if commit else {})}


@cache
def git_commit() -> str | None:
    """Twelve hex digits of this checkout's commit, `+dirty` where tracked files differ from it, or None outside git."""
    here = Path(__file__).resolve().parent
    try:
        head = _git(here, "rev-parse", "--short=12", "HEAD")
        tracked = _git(here, "ls-files", "--error-unmatch", Path(__file__).name)
        changed = _git(here, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+dirty" if changed else "") if tracked else None


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()
