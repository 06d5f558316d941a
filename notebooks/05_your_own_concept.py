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
# # 5. Your own concept: from pairs to a tested vector
#
# Several pairs that differ in one thing only, their mean difference, a cell chosen on some prompts and confirmed on
# others. The concept here is weddings; replace the pairs, the words that count as success, and the model, which has its
# weights dequantised from four bits (Q4_1).

# %%
from steering_lab import (
    PAIRS,
    UNSTEERED,
    Decoding,
    Degenerate,
    Perplexity,
    Sampling,
    confirm,
    evaluate,
    layer_coeff_grid,
    layer_coeff_heatmap,
    load_model,
    mean_difference_vectors,
    median_resid_norms,
    prompting,
    resid_pre,
    select,
    summarise,
    topic_count,
)
from steering_lab.data.prompts import OPENINGS_TEST, OPENINGS_VALIDATION
from steering_lab.study.page import described

model = load_model("smollm2")
about = described("smollm2", model.facts())
words = (
    "wedding weddings bride brides groom bridesmaid bridesmaids marry married marries marriage marrying vows honeymoon"
)
words += " engaged engagement husband wife newlyweds aisle"

# %% [markdown]
# The two sides of a pair are sentences of one shape, with the concept and without; the vector is the mean over pairs of
# the difference of the mean residuals of their tokens.

# %%
pairs = PAIRS["wedding_sentences"]
vectors = mean_difference_vectors(model, pairs, [resid_pre(8), resid_pre(14)], read="mean")
pairs[:3]

# %% [markdown]
# How stable is it? The cosine between vectors of two halves of the pairs, and of each pair's difference with the mean.

# %%
{str(site): {k: v for k, v in vector.source.details.items() if "cosine" in k} for site, vector in vectors.items()}

# %% [markdown]
# Choose on the validation prompts: the largest effect whose text costs at most eight times the unsteered perplexity,
# by the estimates alone: eight prompts leave counts of words without an interval. That is a lot.

# %%
prompts = OPENINGS_VALIDATION[:8]
norms = median_resid_norms(model, prompts, list(vectors))
grid = layer_coeff_grid(vectors, [2.0, 3.0], norms, method="wedding", place="everywhere", n_random=3)
measures = [topic_count(frozenset(words.split())), Perplexity(), Degenerate()]
decoding = Decoding(max_new_tokens=12, n_samples=1, sampling=Sampling(temperature=0.7, top_p=0.9))
chosen_on = evaluate(model, [UNSTEERED, *grid], prompts, measures, decoding)
summary = summarise(chosen_on.table)
chosen = select(summary, effect="topic_words", budgets={"perplexity": 8.0}, judged_by="estimate")
print(f"{chosen}; perplexity ×{chosen.costs['perplexity']['effect']:.2f}")

# %% [markdown]
# All the cells it was chosen from.

# %%
layer_coeff_heatmap(
    summary,
    metric="topic_words",
    method="wedding",
    chosen=(int(chosen.layer), chosen.coeff),
    metric_label="wedding words a text",
    title="Wedding words by layer and coefficient",
    subtitle=about,
)

# %% [markdown]
# Report on the test prompts: the chosen cell, its reversal, three random vectors, and asking for it in words.

# %%
site = next(s for s in vectors if s.layer == int(chosen.layer))
steered = layer_coeff_grid(
    {site: vectors[site]},
    [chosen.coeff, -chosen.coeff],
    norms,
    method="wedding",
    place="everywhere",
    n_random=3,
    seed=1,
)
asked = prompting("This is a story about a wedding. ")
reported_on = evaluate(model, [UNSTEERED, asked, *steered], OPENINGS_TEST[:8], measures, decoding)
held_out = summarise(reported_on.table)
confirm(chosen, held_out).round(2)

# %% [markdown]
# `holds` asks whether the interval on these prompts leaves out zero, and whether the cost is still within the budget.
# Eight prompts leave counts of words without an interval, so nothing is confirmed: fewer wedding words a text than when
# choosing, and fewer than asking in words gives. (The budget, the reading and the layers were changed once after a
# first cell had failed in the same way, so even this report is not untouched.) All conditions:

# %%
columns = ["metric", "method", "coeff", "value", "effect", "low", "high", "control_low", "control_high", "n_prompts"]
held_out.loc[held_out["metric"].isin(["topic_words", "perplexity"]), columns].round(2)
