"""The explorer, its controls turned from code: no kernel, no browser."""

import sys

import pytest
import torch

from steering_lab.data.contrast_pairs import ContrastPair
from steering_lab.explorer import PLACES, Explorer, beside, explore
from steering_lab.interventions.intervention import Intervention
from steering_lab.interventions.source import Source
from steering_lab.interventions.steering import steer
from steering_lab.interventions.steering_vector import SteeringVector, random_like
from steering_lab.methods.actadd import actadd_vectors
from steering_lab.models.display import number
from steering_lab.models.generation import Sampling, generate
from steering_lab.models.hook_points import HookSite, resid_post, resid_pre
from tests.models.test_display import HOSTILE, PLAIN, Reader
from tests.tiny_models import hooked, n_hooks, random_vector

MODEL = hooked("gpt2")
ONE = {site: random_vector(MODEL, site) for site in (resid_pre(1), resid_post(2))}
PROMPT = "I hate you because"


def explorer(**options: object) -> Explorer:
    vectors = [
        *ONE.values(),
        *actadd_vectors(MODEL, ContrastPair("Love", "Hate"), [resid_pre(0), resid_pre(1)]).values(),
    ]
    return explore(MODEL, vectors, PROMPT, max_new_tokens=8, **options)  # type: ignore[arg-type]


def texts(shown: Explorer) -> list[str]:
    return Reader(shown.texts.value).cells[3:]


def expected(intervention: Intervention, prompt: str = PROMPT) -> str:
    with steer(MODEL, intervention):
        return generate(MODEL, prompt, max_new_tokens=8).texts[0]


def test_it_opens_with_the_first_vector_and_shows_its_text_between_the_unsteered_and_a_random_vector_s() -> None:
    shown, vector = explorer(), ONE[resid_pre(1)]
    edits = (Intervention(), vector.at_front(), random_like(vector, seed=0).at_front())
    assert texts(shown) == [expected(edit) for edit in edits]
    assert list(shown.place.options) == [(name, name) for name in PLACES]


@pytest.mark.parametrize("place", PLACES)
def test_every_control_shows_what_the_package_does(place: str) -> None:
    shown = explorer()
    shown.place.value = place
    shown.site.value = resid_post(2)
    shown.coeff.value = -6.0
    shown.prompt.value = "Love and hate"
    vectors = (ONE[resid_post(2)], random_like(ONE[resid_post(2)], seed=0))
    edits = (Intervention(), *(-6.0 * PLACES[place](vector) for vector in vectors))
    assert texts(shown) == [expected(edit, "Love and hate") for edit in edits]


def test_a_vector_of_several_rows_is_offered_at_the_front_and_at_its_own_sites() -> None:
    shown = explorer()
    shown.place.value, shown.site.value = "generated", resid_post(2)
    shown.vector.value = "actadd(Love − Hate)"
    assert [name for name, _ in shown.place.options] == ["at_front"]
    assert [site for _, site in shown.site.options] == [resid_pre(0), resid_pre(1)]
    shown.site.value = resid_pre(1)
    shown.vector.value = "random 1"
    assert shown.site.value == resid_pre(1)  # both vectors have it
    assert len(shown.place.options) == len(PLACES)


def test_a_change_is_shown_once() -> None:
    shown, seen = explorer(), []
    shown.status.observe(lambda change: seen.append(change["new"]), "value")
    shown.vector.value = "actadd(Love − Hate)"  # changes site and place too
    assert seen.count("…") == 1
    assert len(seen) == 2


def test_coefficient_zero_changes_nothing_and_adds_nothing() -> None:
    shown = explorer()
    shown.coeff.value = 0.0
    assert len(set(texts(shown))) == 1
    assert "<b>" not in shown.top_by_layer.value.split("</b>", 1)[1]  # after the title, nothing is marked as changed
    assert "adds 0.00 x" in shown.status.value


@pytest.mark.parametrize("name", ["gpt2", "gemma2_window", "llama"])
def test_the_last_row_of_the_lens_is_the_model_s_own_answer(name: str) -> None:
    model = hooked(name)
    vector = random_vector(model, resid_post(2))
    seen = beside(model, vector, "everywhere", 2.0, PROMPT, max_new_tokens=1)
    assert seen.lens.shape[1] == model.n_layers + 1
    edits = (Intervention(), 2.0 * vector.everywhere(), 2.0 * random_like(vector, seed=0).everywhere())
    for row, intervention in enumerate(edits):
        with steer(model, intervention), torch.no_grad():
            answer = torch.softmax(model.logits(model.to_tokens(PROMPT))[0, -1].float(), dim=-1)
        assert torch.allclose(seen.lens[row, -1], answer, atol=1e-5)


def test_tokens_and_probabilities_are_those_of_the_lens() -> None:
    shown = explorer()
    seen = beside(MODEL, ONE[resid_pre(1)], "at_front", 1.0, PROMPT, max_new_tokens=1)
    best = int(seen.lens[:, -1].amax(dim=0).argmax())
    cells = Reader(shown.next_tokens.value).cells
    assert cells[4:8] == [repr(MODEL.token_strings([best])[0]), *(number(float(p)) for p in seen.lens[:, -1, best])]
    layers = Reader(shown.top_by_layer.value).cells
    assert layers[5::5] == ["2", "1", "0", "embed"]  # the last layer on top
    top = [repr(MODEL.token_strings([int(seen.lens[row, -1].argmax())])[0]) for row in (0, 1)]
    assert [layers[6], layers[8]] == top


def test_all_rows_draw_the_same_random_numbers() -> None:
    shown = explorer(sampling=Sampling(temperature=1.0), seed=3)
    shown.coeff.value = 0.0
    assert len(set(texts(shown))) == 1


def test_what_is_refused_is_shown_and_gone_when_it_is_put_right() -> None:
    hooks = n_hooks(MODEL)
    shown = explorer()
    for prompt in ("", "I love you " * 40):
        shown.prompt.value = prompt
        assert "<b>ValueError</b>: " in shown.status.value
        assert shown.texts.value == shown.next_tokens.value == shown.top_by_layer.value == ""
        assert n_hooks(MODEL) == hooks
    shown.prompt.value = PROMPT
    assert "ValueError" not in shown.status.value
    assert texts(shown)[0] == expected(Intervention())


def test_no_hook_outlives_an_update() -> None:
    hooks = n_hooks(MODEL)
    shown = explorer()
    shown.coeff.value = 3.0
    assert n_hooks(MODEL) == hooks


def test_hostile_text_never_becomes_markup() -> None:
    source = Source(HOSTILE, HOSTILE, MODEL.fingerprint)
    shown = explore(
        MODEL, SteeringVector(torch.ones(1, MODEL.d_model), resid_pre(1), source), HOSTILE, max_new_tokens=4
    )
    broken = explore(MODEL, SteeringVector(torch.ones(1, 7), resid_pre(1), source), HOSTILE)
    assert "is 7 wide" in broken.status.value
    widgets = (shown.texts, shown.next_tokens, shown.top_by_layer, shown.status, broken.status)
    for value in (*(widget.value for widget in widgets), shown._repr_mimebundle_()["text/html"]):
        assert set(Reader(value).tags) <= PLAIN
        assert value


def test_what_a_method_returns_can_be_passed_on() -> None:
    vectors = actadd_vectors(MODEL, ContrastPair("Love", "Hate"), MODEL.sites())
    assert len(explore(MODEL, vectors, PROMPT, max_new_tokens=1).site.options) == MODEL.n_layers


def test_vectors_that_cannot_be_told_apart_are_refused() -> None:
    vector = random_vector(MODEL, HookSite(1))
    with pytest.raises(ValueError, match=r"two vectors are random 1 at resid_pre\(1\): rename one"):
        explore(MODEL, [vector, vector])
    with pytest.raises(ValueError, match="no vector to explore"):
        explore(MODEL, [])


def test_a_notebook_displays_it_as_a_widget() -> None:
    bundle = explorer()._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle


def test_a_page_without_widgets_shows_the_tables_it_stood_at() -> None:
    shown = explorer()
    shown.coeff.value = -2.0
    page = Reader(shown._repr_mimebundle_()["text/html"])
    assert [cell for cell in texts(shown) if cell in page.cells] == texts(shown)
    assert set(page.tags) <= PLAIN


def test_without_ipywidgets_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(ImportError, match=r"pip install 'steering_lab\[notebook\]'"):
        explore(MODEL, list(ONE.values()))
