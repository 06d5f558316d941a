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
# # 3. Context against memory: ContextFocus and its rivals
#
# A passage contradicts what the model memorised. Which one answers? This is a small version of
# `steering-lab run experiments/contextfocus_conflict.toml`, whose layer and coefficient are chosen by rule on
# validation questions; here they are given.

# %%
from steering_lab import Condition, contextfocus_vectors, layer_coeff_grid, load_model, resid_post, summarise
from steering_lab.analysis.plots import condition_bars, verdict_stack
from steering_lab.data.conflict_world import world_rows
from steering_lab.data.templates import ORGANISM
from steering_lab.evaluation.answer_measures import AnswerMeasure, with_answers
from steering_lab.evaluation.condition import Asked, median_resid_norms
from steering_lab.evaluation.evaluate import Decoding, run_conditions
from steering_lab.evaluation.measures import measure_table
from steering_lab.methods.cad import CAD
from steering_lab.methods.coiecd import COIECD
from steering_lab.models.generation import GREEDY

model = load_model("organism")
wording = ORGANISM

# %% [markdown]
# Questions for the vector and questions to report on; no question is in both. The subjects of the second set were held
# out from every conflict in the model's training.

# %%
for_vector = world_rows("conflict", 150, split="validation", seed=1)
for_report = tuple({row.id: row for row in world_rows("conflict", 60, kind="subjects", seed=3)}.values())
for_report[0]

# %% [markdown]
# The published contrast: the last token's residual of [instruction + context + question] minus that of [question].

# %%
site = resid_post(1)
vector = contextfocus_vectors(model, for_vector, [site], wording=wording)[site]
vector

# %% [markdown]
# Prompting, contrastive decoding, steering and its random controls are all conditions, answered and judged alike. None
# but "instructed" sees an instruction.

# %%
plain, told, bare = (Asked(wording, style) for style in ("with_context", "instructed", "closed_book"))
conditions = [
    Condition("unsteered", write=plain, factors={"method": "unsteered", "coeff": 0.0}),
    Condition("instructed", write=told, factors={"method": "instructed"}),
    Condition("CAD", write=plain, rule=CAD(1.0), without_context=bare, factors={"method": "CAD"}),
    Condition("COIECD", write=plain, rule=COIECD(), without_context=bare, factors={"method": "COIECD"}),
]
norms = median_resid_norms(model, [plain(row) for row in for_report], [site])
place = {"place": "from_last_prompt_token", "write": plain}
conditions += layer_coeff_grid({site: vector}, [1.0, -1.0], norms, method="contextfocus", n_random=5, **place)

# %%
decoding = Decoding(max_new_tokens=6, n_samples=1, sampling=GREEDY, stop=("\n",))
answers = with_answers(run_conditions(model, conditions, for_report, decoding), {row.id: row for row in for_report})
measures = [AnswerMeasure(reading) for reading in ("context", "both", "neither", "memory")]
summary = summarise(measure_table(answers, measures))
summary.loc[
    summary["metric"] == "context", ["method", "coeff", "value", "effect", "low", "high", "control_low", "control_high"]
].round(2)

# %% [markdown]
# The whisker is the interval of the paired difference to the unsteered model.

# %%
about = "synthetic model organism, held-out subjects"
shown = summary[~summary["method"].str.startswith("random")].assign(
    condition=lambda t: t["method"] + t["coeff"].map(lambda c: f" {c:+g}" if c == c and c else "")
)
condition_bars(shown, metric="context", percent=True, title="Context answers under conflict", subtitle=about)

# %%
shares = shown.pivot_table(index="condition", columns="metric", values="value", sort=False)
verdict_stack(shares.assign(n=len(for_report)).reset_index(), title="Whose answer", subtitle=about)

# %% [markdown]
# The gradient form optimises a delta for one query at inference, the weights frozen: here, to answer the plain prompt
# as the instructed one would be answered. No label is used.

# %%
from steering_lab import optimise_delta
from steering_lab.methods.objectives import ImitateInstructed

some = for_report[:16]
found = optimise_delta(model, [plain(row) for row in some], site, ImitateInstructed(tuple(told(row) for row in some)))
found.table().groupby("evaluation")["loss"].mean().round(3)
