"""`steering-lab new`: the beginnings of an experiment of one's own."""

from pathlib import Path

import tyro


def new(name: tyro.conf.Positional[str], folder: Path = Path()) -> None:
    """Write a commented TOML file and a module to start an experiment of your own from; both run as they stand.

    A sweep of a method that is here already needs no module: copy experiments/sweep.toml instead.

    Example: steering-lab new my_question

    Args:
        name: What both files are called: letters, digits and underscores, no module's or experiment's name.
        folder: Where they are written.
    """
    from steering_lab.study.new import new_experiment

    toml, module = new_experiment(folder, name)
    print(f"{toml}\n{module}\nrun it: steering-lab run {toml}")
