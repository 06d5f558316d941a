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
# # 4. Looking inside a steered run
#
# A heatmap shows where text changes; these views show what changes inside. The explorer puts a random vector of the
# same norm beside the vector; the figures below it do not: they describe this vector and test nothing. Each is a table
# and a figure, and the same call works clean, inside `with steer(...)`, and as the difference of both: viewers know
# nothing of steering. The vector is that of notebooks 1 and 2, love minus hate; the model's weights are dequantised
# from four bits (Q4_1).

# %%
from steering_lab import (
    PAIRS,
    explore,
    load_model,
    logit_lens,
    mean_difference_vectors,
    projection_profile,
    resid_pre,
    steer,
    vector_lens,
)
from steering_lab.analysis.audit import audit
from steering_lab.analysis.decomposition import effect_decomposition
from steering_lab.analysis.intervals import mean_over_prompts
from steering_lab.analysis.logit_lens import lens_difference, token_lens
from steering_lab.analysis.plots import (
    audit_strip,
    decomposition_bars,
    lens_curves,
    lens_heatmap,
    projection_curves,
    token_change_bars,
    vector_lens_bars,
)  # fmt: skip
from steering_lab.analysis.token_changes import next_token_changes
from steering_lab.data.prompts import OPENINGS_TEST
from steering_lab.study.page import described

model = load_model("smollm2")
about = described("smollm2", model.facts())
site = resid_pre(20)
vector = mean_difference_vectors(model, PAIRS["love_hate_sentences"], [site])[site]
steering = 2.0 * vector.everywhere()
prompt, prompts = "The weather this week has been", OPENINGS_TEST[:8]
steering

# %% [markdown]
# By hand, in Jupyter: a menu of vectors and places and a slider for the coefficient; a page that runs no widgets shows
# where they stood. On this prompt, picked because it shows, twice the vector makes the weather "perfect"; a random
# vector of its norm changes the text too, and " perfect" gains little by it. One draw is an illustration: notebook 2
# measures.

# %%
explorer = explore(model, vector.described("love − hate"), prompt, max_new_tokens=20)
explorer.place.value, explorer.coeff.value = "everywhere", 2.0
explorer

# %% [markdown]
# Exactly which tokens does this touch, with the KV cache and all? Measured while the model writes.

# %%
audit_strip(audit(model, prompt, steering, max_new_tokens=4), title="Tokens that the vector changes", subtitle=about)

# %% [markdown]
# The logit lens: what the model would say next if it stopped at a layer. Steered, and the change.

# %%
clean = logit_lens(model, prompt)
with steer(model, steering):
    steered = logit_lens(model, prompt)
late, late_clean = (table[table["layer"] >= 14] for table in (steered, clean))
lens_heatmap(late, title="Lens of the last layers, steered", subtitle=about).show()
lens_heatmap(lens_difference(late, late_clean), value="entropy", title="Lens, steered minus clean", subtitle=about)

# %% [markdown]
# Four words for the weather along the stream. Dashed: without steering.

# %%
words = (" great", " wonderful", " terrible", " bad")
ids = [model.tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in words]
with steer(model, steering):
    followed = token_lens(model, prompt, ids)
lens_curves(followed, clean=token_lens(model, prompt, ids), title="Four words along the stream", subtitle=about)

# %% [markdown]
# How far the stream points along the direction, by layer, at the last token of eight prompts; what the vector adds
# itself, and what attention and MLP layers make of it.

# %%
profiles = {"clean": projection_profile(model, prompts, vector.rows[0])}
with steer(model, steering):
    profiles["steered"] = projection_profile(model, prompts, vector.rows[0])
    parts = effect_decomposition(model, prompts, vector.rows[0])
    moved = next_token_changes(model, prompt)
ends = {name: mean_over_prompts(table[table["from_end"] == -1], "projection") for name, table in profiles.items()}
projection_curves(ends, edited=site, title="Projection on the direction", subtitle=about).show()
decomposition_bars(
    mean_over_prompts(parts[parts["from_end"] == -1], "effect", by=("layer", "part")),
    title="What moves the stream",
    subtitle=about,
)

# %% [markdown]
# The tokens that moved, with their share of the KL; and what the vector says by itself, read off the unembedding. On
# this prompt the likelier words are kind ones; the direction itself, read at block 20, names none of them.

# %%
token_change_bars(moved, title="The next token, steered against clean", subtitle=about).show()
vector_lens_bars(vector_lens(model, vector), title="What the direction itself says", subtitle=about)
