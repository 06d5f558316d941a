"""Files of questions with conflicting contexts, read strictly: ConFiQA, NQ-SWAP, and this package's own JSONL.

Every refusal names the file and the line (a row's number in a .json list). Context and question are read from keys of
their own: a prompt that holds both in one string is never split, because a split that fails unnoticed leaves the
"question without context" with its context. Text is kept to the letter, Natural Questions' `<P>` marks included.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from steering_lab.data.answer_matching import is_blank_answer
from steering_lab.data.conflict_qa import ConflictQA, check_regime, question_group
from steering_lab.data.text_files import text_in

BlankAliases = Literal["refuse", "set_aside"]
Entry = Mapping[str, Any]

_CONFIQA = ("question", "orig_context", "orig_answer", "orig_alias", "cf_context", "cf_answer", "cf_alias")
_NQSWAP = ("question", "org_context", "org_answer", "sub_context", "sub_answer")
_OWN = ("question", "context", "context_answers", "memory_answers")
_OWN_OPTIONS = ("group", "regime", "original_context", "blank_context_aliases", "blank_memory_aliases", "meta")


def read_confiqa(path: str | Path, *, blank_aliases: BlankAliases = "refuse") -> tuple[ConflictQA, ...]:
    """The rows of the ConFiQA file at `path`, as conflicts (Bi et al. 2024, arXiv:2412.15280).

    The context answers are cf_answer and cf_alias, the memory answers orig_answer and orig_alias, the context is
    cf_context. The other keys (paths, triples, context pieces, MC's `orig`) are not needed and not read. `meta` holds
    the file's name under "source".

    Args:
        blank_aliases: an alias that normalises to nothing (the currencies have "$") is refused, or set aside in the
            row's blank aliases, where `official_scores` still counts it as the published scorer does.
        path: The file, a .json list.

    Raises:
        ValueError: not a list of objects, a missing key, a value of another type, an empty text, a blank answer.
    """

    def row(entry: Entry, source: str) -> ConflictQA:
        _require(entry, _CONFIQA)
        context, set_aside = _usable([_text(entry, "cf_answer"), *_texts(entry, "cf_alias")], blank_aliases)
        memory, also_aside = _usable([_text(entry, "orig_answer"), *_texts(entry, "orig_alias")], blank_aliases)
        return _conflict(entry, ("cf_context", "orig_context"), (context, memory), (set_aside, also_aside), source)

    return _read(Path(path), row)


def read_nqswap(path: str | Path, *, blank_aliases: BlankAliases = "refuse") -> tuple[ConflictQA, ...]:
    """The rows of an NQ-SWAP file (.jsonl, or a .json list), as conflicts (Longpre et al. 2021, arXiv:2109.05052).

    The context answers are sub_answer, the memory answers org_answer, the context is sub_context. A question has
    several substitutions: they share its group. Rows that state both answers, or share one, are kept and say so
    (`contains_both`, `answers_overlap`).

    Args:
        path: The file.
        blank_aliases: As in `read_confiqa`.

    Raises:
        ValueError: not objects with exactly the five keys, a value of another type, an empty text, a blank answer
            (see `read_confiqa`).
    """

    def row(entry: Entry, source: str) -> ConflictQA:
        _require(entry, _NQSWAP, allowed=())
        context, set_aside = _usable(_texts(entry, "sub_answer"), blank_aliases)
        memory, also_aside = _usable(_texts(entry, "org_answer"), blank_aliases)
        return _conflict(entry, ("sub_context", "org_context"), (context, memory), (set_aside, also_aside), source)

    return _read(Path(path), row)


def read_conflict_qa(path: str | Path) -> tuple[ConflictQA, ...]:
    """The rows of a .jsonl file (or .json list) whose keys are the fields of `ConflictQA`; see `write_conflict_qa`.

    Needed: question, context, context_answers, memory_answers. By default the group is the question
    (`question_group`) and the regime "conflict".

    Args:
        path: The file.

    Raises:
        ValueError: a missing or unknown key, a value of another type, or what `ConflictQA` refuses.
    """

    def row(entry: Entry, source: str) -> ConflictQA:
        _require(entry, _OWN, allowed=_OWN_OPTIONS)
        given = {key: entry[key] for key in (*_OWN, *_OWN_OPTIONS) if entry.get(key) is not None}
        for key in given:
            if key == "meta":
                _check_meta(given[key])
            elif key.endswith(("answers", "aliases")):
                given[key] = tuple(_texts(entry, key))
            elif key == "context":
                given[key] = _text(entry, key, empty=True)
            else:
                given[key] = _text(entry, key)
        check_regime(given.setdefault("regime", "conflict"))
        return ConflictQA(**{"group": question_group(given["question"]), **given})

    return _read(Path(path), row)


def write_conflict_qa(path: str | Path, rows: Iterable[ConflictQA]) -> None:
    """`path` holds one JSON object a line, with every field of each of `rows`; `read_conflict_qa` reads them."""
    lines = [
        json.dumps({key: getattr(row, key) for key in (*_OWN, *_OWN_OPTIONS)} | {"meta": dict(row.meta)})
        for row in rows
    ]
    Path(path).write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def _conflict(
    entry: Entry,
    contexts: tuple[str, str],
    answers: tuple[tuple[str, ...], tuple[str, ...]],
    blank: tuple[tuple[str, ...], tuple[str, ...]],
    source: str,
) -> ConflictQA:
    question = _text(entry, "question")
    return ConflictQA(
        question,
        _text(entry, contexts[0]),
        *answers,
        group=question_group(question),
        original_context=_text(entry, contexts[1]),
        blank_context_aliases=blank[0],
        blank_memory_aliases=blank[1],
        meta={"source": source},
    )


def _usable(answers: Sequence[str], blank_aliases: BlankAliases) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The different answers that something is left of, and the others."""
    blank = tuple(dict.fromkeys(answer for answer in answers if is_blank_answer(answer)))
    if blank and blank_aliases == "refuse":
        raise ValueError(
            f"the alias {blank[0]!r} normalises to nothing, so the published scorer finds it in every answer and a "
            'strict one in none: correct the file, or pass blank_aliases="set_aside"'
        )
    if len(blank) == len(set(answers)):
        raise ValueError(f"no answer is left to look for among {list(answers)}")
    return tuple(dict.fromkeys(answer for answer in answers if answer not in blank)), blank


def _require(entry: Entry, needed: Sequence[str], allowed: Sequence[str] | None = None) -> None:
    """Every needed key is there, and no other than the allowed ones (None: any)."""
    for key in needed:
        if key not in entry:
            raise ValueError(f"the key {key!r} is missing; a row has {', '.join(needed)}")
    for key in entry:
        if allowed is not None and key not in (*needed, *allowed):
            raise ValueError(f"unknown key {key!r}; a row has {', '.join((*needed, *allowed))}")


def _text(entry: Entry, key: str, *, empty: bool = False) -> str:
    value = entry[key]
    if not isinstance(value, str) or not (empty or value.strip()):
        raise ValueError(f"{key} must be text{'' if empty else ' that is not empty'}, not {value!r}")
    return value


def _texts(entry: Entry, key: str) -> list[str]:
    value = entry[key]
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{key} must be a list of texts, not {value!r}")
    return value


def _check_meta(value: object) -> None:
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise ValueError(f"meta must be an object whose values are texts, not {value!r}")


def _read(path: Path, row: Callable[[Entry, str], ConflictQA]) -> tuple[ConflictQA, ...]:
    rows = []
    for where, entry in _entries(path):
        try:
            if not isinstance(entry, dict):
                raise ValueError(f"a row is an object, not {entry!r}")
            rows.append(row(entry, path.name))
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
    if not rows:
        raise ValueError(f"{path}: no rows in this file")
    return tuple(rows)


def _entries(path: Path) -> Iterator[tuple[str, object]]:
    text = text_in(path, "questions")
    if path.suffix not in (".json", ".jsonl"):
        raise ValueError(f"{path}: rows are read from .json and .jsonl, not from {path.suffix!r}")
    if path.suffix == ".json":
        entries = _parsed(text, path, 1)
        if not isinstance(entries, list):
            raise ValueError(f"{path}: a .json file of rows is a list of objects, not {type(entries).__name__}")
        yield from ((f"{path}: row {number}", entry) for number, entry in enumerate(entries, start=1))
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield f"{path}:{number}", _parsed(line, path, number)


def _parsed(text: str, path: Path, line: int) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}:{line + error.lineno - 1}: not JSON: {error.msg}") from None
