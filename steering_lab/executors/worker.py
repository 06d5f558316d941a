"""What a worker does with a job, in whatever process: load the model once, check that it is the run's, and work."""

import pickle
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import torch

from steering_lab.evaluation.running.groups import Failed, Work, numerics_of
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.loading import load_model


class Job(NamedTuple):
    """A group of cells for another process: how its model is `loaded_as`, its `numerics` then, and the `work`."""

    loaded_as: Mapping[str, Any]
    numerics: Mapping[str, Any]
    work: Work


def do(job: bytes) -> bytes:
    """The answer to `job`, both pickled: ("found", cells), ("failed", error) or ("stop", why none can be done)."""
    return pickle.dumps(_answer(job))


def _answer(pickled: bytes) -> tuple[str, Any]:
    try:
        job: Job = pickle.loads(pickled)
        model = _model(pickle.dumps(dict(job.loaded_as)))
        mine = numerics_of(model)
        unlike = [f"{what} {value} there, {mine.get(what)} here" for what, value in job.numerics.items()
                  if mine.get(what) != value]  # fmt: skip
        if unlike:
            return "stop", f"a worker's model or software is not that of the run: {', '.join(unlike)}"
        found = job.work.on(model)
    except (
        Exception
    ) as error:  # the model cannot be loaded, or a single row is too much: no other group would do better
        return "stop", f"a worker cannot work: {type(error).__name__}: {error}"
    if not isinstance(found, Failed):
        return "found", found
    if isinstance(found.error, ValueError):
        return "failed", ValueError(str(found.error))
    return "failed", RuntimeError(f"{type(found.error).__name__}: {found.error}")


@lru_cache(maxsize=1)
def _model(loaded_as: bytes) -> HookedModel:
    torch.set_num_threads(1)  # the machine's cores are for workers
    options = pickle.loads(loaded_as)
    return load_model(options.pop("name_or_path_or_model"), **options)
