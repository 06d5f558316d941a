"""Where does adding the activation difference of prompt pairs move the sentiment of the text, and what does it cost?

Expected, written before the run: adding "Love" - "Hate" moves continuations toward positive words and subtracting it
toward negative ones, at early and middle layers more than at the last; the effect grows with the coefficient until the
text breaks, which perplexity under the unsteered model shows; norm-matched random vectors move sentiment by little. The
front form (Turner et al. 2023, arXiv:2308.10248) is weaker and cheaper than the same vector at every token.

In front of a text stands what the model's own tokenizer puts there, as in plain Hugging Face. To repeat the paper on
GPT-2, set `prefix = "bos"`: the authors' TransformerLens puts a beginning-of-text token there, the tokenizer nothing.

The cell is chosen on one set of prompts and reported on another, beside random vectors of its norm, the reversed
vector and plain prompting.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from steering_lab.data.contrast_lists import ContrastLists, find_contrasts
from steering_lab.data.contrast_pairs import ContrastPair
from steering_lab.evaluation.running.grid import PlaceName, check_coeffs
from steering_lab.evaluation.running.groups import Elsewhere
from steering_lab.methods.by_name import MethodName
from steering_lab.models.hook_points import HookSite
from steering_lab.models.hooked_model import HookedModel
from steering_lab.study.sweep import SweepSettings, run_sweep
from steering_lab.study.sweep_report import report_sweep
from steering_lab.study.vectors import OF_PAIRS, Form, Given, Vectors, contrast_of, said_pairs, vectors_at


@dataclass(frozen=True)
class Config(SweepSettings):
    """Settings of the sweep; empty coefficients leave that form out.

    `positive`, `negative` is the pair whose tokens are added at the front (ActAdd), and at every token too unless
    `pairs`, a built-in set (`data.contrast_pairs.PAIRS`) or a file, names others: then the mean of their differences
    is added there.

    Raises:
        ValueError: nothing to sweep, a setting outside its range, or settings that contradict each other.
    """

    positive: str = "Love"
    negative: str = "Hate"
    pairs: str = ""
    front_coeffs: tuple[float, ...] = (-4.0, -2.0, -1.0, 1.0, 2.0, 4.0)
    everywhere_coeffs: tuple[float, ...] = (-1.0, -0.5, -0.25, 0.25, 0.5, 1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.front_coeffs and not self.everywhere_coeffs:
            raise ValueError("nothing to sweep: front_coeffs and everywhere_coeffs are both empty")
        for name in ("front_coeffs", "everywhere_coeffs"):
            if getattr(self, name):
                check_coeffs(name, getattr(self, name))
        if self.pairs and not self.everywhere_coeffs:
            raise ValueError(f"pairs ({self.pairs!r}) are added at every token, but everywhere_coeffs are empty")

    @property
    def forms(self) -> list[Form]:
        """The one pair at the front, and the mean of the pairs at every token.

        Raises:
            ValueError: neither a built-in set nor a file of pairs.
        """
        one = (ContrastPair(self.positive, self.negative),)
        many = find_contrasts(self.pairs) if self.pairs else one
        front, everywhere = (
            self._form(one, "front", self.front_coeffs),
            self._form(many, "everywhere", self.everywhere_coeffs),
        )
        return [form for form in (front, everywhere) if form.coeffs]

    def _form(
        self, pairs: tuple[ContrastPair, ...] | ContrastLists, place: PlaceName, coeffs: tuple[float, ...]
    ) -> Form:
        said = pairs.side_by_side() if isinstance(pairs, ContrastLists) else pairs
        method: MethodName = "actadd" if pairs == said and len(said) == 1 else "mean_difference"

        def make(model: HookedModel, sites: Sequence[HookSite], some: Given = pairs) -> Vectors:
            return vectors_at(method, model, some, sites, place)

        what, contrast = said_pairs(self.pairs, pairs), contrast_of(pairs, make)
        return Form(method, OF_PAIRS[method], what, place, coeffs, self.sites, make, said, contrast)


def run(config: Config, results: str | Path, elsewhere: Elsewhere | None = None) -> Path:
    """Runs the sweep, or resumes it, and returns the finished run folder; its page is `index.html`."""
    return run_sweep(config, config.forms, results, module=__name__, doc=__doc__, elsewhere=elsewhere)


report = report_sweep
