"""Every example of the README and the guides runs, Python's as it stands, and steering changes what it shows.

Shell examples run too, in a folder of their own; a run that would take minutes gets the settings of `SMALLER`.
"""

import functools
import json
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from huggingface_hub import try_to_load_from_cache

import steering_lab
from steering_lab.analysis.plots import export
from steering_lab.cli import main
from steering_lab.executors import worker
from steering_lab.models import certificate, loading
from steering_lab.models.generation import generate
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.loading.at_hand import smollm2_file
from steering_lab.runs import read_run
from steering_lab.study import settings

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCED = [
    (page.stem, language, text)
    for page in PAGES
    for language, text in re.findall(
        r"^```(\w*)\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
]
EXAMPLES = [pytest.param(text, id=f"{page} {i}") for i, (page, kind, text) in enumerate(FENCED) if kind == "python"]
COMMANDS = [
    line.removeprefix(".venv/bin/").strip()
    for _, kind, text in FENCED
    if kind != "python"
    for line in text.replace("\\\n", " ").splitlines()
    if line.startswith(("steering-lab ", ".venv/bin/steering-lab "))
]

# Appended to the settings of an example that runs this experiment; every other command runs as written.
SMALLER = {
    "actadd_sweep.toml": (
        "layers=[20]", "front_coeffs=[]", "everywhere_coeffs=[2]", "n_prompts=2", "n_samples=1", "max_new_tokens=8",
        "n_random=3", "n_random_confirm=3",
    ),
    "contextfocus_conflict.toml": (
        "min_population=30_000_000", "layers=[17]", "coeffs=[0, 0.5]", "n_vector=8", "n_validation=8", "n_test=8",
        "n_random=3", "controls=['random']", "n_random_search=0", "compare=['instructed']", "max_new_tokens=8",
        "n_rounds=1",
    ),
    "retrieval.toml": (
        "min_population=30_000_000", "n_vector=8", "n_validation=8", "n_test=8", "n_random=3", "n_timed=1",
        "n_rounds=6", "max_new_tokens=8",
    ),
}  # fmt: skip

# Commands that cannot run here, and what they say instead.
NOT_HERE = {"steering-lab check gpt2 --json gpt2.json": "cannot load 'gpt2'"}  # it is on the hub

pytestmark = pytest.mark.skipif(smollm2_file() is None, reason="SmolLM2 is not installed: make setup")


@pytest.fixture(autouse=True, scope="module")
def _no_browser() -> Iterator[None]:
    """Pictures of every figure of every run would take minutes; `test_export` and `test_report` draw some."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "find_chrome", lambda: None)
        yield


@pytest.fixture(autouse=True, scope="module")
def _a_model_is_opened_once() -> Iterator[None]:
    opened = functools.cache(loading.load_model)

    def once(name: str, **options: Any) -> HookedModel:
        said = {key: value for key, value in options.items() if value not in (None, "auto")}
        return opened(name, **{"prefix": "tokenizer"} | said)

    with pytest.MonkeyPatch.context() as patch:
        for module in (steering_lab, loading, certificate, settings, worker):
            patch.setattr(module, "load_model", once)
        yield


def shown(code: str) -> tuple[list[str], dict[str, Any]]:
    """What the example prints, a text a call, and the figure that it makes; and its names."""
    said: list[str] = []
    names: dict[str, Any] = {"print": lambda *parts: said.append(" ".join(map(str, parts)))}
    exec(compile(code, "example", "exec"), names)
    return said + ([names["figure"].to_json()] if "figure" in names else []), names


WRITTEN: dict[str, Any] = {}


def unsteered_generate(model: HookedModel, prompts: Any, **options: Any) -> Any:
    """`generate` without steering, once for what several examples write."""
    key = f"{model.name} {model.prefix} {prompts!r} {options}"
    if key not in WRITTEN:
        WRITTEN[key] = generate(model, prompts, **options)
    return WRITTEN[key]


class Unsteering(nullcontext):  # type: ignore[type-arg]
    """Stands for `steer`, as a block and by hand, and steers nothing."""

    def enable(self) -> None:
        """Nothing."""

    def disable(self) -> None:
        """Nothing."""


def steering_changed_texts(generations: pd.DataFrame) -> bool:
    """Whether every condition that steers, random vectors too, has a text that differs from the unsteered one."""
    texts = generations.pivot(index=["prompt", "sample"], columns="condition", values="text")
    steered = generations.loc[generations["layer"].notna(), "condition"].unique()
    return len(steered) > 0 and all((texts[name] != texts["unsteered"]).any() for name in steered)


@pytest.mark.parametrize("code", EXAMPLES)
def test_an_example_runs_and_steering_changes_what_it_shows(
    code: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)  # some write files
    said, names = shown(code)
    assert len(said) >= code.count("print(")
    if "evaluate(" in code:
        assert steering_changed_texts(names["result"].generations)
    if "steer(" in code:
        assert len(set(said)) == len(said)
        left_out: list[object] = []
        monkeypatch.setattr(steering_lab, "steer", lambda model, what: Unsteering(left_out.append(what)))
        monkeypatch.setattr(steering_lab, "generate", unsteered_generate)
        unsteered, _ = shown(code)
        assert sum(one != other for one, other in zip(said, unsteered, strict=True)) == len(left_out) > 0


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with what a checkout holds and commands name."""
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    of_module = {}  # one run of each: figures of papers share a few
    for made in sorted((ROOT / "results").glob("*/*/provenance.json")):
        if not made.parent.name.endswith(".partial"):
            of_module[json.loads(made.read_text(encoding="utf-8"))["module"]] = made.parent
    for run in of_module.values():
        shutil.copytree(run, tmp_path / "results" / run.parent.name / run.name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def words(command: str, folder: Path) -> list[str]:
    """The command as a shell splits it, made small where `SMALLER` says so."""
    split = shlex.split(command, comments=True)
    split = [
        word for given in split for word in (sorted(map(str, folder.glob(given))) if "*" in given else []) or [given]
    ]
    smaller = SMALLER.get(Path(split[2]).name, ()) if split[1] == "run" else ()
    return [*split, *(["--set", *smaller] if smaller else [])]


@pytest.mark.parametrize("command", COMMANDS, ids=[f"{command.split()[1]} {i}" for i, command in enumerate(COMMANDS)])
def test_a_shell_example_runs_and_steering_changes_what_it_prints(
    command: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = set(folder.glob("results/*/*"))
    monkeypatch.setattr(sys, "argv", words(command, folder))
    if command in NOT_HERE:
        if isinstance(try_to_load_from_cache("gpt2", "config.json"), str):
            pytest.skip("gpt2 is in the hub's cache")
        with pytest.raises(SystemExit, match="2"):
            main()
        assert NOT_HERE[command] in capsys.readouterr().err
        return
    if "love.safetensors" in command and "vector make" not in command:  # which another example makes
        made = next(words(one, folder) for one in COMMANDS if "vector make love.safetensors" in one)
        with monkeypatch.context() as first:
            first.setattr(sys, "argv", made)
            main()
        capsys.readouterr()
    main()
    printed, verb = capsys.readouterr().out, sys.argv[1]
    if verb == "steer":
        texts = dict(re.findall(r"^  (\w+).* \(perplexity [^)]+\)\n((?:    .*\n)+)", printed, re.MULTILINE))
        assert len(set(texts.values())) == len(texts) == 3
    elif verb == "lens" and "--positive" in command:
        followed = re.findall(r"(\S+%) \(rank (\d+)\) +(\S+%) \(rank (\d+)\)", printed)
        assert any(row[:2] != row[2:] for row in followed)
    elif verb == "run":
        [run] = set(folder.glob("results/*/*")) - before
        assert (run / "index.html").is_file()
        parts = read_run(run)
        kept = [parts[name] for name in ("generations", "generations_validation") if name in parts]
        assert steering_changed_texts(kept[0])


def test_what_cannot_run_here_still_stands_in_the_docs() -> None:
    assert set(NOT_HERE) <= set(COMMANDS)
