"""A question answered over the nearest passage: what was read ahead is found, and changes no answer."""

from dataclasses import replace
from pathlib import Path

import pytest

from steering_lab.data.templates import CONTEXT_DPO
from steering_lab.interventions.intervention import Intervention
from steering_lab.interventions.steering import steer
from steering_lab.methods.conflict_gate import conflict_gate
from steering_lab.models.generation import generate
from steering_lab.models.hook_points import resid_post
from steering_lab.models.hooked_model import HookedModel
from steering_lab.numerics.divergence import LN2
from steering_lab.retrieval.passage_index import Passage, PassageIndex
from steering_lab.retrieval.prepared_prompts import PreparedPrompts
from steering_lab.retrieval.reader import SteeredReader, mean_states
from tests.tiny_models import placed

PASSAGES = [Passage("Lima is it.", "a"), Passage("It may be Oslo.", "b"), Passage("Rome, no doubt", "c")]
QUESTIONS = ("Which?", "It may be what?", "Is it Lima?")
SITE = resid_post(0)


@pytest.fixture
def reader(llama: HookedModel, tmp_path: Path) -> SteeredReader:
    pytest.importorskip("lancedb")
    states = mean_states(llama, [passage.text for passage in PASSAGES], SITE)
    index = PassageIndex.make(tmp_path / "passages", PASSAGES, states)
    edit = 4.0 * placed(llama, resid_post(1), "from_last_prompt_token")
    kept = PreparedPrompts(tmp_path / "prompts")
    return SteeredReader(llama, index, SITE, edit, 0.0, kept, CONTEXT_DPO, max_new_tokens=6)


@pytest.mark.parametrize("threshold", [0.0, LN2])
def test_an_answer_is_generates_over_the_found_passage_steered_where_the_gate_is_open(
    reader: SteeredReader, threshold: float
) -> None:
    reader, model = replace(reader, threshold=threshold), reader.model
    for question in QUESTIONS:
        answered = reader.ask(question)
        passage = answered.found.passage.text
        asked, bare = CONTEXT_DPO.text("with_context", question, passage), CONTEXT_DPO.text("closed_book", question)
        gate = conflict_gate(model, [asked], [bare], threshold, contexts=[passage], answer_tokens=6)
        assert answered.gate.steered == gate.open[0] == (threshold == 0.0)
        with steer(model, reader.intervention if gate.open[0] else Intervention()):
            assert answered.text == generate(model, asked, max_new_tokens=6, stop=("\n",)).texts[0]


def test_what_the_worker_prepared_is_found_and_gives_the_same_text(reader: SteeredReader, tmp_path: Path) -> None:
    cold = replace(reader, prompts=PreparedPrompts(tmp_path / "cold"))
    with reader.preparing(QUESTIONS[:2]) as prepared:
        during = reader.ask(QUESTIONS[2])
        assert [one.result().states.ids for one in prepared]
    for question in QUESTIONS:
        answered, fresh = reader.ask(question), cold.ask(question)
        assert answered.ahead
        assert not fresh.ahead
        assert answered._replace(ahead=False) == fresh
    assert during.text == reader.ask(QUESTIONS[2]).text


@pytest.mark.parametrize("changed", ["intervention", "threshold", "passage"])
def test_a_prompt_is_not_used_for_another_vector_threshold_or_passage(
    reader: SteeredReader, tmp_path: Path, changed: str
) -> None:
    reader.ask(QUESTIONS[0])
    bonn = PassageIndex.make(tmp_path / "other", [Passage("Bonn.", "d")], mean_states(reader.model, ["Bonn."], SITE))
    other = {
        "intervention": {"intervention": 2.0 * reader.intervention},
        "threshold": {"threshold": 0.5},
        "passage": {"index": bonn},
    }[changed]
    assert reader.ask(QUESTIONS[0]).ahead
    assert not replace(reader, **other).ask(QUESTIONS[0]).ahead


def test_what_the_worker_could_not_do_is_said_where_its_result_is_asked_for(reader: SteeredReader) -> None:
    with reader.preparing(["what? " * 80]) as [prepared], pytest.raises(ValueError, match="context"):
        prepared.result()


def test_a_model_that_is_being_steered_is_refused(reader: SteeredReader) -> None:
    with steer(reader.model, reader.intervention), pytest.raises(ValueError, match="is being steered already"):
        reader.ask(QUESTIONS[0])
