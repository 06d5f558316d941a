"""ContextFocus: one direction that makes a model follow its context where memory disagrees.

    v = 1/N sum_i ( h[instruction_i + context_i + question_i] - h[question_i] )

read at the last prompt token, at the output of a block. Anand et al. 2026, arXiv:2601.04131, section 3; applied there
with `2.0 * v.from_last_prompt_token()` at one middle layer of an instruction-tuned model, prompts chat-templated, the
instruction drawn from twenty paraphrases. No answer is ever in either prompt and nothing is normalised.

The published contrast changes two things at once, the instruction and the presence of a context. The other recipes take
it apart; a claim about the direction needs them beside it, and random vectors of its norm.
"""

from collections.abc import Sequence
from typing import Any, Literal, SupportsIndex, get_args

from steering_lab.data.conflict_qa import ConflictQA
from steering_lab.data.contrast_pairs import ContrastPair
from steering_lab.data.templates import Message, PromptStyle, Wording, draw_instructions
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.methods.mean_difference import mean_difference_vectors
from steering_lab.models.hook_points import HookSite, Sites
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.integers import whole_number
from steering_lab.models.reading import Read

Recipe = Literal["joint", "context_only", "instruction_only", "same_context", "shuffled_context"]


def contextfocus_vectors(
    model: HookedModel,
    rows: Sequence[ConflictQA],
    sites: Sites,
    *,
    wording: Wording,
    recipe: Recipe = "joint",
    chat: bool = False,
    answer_prefix: str = "",
    read: Read = "last",
    seed: SupportsIndex = 0,
    batch_size: int = 16,
) -> dict[HookSite, SteeringVector]:
    """One-row vectors at every site from conflicting `rows`; diagnostics as in `mean_difference_vectors`.

    recipe: "joint" is the published contrast. "context_only" leaves out the instruction, "instruction_only" the
    context, "same_context" contrasts with and without the instruction over one context, "shuffled_context" is "joint"
    with every question over another's context. `read=-2` reads one token earlier, as the authors' code did.
    `answer_prefix` begins the answer in both prompts (`ConflictQA.begun`), so that its last token is the one read.

    Args:
        model: The model that is read.
        rows: Questions whose context contradicts memory.
        sites: Where the stream is read.
        wording: How they are put.
        recipe: Which two prompts are contrasted; "joint" is the published one.
        chat: Whether the prompts are put as a chat.
        answer_prefix: How the answer begins in both prompts.
        read: Which token of a prompt is read: "last", "mean" or a negative index.
        seed: What instructions and shuffled contexts are drawn by.
        batch_size: Prompts read in one pass.

    Raises:
        ValueError: no rows, rows without a context, an unknown recipe, or `chat` with a model without a chat template.
    """
    seed = whole_number(seed, "seed")
    pairs = contextfocus_pairs(
        model, rows, wording=wording, recipe=recipe, chat=chat, answer_prefix=answer_prefix, seed=seed
    )
    vectors = mean_difference_vectors(model, pairs, sites, read=read, batch_size=batch_size)
    asked = {"recipe": recipe, "wording": wording.name, "chat": chat, "seed": seed, "rows": [row.id for row in rows]}
    asked |= {"answer_prefix": answer_prefix} if answer_prefix else {}
    return {site: vector.described(f"contextfocus({recipe})", **asked) for site, vector in vectors.items()}


def contextfocus_pairs(
    model: HookedModel,
    rows: Sequence[ConflictQA],
    *,
    wording: Wording,
    recipe: Recipe = "joint",
    chat: bool = False,
    answer_prefix: str = "",
    seed: int = 0,
) -> list[ContrastPair]:
    """The two prompts of every row, as text for `model`: what the direction is the mean difference of.

    Args:
        model: The model that is read.
        rows: Questions whose context contradicts memory.
        wording: How they are put.
        recipe: Which two prompts are contrasted; "joint" is the published one.
        chat: Whether the prompts are put as a chat.
        answer_prefix: How the answer begins in both prompts.
        seed: What instructions and shuffled contexts are drawn by.
    """
    if recipe not in get_args(Recipe):
        raise ValueError(f"recipe is {recipe!r}: choose one of {', '.join(get_args(Recipe))}")
    if not rows:
        raise ValueError("no rows were given to build a ContextFocus vector from")
    if bare := [row.question for row in rows if not row.context.strip()]:
        raise ValueError(
            f"{len(bare)} rows have no context, the first is {bare[0]!r}: vectors need conflicting contexts"
        )
    instructions = draw_instructions(len(rows), seed, wording.instructions)
    contexts = [row.context for row in rows]
    if recipe == "shuffled_context":
        contexts = contexts[1:] + contexts[:1]

    def write(style: PromptStyle, row: ConflictQA, context: str, instruction: str | None = None) -> str:
        asked: dict[str, Any] = {"instruction": instruction, "begun": row.begun(answer_prefix)}
        if chat:
            return model.chat_text(wording.chat(style, row.question, context, **asked))
        return wording.text(style, row.question, context, **asked)

    def write_bare(row: ConflictQA, instruction: str) -> str:
        begun = row.begun(answer_prefix)
        if chat:
            system: Message = {"role": "system", "content": instruction}
            return model.chat_text([system, *wording.chat("closed_book", row.question, begun=begun)])
        return instruction + wording.gap + wording.text("closed_book", row.question, begun=begun)

    pairs = []
    for row, context, instruction in zip(rows, contexts, instructions, strict=True):
        question, with_context = write("closed_book", row, ""), write("with_context", row, context)
        instructed = write("instructed", row, context, instruction)
        match recipe:
            case "context_only":
                pairs.append(ContrastPair(with_context, question))
            case "same_context":
                pairs.append(ContrastPair(instructed, with_context))
            case "instruction_only":
                pairs.append(ContrastPair(write_bare(row, instruction), question))
            case _:
                pairs.append(ContrastPair(instructed, question))
    return pairs
