"""How a question and its context are put to a model: five prompt styles in three wordings, as plain text or a chat.

A wording is a handful of strings; a style says which of them are used. Every style of a wording asks the same question
over the same context, so styles differ in nothing else. A chat is a list of messages: applying the model's chat
template, without a second beginning-of-text token, is the tokenizer's business.
"""

import random
import string
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypedDict, get_args

PromptStyle = Literal["closed_book", "with_context", "instructed", "opinion", "instructed_opinion"]
STYLES: tuple[PromptStyle, ...] = get_args(PromptStyle)


class Message(TypedDict):
    """One turn of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True)
class Wording:
    """Templates with {question}, {context}, and {asked}: the question without its question mark.

    `instructions` all say the same in other words, the first is the default; an instruction stands before the text,
    `gap` between them; behind the text, after `answer_gap`, an answer may be begun. In the opinion styles the context
    is quoted, so it loses its own double quotes (Zhou et al. 2023, arXiv:2303.11315).

    Args:
        name: The wording's name.
        closed_book: The template of a question alone.
        with_context: The template of a question with its context.
        opinion: The template that quotes the context as somebody's opinion.
        instructions: Instructions to use the context that all say the same; the first is the default.
        gap: What stands between instruction and text.
        answer_gap: What stands between text and the beginning of an answer.

    Raises:
        ValueError: a template without its placeholder or with another one, or no instruction.
    """

    name: str
    closed_book: str
    with_context: str
    opinion: str
    instructions: tuple[str, ...]
    gap: str = "\n"
    answer_gap: str = " "

    def __post_init__(self) -> None:
        asks = ({"question"}, {"asked"})
        reads = ({"context", "question"}, {"context", "asked"})
        for name, allowed in (("closed_book", asks), ("with_context", reads), ("opinion", reads)):
            held = {field for _, field, _, _ in string.Formatter().parse(getattr(self, name)) if field is not None}
            if held not in allowed:
                wanted = " or ".join("{" + "} and {".join(sorted(fields)) + "}" for fields in allowed)
                raise ValueError(f"{name} of wording {self.name!r} has to hold {wanted}, it holds {sorted(held)}")
        if not all(instruction.strip() for instruction in self.instructions) or not self.instructions:
            raise ValueError(f"wording {self.name!r} needs instructions, none of them empty")

    def text(
        self,
        style: PromptStyle,
        question: str,
        context: str = "",
        *,
        instruction: str | None = None,
        begun: str = "",
    ) -> str:
        """The prompt as plain text.

        Args:
            style: How the prompt is put: closed book, with context, instructed, opinion.
            question: The question.
            context: The passage that is read; "" where the style has none.
            instruction: instead of the first of `instructions`; only for the instructed styles.
            begun: how the answer begins; the model goes on behind it.

        Raises:
            ValueError: an unknown style, a style that needs a context and gets none, an instruction that is empty or
                that the style has no place for.
        """
        lead, body = self._parts(style, question, context, instruction)
        return (lead + self.gap if lead else "") + body + (self.answer_gap + begun if begun else "")

    def chat(
        self,
        style: PromptStyle,
        question: str,
        context: str = "",
        *,
        instruction: str | None = None,
        system_turn: bool = True,
        begun: str = "",
    ) -> list[Message]:
        """The prompt as messages: the instruction is the system turn, the rest the user's, a begun answer the last.

        Without `system_turn` (some chat templates refuse one) the instruction opens the user's turn. Raises as `text`.

        Args:
            style: How the prompt is put: closed book, with context, instructed, opinion.
            question: The question.
            context: The passage that is read; "" where the style has none.
            instruction: Instead of the first of `instructions`; only for the instructed styles.
            system_turn: Whether the instruction is a system turn; some chat templates refuse one.
            begun: How the answer begins; the model goes on behind it.
        """
        lead, body = self._parts(style, question, context, instruction)
        answer: list[Message] = [{"role": "assistant", "content": begun}] if begun else []
        if lead and system_turn:
            return [{"role": "system", "content": lead}, {"role": "user", "content": body}, *answer]
        return [{"role": "user", "content": lead + self.gap + body if lead else body}, *answer]

    def _parts(self, style: PromptStyle, question: str, context: str, instruction: str | None) -> tuple[str, str]:
        if style not in STYLES:
            raise ValueError(f'prompt style "{style}" is unknown: choose one of {", ".join(STYLES)}')
        instructed = style.startswith("instructed")
        if instruction is not None and (not instructed or not instruction.strip()):
            where = "is empty" if instructed else f'has no place in style "{style}"'
            raise ValueError(f"the instruction {instruction!r} {where}")
        if style != "closed_book" and not context.strip():
            raise ValueError(f'style "{style}" needs a context; the one of {question!r} is empty')
        template = {"closed_book": self.closed_book, "with_context": self.with_context, "instructed": self.with_context}
        if style.endswith("opinion"):
            context = context.replace('"', "")
        body = template.get(style, self.opinion).format(
            question=question, context=context, asked=question.rstrip().removesuffix("?")
        )
        return (self.instructions[0] if instruction is None else instruction) if instructed else "", body


# Our own words: use the context, and nothing else.
INSTRUCTIONS = (
    "Answer the question from the context and from nothing else.",
    "Treat the passage you are given as the only source of truth.",
    "Whatever you may have learned before, reply with what the passage says.",
    "Take your answer from the text provided, even where it surprises you.",
    "Let the supplied context decide, not your own knowledge.",
    "Read the passage and give the answer that it supports.",
    "Your reply has to follow from the given text alone.",
    "If the context and your memory differ, go with the context.",
    "Consult just the passage; leave everything else you know aside.",
    "Give the answer stated in the text, without adding outside facts.",
    "Assume that every statement in the context is correct and answer accordingly.",
    "Do not draw on background knowledge: the passage is all that counts.",
    "Stay faithful to the document shown and answer on its basis.",
    "Find the answer inside the provided passage.",
    "The context overrides anything you remember, so answer by it.",
    "Reply strictly on the evidence of the text that comes with the question.",
    "Suppose the passage were all you had ever read; what would you answer?",
    "Keep to the information in the context when you answer.",
    "Trust the given document over your own recollection and answer from it.",
    "Report what the supplied text says in response to the question.",
)

# Zhou et al. 2023 (arXiv:2303.11315) and Bi et al. 2024 (Context-DPO, arXiv:2412.15280), to the letter, for questions
# that end in "?"; theirs cuts the last character of any question, ours only a question mark. They have no closed-book
# prompt: it is the base prompt without its first line.
CONTEXT_DPO = Wording(
    "context_dpo",
    closed_book="Q:{question}\nA:",
    with_context="{context}\nQ:{question}\nA:",
    opinion='Bob said "{context}"\nQ: {asked} in Bob\'s opinion?\nA:',
    instructions=("Instruction: read the given information and answer the corresponding question.", *INSTRUCTIONS),
    gap="\n\n",
)

# A question as one asks it, behind what is to be read: for chats, where the template says whose turn it is. The first
# instruction is short, since small models lose a long one.
PLAIN = Wording(
    "plain",
    closed_book="{question}",
    with_context="{context} {question}",
    opinion='Bob said, "{context}" {asked} in Bob\'s opinion?',
    instructions=("Answer the question according to the given context.", *INSTRUCTIONS),
    answer_gap="\n",
)

# Anand et al. 2026 (ContextFocus, arXiv:2601.04131). Its "unsteered" condition on ConFiQA carries the first
# instruction, so it is our style "instructed"; for vectors the instruction is drawn from paraphrases, ours being
# INSTRUCTIONS. Theirs has a space before the line break where Natural Questions' </P> ends the context; the opinion
# form is second-hand.
CONTEXTFOCUS = Wording(
    "contextfocus",
    closed_book="Question: {question}",
    with_context="Context: {context}\nQuestion: {question}",
    opinion='Bob said, "{context}".\n{asked} in Bob\'s opinion?',
    instructions=(
        "You are a Contextual QA Assistant. Please answer the following question according to the given context. "
        "Please restrict your response to one sentence.",
        *INSTRUCTIONS,
    ),
    answer_gap="\n",
)

WORDINGS: Mapping[str, Wording] = MappingProxyType({w.name: w for w in (CONTEXT_DPO, CONTEXTFOCUS, PLAIN)})


def draw_instructions(count: int, seed: int, instructions: tuple[str, ...] = INSTRUCTIONS) -> tuple[str, ...]:
    """`count` instructions drawn for `seed`: all of them in random order, then all in another, until there are enough.

    So each is there as often as any other, give or take one, and a mean over rows leans to none of them.

    Raises:
        ValueError: no instructions to draw from, or a negative count.
    """
    if not instructions or count < 0:
        raise ValueError(f"cannot draw {count} from {len(instructions)} instructions")
    rng = random.Random(f"instructions {seed}")
    drawn: list[str] = []
    while len(drawn) < count:
        drawn += rng.sample(instructions, len(instructions))
    return tuple(drawn[:count])
