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
# A passage contradicts what the model learnt. Which one answers? This is a small version of
# `steering-lab run experiments/contextfocus_conflict.toml --set model=smollm2 data=capitals wording=plain chat=true
# max_new_tokens=16`, whose layer and coefficient are chosen by rule on validation questions; here they are
# given, from trials on capitals that overlap with these. The model's weights are dequantised from four bits (Q4_1).

# %%
from steering_lab import (
    GREEDY,
    Condition,
    Decoding,
    contextfocus_vectors,
    layer_coeff_grid,
    load_model,
    median_resid_norms,
    resid_post,
    summarise,
)
from steering_lab.analysis.plots import condition_bars, verdict_stack
from steering_lab.data.capitals import capital_rows
from steering_lab.data.templates import PLAIN
from steering_lab.evaluation.measuring.answer_measures import AnswerMeasure, with_answers
from steering_lab.evaluation.measuring.known_rows import known_rows, of_known
from steering_lab.evaluation.measuring.measures import measure_table
from steering_lab.evaluation.running.evaluate import run_conditions
from steering_lab.evaluation.running.writing import Asked
from steering_lab.methods.cad import CAD
from steering_lab.methods.coiecd import COIECD
from steering_lab.study.page import described

model = load_model("smollm2")
plain, told, bare = (
    Asked(PLAIN, style, chat=model.chat_text) for style in ("with_context", "instructed", "closed_book")
)

# %% [markdown]
# A conflict with memory needs a memory: of the capitals of large countries, those that the model names right without
# any context. One half of the countries is for the vector, the other for the report.

# %%
rows = capital_rows(min_population=40_000_000)
rows = of_known(rows, known_rows(model, rows, bare))
countries = sorted({row.group for row in rows})
for_vector = [row for row in rows if row.group in countries[::2]]
for_report = [row for row in rows if row.group in countries[1::2]][::2]
len(countries), len(for_vector), len(for_report), for_report[0]

# %% [markdown]
# The published contrast: the last token's residual of [instruction + context + question] minus that of [question].

# %%
site = resid_post(17)
vector = contextfocus_vectors(model, for_vector, [site], wording=PLAIN, chat=True)[site]
vector

# %% [markdown]
# Prompting, contrastive decoding, steering and its random controls are all conditions, answered and judged alike. None
# but "instructed" sees an instruction.

# %%
conditions = [
    Condition("unsteered", write=plain, role="unsteered"),
    Condition("instructed", write=told),
    Condition("CAD", write=plain, rule=CAD(1.0), without_context=bare),
    Condition("COIECD", write=plain, rule=COIECD(), without_context=bare),
]
norms = median_resid_norms(model, [plain(row) for row in for_report], [site])
place = {"place": "from_last_prompt_token", "write": plain}
conditions += layer_coeff_grid({site: vector}, [0.5], norms, method="contextfocus", n_random=3, **place)

# %% [markdown]
# Greedy answers, each judged by whose city it names: the context's, the memory's, both or neither.

# %%
decoding = Decoding(max_new_tokens=10, n_samples=1, sampling=GREEDY, stop=("\n",), log_probs=False)
answers = with_answers(run_conditions(model, conditions, for_report, decoding), {row.id: row for row in for_report})
measures = [AnswerMeasure(reading) for reading in ("context", "both", "neither", "memory")]
summary = summarise(measure_table(answers, measures))
columns = ["method", "coeff", "value", "effect", "low", "high", "control_low", "control_high"]
summary.loc[summary["metric"] == "context", columns].round(2)

# %% [markdown]
# On these 22 rows contrastive decoding raises context answers most. The interval of the vector's effect holds zero, and
# by three draws one more random vector of its norm could do anything (the control's ends): few rows do not show that
# this direction does something. The shares of all four readings, without the random vectors.

# %%
about = f"{described('smollm2', model.facts())}; capitals it knows"
shown = summary[summary["role"] != "control"].assign(
    condition=lambda t: t["method"] + t["coeff"].map(lambda c: f" {c:+g}" if c == c and c else "")
)
shares = shown.pivot_table(index="condition", columns="metric", values="value", sort=False)
verdict_stack(shares.assign(n=len(for_report)).reset_index(), title="Whose answer", subtitle=about).show()
condition_bars(shown, metric="context", percent=True, title="Context answers under conflict", subtitle=about)
