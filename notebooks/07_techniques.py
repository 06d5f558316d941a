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
# # 7. Techniques, each once
#
# A delta by gradient with weighted objectives, a loss of your own, lists of unequal length, steering that stays on
# until it is told, a bare tensor from somewhere else. Each is a look at one or two texts of SmolLM2-135M-Instruct, its
# weights dequantised from four bits (Q4_1); nothing here is measured.

# %%
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from steering_lab import (
    GREEDY,
    generate,
    load_model,
    mean_difference_vectors,
    optimise_delta,
    random_like,
    resid_post,
    resid_pre,
    steer,
)
from steering_lab.data.capitals import capital_rows
from steering_lab.data.contrast_lists import ContrastLists
from steering_lab.data.templates import PLAIN
from steering_lab.evaluation.running.writing import Asked
from steering_lab.interventions.formats.bare import read_tensor
from steering_lab.methods.delta.descent import Descent
from steering_lab.methods.delta.objectives import ContrastClosedBook, ImitateInstructed
from steering_lab.methods.delta.own_loss import OwnLoss
from steering_lab.methods.delta.random_delta import random_at_equal_kl

model = load_model("smollm2")

# %% [markdown]
# **Weighted objectives.** One question whose passage contradicts what the model knows. Half of the objective is to
# answer as if it were told to follow the passage, half to decode as CAD would. Beside it a random delta that moves the
# model as far, in KL. The question was picked because it shows: unsteered the answer is Alberta, under the delta the
# passage's, and under the random delta the one that it remembers.

# %%
row = [row for row in capital_rows(min_population=40_000_000) if row.group == "AR"][1]
styles = ("with_context", "instructed", "closed_book")
plain, told, bare = (Asked(PLAIN, style, chat=model.chat_text)(row) for style in styles)
objective = 0.5 * ImitateInstructed((told,)) + 0.5 * ContrastClosedBook((bare,))
delta = optimise_delta(model, plain, [resid_post(17)], objective, descent=Descent(n_iterations=6))
other = random_at_equal_kl(model, [plain], objective, delta, seed=0)
answers = {"unsteered": generate(model, plain, max_new_tokens=10, sampling=GREEDY).texts[0]}
with steer(model, delta.intervention()):
    answers["delta"] = generate(model, plain, max_new_tokens=10, sampling=GREEDY).texts[0]
with steer(model, other.intervention()):
    answers["random delta of equal KL"] = generate(model, plain, max_new_tokens=10, sampling=GREEDY).texts[0]
{"context": row.context, "losses": [round(loss, 2) for loss in delta.problems[0].losses], **answers}

# %% [markdown]
# **A loss of your own**: any function of the steered pass that gradients can go through. Here, how much likelier the
# next token " terrible" is than " wonderful", in nats.

# %%
good, bad = (model.token_ids(word)[-1] for word in (" wonderful", " terrible"))
gladness = OwnLoss("gladness", lambda seen: seen.log_probs[0, bad] - seen.log_probs[0, good], given=(None,))
glad = optimise_delta(model, "The food was", [resid_pre(14)], gladness, descent=Descent(n_iterations=4, max_norm=0.3))
with steer(model, glad.intervention()):
    gladder = generate(model, "The food was", max_new_tokens=12, sampling=GREEDY).texts[0]
{"losses": [round(loss, 2) for loss in glad.problems[0].losses], "text": gladder}

# %% [markdown]
# **Lists of unequal length**: three desired texts, two undesired ones; the vector is the difference of their means.
# **Steering that stays on**: `enable()` and `disable()` beside the `with` block.

# %%
lists = ContrastLists(
    positive=["I love the way this street looks.", "My sister adores her new neighbours.", "What a beautiful song!"],
    negative=["The soup was horrible.", "Every visit to that museum is a misery."],
)
vector = mean_difference_vectors(model, lists, [resid_pre(20)])[resid_pre(20)]
steering = steer(model, 2.0 * vector.everywhere()).enable()
on = generate(model, "I hate you because", max_new_tokens=16, sampling=GREEDY).texts[0]
steering.disable()
off = generate(model, "I hate you because", max_new_tokens=16, sampling=GREEDY).texts[0]
with steer(model, 2.0 * random_like(vector, seed=0).everywhere()):
    by_chance = generate(model, "I hate you because", max_new_tokens=16, sampling=GREEDY).texts[0]
{"on": on, "off": off, "a random vector": by_chance}

# %% [markdown]
# **A bare tensor**: numbers from a file of another tool, whose site is asked for, because nothing in the file says it.

# %%
with TemporaryDirectory() as folder:
    file = Path(folder, "theirs.npy")
    np.save(file, vector.rows[-1].numpy())
    theirs = read_tensor(file, resid_pre(20), model=model)
with steer(model, 2.0 * theirs.everywhere()):
    same = generate(model, "I hate you because", max_new_tokens=16, sampling=GREEDY).texts[0]
{"as before": same == on, "vector": theirs}
