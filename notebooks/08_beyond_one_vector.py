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
# # 8. Steering in use: four concepts, a harness, a database
#
# Contrast sets for sympathy, documentation and caution, and a weighted sum of two more; the steered model in
# lm-evaluation-harness; passages from a database, with steering only where they contradict the model. Each is a look
# at a few texts of SmolLM2-135M-Instruct, its weights dequantised from four bits (Q4_1). The studies that measure are
# `experiments/case_studies/` and `experiments/retrieval.toml`.

# %%
from importlib.util import find_spec
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import pandas as pd

from steering_lab import (
    GREEDY,
    PAIRS,
    Intervention,
    contextfocus_vectors,
    generate,
    load_model,
    mean_difference_vectors,
    random_like,
    resid_post,
    resid_pre,
    steer,
)
from steering_lab.data.capitals import capital_rows
from steering_lab.data.passages import KINDS, passages_about
from steering_lab.data.templates import PLAIN
from steering_lab.evaluation.running.harness import SteeredAnswers, harness_model
from steering_lab.evaluation.running.harness_task import capitals_task
from steering_lab.retrieval.passage_index import Passage, PassageIndex
from steering_lab.retrieval.prepared_prompts import PreparedPrompts
from steering_lab.retrieval.reader import SteeredReader, mean_states

model = load_model("smollm2")
folder = TemporaryDirectory()

# %% [markdown]
# **Four concepts.** Each is twelve pairs of sentences that differ in it, and their mean difference is added at every
# token of block 20; the last is a weighted sum, half of helpful and half of unbiased. Below each prompt stand three
# texts: unsteered, with the vector, with a random vector of its norm. Prompts and coefficients were picked by eye
# because they show, and the text suffers ("so so so"). Here a model of 135M takes up words of sympathy, of
# documentation and of caution, and of rich people says something good as well; nothing says that it understands
# anybody, that a comment is true, that an answer is right, or fair. It is no medical advice. The studies
# that measure such vectors, at coefficients of their own, confirmed none (`experiments/case_studies/`).

# %%
site = resid_pre(20)
names = ("empathetic_support", "documented_code", "careful_medicine", "helpful", "unbiased")
found = {name: mean_difference_vectors(model, PAIRS[name], [site])[site] for name in names}
concepts = {
    "empathetic_support": (found["empathetic_support"], model.chat_text("The hotel gave my room to somebody else.")),
    "documented_code": (3.0 * found["documented_code"], "def smallest(items):\n"),
    "careful_medicine": (2.0 * found["careful_medicine"], model.chat_text("I have a rash on my arm. What is it?")),
    "helpful and unbiased": (
        120.0 * (0.5 * found["helpful"].unit() + 0.5 * found["unbiased"].unit()),
        model.chat_text("Why are rich people so greedy?"),
    ),
}
texts = {}
for name, (vector, prompt) in concepts.items():
    edits = [Intervention(), vector.everywhere(), random_like(vector, seed=0).everywhere()]
    with steer(model, edits):
        texts[name] = generate(model, [prompt] * 3, max_new_tokens=24, sampling=GREEDY).texts
    print(name, *map(repr, texts[name]), sep="\n  ", end="\n\n")

# %% [markdown]
# **A harness.** lm-evaluation-harness asks a model for log-likelihoods of given answers. `SteeredAnswers` gives those
# of the steered model, here for one question of a task that needs no download: capitals of the world, four cities each.

# %%
task = capitals_task(folder.name, n_questions=16)
questions = pd.read_json(f"{folder.name}/{task}.jsonl", lines=True)
love = mean_difference_vectors(model, PAIRS["love_hate_sentences"], [site])[site]
conditions = {
    "unsteered": None,
    "love": 2.0 * love.everywhere(),
    "random": 2.0 * random_like(love, seed=0).everywhere(),
}
question = questions.iloc[0]
asked = f"Question: What is the capital of {question['subject']}?\nAnswer:"
requests = [SimpleNamespace(args=(asked, f" {choice}")) for choice in question["choices"]]
scores = {name: SteeredAnswers(model, edit).loglikelihood(requests) for name, edit in conditions.items()}
nats = pd.DataFrame({name: [score for score, _ in found] for name, found in scores.items()}, index=question["choices"])
print(asked)
nats.round(1)

# %% [markdown]
# The harness itself over all 16 questions, where it is installed (as where this copy was executed). One question is six
# points and the interval of a share of 16 is some forty wide, so this shows how it is asked, and neither a cost nor a
# gain. The guide `docs/guides/harness.md` has all 143 countries.

# %%
right = {}
if find_spec("lm_eval") is None:
    print('lm_eval is not installed: pip install "steering_lab[harness]"')
else:
    from datasets import disable_progress_bars
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    disable_progress_bars()
    quiet = {"task_manager": TaskManager(include_path=folder.name, include_defaults=False), "bootstrap_iters": 0}
    for name, edit in conditions.items():
        found = simple_evaluate(harness_model(model, edit), tasks=[task], verbosity="ERROR", **quiet)
        right[name] = f"{len(questions) * found['results'][task]['acc,none']:.0f} of {len(questions)} right"
right

# %% [markdown]
# **A database that is not to be trusted.** One passage a country, right, outdated ("An atlas of 1931 says") or wrong in
# turn, found by the model's own states (LanceDB). The ContextFocus vector is made of the wrong ones among every other
# country and stands behind the conflict gate: open where the passage contradicts what the model says without it.

# %%
embedded, steered = resid_post(10), resid_post(18)
rows = passages_about(capital_rows("conflict", min_population=10_000_000))
others, expected = rows[::2], rows[1::2]
passages = [Passage(row.context, row.group) for row in rows]
states = mean_states(model, [passage.text for passage in passages], embedded)
index = PassageIndex.make(
    f"{folder.name}/passages", passages, states, mean_states(model, [row.question for row in others], embedded)
)
conflicts = [row for row in others if row.regime == "conflict"]
focus = contextfocus_vectors(model, conflicts, [steered], wording=PLAIN, chat=True)[steered]
edit, control = (0.5 * vector.from_last_prompt_token() for vector in (focus, random_like(focus, seed=0)))
prepared = PreparedPrompts(f"{folder.name}/prompts")
reader = SteeredReader(model, index, embedded, edit, 0.05, prepared, PLAIN, chat=True)
len(passages), len(conflicts)

# %% [markdown]
# The first question of each kind, read ahead by a worker. The gate is shut where the passage says what the model says
# anyway, and open over the other two. That the vector does something there which a random one does not is not shown:
# over the outdated passage both bring its answer, over the wrong one only the random vector does. The study's intervals
# leave that open too (`docs/guides/retrieval.md`).

# %%
first = [next(row for row in expected if row.meta["passage"] == kind) for kind in KINDS]
with reader.preparing([row.question for row in first]) as ahead:
    print("read ahead:", sum(one.result() is not None for one in ahead))
answered = []
for row in first:
    found = reader.ask(row.question)
    prompt = reader.written("with_context", row.question, found.found.passage.text)
    gated = control if found.gate.steered else Intervention()
    with steer(model, [Intervention(), gated]):
        plain, chance = generate(model, [prompt] * 2, max_new_tokens=16, stop=("\n",), sampling=GREEDY).texts
    verdict = "open" if found.gate.steered else "shut"
    said = {"passage": found.found.passage.text, "from memory": found.gate.memory, "gate": verdict}
    answered.append({**said, "unsteered": plain, "steered": found.text, "random": chance})
for kind, one in zip(KINDS, answered, strict=True):
    print(kind, *(f"{key}: {text}" for key, text in one.items()), sep="\n  ", end="\n\n")
