"""What stands beside a ContextFocus vector: prompts, decoding rules, its reverse, its parts, its controls."""

from collections.abc import Collection, Mapping, Sequence
from typing import Literal, get_args

from steering_lab.data.conflict_qa import ConflictQA
from steering_lab.evaluation.running.condition import Condition
from steering_lab.evaluation.running.control_vectors import CONTROLS, RANDOM, Control
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.methods.cad import CAD
from steering_lab.methods.coiecd import COIECD
from steering_lab.methods.contextfocus import Recipe
from steering_lab.models.generation import LogitsRule
from steering_lab.models.hook_points import HookSite
from steering_lab.study.conflict.asking import PROMPTING, Asking

METHOD, BOTH, FINETUNED, UNSTEERED = "contextfocus", "contextfocus and instructed", "fine-tuned", "unsteered"
GRADIENT = "gradient form"
RECIPES: tuple[Recipe, ...] = ("context_only", "instruction_only", "same_context", "shuffled_context")
PARTS: dict[str, Recipe] = {f"part {recipe}": recipe for recipe in RECIPES}  # methods in tables

# What may stand beside the vector; both: the instruction and the vector at once; gradient: a delta for each question.
Rival = Literal["instructed", "opinion", "instructed_opinion", "CAD", "COIECD", "reversed", "both", "parts", "gradient"]
RIVALS: tuple[Rival, ...] = tuple(rival for rival in get_args(Rival) if rival != "gradient")
"""Those that stand there unless said: all that take no descent for every question."""


def cad_name(alpha: float) -> str:
    """What context-aware decoding with `alpha` is called in tables."""
    return f"CAD alpha {alpha:g}"


def order_of_methods(cad_alpha: float) -> tuple[str, ...]:
    """All methods of a comparison, CAD with `cad_alpha` among them, from what is compared with downward."""
    prompts = ("opinion", "instructed", "instructed_opinion")
    return (UNSTEERED, FINETUNED, *prompts, cad_name(cad_alpha), "COIECD", METHOD, BOTH, GRADIENT, *PARTS, *CONTROLS)


def finetuned(asking: Asking) -> Condition:
    """A checkpoint of its own on the bare prompt that `asking` writes."""
    return Condition(FINETUNED, write=asking.written("with_context"))


def contrastive(asking: Asking, name: str, rule: LogitsRule) -> Condition:
    """The decoding `rule`, as condition `name`, that contrasts the prompt of `asking` with the closed book."""
    return Condition(
        name, write=asking.written("with_context"), rule=rule, without_context=asking.written("closed_book")
    )


def without_vector(asking: Asking, compare: Collection[Rival], cad_alpha: float) -> list[Condition]:
    """The model alone and those of the rivals that need no vector: prompts and decoding rules.

    Args:
        asking: The model, and how it is asked.
        compare: Which rivals.
        cad_alpha: The weight of context-aware decoding.
    """
    rules: dict[Rival, Condition] = {
        "CAD": contrastive(asking, cad_name(cad_alpha), CAD(cad_alpha)),
        "COIECD": contrastive(asking, "COIECD", COIECD()),
    }
    return [
        asking.unsteered(),
        *(Condition(style, write=asking.written(style)) for style in PROMPTING if style in compare),
        *(condition for rival, condition in rules.items() if rival in compare),
    ]


def compared(
    asking: Asking,
    rows: Sequence[ConflictQA],
    vector: SteeringVector,
    coeff: float,
    norms: Mapping[HookSite, float],
    *,
    compare: Collection[Rival] = RIVALS,
    cad_alpha: float,
    controls: Sequence[Control],
) -> list[Condition]:
    """Every condition of the comparison: the model alone, the chosen vector, its controls, and the rivals to `compare`.

    Of the controls the plain random vectors alone are reversed with the vector.

    Args:
        asking: The model, and how it is asked.
        rows: The conflicts that the vector was made from; its parts are made from them too, and taken at its norm.
        vector: The chosen vector.
        coeff: The chosen coefficient.
        norms: The median residual norm at its site.
        compare: Which rivals; "reversed" reverses the vector and the random ones alike.
        cad_alpha: The weight of context-aware decoding.
        controls: The vector's controls.
    """
    at, steered = {vector.site: vector}, coeff * vector.from_last_prompt_token()
    signs = [coeff, -coeff] if "reversed" in compare else [coeff]
    conditions = without_vector(asking, compare, cad_alpha)
    for one in asking.grid(at, signs, norms, method=METHOD, controls=controls):
        factors = one.factors
        if factors.coeff == coeff or factors.role != "control" or factors.method == RANDOM:
            conditions.append(one)
    if "both" in compare:
        conditions.append(Condition(BOTH, steered, asking.written("instructed"), role="baseline"))
    for method, recipe in PARTS.items() if "parts" in compare else ():
        part = asking.vectors(rows, [vector.site], recipe)[vector.site].unit() * vector.norm
        conditions += asking.grid({vector.site: part}, [coeff], norms, method=method)
    return conditions
