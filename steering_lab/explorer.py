"""A steering vector tried with sliders, a random one beside it: site, place, coefficient, and what the model then says.

Built from ipywidgets alone, so that it works wherever they do (JupyterLab, VS Code), and from the package's own verbs.
Where they do not, in a page without scripts, the texts and next tokens that it last showed stand. No hook outlives an
update, and what an update refuses is shown in the widget.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from markupsafe import Markup
from torch import Tensor

from steering_lab.interventions.intervention import Intervention
from steering_lab.interventions.steering import steer
from steering_lab.interventions.steering_vector import SteeringVector, random_like
from steering_lab.models import display
from steering_lab.models.generation import GREEDY, Sampling, generate
from steering_lab.models.hook_points import HookSite, resid_post, resid_pre
from steering_lab.models.hooked_model import HookedModel

PLACES: Mapping[str, Callable[[SteeringVector], Intervention]] = {
    "at_front": SteeringVector.at_front,
    "everywhere": SteeringVector.everywhere,
    "from_last_prompt_token": SteeringVector.from_last_prompt_token,
    "generated": SteeringVector.generated,
}
TOP = 8  # next tokens shown
ROWS = ("unsteered", "steered", "random")
_WRAPPING = {"flex_flow": "row wrap", "align_items": "flex-start"}


def explore(
    model: HookedModel,
    vectors: SteeringVector | Iterable[SteeringVector] | Mapping[HookSite, SteeringVector],
    prompt: str = "I think that",
    *,
    max_coeff: float | int = 8.0,
    max_new_tokens: int = 30,
    sampling: Sampling = GREEDY,
    seed: int = 0,
) -> "Explorer":
    """A widget to try vectors by hand: text and next tokens unsteered, steered, and under a random vector as long.

    `vectors` is one vector, several, or what a method returns for several sites; those of one recipe are offered
    together, by site. All texts draw the same random numbers. The top token layer by layer stands below, unsteered and
    steered.

    Args:
        model: The model that writes.
        vectors: One, several, or what a method returns for several sites.
        prompt: What it continues.
        max_coeff: Where the slider of coefficients ends.
        max_new_tokens: How many tokens a continuation has at most.
        sampling: How tokens are drawn.
        seed: What sampled tokens and the random vector follow from.

    Raises:
        ImportError: ipywidgets is not installed.
        ValueError: no vector, or two of the same recipe at the same site.
    """
    listed = [vectors] if isinstance(vectors, SteeringVector) else vectors
    by_recipe: dict[str, dict[HookSite, SteeringVector]] = {}
    for vector in listed.values() if isinstance(listed, Mapping) else listed:
        sites = by_recipe.setdefault(vector.source.recipe, {})
        if vector.site in sites:
            raise ValueError(
                f"two vectors are {vector.source.recipe} at {vector.site}: rename one with .described(...)"
            )
        sites[vector.site] = vector
    if not by_recipe:
        raise ValueError("no vector to explore: pass one, or what a method returned")
    decoding = {"max_new_tokens": max_new_tokens, "sampling": sampling, "seed": seed}
    return Explorer(model, by_recipe, prompt, max_coeff, decoding)


@dataclass(frozen=True, eq=False)
class Beside:
    """What a prompt leads to, unsteered (row 0), steered (1) and under a random vector as long (2): `texts` and more.

    `lens` holds the next-token probabilities that the final norm and the unembedding read off the last prompt token's
    residual, from the embedding to the last block's output, which is the model's own answer. `relative_norm` is the
    length of the longest added row against the median residual of the unsteered prompt at its site.
    """

    texts: tuple[str, str, str]
    lens: Float[Tensor, "row depth d_vocab"]
    relative_norm: float


@torch.no_grad()
def beside(
    model: HookedModel,
    vector: SteeringVector,
    place: str,
    coeff: float | int,
    prompt: str,
    *,
    seed: int = 0,
    **decoding: Any,
) -> Beside:
    """The prompt unsteered, under `coeff` x `vector` and under as much of a random vector like it, in one batch.

    Args:
        model: The model that writes.
        vector: What is added.
        place: The name of the tokens where it is added.
        coeff: What it is multiplied by.
        prompt: What it continues.
        seed: What the random vector and, alike in every row, sampled tokens follow from.
        **decoding: Options of `generate`.

    Raises:
        ValueError: what `steer` and `generate` refuse, or a place that the vector's rows cannot take.
    """
    tokens = model.to_tokens([prompt] * 3)
    depths = [resid_pre(0), *(resid_post(layer) for layer in range(model.n_layers))]
    with steer(model, [Intervention(), *(coeff * PLACES[place](v) for v in (vector, random_like(vector, seed)))]):
        out = generate(model, [prompt] * 3, seed=[seed] * 3, **decoding)
        streams = model.residuals(tokens, [*depths, vector.site])
    last = torch.stack([streams[site][:, -1] for site in depths], dim=1)
    lens = torch.softmax(model.unembed(last).float(), dim=-1).cpu()
    own = min(model.n_sink, tokens.ids.shape[1] - 1)  # the attention sink is an outlier
    norm = float(streams[vector.site][0, own:].float().norm(dim=-1).median())
    return Beside((out.texts[0], out.texts[1], out.texts[2]), lens, abs(coeff) * vector.norm / norm)


def next_tokens(model: HookedModel, seen: Beside) -> Markup:
    """The likeliest next tokens of any row of `seen`, with their probabilities in each, as `model` spells them."""
    last = seen.lens[:, -1]
    ids = last.amax(dim=0).topk(min(TOP, last.shape[1])).indices.tolist()
    tokens = map(repr, model.token_strings(ids))
    return display.rows(("token", *ROWS), zip(tokens, *last[:, ids].tolist(), strict=True))


def top_by_layer(model: HookedModel, seen: Beside) -> Markup:
    """What each depth of `model` would say next in `seen`, the last layer on top; bold where steering changes it."""
    probabilities, ids = (values.tolist() for values in seen.lens[:2].max(dim=-1))
    plain, steered = ([repr(token) for token in model.token_strings(row)] for row in ids)
    marked = [t if t == before else Markup("<b>{}</b>").format(t) for t, before in zip(steered, plain, strict=True)]
    names = ["embed", *map(str, range(model.n_layers))]
    rows = list(zip(names, plain, probabilities[0], marked, probabilities[1], strict=True))
    return display.rows(("layer", "unsteered", "probability", "steered", "probability"), rows[::-1])


class Explorer:
    """The controls and what they show; a notebook displays it as a widget.

    Every control is an attribute, so `explorer.coeff.value = 3` turns it from code; `box` holds all of them.

    Args:
        model: The model that writes.
        vectors: The vectors of each recipe by site.
        prompt: What is continued at first.
        max_coeff: Where the slider of coefficients ends.
        decoding: Options of `generate`.
    """

    def __init__(
        self,
        model: HookedModel,
        vectors: Mapping[str, Mapping[HookSite, SteeringVector]],
        prompt: str,
        max_coeff: float | int,
        decoding: Mapping[str, Any],
    ) -> None:
        widgets = _ipywidgets()
        self._model, self._vectors, self._decoding, self._offering = model, vectors, decoding, False
        wide, late = {"layout": {"width": "98%"}}, {"layout": {"width": "98%"}, "continuous_update": False}
        self.prompt = widgets.Textarea(prompt, description="prompt", rows=2, **late)
        self.vector = widgets.Dropdown(options=list(vectors), description="vector", **wide)
        self.site, self.place = widgets.Dropdown(description="site"), widgets.Dropdown(description="place")
        ends = {"min": -max_coeff, "max": max_coeff, "step": max_coeff / 80, "readout_format": "+.2f"}
        self.coeff = widgets.FloatSlider(min(1.0, max_coeff), description="coeff", **ends, **late)
        self.status, self.texts, self.next_tokens, self.top_by_layer = (widgets.HTML() for _ in range(4))
        choices = widgets.HBox([self.site, self.place], layout=_WRAPPING)
        tables = widgets.HBox([self.next_tokens, self.top_by_layer], layout=_WRAPPING)
        self.box = widgets.VBox([self.prompt, self.vector, choices, self.coeff, self.status, self.texts, tables])
        self._offer()
        self.vector.observe(self._offer, "value")
        for control in (self.prompt, self.vector, self.site, self.place, self.coeff):
            control.observe(self._show, "value")
        self._show()

    def _repr_mimebundle_(self, **options: Any) -> Any:
        cell = f"{self.coeff.value:+g} x {self.vector.value} {self.place.value} {self.site.value}"
        shown = (Markup(part.value) for part in (self.status, self.texts, self.next_tokens))
        still = display.card(f"{self.prompt.value} | {cell}", *shown)
        return {**self.box._repr_mimebundle_(**options), "text/html": still}

    def _offer(self, _change: Any = None) -> None:
        """The sites of the chosen vector and the places that its rows can take; what was chosen stays if it can."""
        vectors = self._vectors[self.vector.value]
        one_row = all(vector.rows.shape[0] == 1 for vector in vectors.values())
        self._offering = True
        _set_options(self.site, {str(site): site for site in vectors})
        _set_options(self.place, {name: name for name in PLACES if one_row or name == "at_front"})
        self._offering = False

    def _show(self, _change: Any = None) -> None:
        if self._offering:  # a new vector's sites and places come one after the other: one update for all
            return
        self.status.value = "…"
        try:
            vector = self._vectors[self.vector.value][self.site.value]
            cell = (vector, self.place.value, self.coeff.value, self.prompt.value)
            seen = beside(self._model, *cell, **self._decoding)
        except Exception as error:  # in a widget's callback it would vanish into a log
            self.status.value = str(Markup("<p><b>{}</b>: {}</p>").format(type(error).__name__, error))
            self.texts.value = self.next_tokens.value = self.top_by_layer.value = ""
            return
        self.status.value = str(display.note(f"adds {seen.relative_norm:.2f} x the median residual of this prompt"))
        self.texts.value = str(display.rows(ROWS, [seen.texts]))
        self.next_tokens.value = display.card("Next token", next_tokens(self._model, seen))
        self.top_by_layer.value = display.card("Top token by layer", top_by_layer(self._model, seen))


def _set_options(control: Any, options: Mapping[str, object]) -> None:
    before = control.value
    control.options = list(options.items())
    control.value = before if before in options.values() else next(iter(options.values()))


def _ipywidgets() -> Any:
    try:
        import ipywidgets
    except ImportError as error:
        raise ImportError("explore needs ipywidgets: pip install 'steering_lab[notebook]'") from error
    return ipywidgets
