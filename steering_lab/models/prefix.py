"""What stands in front of a text: the tokenizer's own tokens, one token that is named, or nothing.

    tokenizer    ids equal tokenizer(text).input_ids, token for token, as plain Hugging Face runs the model
    bos          exactly one beginning-of-text token: TransformerLens's convention, and the ActAdd paper's on GPT-2
    none         the text alone: what a TransformerLens model with `default_prepend_bos=False` does
    <|mark|>     exactly one special token of the tokenizer, by its name: where the token that separated documents in
                 training is not the one that the tokenizer calls beginning of text

Text that a chat template has written brings its special tokens along: it is a `ChatText`, and nothing is put before it.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

PREFIXES = ("tokenizer", "bos", "none")
"""What `prefix` may be beside the name of a special token."""


class ChatText(str):
    """A chat as its template writes it, tokenised as it stands. Text added at either end leaves it one."""

    __slots__ = ()

    def __add__(self, after: str) -> "ChatText":
        return ChatText(str.__add__(self, after))

    def __radd__(self, before: str) -> "ChatText":
        return ChatText(str(before) + str(self))


def check_prefix(tokenizer: Any, prefix: str, name: str) -> str:
    """`prefix`, where the tokenizer can put it in front of a text.

    Args:
        tokenizer: Whose beginning-of-text token "bos" means.
        prefix: What was asked for.
        name: The model, as an error names it.

    Raises:
        ValueError: neither of `PREFIXES` nor a special token, or "bos" where the tokenizer has no such token.
    """
    marks = [str(mark) for mark in tokenizer.all_special_tokens]
    if prefix not in (*PREFIXES, *marks):
        raise ValueError(f"prefix is {prefix!r}: choose one of {', '.join(map(repr, (*PREFIXES, *marks)))}")
    if prefix == "bos" and tokenizer.bos_token_id is None:
        raise ValueError(f"the tokenizer of {name} has no beginning-of-text token: choose prefix='tokenizer'")
    return prefix


def text_ids(tokenizer: Any, text: str, prefix: str) -> list[int]:
    """Ids of `text` behind its prefix; a `ChatText` as it stands.

    Args:
        tokenizer: Hugging Face's.
        text: Kept to the letter.
        prefix: What stands in front.

    Raises:
        ValueError: a lone surrogate, as a byte that is not UTF-8 on a command line becomes: no tokenizer reads it.
    """
    try:
        str(text).encode()
    except UnicodeEncodeError as error:
        lone = str(text)[error.start]
        raise ValueError(f"{str(text)!r} holds {lone!r}, which is no character but half of one: write UTF-8") from None
    if prefix == "tokenizer" and not isinstance(text, ChatText):
        return list(tokenizer(text)["input_ids"])
    ids = list(tokenizer(str(text), add_special_tokens=False)["input_ids"])
    mark = {"tokenizer": None, "none": None, "bos": tokenizer.bos_token}.get(prefix, prefix)
    if mark is not None and not isinstance(text, ChatText):
        front = int(tokenizer.convert_tokens_to_ids(mark))
        return ids if ids[:1] == [front] else [front, *ids]
    return ids


def prefix_ids(tokenizer: Any, prefix: str) -> list[int]:
    """The ids that `prefix` has `tokenizer` put in front of every plain text."""
    alone = list(tokenizer("a", add_special_tokens=False)["input_ids"])
    whole = text_ids(tokenizer, "a", prefix)
    return next((whole[:i] for i in range(len(whole)) if whole[i : i + len(alone)] == alone), [])


def chat_text(
    tokenizer: Any,
    messages: str | Sequence[Mapping[str, object]],
    name: str,
    system: str | None = None,
    **options: Any,
) -> ChatText:
    """The messages as the tokenizer's chat template writes them, up to where the assistant's answer begins or goes on.

    A bare string is a user's turn. `system` goes before the messages: "" is an empty system turn, None the template's
    own default. A last message by the assistant is continued ("The capital of France is"). `options` go to the
    template: tools, documents, `enable_thinking`, whatever it knows.

    Args:
        tokenizer: Its tokenizer.
        messages: A user's turn, or a list of role and content.
        name: The model's name, for errors.
        system: The turn before the messages; "" is an empty one, None the template's own.
        **options: What the template reads besides: tools, documents, `enable_thinking`.

    Raises:
        ValueError: no chat template, no message, two system turns, an option that the template does not read, or
            messages that it refuses.
    """
    messages = [{"role": "user", "content": messages}] if isinstance(messages, str) else list(messages)
    if not getattr(tokenizer, "chat_template", None):
        raise ValueError(f"{name} has no chat template: use plain prompts, or set model.tokenizer.chat_template")
    if not messages:
        raise ValueError("a chat needs at least one message, e.g. {'role': 'user', 'content': 'Hello'}")
    if stray := [message for message in messages if not isinstance(message, Mapping) or "role" not in message]:
        raise ValueError(f"{stray[0]!r} is no message: write it as {{'role': 'user', 'content': 'Hello'}}")
    if system is not None:
        if messages[0]["role"] == "system":
            raise ValueError(
                f"there are two system turns, {messages[0].get('content')!r} and {system!r}: leave one out"
            )
        messages = [{"role": "system", "content": system}, *messages]
    if unread := set(options) - _read_by(tokenizer.chat_template, set(options)):
        raise ValueError(f"the chat template of {name} does not read {min(unread)!r}: leave it out")
    begun = messages[-1]["role"] == "assistant"
    how = {"continue_final_message": True} if begun else {"add_generation_prompt": True}
    try:
        return ChatText(tokenizer.apply_chat_template(messages, tokenize=False, **how, **options))
    except Exception as error:  # templates raise jinja's errors, and Python's own
        raise ValueError(f"the chat template of {name} refuses these messages: {error}") from error


def _read_by(template: Any, options: set[str]) -> set[str]:
    """Those of `options` that the template names; all of them where it is more than one text."""
    if not isinstance(template, str):
        return options
    return {option for option in options if re.search(rf"\b{re.escape(option)}\b", template)}
