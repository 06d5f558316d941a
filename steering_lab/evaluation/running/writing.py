"""How an example is put to the model: a prompt with what stands before it, or a question in a style of a wording."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from steering_lab.data.conflict_qa import ConflictQA
from steering_lab.data.templates import Message, PromptStyle, Wording

Example = str | ConflictQA


def example_key(example: Example) -> str:
    """What stands for an example in tables: a prompt itself, or the id of a question."""
    return example if isinstance(example, str) else example.id


@dataclass(frozen=True)
class Prefixed:
    """Writes `prefix` before a prompt; nothing with the empty one.

    With `chat=model.chat_text` the whole is the user's turn of a chat. `system` is the turn before it: None leaves that
    to the template, which may have a default of its own, and "" is an empty turn.

    Raises:
        ValueError: a system turn without a chat.
    """

    prefix: str = ""
    chat: Callable[[Sequence[Message]], str] | None = field(default=None, repr=False)
    system: str | None = None

    def __post_init__(self) -> None:
        if self.system is not None and self.chat is None:
            raise ValueError(f"system is {self.system!r}, but there is no chat for it to stand in: pass chat as well")

    def __call__(self, example: Example) -> str:
        """The prompt as it is put to the model. Raises ValueError for a question, which needs `Asked`."""
        if not isinstance(example, str):
            raise ValueError(f"{example.question!r} is a question with a context: write it with Asked(wording, style)")
        if self.chat is None:
            return self.prefix + example
        first: list[Message] = [] if self.system is None else [{"role": "system", "content": self.system}]
        return self.chat([*first, {"role": "user", "content": self.prefix + example}])


@dataclass(frozen=True)
class Asked:
    """Writes a question and its context in a style of a wording; with `chat=model.chat_text`, as a chat.

    `answer_prefix` begins the answer (`ConflictQA.begun`): in a chat it is the assistant's turn, left open.

    Args:
        wording: The templates.
        style: How the prompt is put: closed book, with context, instructed, opinion.
        instruction: Instead of the wording's first.
        chat: Writes messages as a chat, as `model.chat_text` does; without, plain text.
        answer_prefix: How the answer begins.
    """

    wording: Wording
    style: PromptStyle = "with_context"
    instruction: str | None = None
    chat: Callable[[Sequence[Message]], str] | None = field(default=None, repr=False)
    answer_prefix: str = ""

    def __call__(self, example: Example) -> str:
        """The prompt as it is put to the model. Raises ValueError for a bare prompt."""
        if isinstance(example, str):
            raise ValueError(f"{example!r} is a prompt, not a question: write it with Prefixed()")
        context = "" if self.style == "closed_book" else example.context
        asked: dict[str, Any] = {"instruction": self.instruction, "begun": example.begun(self.answer_prefix)}
        if self.chat is None:
            return self.wording.text(self.style, example.question, context, **asked)
        return self.chat(self.wording.chat(self.style, example.question, context, **asked))
