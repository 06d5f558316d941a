"""Figures: a table in, a plotly figure out.

Nothing here sees a model, opens a window or writes a file, except `save_figures`, which only writes. Every figure
can be drawn again from a run's tables alone. All share one template, registered as "steering_lab" on import.
"""

from plotly.graph_objects import Figure

from steering_lab.analysis.plots.audit_strip import audit_html, audit_strip
from steering_lab.analysis.plots.claim_curves import along, claim_curves
from steering_lab.analysis.plots.condition_bars import condition_bars
from steering_lab.analysis.plots.cosine_matrix import cosine_matrix
from steering_lab.analysis.plots.cost_bars import cost_bars
from steering_lab.analysis.plots.cost_effect import cost_effect
from steering_lab.analysis.plots.cost_panel import cost_panel
from steering_lab.analysis.plots.decomposition_bars import decomposition_bars
from steering_lab.analysis.plots.divergence_scatter import divergence_scatter
from steering_lab.analysis.plots.export import SavedFigures, find_chrome, save_figures
from steering_lab.analysis.plots.layer_coeff_heatmap import layer_coeff_heatmap
from steering_lab.analysis.plots.lens_curves import lens_curves
from steering_lab.analysis.plots.lens_heatmap import lens_heatmap
from steering_lab.analysis.plots.manifold_heatmap import manifold_heatmap
from steering_lab.analysis.plots.pca_scatter import pca_scatter
from steering_lab.analysis.plots.prediction_scatter import prediction_scatter
from steering_lab.analysis.plots.profile_curves import norm_curves, projection_curves
from steering_lab.analysis.plots.projection_heatmap import projection_heatmap
from steering_lab.analysis.plots.prompt_coeff_strip import prompt_coeff_strip
from steering_lab.analysis.plots.quantile_plot import quantile_plot
from steering_lab.analysis.plots.split_half_curves import split_half_curves
from steering_lab.analysis.plots.steerability_curves import steerability_curves
from steering_lab.analysis.plots.steered_measured import steered_by_layer, steered_measured
from steering_lab.analysis.plots.sweep_curves import coeff_curves, layer_curves
from steering_lab.analysis.plots.token_change_bars import token_change_bars
from steering_lab.analysis.plots.tradeoff_curves import tradeoff_curves
from steering_lab.analysis.plots.vector_lens_bars import vector_lens_bars
from steering_lab.analysis.plots.verdict_stack import verdict_stack

__all__ = [
    "Figure",
    "SavedFigures",
    "along",
    "audit_html",
    "audit_strip",
    "claim_curves",
    "coeff_curves",
    "condition_bars",
    "cosine_matrix",
    "cost_bars",
    "cost_effect",
    "cost_panel",
    "decomposition_bars",
    "divergence_scatter",
    "find_chrome",
    "layer_coeff_heatmap",
    "layer_curves",
    "lens_curves",
    "lens_heatmap",
    "manifold_heatmap",
    "norm_curves",
    "pca_scatter",
    "prediction_scatter",
    "projection_curves",
    "projection_heatmap",
    "prompt_coeff_strip",
    "quantile_plot",
    "save_figures",
    "split_half_curves",
    "steerability_curves",
    "steered_by_layer",
    "steered_measured",
    "token_change_bars",
    "tradeoff_curves",
    "vector_lens_bars",
    "verdict_stack",
]
