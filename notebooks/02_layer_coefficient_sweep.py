# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 2. Where does it work, and what does it cost?
#
# One vector for each layer, several coefficients, random vectors of the same norm beside each, all in shared batches.
# `steering-lab run experiments/actadd_sweep.toml` does this with more prompts, a choice, and a report. The model's
# weights are dequantised from four bits (Q4_1), as every figure says.

# %%
from steering_lab import (
    GREEDY,
    PAIRS,
    UNSTEERED,
    Decoding,
    Degenerate,
    Perplexity,
    evaluate,
    layer_coeff_grid,
    layer_coeff_heatmap,
    load_model,
    mean_difference_vectors,
    median_resid_norms,
    resid_pre,
    summarise,
    vader,
)
from steering_lab.analysis.plots import coeff_curves, cost_effect
from steering_lab.data.prompts import OPENINGS_VALIDATION
from steering_lab.study.page import described

model = load_model("smollm2")
prompts = OPENINGS_VALIDATION[:8]
about = f"{described('smollm2', model.facts())}; greedy"

# %% [markdown]
# The grid is a list of conditions. `relative_norm` says how long the added vector is beside the stream, since bare
# coefficients mean different things at different layers.

# %%
sites = [resid_pre(layer) for layer in (2, 11, 20)]
vectors = mean_difference_vectors(model, PAIRS["love_hate_sentences"], sites)
norms = median_resid_norms(model, prompts, sites)
grid = layer_coeff_grid(vectors, [-4, -2, 2, 4], norms, method="love", place="everywhere", n_random=3)
len(grid), grid[0].name

# %% [markdown]
# `evaluate` runs all of them; the table has one observation per row. The measures: VADER's sentiment of the text, its
# perplexity under the unsteered model, and whether it broke down.

# %%
measures = [vader(), Perplexity(), Degenerate()]
result = evaluate(model, [UNSTEERED, *grid], prompts, measures, Decoding(16, n_samples=1, sampling=GREEDY))
result.table.head()

# %% [markdown]
# `summarise` pairs every steered text with the unsteered one of the same prompt and sample and resamples whole prompts.

# %%
summary = summarise(result.table)
columns = ["metric", "layer", "coeff", "relative_norm", "value", "effect", "low", "high", "control_low", "control_high"]
summary.loc[(summary["method"] == "love") & (summary["metric"] == "vader"), columns].round(2)

# %% [markdown]
# Eight prompts and three random vectors show little: the interval of block 20, coefficient −2, toward hate, ends at
# zero, and nothing is corrected for twelve cells. The same numbers as a map; under the pointer, a text of the cell.

# %%
where = {"metric": "vader", "method": "love", "subtitle": about}
layer_coeff_heatmap(summary, **where, examples=result.generations, title="Sentiment by layer and coefficient")

# %% [markdown]
# And as curves: the grey band is where one more random vector of that norm would fall.

# %%
coeff_curves(summary, **where, title="Sentiment by coefficient, a curve a layer")

# %% [markdown]
# An effect is only worth its price: effect against perplexity, and the cells that no other beats, in two blocks.

# %%
steered = summary[summary["role"].isin(["unsteered", "steered"]) & (summary["layer"] != 2)]
cost_effect(steered, effect="vader", cost="perplexity", title="Sentiment against perplexity", subtitle=about)
