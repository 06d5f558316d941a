"""What an experiment is, and how the one that a TOML file names is found and read.

An experiment is a module with `Config`, `run` and `report` (`Experiment`). A TOML file names its module by the key
`experiment`; without that key it is the `.py` beside the file that has its name. A module may import modules of its
folder as `from .sibling import ...`.
"""

import hashlib
import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, cast, runtime_checkable

from steering_lab.executors import ExecutorName
from steering_lab.study.reading import RUN_KEYS, as_config, read_config, read_toml


@runtime_checkable
class Experiment(Protocol):
    """What a module of an experiment offers."""

    @property
    def Config(self) -> type[Any]:
        """The frozen dataclass of its settings."""

    def run(self, config: Any, results: str | Path, elsewhere: Any = None) -> Path:
        """Runs it, or resumes it, and returns the finished folder; `elsewhere` does its cells in other processes.

        Args:
            config: Its settings, an instance of its Config.
            results: The folder above all runs; the run's own is made in it.
            elsewhere: Does its cells in other processes; None is this one.
        """

    def report(self, folder: str | Path) -> Path:
        """Draws a finished run's figures and page from its files alone, and returns the page.

        Args:
            folder: The folder of the finished run.
        """


@dataclass(frozen=True)
class Placement:
    """Where groups of cells run: in which executor, how many at a time, with how many GPUs each.

    Args:
        executor: "local" is this process; "processes", "ray" or "slurm".
        workers: How many at a time; None leaves it to the executor.
        gpus_per_worker: GPUs of each; None leaves it to the executor.

    Raises:
        ValueError: a number of workers or GPUs for the executor "local", which has neither.
    """

    executor: ExecutorName = "local"
    workers: int | None = None
    gpus_per_worker: int | None = None

    def __post_init__(self) -> None:
        if self.options and self.executor == "local":
            raise ValueError(
                f"{' and '.join(self.options)}: for --executor processes, ray or slurm, and this one is local"
            )

    @property
    def options(self) -> dict[str, int]:
        """What was said of workers and GPUs."""
        said = {"workers": self.workers, "gpus_per_worker": self.gpus_per_worker}
        return {name: number for name, number in said.items() if number is not None}


@dataclass(frozen=True, eq=False)
class Study:
    """A TOML file that was read: its name, the experiment that it names, that one's Config, and where its cells run.

    Args:
        name: The name of its runs.
        experiment: The module.
        config: Its settings, the file's and those given.
        placement: Where its cells run.
    """

    name: str
    experiment: Experiment
    config: Any
    placement: Placement = Placement()


def read_study(toml: str | Path, settings: Sequence[str] = (), **where: Any) -> Study:
    """The study of a TOML file, with `settings` such as "layers=[1, 2]" in place of the file's.

    `where` are fields of `Placement` that replace the file's; None leaves the file's.

    Args:
        toml: The file.
        settings: Settings that replace the file's, as "key=value" in TOML.
        **where: Fields of `Placement`.

    Raises:
        FileNotFoundError: no such file, or no module that it names.
        ValueError: not TOML, an unknown key, a value of the wrong type, or settings that contradict each other.
    """
    experiment, values = load_experiment(toml, settings), read_toml(toml, settings)
    config = read_config(experiment.Config, toml, settings)
    told = {key: values[key] for key in RUN_KEYS if key in values and key != "experiment"}
    told |= {key: value for key, value in where.items() if value is not None}
    return Study(getattr(config, "name", Path(toml).stem), experiment, config, as_config(Placement, told))


def experiments_folder() -> Path:
    """The folder of the experiments that come with steering_lab: in a checkout, or inside the installed package.

    Raises:
        FileNotFoundError: there is neither.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package.parent / "experiments", package / "experiments"):
        if (folder / "actadd_sweep.toml").is_file():
            return folder
    raise FileNotFoundError("the experiments folder is missing: install steering_lab from its repository")


def experiment_files() -> list[Path]:
    """The TOML files of the experiments that come along, those of a paper's figures in its folder among them."""
    return sorted(experiments_folder().rglob("*.toml"))


def load_experiment(toml: str | Path, settings: Sequence[str] = ()) -> Experiment:
    """The module that `toml` or `settings` name, imported from its file, in a package made of its folder.

    `experiment = "sweep"` is sweep.py beside the file, or else the one that comes along.

    Raises:
        FileNotFoundError: no such TOML file, or no module.
        ValueError: not TOML, or a module that is no experiment.
    """
    toml = Path(toml)
    if not toml.is_file():
        known = [path.relative_to(experiments_folder()).as_posix() for path in experiment_files()]
        raise FileNotFoundError(f"no experiment file {toml}; the experiments that come along are {', '.join(known)}")
    script = _script(toml, read_toml(toml, settings).get("experiment"))
    module = _imported(script)
    if lacking := [name for name in ("Config", "run", "report") if not hasattr(module, name)]:
        raise ValueError(f"{script} is no experiment, it has no {lacking[0]}: see docs/guides/own_experiment.md")
    return cast(Experiment, module)


def _script(toml: Path, named: Any) -> Path:
    if named is None:
        if not (own := toml.with_suffix(".py")).is_file():
            raise FileNotFoundError(f'{toml} has no {own.name} beside it to run: add experiment = "sweep" to sweep')
        return own
    if not isinstance(named, str) or not named.isidentifier():
        raise ValueError(f"setting experiment = {named!r}: it takes the name of a module, such as 'sweep'")
    for folder in (toml.parent, experiments_folder()):
        if (script := folder / f"{named}.py").is_file():
            return script
    raise FileNotFoundError(f"{toml} names the experiment {named!r}, and there is no {named}.py beside it")


def _imported(script: Path) -> ModuleType:
    name = f"{_package_of(script.resolve().parent)}.{script.stem}"
    spec = importlib.util.spec_from_file_location(name, script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _package_of(folder: Path) -> str:
    """The name of a package whose modules are the files of `folder`: by a name of its own, since nobody's folder of
    experiments may hide a library, and an installed one cannot be imported as `experiments`."""
    name = f"steering_lab_experiments_{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}"
    if name not in sys.modules:
        package = ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package
    return name


def experiment_of(run: str | Path, own: Path | None = None) -> Experiment:
    """The experiment that draws a finished run's page, by the module's name in its provenance.

    Only modules that come along are looked for, and the one of the TOML file `own`: a folder from elsewhere cannot name
    code to be executed.

    Raises:
        FileNotFoundError: there is no finished run, or no such TOML file.
        Damaged: its provenance cannot be read.
        ValueError: its experiment does not come along and is not that of `own`.
    """
    from steering_lab.runs import finished, provenance_in

    made = provenance_in(finished(run))
    name = made.get("module", made.get("experiment"))
    known = {_script(toml, read_toml(toml).get("experiment")).stem: toml for toml in experiment_files()}
    if own is not None:
        load_experiment(own)  # a file that cannot be read is answered, whatever run comes first
        known[_script(own, read_toml(own).get("experiment")).stem] = own
    if name not in known:
        raise ValueError(
            f"{run} is a run of {name!r}, which is none of the experiments here: {', '.join(sorted(known))}."
            " For one of your own name its file: --experiment FILE.toml"
        )
    return load_experiment(known[name])


def question_of(module_docstring: str | None) -> str:
    """An experiment's question: the first paragraph of its docstring, on one line.

    Args:
        module_docstring: The docstring; none, or an empty one, asks nothing.
    """
    return " ".join((module_docstring or "").split("\n\n")[0].split())
