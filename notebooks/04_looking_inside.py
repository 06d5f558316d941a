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
# A heatmap shows where text changes; these views show what changes inside, and no random vector stands beside it here.
# Each is a table and a figure, and the same call works clean, inside `with steer(...)`, and as the difference of both:
# viewers know nothing of steering. The vector is that of notebooks 1 and 2, love minus hate.

# %%
from steering_lab import (
    PAIRS,
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

model = load_model("smollm2")
about = "SmolLM2-135M-Instruct"
site = resid_pre(20)
vector = mean_difference_vectors(model, PAIRS["love_hate_sentences"], [site])[site]
steering = 2.0 * vector.everywhere()
prompt, prompts = "The weather this week has been", OPENINGS_TEST[:8]
steering

# %% [markdown]
# Exactly which tokens does this touch, with the KV cache and all? Measured while the model writes.

# %%
audit_strip(audit(model, prompt, steering, max_new_tokens=4), title="What was changed", subtitle=about)

# %% [markdown]
# The logit lens: what the model would say next if it stopped at a layer. Steered, and the change.

# %%
clean = logit_lens(model, prompt)
with steer(model, steering):
    steered = logit_lens(model, prompt)
late, late_clean = (table[table["layer"] >= 14] for table in (steered, clean))
lens_heatmap(late, title="The last layers, steered", subtitle=about).show()
lens_heatmap(lens_difference(late, late_clean), value="entropy", title="Steered minus clean", subtitle=about)

# %% [markdown]
# Four words for the weather along the stream. Dashed: without steering.

# %%
words = (" great", " wonderful", " terrible", " bad")
ids = [model.tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in words]
with steer(model, steering):
    followed = token_lens(model, prompt, ids)
lens_curves(followed, clean=token_lens(model, prompt, ids), title="Four words along the stream", subtitle=about)

# %% [markdown]
# How far the stream points along the direction, by layer, at the last token of eight prompts.

# %%
profiles = {"clean": projection_profile(model, prompts, vector.rows[0])}
with steer(model, steering):
    profiles["steered"] = projection_profile(model, prompts, vector.rows[0])
ends = {name: mean_over_prompts(table[table["from_end"] == -1], "projection") for name, table in profiles.items()}
projection_curves(ends, edited=site, title="Projection on the direction", subtitle=about)

# %% [markdown]
# What the vector adds itself, and what attention and MLP layers make of it.

# %%
with steer(model, steering):
    parts = effect_decomposition(model, prompts, vector.rows[0])
    moved = next_token_changes(model, prompt)
decomposition_bars(
    mean_over_prompts(parts[parts["from_end"] == -1], "effect", by=("layer", "part")), title="Parts", subtitle=about
)

# %% [markdown]
# The tokens that moved, with their share of the KL; and what the vector says by itself, read off the unembedding. On
# this prompt the likelier words are kind ones; the direction itself, read at block 20, names none of them.

# %%
token_change_bars(moved, title="The next token, steered against clean", subtitle=about).show()
vector_lens_bars(vector_lens(model, vector), title="What the direction itself says", subtitle=about)
