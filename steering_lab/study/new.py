"""The beginnings of an experiment of one's own: a commented TOML file, and a module to change."""

import sys
from importlib.util import find_spec
from keyword import iskeyword
from pathlib import Path

from steering_lab.safe_files import make_folder
from steering_lab.study.finding import experiments_folder

TOML = """\
# {name}: what do you want to know? Run it: steering-lab run {name}.toml
# Every setting of the pieces in {name}.py can stand here, or on the command line: --set model=smollm2
model = "organism"            # "smollm2", a hub name, a folder, a GGUF file
method = "mean_difference"    # "actadd" (one pair), "pca", "probe" (four pairs and more), "vector:FILE"
pairs = [
    {{ positive = "Love", negative = "Hate" }},
]                             # or the name of a built-in set, or a file of pairs
normalise = false             # true: vectors of length 1
place = "everywhere"          # "front", "from_last_prompt_token", "generated"
layers = [1]
coeffs = [0.5]
measures = ["valence_balance", "perplexity"]    # the first is the page's; "vader", "topic_rate:sea,ship", ...
n_prompts = 8                 # or prompts and test_prompts of your own
n_samples = 2
max_new_tokens = 16
temperature = 1.0
n_random = 3                  # random vectors of the same length, to compare with
"""

MODULE = '''\
"""{name}: what do you want to know? This first paragraph is the question that the page shows.

Expected, written before the run: the steered text scores above unsteered text, and above all random vectors.
"""

from dataclasses import dataclass
from pathlib import Path

from steering_lab import UNSTEERED, layer_coeff_grid, median_resid_norms, summarise
from steering_lab.analysis.condition_table import condition_table
from steering_lab.evaluation.measuring.measures import measure_table
from steering_lab.evaluation.running.groups import Elsewhere
from steering_lab.runs import read_run
from steering_lab.study.measures import MeasureSettings
from steering_lab.study.page import publish
from steering_lab.study.settings import PromptSettings, SamplingSettings
from steering_lab.study.setup import opened
from steering_lab.study.vectors import VectorSettings


@dataclass(frozen=True)
class Config(VectorSettings, PromptSettings, MeasureSettings, SamplingSettings):
    """The settings of {name}.toml: the pieces' own, and these."""

    n_random: int = 3


def run(config: Config, results: str | Path, elsewhere: Elsewhere | None = None) -> Path:
    """Asks the model under every condition, keeps what it said, and returns the finished run folder."""
    (prompts, _), form, model = config.split_prompts, config.form(), config.load()
    sites = form.sites(model)
    norms, vectors = median_resid_norms(model, prompts, sites), form.vectors(model, sites)
    cells = {{"method": form.method, "place": form.place, "n_random": config.n_random}}
    conditions = [UNSTEERED, *layer_coeff_grid(vectors, form.coeffs, norms, **cells)]  # add your own
    with opened(model, config, results, module=__name__, doc=__doc__, elsewhere=elsewhere) as setup:
        texts = setup.generations(conditions, prompts, config.decoding)
        table = measure_table(texts, config.measuring)
        setup.folder.write_table("generations.jsonl", texts)
        setup.folder.write_table("table", table)
        setup.folder.write_table("summary", summarise(table, seed=config.seed))
        return setup.folder.finish(report)


def report(folder: str | Path) -> Path:
    """Draws the page of a finished run from its files alone."""
    parts = read_run(folder)
    shown = condition_table(parts["summary"], metric=parts["config"]["measures"][0])
    found = f"{{len(shown)}} conditions on {{parts['generations']['prompt'].nunique()}} prompts."
    texts = parts["generations"]
    return publish(folder, parts, title="{name}", findings=[found], headline=shown, figures={{}}, generations=texts)
'''


def new_experiment(folder: str | Path, name: str) -> tuple[Path, Path]:
    """Writes `<name>.toml` and `<name>.py` into `folder`, which run as they stand, and returns the two.

    Raises:
        ValueError: a name that no module can have, or that another module has.
        FileExistsError: one of the two is there already.
        NotADirectoryError: `folder` is a file.
    """
    if not name.isidentifier():
        raise ValueError(f"{name!r} is no name for a module: use letters, digits and underscores, a letter first")
    if iskeyword(name):
        raise ValueError(f"{name!r} is a word of Python's own: choose another name")
    files = Path(folder) / f"{name}.toml", Path(folder) / f"{name}.py"
    for file in files:
        if file.exists():
            raise FileExistsError(f"{file} is there already: choose another name")
    if taken := _taken(name):
        raise ValueError(f"{name!r} is the name of {taken}, which a {name}.py would hide: choose another name")
    make_folder(folder)
    for file, text in zip(files, (TOML, MODULE), strict=True):
        file.write_text(text.format(name=name), encoding="utf-8")
    return files


def _taken(name: str) -> str:
    """What has this name already, in a few words; nothing where it is free."""
    if (experiments_folder() / f"{name}.py").is_file():
        return "an experiment that comes along"
    if name in sys.stdlib_module_names or find_spec(name) is not None:
        return "a module that is installed here"
    return ""
