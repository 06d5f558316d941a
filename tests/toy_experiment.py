"""An experiment in small: nine ways to begin a prompt, put to a tiny model, kept as every experiment keeps."""

import os
import signal
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from steering_lab.evaluation.running.condition import UNSTEERED, prompting
from steering_lab.evaluation.running.evaluate import Decoding, _run_together, run_conditions
from steering_lab.evaluation.running.groups import Elsewhere
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.loading import load_model
from steering_lab.runs import RunFolder, read_run

PROMPTS = ["I hate you because", "Love and the sea"]
DECODING = Decoding(max_new_tokens=4, n_samples=1, seed=3)
BEGINNINGS = ("Love", "Hate", "I", "you", "the sea", "and", "because", "a")
FATAL = "prompting you"
N_CELLS, IN_A_GROUP = 1 + len(BEGINNINGS), 2


@dataclass(frozen=True)
class Config:
    """`model` is a folder."""

    model: str = ""


def run(config: Config, results: str | Path, elsewhere: Elsewhere | None = None) -> Path:
    """Runs the cells, or resumes them, and returns the finished folder."""
    return run_on(load_model(config.model), config, results, elsewhere=elsewhere)


def run_on(
    model: HookedModel,
    config: Config,
    results: str | Path,
    report: Callable[[Path], Path] | None = None,
    **options: Any,
) -> Path:
    """The same on a model that is loaded, with `options` of `run_conditions`."""
    conditions = [UNSTEERED, *(prompting(f"{word} ") for word in BEGINNINGS)]
    with RunFolder.open(results, "toy_experiment", model.name, asdict(config)) as folder:
        keeping = {**folder.keeping, "batch_size": 1, "progress": False, **options}  # groups of four batches
        texts = run_conditions(model, conditions, PROMPTS, DECODING, **keeping)
        folder.write_json("model.json", model.facts())
        folder.write_table("table", texts)
        folder.write_table("generations.jsonl", texts)
        return folder.finish(report or draw)


def reported(model: HookedModel, conditions: Any, *rest: Any) -> Any:
    """The cells, after a line in the file that TOY_LOG names; the first worker that comes to `FATAL` dies of it."""
    log = Path(os.environ["TOY_LOG"])
    first = FATAL not in (log.read_text() if log.exists() else "")
    with log.open("a") as file:
        file.write(f"{os.getpid()} {' | '.join(condition.name for condition in conditions)}\n")
    if first and any(condition.name == FATAL for condition in conditions):
        os.kill(os.getpid(), signal.SIGKILL)
    return _run_together(model, conditions, *rest)


def draw(folder: Path) -> Path:
    """The page of a finished run."""
    page = folder / "index.html"
    page.write_text(f"{len(read_run(folder)['table'])} texts")
    return page


report = draw
