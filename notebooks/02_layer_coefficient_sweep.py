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
# `steering-lab run experiments/actadd_sweep.toml` is this notebook at full size, with a report.

# %%
from steering_lab import ContrastPair, evaluate, layer_coeff_grid, layer_coeff_heatmap, load_model, summarise
from steering_lab.analysis.plots import coeff_curves, cost_effect
from steering_lab.data.invented_world import NEGATIVE_WORDS, POSITIVE_WORDS, STORY_PROMPTS_VALIDATION
from steering_lab.data.lexicons import Lexicon
from steering_lab.evaluation.condition import UNSTEERED, median_resid_norms
from steering_lab.evaluation.evaluate import Decoding
from steering_lab.evaluation.measures import Degenerate, Perplexity, balance
from steering_lab.methods.mean_difference import mean_difference_vectors

model = load_model("organism")
prompts = STORY_PROMPTS_VALIDATION[:10]

# %% [markdown]
# The grid is a list of conditions. `relative_norm` says how long the added vector is beside the stream, since bare
# coefficients mean different things at different layers.

# %%
sites = model.sites()[::2]
vectors = mean_difference_vectors(model, [ContrastPair("Love", "Hate")], sites)
norms = median_resid_norms(model, prompts, sites)
grid = layer_coeff_grid(vectors, [-0.5, -0.25, 0.25, 0.5], norms, method="actadd", place="everywhere", n_random=3)
len(grid), grid[0].name

# %% [markdown]
# `evaluate` runs all of them; the table has one observation per row. The measures: positive minus negative words per
# valenced-or-not word of the text, the perplexity of the text under the unsteered model, and whether it broke down.

# %%
words = Lexicon(frozenset(POSITIVE_WORDS), frozenset(NEGATIVE_WORDS))
measures = [balance(words), Perplexity(), Degenerate()]
result = evaluate(model, [UNSTEERED, *grid], prompts, measures, Decoding(max_new_tokens=20, n_samples=2))
result.table.head()

# %% [markdown]
# `summarise` pairs every steered text with the unsteered one of the same prompt and sample and resamples whole prompts.

# %%
summary = summarise(result.table)
summary[summary["method"] == "actadd_everywhere"].head()

# %%
about = "synthetic model organism, choosing prompts only"
layer_coeff_heatmap(
    summary, metric="valence_balance", method="actadd_everywhere", examples=result.generations, subtitle=about
)

# %%
layer_coeff_heatmap(summary, metric="perplexity", method="actadd_everywhere", subtitle=about)

# %% [markdown]
# The same numbers as curves: the grey band is where one more random vector of that norm would fall.

# %%
coeff_curves(summary, metric="valence_balance", method="actadd_everywhere", subtitle=about)

# %% [markdown]
# An effect is only worth its price: effect against perplexity, and the cells that no other beats.

# %%
cost_effect(summary, effect="valence_balance", cost="perplexity", subtitle=about)
