"""How questions are put to a model, and what follows from that: the vectors, their norms, conditions."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from steering_lab.data.conflict_qa import ConflictQA
from steering_lab.data.templates import PromptStyle, Wording
from steering_lab.evaluation.running.condition import Condition
from steering_lab.evaluation.running.control_vectors import Control
from steering_lab.evaluation.running.grid import layer_coeff_grid
from steering_lab.evaluation.running.writing import Asked
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.methods.contextfocus import Recipe, contextfocus_pairs, contextfocus_vectors
from steering_lab.methods.mean_difference import mean_difference_vectors
from steering_lab.models.hook_points import HookSite
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.reading import read_stream
from steering_lab.study.conflict.settings import ComparisonSettings
from steering_lab.study.vectors import exchange

PLACE: Literal["from_last_prompt_token"] = "from_last_prompt_token"
PROMPTING: tuple[PromptStyle, ...] = ("instructed", "opinion", "instructed_opinion")


@dataclass(frozen=True, eq=False)
class Asking:
    """A model, and how questions are put to it.

    Args:
        model: The model that is asked.
        wording: How prompts are worded.
        chat: Whether a prompt is a user's turn.
        seed: What instructions and random vectors are drawn by.
        answer_prefix: How every answer begins, as part of the prompt.
    """

    model: HookedModel
    wording: Wording
    chat: bool = False
    seed: int = 0
    answer_prefix: str = ""

    @classmethod
    def of(cls, model: HookedModel, config: ComparisonSettings) -> "Asking":
        """`model`, asked as `config` says."""
        return cls(model, config.worded, config.chat, config.seed, config.answer_prefix)

    def written(self, style: PromptStyle, instruction: str | None = None) -> Asked:
        """Writes a row in `style`, with `instruction` where the style has one; None is the first of the wording."""
        chat = self.model.chat_text if self.chat else None
        return Asked(self.wording, style, instruction, chat, self.answer_prefix)

    def texts(self, style: PromptStyle, rows: Iterable[ConflictQA]) -> list[str]:
        """The prompts of `rows`, in `style`."""
        return [self.written(style)(row) for row in rows]

    def plain(self, rows: Iterable[ConflictQA]) -> list[str]:
        """The prompts of `rows` with their context, where they have one."""
        return [self.written("with_context" if row.context else "closed_book")(row) for row in rows]

    def check_room(self, rows: Iterable[ConflictQA], max_new_tokens: int) -> None:
        """Nothing when every row fits the model in every style, with its answer.

        Args:
            rows: The questions.
            max_new_tokens: The length of an answer.

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
        """The ContextFocus vector of `rows` by `recipe` at each of `sites`."""
        return contextfocus_vectors(
            self.model, rows, sites, wording=self.wording, recipe=recipe, chat=self.chat,
            answer_prefix=self.answer_prefix, seed=self.seed,
        )  # fmt: skip

    def exchanged(
        self, rows: Sequence[ConflictQA], sites: Sequence[HookSite], flips: Sequence[bool]
    ) -> dict[HookSite, SteeringVector]:
        """The published vector of `rows` with the sides of some contrasts exchanged, at each of `sites`.

        Args:
            rows: The conflicts that it is made from.
            sites: Where.
            flips: Of which rows the sides are exchanged.
        """
        pairs = contextfocus_pairs(
            self.model, rows, wording=self.wording, chat=self.chat, answer_prefix=self.answer_prefix, seed=self.seed
        )
        return mean_difference_vectors(self.model, exchange(pairs, flips), sites)

    def norms(self, rows: Sequence[ConflictQA], sites: Sequence[HookSite]) -> dict[HookSite, float]:
        """Median residual norm at each of `sites` where the vector starts: the last token of the prompts of `rows`."""
        streams = read_stream(self.model, self.plain(rows), sites)
        return {site: float(stream.norm(dim=-1).median()) for site, stream in streams.items()}

    def unsteered(self) -> Condition:
        """The model on the bare prompt."""
        return Condition("unsteered", write=self.written("with_context"), role="unsteered")

    def grid(
        self, vectors: Mapping[HookSite, SteeringVector], coeffs: Sequence[float], norms: Mapping[HookSite, float], *,
        method: str, n_random: int = 0, controls: Sequence[Control] = (),
    ) -> list[Condition]:  # fmt: skip
        """The vectors at every coefficient but 0, and their controls.

        Args:
            vectors: The vector of each site.
            coeffs: What each is multiplied by; 0 is left out.
            norms: The median residual norm at each site (`norms`).
            method: The vectors' method, by its name.
            n_random: Random vectors of the same length for each site.
            controls: Further controls, each with a vector for every site.
        """
        return layer_coeff_grid(
            vectors, coeffs, norms, method=method, place=PLACE, n_random=n_random, seed=self.seed, controls=controls,
            write=self.written("with_context"),
        )  # fmt: skip


def as_asked(conditions: Sequence[Condition], rows: Sequence[ConflictQA]) -> list[Condition]:
    """The conditions as they apply to rows: without a context there is nothing to follow and nothing to contrast.

    Random vectors are reversed under conflict alone, where what turns with the sign is read (`odd_parts`).
    """
    drawn = [one.factors.coeff or 0.0 for one in conditions if one.factors.role == "control"]
    if rows[0].regime != "conflict":
        conditions = [c for c in conditions if c.factors.role != "control" or (c.factors.coeff or 0.0) * drawn[0] > 0]
    if rows[0].context:
        return list(conditions)
    asked = [(one, one.write) for one in conditions if one.rule is None]
    return [
        replace(one, write=replace(write, style="closed_book"))
        for one, write in asked
        if isinstance(write, Asked) and write.style == "with_context"
    ]
