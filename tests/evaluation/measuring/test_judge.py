"""A judge behind a small server of ours that answers rightly, wrongly, slowly, busily, and not at all."""

import json
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

from steering_lab.analysis.plots import export
from steering_lab.cli.run import run as run_command
from steering_lab.data.labelled_texts import read_vader_ground_truth
from steering_lab.evaluation.measuring.agreement import agreement_of
from steering_lab.evaluation.measuring.judge import Judge, JudgeFailed, agreement, read_judge, read_score
from steering_lab.evaluation.measuring.measures import Measure
from steering_lab.evaluation.measuring.named_measures import label_of, named_measure
from steering_lab.runs import read_run

WORDS = ["awful", "bad", "poor", "dull", "plain", "fair", "good", "fine", "great", "superb", "best", "perfect"]
TEXTS = [f"a {word} day" for word in WORDS]
RUBRIC = 'From 0 to 10, how good? Answer {"score": number}.\n\n{text}'


class Server:
    """Answers a chat completion with what `says` makes of the text, and counts what it was asked."""

    def __init__(self) -> None:
        self.says: Callable[[str], object] = lambda text: json.dumps({"score": WORDS.index(text.split()[1]) * 10 / 11})
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.together, self.most, lock = 0, 0, threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    outer.asked.append(asked)
                    outer.keys.append(self.headers["Authorization"])
                    outer.together += 1
                    outer.most = max(outer.most, outer.together)
                try:
                    said = outer.says(asked["messages"][0]["content"].split("\n\n")[1])
                finally:
                    with lock:
                        outer.together -= 1
                status, body = said if isinstance(said, tuple) else (200, completion(said))
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()


def completion(said: object) -> str:
    message = {"role": "assistant", "content": said}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    return json.dumps({"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]})


@pytest.fixture
def server() -> Iterator[Server]:
    pytest.importorskip("openai")
    serving = Server()
    yield serving
    serving.http.shutdown()
    serving.http.server_close()


@pytest.fixture
def judge(server: Server, tmp_path: Path) -> Callable[..., Judge]:
    def made(**options: Any) -> Judge:
        usual: dict[str, Any] = {"unvalidated": True, "seconds": 5.0, "tries": 1, "base_url": server.url}
        kept = {"answers": tmp_path / "answers.jsonl", "model": "tiny", "rubric": RUBRIC, "low": 0, "high": 10}
        return Judge("goodness", **(usual | kept | options))

    return made


def table(texts: list[Any]) -> pd.DataFrame:
    return pd.DataFrame({"text": texts}, index=range(5, 5 + len(texts)))


# -- rightly ---------------------------------------------------------------------------------------------------------
def test_a_judge_is_a_measure_that_scores_each_text_on_its_row(server: Server, judge: Callable[..., Judge]) -> None:
    measure = judge()
    assert isinstance(measure, Measure)
    values = measure(table([TEXTS[0], TEXTS[11], None, TEXTS[0]]))
    assert values.index.tolist() == [5, 6, 7, 8]
    assert values.tolist()[:2] == [0.0, 10.0]
    assert math.isnan(values[7])
    assert values[8] == 0.0
    assert len(server.asked) == 2, "equal texts are asked about once"
    [asked] = [asked for asked in server.asked if TEXTS[0] in asked["messages"][0]["content"]]
    assert asked["messages"] == [{"role": "user", "content": RUBRIC.replace("{text}", TEXTS[0])}]
    assert (asked["temperature"], asked["model"], asked["max_tokens"]) == (0, "tiny", 64)


def test_a_text_with_braces_is_only_a_text(server: Server, judge: Callable[..., Judge]) -> None:
    server.says = lambda text: json.dumps({"score": len(text)})
    assert judge().scores(["{text}{0}"]) == {"{text}{0}": 9.0}


def test_what_was_answered_is_never_asked_again_not_even_what_was_no_score(
    server: Server, judge: Callable[..., Judge]
) -> None:
    server.says = lambda text: "I would rather not say." if "bad" in text else "7"
    first = judge()(table(TEXTS[:3]))
    asked = len(server.asked)
    again = judge()(table(TEXTS[:3]))
    pd.testing.assert_series_equal(first, again)
    assert len(server.asked) == asked == 3
    for other in ({"rubric": RUBRIC + "!"}, {"model": "large"}, {"high": 11}):
        judge(**other).scores(TEXTS[:1])
    assert len(server.asked) == 6, "another judge asks for itself"


def test_no_more_are_asked_at_once_than_allowed(server: Server, judge: Callable[..., Judge]) -> None:
    def slowly(text: str) -> str:
        time.sleep(0.05)
        return "3"

    server.says = slowly
    judge(at_once=2).scores(TEXTS)
    assert server.most == 2


def test_the_key_comes_from_the_environment_and_stands_in_no_file(
    server: Server, judge: Callable[..., Judge], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret-123")
    measure = judge()
    measure.scores(TEXTS[:1])
    assert server.keys == ["Bearer secret-123"]
    assert "secret-123" not in (tmp_path / "answers.jsonl").read_text() + json.dumps(measure.described())


# -- wrongly ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("said", "score"),
    [
        ('{"score": 7}', 7.0),
        (' {"score": 7.5, "why": "kind"}\n', 7.5),
        ("7", 7.0),
        ('```json\n{"score": 0}\n```', 0.0),
        ("", None),
        ("seven", None),
        ("I give it 7 of 10", None),
        ('{"score": "7"}', None),
        ('{"score": true}', None),
        ('{"rating": 7}', None),
        ('{"score": 11}', None),
        ("-1", None),
        ('{"score": NaN}', None),
        ('{"score": null}', None),
        ("[7]", None),
    ],
)
def test_an_answer_is_a_number_in_the_range_or_missing_never_nought(said: str, score: float | None) -> None:
    read = read_score(said, 0, 10)
    assert math.isnan(read) if score is None else read == score


def test_answers_that_are_no_score_are_counted_and_said(
    server: Server, judge: Callable[..., Judge], capsys: pytest.CaptureFixture[str]
) -> None:
    server.says = lambda text: "no idea" if "bad" in text else '{"score": 99}' if "poor" in text else "5"
    scores = judge().scores(TEXTS[:4])
    assert Judge.unread(scores) == 2
    assert capsys.readouterr().err == "goodness: 2 of 4 answers are no score from 0 to 10, and missing\n"


@pytest.mark.parametrize("body", ['{"choices": []}', '{"error": "?"}', completion(None)])
def test_what_is_no_chat_completion_ends_the_measuring_and_is_not_kept(
    server: Server, judge: Callable[..., Judge], body: str
) -> None:
    server.says = lambda text: (200, body)
    with pytest.raises(JudgeFailed, match="is no chat completion"):
        judge().scores(TEXTS[:1])
    assert not judge().answers.exists()


# -- slowly, busily, not at all --------------------------------------------------------------------------------------
@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_address_is_tried_again(server: Server, judge: Callable[..., Judge], status: int) -> None:
    server.says = lambda text: (status, "{}") if len(server.asked) < 2 else "4"
    assert judge(tries=3).scores(TEXTS[:1]) == {TEXTS[0]: 4.0}
    assert len(server.asked) == 2


def test_one_that_stays_busy_ends_the_measuring_with_what_it_answered_kept(
    server: Server, judge: Callable[..., Judge]
) -> None:
    server.says = lambda text: (500, "{}") if TEXTS[3] in text else "4"
    with pytest.raises(JudgeFailed, match=r"did not answer \(InternalServerError.*the same call asks for the rest"):
        judge(at_once=1, tries=2).scores(TEXTS[:4])
    asked = len(server.asked)
    assert asked == 5  # three that were answered, and one that was tried twice
    server.says = lambda text: "4"
    assert judge().scores(TEXTS[:4]) == dict.fromkeys(TEXTS[:4], 4.0)
    assert len(server.asked) == asked + 1


def test_a_refusal_is_not_tried_again(server: Server, judge: Callable[..., Judge]) -> None:
    server.says = lambda text: (404, '{"error": {"message": "no model tiny here"}}')
    with pytest.raises(JudgeFailed, match=r"NotFoundError.*no model tiny here"):
        judge(tries=5).scores(TEXTS[:1])
    assert len(server.asked) == 1


def test_a_slow_address_is_given_up_after_its_time(server: Server, judge: Callable[..., Judge]) -> None:
    def slowly(text: str) -> str:
        time.sleep(1.0)
        return "3"

    server.says = slowly
    began = time.monotonic()
    with pytest.raises(JudgeFailed, match="APITimeoutError"):
        judge(seconds=0.2).scores(TEXTS[:1])
    assert time.monotonic() - began < 0.9


def test_nobody_at_the_address_is_an_error_that_says_where(server: Server, judge: Callable[..., Judge]) -> None:
    server.http.shutdown()
    server.http.server_close()
    with pytest.raises(JudgeFailed, match=f"tiny at {server.url} did not answer .APIConnectionError"):
        judge().scores(TEXTS[:1])


def test_a_line_that_a_kill_tore_is_asked_for_again(server: Server, judge: Callable[..., Judge]) -> None:
    judge().scores(TEXTS[:2])
    kept = judge().answers
    kept.write_bytes(kept.read_bytes()[:-10])
    assert len(judge().scores(TEXTS[:2])) == 2
    assert len(server.asked) == 3
    judge().scores(TEXTS[:2])
    assert len(server.asked) == 3


# -- agreement -------------------------------------------------------------------------------------------------------
def test_a_judge_measures_only_after_it_was_compared_with_people(
    server: Server, judge: Callable[..., Judge], tmp_path: Path
) -> None:
    toml = tmp_path / "goodness.toml"
    lines = [f'model = "tiny"\nbase_url = "{server.url}"\nlow = 0\nhigh = 10\nrubric = """{RUBRIC}"""']
    toml.write_text("\n".join(lines))
    name = f"judge:{toml}"
    with pytest.raises(ValueError, match="has not been compared with people: compare it with texts"):
        named_measure(name)
    labelled = {text: i / 3 - 2 for i, text in enumerate(TEXTS)}
    found = agreement(read_judge(toml), labelled, of="twelve days", file=toml)
    assert found.correlation == pytest.approx(1)
    assert found.share_read == 1
    measure = named_measure(name)
    assert isinstance(measure, Judge)
    assert (measure.name, measure.agreed) == (name, found)
    assert measure.described()["agreement"]["of"] == "twelve days"
    assert label_of(name) == "goodness, as the judge scores it"
    asked = len(server.asked)
    measure(table(TEXTS))
    assert len(server.asked) == asked, "what was asked for the comparison is known"
    toml.write_text(toml.read_text().replace("how good", "how kind"))
    with pytest.raises(ValueError, match="is that of another model, address, rubric or range"):
        named_measure(name)
    toml.write_text(toml.read_text() + "\nunvalidated = true")
    assert named_measure(name).name == name


def test_a_sweep_is_chosen_by_a_judge_and_says_which(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.says = lambda text: json.dumps({"score": len(text) % 11})
    monkeypatch.setattr(export, "find_chrome", lambda: None)
    toml = tmp_path / "goodness.toml"
    said = f'model = "tiny"\nbase_url = "{server.url}"\nlow = 0\nhigh = 10\nunvalidated = true'
    toml.write_text(f'{said}\nrubric = """{RUBRIC}"""')
    sweep = tmp_path / "mine.toml"
    sweep.write_text('experiment = "sweep"\npairs = "love_hate"\nplace = "front"\ncosts = []')
    small = ("layers=[1]", "coeffs=[-1, 1]", "n_prompts=2", "n_samples=1", "max_new_tokens=3", "n_random=3")
    run_command(sweep, set=(*small, "n_random_confirm=3", f"measures=['judge:{toml}']"), results=tmp_path / "r")
    [folder] = (tmp_path / "r/mine").iterdir()
    run = read_run(folder)
    assert run["sweep"]["metric"] == f"judge:{toml}"
    assert json.loads((folder / "judges.json").read_text())[0]["unvalidated"] is True
    page = (folder / "index.html").read_text()
    assert (
        f"is what tiny at {server.url} answers, from 0 to 10; its agreement with people is not known; asked: " in page
    )
    assert run["summary"].query("metric.str.startswith('judge')")["value"].between(0, 10).all()


def test_one_that_may_not_agree_is_refused_with_its_numbers(server: Server, judge: Callable[..., Judge]) -> None:
    server.says = lambda text: str(len(text) % 3)
    found = agreement(judge(), {text: i for i, text in enumerate(TEXTS)}, of="days")
    assert found.low < 0
    with pytest.raises(ValueError, match=r"may not agree with people at all \(rank correlation .* with days, 12 of 12"):
        judge(unvalidated=False, agreed=found)(table(TEXTS))


def test_an_agreement_is_spearmans_with_bonett_and_wrights_interval_and_counts_what_was_not_read() -> None:
    scores, labels = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], [2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11]
    found = agreement_of(scores, labels, n_asked=16, judge="j", of="x")
    r = 1 - 6 * 12 / (12 * 143)
    half = 1.959964 * math.sqrt((1 + r**2 / 2) / 9)
    ends = (math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half))
    assert (found.correlation, found.low, found.high) == pytest.approx((r, *ends))
    assert (found.n, found.n_asked, found.judge, found.of) == (12, 16, "j", "x")
    assert found.share_read == 0.75
    with pytest.raises(ValueError, match="9 of 16 texts have a score"):
        agreement_of(scores[:9], labels[:9], n_asked=16, judge="j", of="x")
    with pytest.raises(ValueError, match="all 12 labels are 1"):
        agreement_of(scores, [1] * 12, n_asked=16, judge="j", of="x")


def test_human_ratings_are_read_from_the_form_of_the_ground_truth(tmp_path: Path) -> None:
    file = tmp_path / "x_GroundTruth.txt"
    file.write_text("1\t2.5\tA fine day.\n2\t-1.0\tIt\trained.\n3\t0.1\tA fine day.\n")
    assert read_vader_ground_truth(file) == {"A fine day.": 2.5, "It\trained.": -1.0}
    file.write_text("1,2.5,A fine day.\n")
    with pytest.raises(ValueError, match=r"line 1 of .* is no id, rating and text with tabs"):
        read_vader_ground_truth(file)


# -- at the door -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"rubric": "How good?"}, "does not say where the text stands: write {text} in it"),
        ({"low": 10}, "go from 10 to 10: low must be below high"),
        ({"base_url": "localhost:8000/v1"}, "is 'localhost:8000/v1': it begins with http:// or https://"),
        ({"tries": 0}, "tries of 'goodness' is 0"),
        ({"seconds": math.nan}, "seconds of 'goodness' is nan"),
    ],
)
def test_what_cannot_judge_is_refused(changed: dict[str, Any], error: str, tmp_path: Path) -> None:
    usual = {"model": "m", "base_url": "http://localhost/v1", "rubric": RUBRIC, "low": 0, "high": 10}
    with pytest.raises(ValueError, match=error):
        Judge("goodness", answers=tmp_path / "a", **(usual | changed))


def test_a_judge_without_its_package_is_refused_when_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No text is written before it can be judged."""
    monkeypatch.setitem(sys.modules, "openai", None)
    toml = tmp_path / "j.toml"
    toml.write_text("model='m'\nbase_url='http://u'\nlow=0\nhigh=1\nrubric='{text}'\nunvalidated=true")
    with pytest.raises(ImportError, match=r"a judge needs one more package: pip install 'steering_lab\[judge\]'"):
        named_measure(f"judge:{toml}")
    monkeypatch.setitem(sys.modules, "openai", ModuleType("openai"))
    assert named_measure(f"judge:{toml}").name == f"judge:{toml}"


def test_a_file_that_describes_no_judge_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", ModuleType("openai"))
    with pytest.raises(ValueError, match=r"no file 'nowhere\.toml' that describes a judge"):
        named_measure("judge:nowhere.toml")
    toml = tmp_path / "j.toml"
    toml.write_text('model = "m"\nprompt = "?"')
    with pytest.raises(ValueError, match="has the key 'prompt': a judge has model, base_url, rubric, low, high"):
        read_judge(toml)
    toml.write_text("model = 'm'\nbase_url = 'http://u'\nlow = 0\nhigh = 1\nrubric = '{text}'\nkind = 'odd'")
    with pytest.raises(ValueError, match=r"kind in .* is 'odd': choose one of bounded, symmetric, skewed, heavy"):
        read_judge(toml)
    toml.write_text(toml.read_text().replace("odd", "bounded"))
    assert (read_judge(toml).kind, read_judge(toml).bounds) == ("bounded", (0, 1))
    toml.write_text('model = "m"')
    with pytest.raises(ValueError, match="has no base_url"):
        read_judge(toml)
