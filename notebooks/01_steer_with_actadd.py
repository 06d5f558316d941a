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
# another, and adds the difference to the residual stream while the model writes. The model is SmolLM2-135M-Instruct,
# its weights dequantised from four bits (Q4_1); for the paper's own, write `load_model("gpt2-xl", prefix="bos")`, the
# pair " Love" − " Hate", layer 6, coefficient 5.

# %%
from steering_lab import (
    GREEDY,
    PAIRS,
    ContrastPair,
    actadd_vector,
    generate,
    load_model,
    mean_difference_vectors,
    random_like,
    resid_pre,
    steer,
)

model = load_model("smollm2")
model

# %% [markdown]
# The difference at the input of block 6: a row for each token. Row 0 is zero, because both prompts begin alike. Pair,
# layer and coefficient were picked by eye among some eighteen on these prompts; most of them did nothing kind.

# %%
front = actadd_vector(model, ContrastPair("I love this", "I hate this"), resid_pre(6))
front

# %% [markdown]
# The same prompts unsteered, and then with twice the difference added at their first tokens, the prefill's alone.

# %%
prompts = ["I hate you because", "I went up to my friend and said", "The weather this week has been"]
unsteered = generate(model, prompts, max_new_tokens=20, sampling=GREEDY)
with steer(model, 2.0 * front.at_front()):
    steered = generate(model, prompts, max_new_tokens=20, sampling=GREEDY)
{"unsteered": unsteered.texts, "steered": steered.texts}

# %% [markdown]
# A random vector of this length may change the text too. Before believing an effect, look at a random one of the same
# norm.

# %%
with steer(model, 2.0 * random_like(front, seed=0).at_front()):
    control = generate(model, prompts, max_new_tokens=20, sampling=GREEDY)
{"random": control.texts}

# %% [markdown]
# The random vector begins the third text as the difference did, so only the first text speaks for it here: at the
# front, with no token before the text, one pair does little to these three texts. The mean difference of twelve pairs
# at the input of block 20, added at every token, does more to them. An intervention is a value: it scales, reverses,
# adds up, and says what it will do.

# %%
love = mean_difference_vectors(model, PAIRS["love_hate_sentences"], [resid_pre(20)])[resid_pre(20)]
gentle, reverse = 2.0 * love.everywhere(), -2.0 * love.everywhere()
print(gentle + 0.5 * reverse)
with steer(model, gentle):
    kinder = generate(model, prompts, max_new_tokens=20, sampling=GREEDY)
kinder

# %% [markdown]
# Its reversal, and one random vector of its norm. Three prompts and one draw are an illustration; notebook 2 measures.

# %%
with steer(model, reverse):
    reversed_ = generate(model, prompts, max_new_tokens=20, sampling=GREEDY)
with steer(model, 2.0 * random_like(love, seed=0).everywhere()):
    random_ = generate(model, prompts, max_new_tokens=20, sampling=GREEDY)
{"reversed": reversed_.texts, "random": random_.texts}

# %% [markdown]
# A saved vector knows the model, the place, the tokens and the code it came from, and is refused where it does not fit.

# %%
from tempfile import TemporaryDirectory

from steering_lab import SteeringVector

with TemporaryDirectory() as folder:
    path = front.save(f"{folder}/love.safetensors")
    again = SteeringVector.load(path)
again.source
