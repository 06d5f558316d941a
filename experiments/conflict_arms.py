"""The conditions of the conflict experiment: the vector and its rivals, its parts, its reverse, random vectors."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from steering_lab.data.conflict_qa import ConflictQA
from steering_lab.data.templates import PromptStyle, Wording
from steering_lab.evaluation.condition import Asked, Condition, layer_coeff_grid
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.methods.cad import CAD
from steering_lab.methods.coiecd import COIECD
from steering_lab.methods.contextfocus import Recipe, contextfocus_vectors
from steering_lab.models.hook_points import HookSite
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.reading import read_stream

PLACE: Literal["from_last_prompt_token"] = "from_last_prompt_token"
METHOD = "contextfocus"
RECIPES: tuple[Recipe, ...] = ("context_only", "instruction_only", "same_context", "shuffled_context")
PROMPTING: tuple[PromptStyle, ...] = ("instructed", "opinion", "instructed_opinion")

# What may stand beside the vector; both: the instruction and the vector at once.
Rival = Literal["instructed", "opinion", "instructed_opinion", "CAD", "COIECD", "reversed", "both", "parts"]
RIVALS: tuple[Rival, ...] = get_args(Rival)


@dataclass(frozen=True, eq=False)
class Asking:
    """How questions are put to a model, and what follows from that: the vectors, their norms, the conditions."""

    model: HookedModel
    wording: Wording
    chat: bool = False
    seed: int = 0
    answer_prefix: str = ""

    def written(self, style: PromptStyle, instruction: str | None = None) -> Asked:
        """Writes a row in `style`."""
        chat = self.model.chat_text if self.chat else None
        return Asked(self.wording, style, instruction, chat, self.answer_prefix)

    def check_room(self, rows: Sequence[ConflictQA], max_new_tokens: int) -> None:
        """Nothing when every row fits the model in every style, with its answer.

        Raises:
            ValueError: a row that is too long, or a chat that the model has no template for.
        """
        longest = max(self.wording.instructions, key=len)
        for row in rows:
            styles = [self.written("closed_book")]
            if row.context:
                styles += [self.written("instructed", longest), *map(self.written, PROMPTING)]
            needed = max(len(self.model.token_ids(style(row))) for style in styles) + max_new_tokens
            if needed > self.model.n_ctx:
                raise ValueError(
                    f"{row.question!r} takes {needed} tokens with its context and {max_new_tokens} for the answer,"
                    f" {self.model.name} has room for {self.model.n_ctx}: shorten the context or leave the row out"
                )

    def vectors(
        self, rows: Sequence[ConflictQA], sites: Sequence[HookSite], recipe: Recipe = "joint"
    ) -> dict[HookSite, SteeringVector]:
        """The ContextFocus vector of `rows` at every site."""
        return contextfocus_vectors(
            self.model, rows, sites, wording=self.wording, recipe=recipe, chat=self.chat,
            answer_prefix=self.answer_prefix, seed=self.seed,
        )  # fmt: skip

    def norms(self, rows: Sequence[ConflictQA], sites: Sequence[HookSite]) -> dict[HookSite, float]:
        """Median residual norm where the vector starts: the last token of the prompts."""
        write = self.written("with_context")
        streams = read_stream(self.model, [write(row) for row in rows], sites)
        return {site: float(stream.norm(dim=-1).median()) for site, stream in streams.items()}

    def unsteered(self) -> Condition:
        """The model on the bare prompt."""
        return Condition("unsteered", write=self.written("with_context"), role="unsteered")

    def finetuned(self) -> Condition:
        """The same of a checkpoint of its own: a rival."""
        return Condition("fine-tuned", write=self.written("with_context"))

    def grid(
        self,
        vectors: Mapping[HookSite, SteeringVector],
        coeffs: Sequence[float],
        norms: Mapping[HookSite, float],
        *,
        method: str = METHOD,
        n_random: int = 0,
    ) -> list[Condition]:
        """The vectors at every coefficient but 0, and their random controls."""
        write = self.written("with_context")
        options = {"place": PLACE, "n_random": n_random, "seed": self.seed, "write": write}
        return layer_coeff_grid(vectors, coeffs, norms, method=method, **options)

    def arms(
        self,
        rows: Sequence[ConflictQA],
        vector: SteeringVector,
        coeff: float,
        norms: Mapping[HookSite, float],
        *,
        compare: Collection[Rival] = RIVALS,
        cad_alpha: float,
        n_random: int,
    ) -> list[Condition]:
        """Every column of the comparison: the model alone, the chosen vector, random ones, and the rivals to `compare`.

        The vector's parts are taken at its norm; reversed means the vector and the random ones alike.
        """
        site, name = vector.site, "contextfocus and instructed"
        steered = coeff * vector.from_last_prompt_token()
        rules = {"CAD": (f"CAD alpha {cad_alpha:g}", CAD(cad_alpha)), "COIECD": ("COIECD", COIECD())}
        arms = [self.unsteered()]
        arms += [Condition(s, write=self.written(s)) for s in PROMPTING if s in compare]
        arms += [
            Condition(rival, write=self.written("with_context"), rule=rule, without_context=self.written("closed_book"))
            for key, (rival, rule) in rules.items() if key in compare
        ]  # fmt: skip
        signs = [coeff, -coeff] if "reversed" in compare else [coeff]
        arms += self.grid({site: vector}, signs, norms, n_random=n_random)
        if "both" in compare:
            arms.append(Condition(name, steered, self.written("instructed"), role="baseline"))
        for recipe in RECIPES if "parts" in compare else ():
            part = self.vectors(rows, [site], recipe)[site].unit() * vector.norm
            arms += self.grid({site: part}, [coeff], norms, method=f"part {recipe}")
        return arms


def as_asked(arms: Sequence[Condition], rows: Sequence[ConflictQA]) -> list[Condition]:
    """The arms as they apply to rows: without a context there is nothing to follow and nothing to contrast.

    Random vectors are reversed under conflict alone, where what turns with the sign is read (`odd_parts`).
    """
    drawn = [arm.factors.coeff for arm in arms if arm.factors.role == "control"]
    if rows[0].regime != "conflict":
        arms = [a for a in arms if a.factors.role != "control" or a.factors.coeff == drawn[0]]
    if rows[0].context:
        return list(arms)
    kept = [arm for arm in arms if arm.rule is None and _asked(arm).style == "with_context"]
    return [replace(arm, write=replace(_asked(arm), style="closed_book")) for arm in kept]


def _asked(arm: Condition) -> Asked:
    assert isinstance(arm.write, Asked)
    return arm.write
