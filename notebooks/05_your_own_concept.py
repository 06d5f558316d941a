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
# # 5. Your own concept: from pairs to a validated vector
#
# Several pairs that differ in one thing only, their mean difference, a cell chosen on some prompts and confirmed on
# others. The concept here is the sea; replace the pairs, the words that count as success, and the model.

# %%
from steering_lab import (
    ContrastPair,
    evaluate,
    layer_coeff_grid,
    load_model,
    mean_difference_vectors,
    select,
    summarise,
)
from steering_lab.analysis.plots import layer_coeff_heatmap
from steering_lab.data.invented_world import STORY_PROMPTS_TEST, STORY_PROMPTS_VALIDATION, TOPICS
from steering_lab.evaluation.condition import UNSTEERED, median_resid_norms, prompting
from steering_lab.evaluation.evaluate import Decoding
from steering_lab.evaluation.measures import Degenerate, Perplexity, topic_count
from steering_lab.evaluation.selection import confirm

model = load_model("organism")

# %% [markdown]
# The two sides of a pair share everything but the concept.

# %%
names = ["Mara", "Tomas", "Elin", "Hugo", "Clara", "Felix"]
pairs = [ContrastPair(f"Sea. {n} looked at the", f"Market. {n} looked at the") for n in names]
pairs += [ContrastPair(f"Ships. {n} asked about the", f"War. {n} asked about the") for n in names]
vectors = mean_difference_vectors(model, pairs, model.sites()[1:])
vectors[model.sites()[4]]

# %% [markdown]
# How stable is it? The cosine between vectors of two halves of the pairs, and of each pair's difference with the mean.

# %%
{str(site): {k: v for k, v in vector.source.details.items() if "cosine" in k} for site, vector in vectors.items()}

# %% [markdown]
# Choose on the validation prompts: the largest effect whose text costs at most 1.5 times the unsteered perplexity, each
# judged by the unfavourable end of its interval.

# %%
norms = median_resid_norms(model, STORY_PROMPTS_VALIDATION, list(vectors))
grid = layer_coeff_grid(vectors, [0.25, 0.5, 1.0], norms, method="sea", place="everywhere", n_random=3)
measures = [topic_count(TOPICS["sea"]), Perplexity(), Degenerate()]
decoding = Decoding(max_new_tokens=20, n_samples=1)
chosen_on = evaluate(model, [UNSTEERED, *grid], STORY_PROMPTS_VALIDATION, measures, decoding)
summary = summarise(chosen_on.table)
chosen = select(summary, effect="topic_words", budgets={"perplexity": 1.5})
chosen

# %%
layer_coeff_heatmap(
    summary,
    metric="topic_words",
    method="sea_everywhere",
    chosen=(int(chosen.layer), chosen.coeff),
    metric_label="sea words a text",
    subtitle="synthetic model organism",
)

# %% [markdown]
# Report on the test prompts, once: the chosen cell, its reversal, ten random vectors, and writing "Sea" in front.

# %%
site = next(s for s in vectors if s.layer == int(chosen.layer))
arms = layer_coeff_grid(
    {site: vectors[site]}, [chosen.coeff, -chosen.coeff], norms, method="sea", place="everywhere", n_random=10, seed=1
)
reported_on = evaluate(model, [UNSTEERED, prompting("Sea. "), *arms], STORY_PROMPTS_TEST, measures, decoding)
held_out = summarise(reported_on.table)
confirm(chosen, held_out)

# %%
columns = ["method", "coeff", "value", "effect", "low", "high", "control_low", "control_high", "n_prompts"]
held_out.loc[held_out["metric"] == "topic_words", columns]
