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
# # 1. Steer a model with ActAdd
#
# Activation addition (Turner et al. 2023, arXiv:2308.10248) takes the activations of one prompt, subtracts those of
# another, and adds the difference to the residual stream while the model writes. Everything here runs on the organism,
# a small synthetic model that comes along; for another one, change the next cell's last line, say to
# `load_model("gpt2-xl")` with layer 6 and coefficient 5.

# %%
from steering_lab import ContrastPair, actadd_vector, generate, load_model, random_like, resid_pre, steer
from steering_lab.models.generation import Sampling

model = load_model("organism")
model

# %% [markdown]
# The difference "Love" − "Hate" at the input of block 1: a row for each token. The first is zero, because nothing
# before the beginning-of-text token can differ.

# %%
love = actadd_vector(model, ContrastPair("Love", "Hate"), resid_pre(1))
love

# %% [markdown]
# The same prompts and the same random numbers, unsteered first, then with the difference added at the prompt's first
# tokens.

# %%
prompts = ["Mara walked to the road and", "Tomas went out early and", "After supper Simon thought about the"]
generate(model, prompts, max_new_tokens=24, sampling=Sampling(), seed=1)

# %%
with steer(model, 2.0 * love.at_front()):
    steered = generate(model, prompts, max_new_tokens=24, sampling=Sampling(), seed=1, log_probs=True)
steered

# %% [markdown]
# An intervention is a value: it scales, reverses, adds up, and says what it will do. At every token a quarter of the
# vector is plenty.

# %%
gentle, reverse = 0.25 * love.row(-1).everywhere(), -0.25 * love.row(-1).everywhere()
gentle + 0.5 * reverse

# %%
with steer(model, reverse):
    reversed_ = generate(model, prompts, max_new_tokens=24, sampling=Sampling(), seed=1)
reversed_

# %% [markdown]
# Any vector of this length perturbs the model. Before believing an effect, look at a random one of the same norm.

# %%
with steer(model, 0.25 * random_like(love.row(-1), seed=0).everywhere()):
    control = generate(model, prompts, max_new_tokens=24, sampling=Sampling(), seed=1)
control

# %% [markdown]
# A saved vector knows the model, the place, the tokens and the code it came from, and is refused where it does not fit.

# %%
from tempfile import TemporaryDirectory

from steering_lab import SteeringVector

with TemporaryDirectory() as folder:
    path = love.save(f"{folder}/love.safetensors")
    again = SteeringVector.load(path)
again.source
