"""A language model as a scorer of texts, behind any address that speaks OpenAI's chat completions.

A judge is a measure like any other, with two rules of its own. It measures nothing before its agreement with people is
known (`agreement`), unless it is told to be `unvalidated`. And what it says is kept: a text is asked about once.

    model = "Qwen/Qwen2.5-7B-Instruct"
    base_url = "http://localhost:8000/v1"
    low = 0
    high = 10
    rubric = '''How kind is this text, from 0 (cruel) to 10 (kind)? Answer with JSON: {"score": number}.

    {text}'''

The key of an address that wants one is read from OPENAI_API_KEY, and stands in no file.
"""

import hashlib
import json
import math
import os
import sys
import tomllib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, fields
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd

from steering_lab.evaluation.measuring.agreement import Agreement, agreement_of
from steering_lab.numerics.kinds import Bounds, Kind
from steering_lab.safe_files import append_line, cut_torn_line, json_in, json_lines_in, replace_file
from steering_lab.tables import Scale

TEXT = "{text}"  # where the text stands in a rubric


class JudgeFailed(RuntimeError):
    """Texts that no answer came for. Those that were answered are kept, so that the same call asks for the rest."""


@dataclass(frozen=True)
class Judge:
    """Scores texts from `low` to `high` by a rubric; a measure (`measures.Measure`).

    An answer counts where it is JSON with a number "score" within the range, or such a number alone; any other is NaN,
    and how many there were is said on stderr and in `unread`. Temperature is 0.

    Args:
        name: The metric's name in tables.
        model: The model's name at the address.
        base_url: The address, up to and with /v1.
        rubric: The prompt, with {text} where the text stands.
        low: The lowest score.
        high: The highest score.
        answers: The file that keeps what was answered.
        unvalidated: Whether it may measure without an agreement.
        agreed: Its agreement with people.
        seconds: How long one try may take.
        tries: How often a text is tried, with growing pauses, where the address is busy, slow or not there.
        at_once: How many texts are asked about at the same time.
        max_tokens: How long an answer may be.
        kind: How differences of its scores are distributed; skewed where nothing is known.

    Raises:
        ValueError: a rubric without {text}, an address that is none, an empty range, or a number that is too small.
    """

    name: str
    model: str
    base_url: str
    rubric: str
    low: float | int
    high: float | int
    answers: Path
    unvalidated: bool = False
    agreed: Agreement | None = None
    seconds: float | int = 60.0
    tries: int = 4
    at_once: int = 4
    max_tokens: int = 64
    kind: Kind = Kind.SKEWED
    weight: None = field(default=None, init=False)
    scale: Scale = field(default="difference", init=False)

    def __post_init__(self) -> None:
        if TEXT not in self.rubric:
            raise ValueError(f"the rubric of {self.name!r} does not say where the text stands: write {TEXT} in it")
        if not str(self.base_url).startswith(("http://", "https://")):
            raise ValueError(f"base_url of {self.name!r} is {self.base_url!r}: it begins with http:// or https://")
        if not -math.inf < self.low < self.high < math.inf:
            raise ValueError(f"the scores of {self.name!r} go from {self.low} to {self.high}: low must be below high")
        for name, least in (("seconds", 0.001), ("tries", 1), ("at_once", 1), ("max_tokens", 1)):
            if not getattr(self, name) >= least:
                raise ValueError(f"{name} of {self.name!r} is {getattr(self, name)}: it must be {least} or more")

    @property
    def bounds(self) -> Bounds:
        """The lowest and the highest score."""
        return (self.low, self.high)

    @property
    def fingerprint(self) -> str:
        """A hash of all that determines an answer: model, address, rubric, range, length."""
        asked = [self.model, self.base_url, self.rubric, float(self.low), float(self.high), self.max_tokens]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]

    def described(self) -> dict[str, Any]:
        """Where its scores come from, for a run's provenance."""
        said = ("name", "model", "base_url", "rubric", "low", "high", "max_tokens", "unvalidated")
        agreed = None if self.agreed is None else asdict(self.agreed)
        return {**{name: getattr(self, name) for name in said}, "temperature": 0, "agreement": agreed}

    def check(self) -> None:
        """Nothing where it may measure.

        Raises:
            ValueError: its agreement with people is not known, was another judge's, or may be nothing.
        """
        if self.unvalidated:
            return
        how = "compare it with texts that people have labelled (agreement), or say unvalidated = true"
        if self.agreed is None:
            raise ValueError(f"the judge {self.name!r} has not been compared with people: {how}")
        if self.agreed.judge != self.fingerprint:
            raise ValueError(
                f"the agreement of {self.name!r} is that of another model, address, rubric or range: {how}"
            )
        if not self.agreed.low > 0:
            raise ValueError(f"the judge {self.name!r} may not agree with people at all ({self.agreed}): {how}")

    def __call__(self, generations: pd.DataFrame) -> pd.Series:
        """The score of each text, NaN for an answer that is none and for a row without a text.

        Raises:
            ValueError: see `check`.
            JudgeFailed: no answer came for some texts.
        """
        self.check()
        texts = [text if isinstance(text, str) else None for text in generations["text"]]
        scores = self.scores([text for text in texts if text is not None])
        values = [math.nan if text is None else scores[text] for text in texts]
        return pd.Series(values, index=generations.index, dtype=float)

    def scores(self, texts: Sequence[str]) -> dict[str, float]:
        """The score of each different text, NaN where the answer is none; no rule about agreement applies.

        Args:
            texts: What is judged; the same text twice is asked once, and one of an earlier run not at all.
        """
        different = list(dict.fromkeys(texts))
        known = self._kept()
        if missing := [text for text in different if self._key(text) not in known]:
            known |= self._ask(missing)
        scores = {text: read_score(known[self._key(text)], self.low, self.high) for text in different}
        if lost := self.unread(scores):
            print(
                f"{self.name}: {lost} of {len(scores)} answers are no score from {self.low:g} to {self.high:g},"
                " and missing",
                file=sys.stderr,
            )
        return scores

    @staticmethod
    def unread(scores: Mapping[str, float]) -> int:
        """How many answers were no score.

        Args:
            scores: As `scores` returns them.
        """
        return sum(map(math.isnan, scores.values()))

    def _key(self, text: str) -> str:
        return hashlib.sha256(f"{self.fingerprint}\n{text}".encode()).hexdigest()[:24]

    def _kept(self) -> dict[str, str]:
        """Replies by key, those of other judges too."""
        lines = json_lines_in(self.answers, mend="delete the line; its text is asked again", torn=True)
        return {line["key"]: line["reply"] for line in lines}

    def _ask(self, texts: Sequence[str]) -> dict[str, str]:
        """The replies to `texts` by key, each kept as soon as it is there."""
        found: dict[str, str] = {}
        cut_torn_line(self.answers)
        with client(self) as asking, ThreadPoolExecutor(self.at_once) as pool:
            waiting = {pool.submit(reply, asking, self, text): text for text in texts}
            try:
                for done in as_completed(waiting):
                    key = self._key(waiting[done])
                    found[key] = done.result()
                    kept = {"key": key, "model": self.model, "reply": found[key]}
                    append_line(self.answers, json.dumps(kept, ensure_ascii=False))
            except Exception as error:
                pool.shutdown(cancel_futures=True)
                raise JudgeFailed(
                    f"{self.name}: {self.model} at {self.base_url} did not answer ({type(error).__name__}: {error});"
                    f" {len(found)} of {len(texts)} texts are answered and kept in {self.answers}, the same call asks"
                    " for the rest"
                ) from error
        return found


def read_judge(file: str | Path, name: str = "") -> Judge:
    """The judge that a TOML file describes, with its agreement where it was saved beside the file.

    Args:
        file: The TOML file; its keys are the arguments of `Judge`.
        name: The metric's name; the file's by default.

    Raises:
        ValueError: no such file, a key that there is not or one that is missing, or what `Judge` refuses.
        ImportError: the package openai is not installed; said here, since texts are written before they are judged.
    """
    path = Path(file)
    if not path.is_file():
        raise ValueError(f"no file {str(file)!r} that describes a judge")
    said = tomllib.loads(path.read_text(encoding="utf-8"))
    allowed = [f.name for f in fields(Judge) if f.init and f.name not in ("name", "agreed", "answers")]
    if odd := [key for key in said if key not in allowed]:
        raise ValueError(f"{path} has the key {odd[0]!r}: a judge has {', '.join(allowed)}")
    if lacking := [key for key in ("model", "base_url", "rubric", "low", "high") if key not in said]:
        raise ValueError(f"{path} has no {lacking[0]}")
    saved = path.with_suffix(".agreement.json")
    if "kind" in said:
        if said["kind"] not in (kinds := [str(kind) for kind in Kind]):
            raise ValueError(f"kind in {path} is {said['kind']!r}: choose one of {', '.join(kinds)}")
        said["kind"] = Kind(said["kind"])
    agreed = json_in(saved, dict, mend="delete it, and measure the agreement again")
    agreed = None if agreed is None else Agreement(**agreed)
    judge = Judge(name or path.stem, answers=path.with_suffix(".answers.jsonl"), agreed=agreed, **said)
    _openai()
    return judge


def agreement(judge: Judge, labelled: Mapping[str, float | int], *, of: str, file: str | Path = "") -> Agreement:
    """How far the judge ranks texts as people did; with `file`, the judge's TOML file, saved beside it.

    Args:
        judge: It need not be validated.
        labelled: What people said of each text, on any scale that rises with the judge's.
        of: What the labels are, in a few words, kept with the result.
        file: The judge's file, which then is validated by this.

    Raises:
        ValueError: fewer than 10 texts with a score, or all scores or labels alike.
        JudgeFailed: no answer came for some texts.
    """
    scores = judge.scores(list(labelled))
    known = {text: score for text, score in scores.items() if not math.isnan(score)}
    found = agreement_of(
        list(known.values()), [labelled[text] for text in known], n_asked=len(scores), judge=judge.fingerprint, of=of
    )
    if file:
        replace_file(Path(file).with_suffix(".agreement.json"), json.dumps(asdict(found), indent=2) + "\n")
    return found


def read_score(said: str, low: float | int, high: float | int) -> float:
    """The score that an answer states: {"score": 7}, in a fence of code or not, or 7 alone; NaN for any other.

    Args:
        said: The judge's whole answer.
        low: The least score that counts.
        high: The most; a number beyond either is no score, and is not moved to the end.
    """
    text = said.strip().removeprefix("```json").strip("`").strip()
    try:
        value = json.loads(text)
    except ValueError:
        return math.nan
    score = value.get("score") if isinstance(value, dict) else value
    if isinstance(score, bool) or not isinstance(score, int | float) or not low <= score <= high:
        return math.nan
    return float(score)


def client(judge: Judge) -> Any:  # openai is no dependency
    """A client of the judge's address, which tries again by itself where trying again may help.

    Raises:
        ImportError: the package openai is not installed.
    """
    key = os.environ.get("OPENAI_API_KEY", "none")
    return _openai().OpenAI(base_url=judge.base_url, api_key=key, timeout=judge.seconds, max_retries=judge.tries - 1)


def _openai() -> Any:
    try:
        return import_module("openai")
    except ModuleNotFoundError as error:
        raise ImportError("a judge needs one more package: pip install 'steering_lab[judge]'") from error


def reply(asking: Any, judge: Judge, text: str) -> str:
    """What the judge says of a text.

    Args:
        asking: A client of the openai package.
        judge: Its model and rubric; it is asked at temperature 0.
        text: What stands in the rubric where the text belongs.

    Raises:
        ValueError: what came is no answer of a model.
    """
    answer = asking.chat.completions.create(
        model=judge.model,
        messages=[{"role": "user", "content": judge.rubric.replace(TEXT, text)}],
        temperature=0,
        max_tokens=judge.max_tokens,
    )
    choices = getattr(answer, "choices", None)
    if not choices or not isinstance(content := getattr(choices[0].message, "content", None), str):
        raise ValueError(f"what came from {judge.base_url} is no chat completion: {str(answer)[:80]!r}")
    return content
