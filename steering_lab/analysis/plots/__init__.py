"""Figures: a table in, a plotly figure out.

Nothing here sees a model, opens a window or writes a file, except `save_figures`, which only writes. Every figure
can be drawn again from a run's tables alone. All share one template, registered as "steering_lab" on import.
"""

from plotly.graph_objects import Figure

from steering_lab.analysis.plots.bars import condition_bars
from steering_lab.analysis.plots.curves import coeff_curves, layer_curves
from steering_lab.analysis.plots.decomposition_bars import decomposition_bars
from steering_lab.analysis.plots.export import SavedFigures, find_chrome, save_figures
from steering_lab.analysis.plots.heatmap import layer_coeff_heatmap
from steering_lab.analysis.plots.profile_curves import norm_curves, projection_curves
from steering_lab.analysis.plots.projection_heatmap import projection_heatmap
from steering_lab.analysis.plots.scatter import cost_effect
from steering_lab.analysis.plots.token_bars import token_change_bars
from steering_lab.analysis.plots.verdicts import verdict_stack

__all__ = [
    "Figure",
    "SavedFigures",
    "coeff_curves",
    "condition_bars",
    "cost_effect",
    "decomposition_bars",
    "find_chrome",
    "layer_coeff_heatmap",
    "layer_curves",
    "norm_curves",
    "projection_curves",
    "projection_heatmap",
    "save_figures",
    "token_change_bars",
    "verdict_stack",
]
