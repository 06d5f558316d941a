"""The index of passages: what is stored is found again, and the database is asked for by name where it is absent."""

import sys
from pathlib import Path

import pytest
import torch

from steering_lab.models.hook_points import resid_post
from steering_lab.models.hooked_model import HookedModel
from steering_lab.retrieval.passage_index import Passage, PassageIndex
from steering_lab.retrieval.reader import mean_states

TEXTS = ("Lima is it.", "It may be Oslo.", "Some say Cairo, some say not.", "The answer: Quito", "Rome, no doubt")
PASSAGES = [Passage(text, str(i)) for i, text in enumerate(TEXTS)]


@pytest.fixture
def states(llama: HookedModel) -> torch.Tensor:
    pytest.importorskip("lancedb")
    return mean_states(llama, TEXTS, resid_post(1))


def test_what_is_stored_is_its_own_nearest_neighbour(states: torch.Tensor, tmp_path: Path) -> None:
    found = PassageIndex.make(tmp_path, PASSAGES, states).nearest(states)
    assert [one.passage for one in found] == PASSAGES
    assert max(abs(one.distance) for one in found) < 1e-5


def test_centred_embeddings_are_apart_from_both_means(states: torch.Tensor, tmp_path: Path) -> None:
    questions = states.flip(0) + 100.0
    index = PassageIndex.make(tmp_path, PASSAGES, states, questions)
    assert [one.passage for one in index.nearest(states + 100.0)] == PASSAGES
    assert max(abs(one.distance) for one in index.nearest(states + 100.0)) < 1e-4


def test_nearness_is_the_cosine_distance(states: torch.Tensor, tmp_path: Path) -> None:
    asked = torch.randn(4, states.shape[1], generator=torch.Generator().manual_seed(0))
    found = PassageIndex.make(tmp_path, PASSAGES, states).nearest(asked)
    best, at = torch.cosine_similarity(asked[:, None], states[None], dim=-1).max(dim=1)
    assert [int(one.passage.about) for one in found] == at.tolist()
    assert torch.allclose(torch.tensor([1 - one.distance for one in found]), best, atol=1e-5)


def test_an_index_made_again_replaces_the_old_one(states: torch.Tensor, tmp_path: Path) -> None:
    PassageIndex.make(tmp_path, PASSAGES, states)
    [found] = PassageIndex.make(tmp_path, PASSAGES[:1], states[:1]).nearest(states[1:2])
    assert found.passage == PASSAGES[0]


@pytest.mark.parametrize(
    ("n_passages", "n_states", "message"),
    [(0, 0, "0 embeddings for 0 passages"), (2, 3, "3 embeddings for 2 passages")],
)
def test_every_passage_needs_an_embedding(tmp_path: Path, n_passages: int, n_states: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PassageIndex.make(tmp_path, PASSAGES[:n_passages], torch.ones(n_states, 4))


def test_one_passage_has_no_direction_from_its_own_mean(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no direction"):
        PassageIndex.make(tmp_path, PASSAGES[:1], torch.ones(1, 4), torch.ones(2, 4))


def test_without_lancedb_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lancedb", None)
    with pytest.raises(ImportError, match=r'pip install "steering_lab\[retrieval\]"'):
        PassageIndex.make(tmp_path, PASSAGES, torch.eye(5))
