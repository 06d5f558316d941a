"""The front door of steering_lab: every name below is imported from its own module on first use.

Importing the package, or asking a script for `--help`, therefore loads neither torch nor transformer_lens.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the same names for editors and type checkers; a test holds the two lists equal
    from steering_lab.analysis.logit_lens import logit_lens as logit_lens
    from steering_lab.analysis.plots import layer_coeff_heatmap as layer_coeff_heatmap
    from steering_lab.analysis.projection import projection_profile as projection_profile
    from steering_lab.analysis.vector_lens import vector_lens as vector_lens
    from steering_lab.data.conflict_qa import ConflictQA as ConflictQA
    from steering_lab.data.contrast_pairs import PAIRS as PAIRS
    from steering_lab.data.contrast_pairs import ContrastPair as ContrastPair
    from steering_lab.data.contrast_pairs import read_pairs as read_pairs
    from steering_lab.evaluation.inferring.confirmation import confirm as confirm
    from steering_lab.evaluation.inferring.selection import select as select
    from steering_lab.evaluation.inferring.statistics import summarise as summarise
    from steering_lab.evaluation.measuring.measures import Degenerate as Degenerate
    from steering_lab.evaluation.measuring.measures import Perplexity as Perplexity
    from steering_lab.evaluation.measuring.measures import TextMeasure as TextMeasure
    from steering_lab.evaluation.measuring.measures import balance as balance
    from steering_lab.evaluation.measuring.measures import sentiment as sentiment
    from steering_lab.evaluation.measuring.measures import topic_count as topic_count
    from steering_lab.evaluation.measuring.measures import topic_rate as topic_rate
    from steering_lab.evaluation.measuring.measures import vader as vader
    from steering_lab.evaluation.measuring.named_measures import named_measures as named_measures
    from steering_lab.evaluation.running.condition import UNSTEERED as UNSTEERED
    from steering_lab.evaluation.running.condition import Condition as Condition
    from steering_lab.evaluation.running.condition import prompting as prompting
    from steering_lab.evaluation.running.evaluate import Decoding as Decoding
    from steering_lab.evaluation.running.evaluate import evaluate as evaluate
    from steering_lab.evaluation.running.grid import layer_coeff_grid as layer_coeff_grid
    from steering_lab.evaluation.running.grid import median_resid_norms as median_resid_norms
    from steering_lab.explorer import explore as explore
    from steering_lab.interventions.intervention import Intervention as Intervention
    from steering_lab.interventions.steering import steer as steer
    from steering_lab.interventions.steering_vector import SteeringVector as SteeringVector
    from steering_lab.interventions.steering_vector import ablate as ablate
    from steering_lab.interventions.steering_vector import clamp as clamp
    from steering_lab.interventions.steering_vector import preserving_norm as preserving_norm
    from steering_lab.interventions.steering_vector import random_like as random_like
    from steering_lab.methods.actadd import actadd_vector as actadd_vector
    from steering_lab.methods.contextfocus import contextfocus_vectors as contextfocus_vectors
    from steering_lab.methods.delta.optimise import optimise_delta as optimise_delta
    from steering_lab.methods.mean_difference import mean_difference_vectors as mean_difference_vectors
    from steering_lab.models.generation import GREEDY as GREEDY
    from steering_lab.models.generation import Sampling as Sampling
    from steering_lab.models.generation import generate as generate
    from steering_lab.models.hook_points import HookSite as HookSite
    from steering_lab.models.hook_points import resid_post as resid_post
    from steering_lab.models.hook_points import resid_pre as resid_pre
    from steering_lab.models.hooked_model import HookedModel as HookedModel
    from steering_lab.models.loading import load_model as load_model

# Before torch is loaded: threads that wait by spinning keep a core from whoever shares it, their own process included.
# Beside a busy neighbour, two of them took 5 to 37 s for what two that sleep did in 3.5 (SmolLM2); alone they
# took 1.8 to 2.3 s against 2.2 to 3.1. What is set already stays: OMP_WAIT_POLICY=ACTIVE where nobody else computes.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_OFFERS = {
    "models.hook_points": ("HookSite", "resid_pre", "resid_post"),
    "models.hooked_model": ("HookedModel",),
    "models.loading": ("load_model",),
    "models.generation": ("GREEDY", "Sampling", "generate"),
    "data.conflict_qa": ("ConflictQA",),
    "data.contrast_pairs": ("ContrastPair", "PAIRS", "read_pairs"),
    "interventions.steering_vector": ("SteeringVector", "random_like", "ablate", "clamp", "preserving_norm"),
    "interventions.intervention": ("Intervention",),
    "interventions.steering": ("steer",),
    "methods.actadd": ("actadd_vector",),
    "methods.mean_difference": ("mean_difference_vectors",),
    "methods.contextfocus": ("contextfocus_vectors",),
    "methods.delta.optimise": ("optimise_delta",),
    "evaluation.running.condition": ("UNSTEERED", "Condition", "prompting"),
    "evaluation.running.grid": ("layer_coeff_grid", "median_resid_norms"),
    "evaluation.running.evaluate": ("Decoding", "evaluate"),
    "evaluation.measuring.measures": (
        "Degenerate", "Perplexity", "TextMeasure", "balance", "sentiment", "topic_count", "topic_rate", "vader",
    ),
    "evaluation.measuring.named_measures": ("named_measures",),
    "evaluation.inferring.statistics": ("summarise",),
    "evaluation.inferring.selection": ("select",),
    "evaluation.inferring.confirmation": ("confirm",),
    "analysis.logit_lens": ("logit_lens",),
    "analysis.vector_lens": ("vector_lens",),
    "analysis.projection": ("projection_profile",),
    "analysis.plots": ("layer_coeff_heatmap",),
    "explorer": ("explore",),
}  # fmt: skip
_HOME = {name: module for module, names in _OFFERS.items() for name in names}

__version__: str
__all__ = list(_HOME)


def __getattr__(name: str) -> object:
    """The offered object `name`, imported now and kept, or the version: to look it up takes longer than the import.

    Raises:
        AttributeError: the package offers no such name.
    """
    if name == "__version__":
        from importlib.metadata import version

        globals()[name] = found = version("steering_lab")
        return found
    if name not in _HOME:
        raise AttributeError(f"steering_lab offers no {name!r}; it offers {', '.join(sorted(_HOME))}")
    globals()[name] = value = getattr(import_module(f"steering_lab.{_HOME[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
