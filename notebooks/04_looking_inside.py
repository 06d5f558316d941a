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
# A heatmap says that steering works; these views say how. Each is a table and a figure, and the same call works clean,
# inside `with steer(...)`, and as the difference of both: viewers know nothing of steering. The prompt is a context
# that contradicts the memory, steered by the direction that makes the model follow it (notebook 3).

# %%
from steering_lab import contextfocus_vectors, load_model, logit_lens, resid_post, steer, vector_lens
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
from steering_lab.analysis.projection import projection_profile
from steering_lab.analysis.token_changes import next_token_changes
from steering_lab.data.conflict_world import world_rows
from steering_lab.data.templates import ORGANISM

model = load_model("organism")
about = "synthetic model organism"

site = resid_post(1)
vector = contextfocus_vectors(model, world_rows("conflict", 150, split="validation", seed=1), [site], wording=ORGANISM)[
    site
]
rows = [row for row in world_rows("conflict", 40, kind="subjects", seed=3) if len(row.context) < 60][:8]
row, prompts = rows[0], [ORGANISM.text("with_context", r.question, r.context) for r in rows]
steering = 1.0 * vector.from_last_prompt_token()
prompts[0], row.context_answers[0], row.memory_answers[0]

# %% [markdown]
# Exactly which tokens does this touch, with the KV cache and all? Measured while the model writes.

# %%
audit_strip(audit(model, prompts[0], steering, max_new_tokens=4), title="What was changed", subtitle=about)

# %% [markdown]
# The logit lens: what the model would say next if it stopped at a layer. Clean, steered, and the change.

# %%
clean = logit_lens(model, prompts[0])
with steer(model, steering):
    steered = logit_lens(model, prompts[0])
context, memory = (" " + answers[0].split()[0] for answers in (row.context_answers, row.memory_answers))
roles = {model.tokenizer.tokenize(context)[0].replace("Ġ", " "): "context answer"}
last = steered["position"] > steered["position"].max() - 8
lens_heatmap(steered[last], targets=roles, title="The last tokens, steered", subtitle=about).show()
lens_heatmap(lens_difference(steered[last], clean[last]), value="entropy", title="Steered minus clean", subtitle=about)

# %% [markdown]
# Where does the context's answer overtake the memory's? Dashed: without steering.

# %%
ids = [model.tokenizer(text, add_special_tokens=False)["input_ids"][0] for text in (context, memory)]
with steer(model, steering):
    followed = token_lens(model, prompts[0], ids)
lens_curves(followed, clean=token_lens(model, prompts[0], ids), title="Two answers along the stream", subtitle=about)

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
    moved = next_token_changes(model, prompts[0])
decomposition_bars(
    mean_over_prompts(parts[parts["from_end"] == -1], "effect", by=("layer", "part")), title="Parts", subtitle=about
)

# %% [markdown]
# The tokens that moved, with their share of the KL; and what the vector says by itself, read off the unembedding.

# %%
token_change_bars(moved, title="The next token, steered against clean", subtitle=about).show()
vector_lens_bars(vector_lens(model, vector), title="What the direction itself says", subtitle=about)
