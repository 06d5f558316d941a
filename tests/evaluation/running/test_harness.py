"""The harness's three kinds of request, against plain Hugging Face; and the harness itself where it is installed."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from steering_lab.evaluation.running.harness import SteeredAnswers, harness_model
from steering_lab.evaluation.running.harness_task import TASK, capitals_task
from steering_lab.interventions.steering import steer
from steering_lab.models.generation import generate
from steering_lab.models.hook_points import resid_pre
from steering_lab.models.hooked_model import HookedModel
from tests.tiny_models import hf_logits, hf_pre_hooks, hooked, n_hooks, plain, random_vector

PAIRS = [
    ("I hate you because you", " love the sea"),
    ("the quick", " brown fox"),
    ("", "joy"),
    ("To be or ", "not to be"),
]


def asked(*args: Any) -> Any:
    return SimpleNamespace(args=args)


@pytest.fixture(params=["gpt2", "llama"])
def model(request: pytest.FixtureRequest) -> HookedModel:
    return hooked(request.param)


def by_hand(
    model: HookedModel, name: str, ids: list[int], n_after: int, added: torch.Tensor | None
) -> tuple[float, bool]:
    hf, tokens = plain(name), model.pad([ids])
    hooks = {} if added is None else {1: lambda resid: resid + added}
    with torch.no_grad(), hf_pre_hooks(hf, hooks):
        said = torch.log_softmax(hf_logits(hf, tokens)[0].float(), dim=-1)[-n_after - 1 : -1]
    after = torch.tensor(ids[-n_after:])
    return float(said.gather(-1, after[:, None]).sum()), bool((said.argmax(-1) == after).all())


@pytest.mark.parametrize("name", ["gpt2", "llama"])
@pytest.mark.parametrize("steered", [False, True])
def test_log_likelihoods_are_plain_hugging_faces_with_the_vector_added(name: str, steered: bool) -> None:
    model = hooked(name)
    vector = random_vector(model, resid_pre(1))
    answers = SteeredAnswers(model, vector.everywhere() if steered else None, batch_size=2)
    found = answers.loglikelihood([asked(*pair) for pair in PAIRS])
    for (context, continuation), (log_prob, greedy) in zip(PAIRS, found, strict=True):
        before, after = answers.split(context, continuation)
        if context:
            assert [*before, *after] == model.token_ids(context + continuation)
        wanted = by_hand(model, name, [*before, *after], len(after), vector.rows[0] if steered else None)
        assert log_prob == pytest.approx(wanted[0], abs=1e-3)
        assert greedy == wanted[1]


def test_steering_changes_the_scores_and_leaves_no_hook(model: HookedModel) -> None:
    before, requests = n_hooks(model), [asked(*pair) for pair in PAIRS]
    vector = random_vector(model, resid_pre(1))
    scores = [
        SteeredAnswers(model, one).loglikelihood(requests)
        for one in (None, vector.everywhere(), 0.0 * vector.everywhere())
    ]
    assert scores[0] == scores[2]
    assert all(abs(a[0] - b[0]) > 1e-3 for a, b in zip(scores[0], scores[1], strict=True))
    assert n_hooks(model) == before


def test_the_greedy_continuation_is_said_to_be_greedy_and_another_is_not(model: HookedModel) -> None:
    edit = random_vector(model, resid_pre(1)).everywhere()
    with steer(model, edit):
        tokens = generate(model, "I hate you", max_new_tokens=1).tokens[0]
    answers = SteeredAnswers(model, edit)
    prompt, other = model.token_ids("I hate you"), [(tokens[0] + 1) % model.d_vocab]
    assert [one.is_greedy for one in answers._scored([(prompt, tokens), (prompt, other)])] == [True, False]


def test_spaces_at_a_contexts_end_are_the_continuations(model: HookedModel) -> None:
    answers = SteeredAnswers(model)
    assert answers.split("I love ", "the sea") == answers.split("I love", " the sea")


def test_rolling_windows_predict_each_token_once_with_all_the_context_there_is(model: HookedModel) -> None:
    answers = SteeredAnswers(model)
    text = "love the sea and the night " * (2 * model.n_ctx // 6 + 3)
    ids = model.token_ids(text)[len(model.prefix_ids) :]
    windows = list(answers.windows(text))
    assert len(windows) > 2
    assert [token for _, predicted in windows for token in predicted] == ids
    assert all(len(read) + len(predicted) - 1 == model.n_ctx for read, predicted in windows)
    for read, predicted in windows[1:]:
        whole = [*model.front_ids, *ids]
        assert any(whole[i : i + len(read) + len(predicted)] == [*read, *predicted] for i in range(len(whole)))
    (short,) = answers.loglikelihood_rolling([asked("I love the sea")])
    assert short == pytest.approx(answers.loglikelihood([asked("", "I love the sea")])[0][0], abs=1e-4)
    assert answers.loglikelihood_rolling([asked("")]) == [0.0]


def test_generation_stops_before_until_and_is_what_generate_writes_steered(model: HookedModel) -> None:
    edit = random_vector(model, resid_pre(1)).everywhere()
    with steer(model, edit):
        (whole,) = generate(model, "I hate you", max_new_tokens=8).texts
    answers = SteeredAnswers(model, edit)
    assert answers.generate_until([asked("I hate you", {"until": [], "max_gen_toks": 8, "do_sample": False})]) == [
        whole
    ]
    stop = whole[len(whole) // 2 :][:2]
    (cut,) = answers.generate_until([asked("I hate you", {"until": [stop], "max_gen_toks": 8})])
    assert cut == whole[: whole.index(stop)]
    with pytest.raises(ValueError, match="generation option 'num_beams' is not known here"):
        answers.generate_until([asked("I hate you", {"num_beams": 4})])


def test_what_cannot_be_scored_or_steered_is_refused(model: HookedModel) -> None:
    answers = SteeredAnswers(model)
    with pytest.raises(ValueError, match="adds no token"):
        answers.loglikelihood([asked("I love", "")])
    with pytest.raises(ValueError, match="does not fit"):
        answers.loglikelihood([asked("I love", " sea" * 5 * model.n_ctx)])
    with pytest.raises(ValueError, match="layer 99 is outside"):
        SteeredAnswers(model, random_vector(model, resid_pre(99)).everywhere())
    with pytest.raises(ValueError, match="batch_size is 0"):
        SteeredAnswers(model, batch_size=0)


def test_the_task_of_capitals_asks_each_country_once_with_the_right_choice_among_four(tmp_path: Path) -> None:
    assert capitals_task(tmp_path, n_questions=20) == TASK
    rows = [json.loads(line) for line in (tmp_path / f"{TASK}.jsonl").read_text().splitlines()]
    assert len({row["subject"] for row in rows}) == len(rows) == 20
    assert all(len(set(row["choices"])) == 4 for row in rows)
    assert len({row["answer"] for row in rows}) > 1
    first = (tmp_path / f"{TASK}.jsonl").read_text()
    capitals_task(tmp_path, n_questions=20)
    assert (tmp_path / f"{TASK}.jsonl").read_text() == first
    for options, said in (({"n_choices": 1}, "needs 2 or more"), ({"n_questions": 9999}, "9999 are asked for")):
        with pytest.raises(ValueError, match=said):
            capitals_task(tmp_path, **options)


def test_without_the_extra_the_error_says_how_to_get_it(model: HookedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "lm_eval.api.model", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install \"steering_lab\[harness\]\""):
        harness_model(model)


@pytest.mark.filterwarnings("ignore")
def test_the_harness_runs_the_local_task_and_its_accuracy_is_the_share_of_best_choices(tmp_path: Path) -> None:
    lm_eval = pytest.importorskip("lm_eval")
    from lm_eval.tasks import TaskManager

    model, name = hooked("gpt2"), capitals_task(tmp_path, n_questions=12)
    manager = TaskManager(include_path=str(tmp_path), include_defaults=False)
    edit = random_vector(model, resid_pre(1)).everywhere()
    found = lm_eval.simple_evaluate(
        harness_model(model, edit), tasks=[name], task_manager=manager, bootstrap_iters=0, verbosity="ERROR"
    )
    answers, right = SteeredAnswers(model, edit), []
    for line in (tmp_path / f"{TASK}.jsonl").read_text().splitlines():
        row = json.loads(line)
        context = f"Question: What is the capital of {row['subject']}?\nAnswer:"
        scores = answers.loglikelihood([asked(context, f" {choice}") for choice in row["choices"]])
        right.append(max(range(4), key=lambda i: scores[i][0]) == row["answer"])
    assert found["results"][name]["acc,none"] == pytest.approx(sum(right) / len(right))
