"""Where does adding a steering vector move the text, by how much, and at what cost?

Expected of any sweep: the effect grows with the coefficient until the text breaks, which perplexity under the
unsteered model shows, and norm-matched random vectors move the text by less.

One form of steering, of any method on any model, over layers and coefficients. A TOML file that says
`experiment = "sweep"` is a study of its own and needs no Python.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from steering_lab.evaluation.running.groups import Elsewhere
from steering_lab.methods.contextfocus import contextfocus_pairs, contextfocus_vectors
from steering_lab.methods.mean_difference import mean_difference_vectors
from steering_lab.models.hook_points import HookSite
from steering_lab.models.hooked_model import HookedModel
from steering_lab.study.conflict.settings import ConflictSettings
from steering_lab.study.settings import Settings
from steering_lab.study.sweep import SweepSettings, run_sweep
from steering_lab.study.sweep_report import report_sweep
from steering_lab.study.vectors import METHODS, Contrast, Form, Vectors, VectorSettings, exchange


@dataclass(frozen=True)
class Config(VectorSettings, ConflictSettings, SweepSettings):
    """What is added, where, and how the text under it is written and measured.

    Raises:
        ValueError: settings of the conflicts for another method than "contextfocus".
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        shared = {field.name for field in fields(Settings)}
        own = [field for field in fields(ConflictSettings) if field.name not in shared]
        changed = [field.name for field in own if getattr(self, field.name) != field.default]
        if changed and self.method != "contextfocus":
            raise ValueError(f'{changed[0]} is a setting of method = "contextfocus", not of "{self.method}"')

    def form(self) -> Form:
        """The form of steering that the settings name. Raises ValueError for data that is not there."""
        if self.method != "contextfocus":
            return super().form()
        rows = self.vector_rows()
        asked: dict[str, Any] = {
            "wording": self.worded, "chat": self.chat, "answer_prefix": self.answer_prefix, "seed": self.seed,
        }  # fmt: skip

        def make(model: HookedModel, sites: Sequence[HookSite]) -> Vectors:
            return self.scaled(contextfocus_vectors(model, rows, sites, **asked))

        def exchanged(model: HookedModel, sites: Sequence[HookSite], flips: Sequence[bool]) -> Vectors:
            return mean_difference_vectors(model, exchange(contextfocus_pairs(model, rows, **asked), flips), sites)

        label, what = METHODS[self.method], f"ContextFocus of {len(rows)} conflicts"
        contrast, sites = Contrast(len(rows), exchanged), partial(self.sites, post=True)
        return Form(self.method, label, what, self.place, self.coeffs, sites, make, contrast=contrast)


def run(config: Config, results: str | Path, elsewhere: Elsewhere | None = None) -> Path:
    """Runs the sweep, or resumes it, and returns the finished run folder; its page is `index.html`."""
    return run_sweep(config, [config.form()], results, module=__name__, doc=__doc__, elsewhere=elsewhere)


report = report_sweep
