"""The controls beside a ContextFocus vector: those of a sweep, with conflicts in the place of contrast pairs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from steering_lab.evaluation.inferring.controls import MIN_DRAWS
from steering_lab.evaluation.running.control_vectors import (
    RANDOM,
    RANDOM_CONTROLS,
    Control,
    ControlName,
    check_exchanges,
)
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.models.hook_points import HookSite, resid_post
from steering_lab.models.hooked_model import HookedModel
from steering_lab.study.conflict.asking import PLACE, Asking
from steering_lab.study.conflict.questions import Rows
from steering_lab.study.conflict.rivals import METHOD
from steering_lab.study.conflict.settings import ComparisonSettings
from steering_lab.study.controls import controls_of, other_pairs
from steering_lab.study.settings import NamedControlSettings
from steering_lab.study.vectors import Contrast, Form, Vectors


@dataclass(frozen=True)
class ConflictControls(ComparisonSettings, NamedControlSettings):
    """What stands beside every searched cell and beside the chosen vector; `n_random` draws are beside the latter.

    Args:
        n_random_search: Random vectors beside every searched cell, under conflict alone; 0 is none.

    Raises:
        ValueError: one or two draws, of which there is no band, or a control that cannot be made.
    """

    n_random_search: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_random_search:
            self.at_least(
                MIN_DRAWS, "n_random_search", why="a control's interval needs 3 draws or more, or none at all"
            )
        if "shuffled_labels" in self.controls:
            check_exchanges(self.n_vector, self.n_shuffled)
        if "other_concept" in self.controls:
            other_pairs(_form(lambda *_: {}, Contrast(self.n_vector, lambda *_: {})), self)

    @property
    def kind_searched(self) -> ControlName:
        """Which kind of random vector stands beside a searched cell: the plain one where it is named."""
        return RANDOM if RANDOM in self.controls else next(one for one in self.controls if one in RANDOM_CONTROLS)


def beside_chosen(
    asking: Asking, config: ConflictControls, rows: Rows, vector: SteeringVector, prompts: Rows
) -> list[Control]:
    """Every control of the settings beside the chosen vector.

    The layer's control has the vector of the layer that is half of the model's layers away, so that one layer may be
    searched alone.

    Args:
        asking: The model, and how it is asked.
        config: Which controls, and how many draws.
        rows: The conflicts that the vector is from: whose sides are exchanged for shuffled labels.
        vector: The chosen vector.
        prompts: The questions whose unsteered stream has the covariance that random vectors are drawn from.

    Raises:
        ValueError: too few conflicts to shuffle as often.
    """
    return _made(asking, config, rows, {vector.site: vector}, prompts, config.n_random, config.seed)


def beside_searched(
    asking: Asking, config: ConflictControls, rows: Rows, vectors: Mapping[HookSite, SteeringVector], prompts: Rows
) -> list[Control]:
    """`n_random_search` random vectors beside every searched cell, other draws than `beside_chosen` has.

    Args:
        asking: The model, and how it is asked.
        config: How many.
        rows: The conflicts that the vectors are from.
        vectors: The vector of each site.
        prompts: As in `beside_chosen`.
    """
    if not config.n_random_search:
        return []
    alone = replace(config, controls=(config.kind_searched,), other_pairs="")
    return _made(asking, alone, rows, vectors, prompts, config.n_random_search, config.seed + 1)


def _made(
    asking: Asking, config: ConflictControls, rows: Rows, vectors: Mapping[HookSite, SteeringVector], prompts: Rows,
    n_random: int, seed: int,
) -> list[Control]:  # fmt: skip
    def made(model: HookedModel, sites: Sequence[HookSite]) -> Vectors:
        missing = [site for site in sites if site not in vectors]
        return {**vectors, **(asking.vectors(rows, missing) if missing else {})}

    def exchanged(_: HookedModel, sites: Sequence[HookSite], flips: Sequence[bool]) -> Vectors:
        return asking.exchanged(rows, sites, flips)

    form = _form(made, Contrast(len(rows), exchanged))
    asked = asking.plain(prompts)
    _, found = controls_of(form, asking.model, list(vectors), config, prompts=asked, n_random=n_random, seed=seed)
    return found


def _form(vectors: Callable[[HookedModel, Sequence[HookSite]], Vectors], contrast: Contrast) -> Form:
    return Form(
        METHOD, "ContextFocus", "ContextFocus", PLACE, (1.0,),
        lambda model: [resid_post(layer) for layer in range(model.n_layers)], vectors, contrast=contrast,
    )  # fmt: skip
