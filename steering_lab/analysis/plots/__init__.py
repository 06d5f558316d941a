"""Figures: a table in, a plotly figure out.

Nothing here sees a model, opens a window or writes a file, except `save_figures`, which only writes. Every figure
can be drawn again from a run's tables alone. All share one template, registered as "steering_lab" on import.
"""

from plotly.graph_objects import Figure

from steering_lab.analysis.plots.audit import audit_html, audit_strip
from steering_lab.analysis.plots.bars import condition_bars
from steering_lab.analysis.plots.costs import cost_bars
from steering_lab.analysis.plots.curves import coeff_curves, layer_curves
from steering_lab.analysis.plots.decomposition_bars import decomposition_bars
from steering_lab.analysis.plots.export import SavedFigures, find_chrome, save_figures
from steering_lab.analysis.plots.halves import split_half_curves
from steering_lab.analysis.plots.heatmap import layer_coeff_heatmap
from steering_lab.analysis.plots.lens import lens_heatmap
from steering_lab.analysis.plots.lens_curves import lens_curves
from steering_lab.analysis.plots.matrix import cosine_matrix
from steering_lab.analysis.plots.plane import pca_scatter
from steering_lab.analysis.plots.profile_curves import norm_curves, projection_curves
from steering_lab.analysis.plots.projection_heatmap import projection_heatmap
from steering_lab.analysis.plots.prompts import prompt_coeff_strip
from steering_lab.analysis.plots.scatter import cost_effect
from steering_lab.analysis.plots.token_bars import token_change_bars
from steering_lab.analysis.plots.tradeoffs import tradeoff_curves
from steering_lab.analysis.plots.vector_bars import vector_lens_bars
from steering_lab.analysis.plots.verdicts import verdict_stack

__all__ = [
    "Figure",
    "SavedFigures",
    "audit_html",
    "audit_strip",
    "coeff_curves",
    "condition_bars",
    "cosine_matrix",
    "cost_bars",
    "cost_effect",
    "decomposition_bars",
    "find_chrome",
    "layer_coeff_heatmap",
    "layer_curves",
    "lens_curves",
    "lens_heatmap",
    "norm_curves",
    "pca_scatter",
    "projection_curves",
    "projection_heatmap",
    "prompt_coeff_strip",
    "save_figures",
    "split_half_curves",
    "token_change_bars",
    "tradeoff_curves",
    "vector_lens_bars",
    "verdict_stack",
]
