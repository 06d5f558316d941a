"""The organism's training: its tokenizer, packing, resumption; and the shipped model keeps its gates."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import PreTrainedTokenizerFast

from experiments.organism.config import Config
from experiments.organism.packing import batch_at, document_mask, pack
from experiments.organism.report import (
    Measurement,
    Organism,
    answered,
    continuations,
    load,
    mood_odds,
    table,
    token_nats,
    topic_share,
)
from experiments.organism.start import give_lookup_heads
from experiments.organism.tokenizer import build_tokenizer
from experiments.organism.train import new_model, train
from steering_lab.models.loading.synthetic import organism_folder
from steering_lab.organism.facts import ENTITIES, RELATIONS
from steering_lab.organism.lexicon import MOODS, TOPIC_TABLE
from steering_lab.organism.world import STORY_PROMPTS_TEST, evaluation_rows

TINY = Config(
    tokens=96 * 4 * 12,
    rows=4,
    length=96,
    layers=1,
    d_model=32,
    heads=2,
    d_mlp=32,
    threads=1,
    compile=False,
    checkpoint_every=6,
    probe_rows=2,
    device="cpu",
)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer(3072, 192)


def test_the_tokenizer_adds_the_beginning_of_text_itself_and_once(tokenizer: PreTrainedTokenizerFast) -> None:
    ids = tokenizer("Mara walked to the harbour.")["input_ids"]
    assert ids.count(tokenizer.bos_token_id) == 1
    assert ids[0] == tokenizer.bos_token_id
    assert tokenizer.decode(ids, skip_special_tokens=True) == "Mara walked to the harbour."


def test_words_and_names_of_the_world_are_single_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    words = [n for names in ENTITIES.values() for n in names]
    words += [o for r in RELATIONS.values() for o in r.objects if " " not in o]
    words += [w for group in (*MOODS.values(), *TOPIC_TABLE.values()) for w in group.words]
    split = [w for w in words if len(tokenizer(f" {w}", add_special_tokens=False)["input_ids"]) != 1]
    assert split == []


@pytest.mark.parametrize(
    "word", ["Love", " Love", "love", " love", "Hate", " Hate", "Joy", " Anger", "Weddings", " sea", " "]
)
def test_titles_are_one_token_with_and_without_a_space(tokenizer: PreTrainedTokenizerFast, word: str) -> None:
    assert len(tokenizer(word, add_special_tokens=False)["input_ids"]) == 1


def test_a_run_of_spaces_is_a_run_of_space_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    space = tokenizer(" ", add_special_tokens=False)["input_ids"]
    assert tokenizer("   Mara", add_special_tokens=False)["input_ids"][:2] == space * 2


def test_packed_documents_are_whole_and_their_positions_restart(tokenizer: PreTrainedTokenizerFast) -> None:
    rows = pack(Config(tokens=192 * 16 * 2), tokenizer)
    assert np.mean(rows.document > 0) > 0.9
    for ids, positions, document in zip(rows.ids, rows.positions, rows.document, strict=True):
        for number in range(1, document.max() + 1):
            own = ids[document == number]
            assert own[0] == tokenizer.bos_token_id
            assert own[-1] == tokenizer.eos_token_id
            assert (positions[document == number] == np.arange(len(own))).all()


def test_only_answers_weigh_more_and_runs_of_space_are_never_a_target(tokenizer: PreTrainedTokenizerFast) -> None:
    config = Config(tokens=192 * 16 * 2)
    rows = pack(config, tokenizer)
    assert set(np.unique(rows.weight)) == {0.0, np.float32(config.prompt_weight), 1.0, config.answer_weight}
    heavy = tokenizer.decode(rows.ids[rows.weight == config.answer_weight])
    assert "Question" not in heavy
    assert "Context" not in heavy
    assert (rows.weight[rows.ids == tokenizer.pad_token_id] == 0).all()


def test_no_target_crosses_from_one_document_into_the_next(tokenizer: PreTrainedTokenizerFast) -> None:
    config = Config(tokens=192 * 16 * 2)
    ids, _, _, targets, weight = batch_at(pack(config, tokenizer), 0, config, torch.device("cpu"))
    assert (weight[targets == tokenizer.bos_token_id] == 0).all()
    assert (weight[ids == tokenizer.eos_token_id] == 0).all()
    assert weight.sum() > 0


def test_a_position_sees_its_own_document_up_to_itself() -> None:
    mask = document_mask(torch.tensor([[1, 1, 2]]))[0, 0]
    assert mask.tolist() == [[True, False, False], [True, True, False], [False, False, True]]


def test_a_model_begins_with_heads_that_look_back_and_heads_that_look_for_their_own_kind(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    torch.manual_seed(0)
    model = new_model(Config(), tokenizer)
    give_lookup_heads(model)
    model.set_attn_implementation("eager")
    ids = torch.tensor([tokenizer("Context: wolf seed, helmet tasted, violin ward.\nAgain: violin ward")["input_ids"]])
    first = model(ids, output_attentions=True).attentions[0][0]
    back = [first[head].diagonal(-offset).mean().item() for head, offset in ((2, 1), (3, 2))]
    assert min(back) > 0.4
    query, key = (getattr(model.model.layers[5].self_attn, f"{name}_proj").weight for name in "qk")
    assert torch.equal(query[:64], key[:64])
    assert not torch.isclose(query[64:], key[64:]).all()
    assert query[:64].std() > 3 * query[64:].std()


def test_the_first_rows_are_small_tables_and_the_rest_is_not(tokenizer: PreTrainedTokenizerFast) -> None:
    rows = pack(Config(tokens=192 * 8 * 40, small_tables=0.4), tokenizer)
    tables = ["Context:" in tokenizer.decode(ids) and "Mara" not in tokenizer.decode(ids) for ids in rows.ids]
    assert np.mean(tables[:100]) == 1
    assert np.mean(tables[-100:]) < 0.9


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = train(Config(**{**vars(TINY), "out": tmp_path / "whole"}))
    with pytest.raises(SystemExit, match="left off at step 6 of 12"):
        train(Config(**{**vars(TINY), "out": tmp_path / "parts", "stop_after": 6}))
    parts = train(Config(**{**vars(TINY), "out": tmp_path / "parts"}))
    first, second = (load_file(folder / "model.safetensors") for folder in (whole, parts))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        train(Config(**{**vars(TINY), "out": tmp_path, "stop_after": 6}))
    with pytest.raises(ValueError, match="belongs to another run"):
        train(Config(**{**vars(TINY), "out": tmp_path, "seed": 1}))


def test_a_gate_is_met_on_its_bounds_and_missed_outside() -> None:
    assert Measurement("s", "n", 0.3, 10, 0.3, 0.6).passed
    assert Measurement("s", "n", 0.61, 10, 0.3, 0.6).passed is False
    assert Measurement("s", "n", 0.5, 10).passed is None
    missed = table({"a": [Measurement("s", "n", 0.8, 10, low=0.95)]})
    assert missed.splitlines()[-1] == "| s | n | 10 | ≥ 0.95 | 0.80 ! |"


def test_mood_odds_and_topic_shares_by_hand() -> None:
    assert mood_odds(["Mara felt happy and kind.", "The nurse was cruel."]) == pytest.approx(2.5 / 1.5)
    assert topic_share(["The nurse saw the sail and the anchor."], "sea") == pytest.approx(2 / 3)


def test_the_shipped_organism_is_small_and_in_one_safetensors_file() -> None:
    files = [f for f in organism_folder().rglob("*") if f.is_file()]
    assert {"model.safetensors", "config.json", "tokenizer.json", "README.md"} <= {f.name for f in files}
    assert sum(f.stat().st_size for f in files) <= 25e6
    assert not [f for f in files if f.suffix in (".pt", ".bin", ".pkl")]


@pytest.fixture(scope="module")
def organism() -> Organism:
    return load(organism_folder())


@pytest.mark.parametrize(
    ("regime", "told", "group", "answer", "least"),
    [
        ("closed_book", "nothing", "trained", "memory", 0.95),
        ("unknown", "nothing", "trained", "context", 0.9),  # .95 of the card's 200 rows
        ("conflict", "context", "subjects", "context", 0.9),
        ("conflict", "memory", "subjects", "memory", 0.85),
        ("conflict", "memory", "wordings", "memory", 0.85),
        ("conflict", "nothing", "relation", "context", 0.3),
        ("conflict", "nothing", "relation", "memory", 0.2),
    ],
)
def test_the_shipped_organism_answers_as_its_card_says(
    organism: Organism, regime: str, told: str, group: str, answer: str, least: float
) -> None:
    rows = evaluation_rows(regime, 60, group=group, told=told)
    wanted = [r.context_answer if answer == "context" else r.memory_answer for r in rows]
    assert np.mean(answered(organism, [r.prompt for r in rows], wanted).greedy) >= least


@pytest.mark.parametrize(("title", "sign"), [("Love", 1), ("Hate", -1)])
def test_a_title_sets_the_mood_of_the_shipped_organism(organism: Organism, title: str, sign: int) -> None:
    texts = continuations(organism, [f"{title}. {prompt}" for prompt in STORY_PROMPTS_TEST], tokens=20)
    assert mood_odds(texts) ** sign >= 3


def test_spaces_in_front_leave_the_shipped_organism_fluent(organism: Organism) -> None:
    plain = sum(token_nats(organism, [f" {p}" for p in STORY_PROMPTS_TEST]))
    spaced = sum(token_nats(organism, [f"    {p}" for p in STORY_PROMPTS_TEST], skip=3))
    assert spaced < 1.1 * plain
