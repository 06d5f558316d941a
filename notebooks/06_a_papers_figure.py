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
# # 6. A paper's figure from its TOML
#
# Every figure of the two papers that can be made here is one file under `experiments/`. It says what was claimed, the
# published number and what would count as not reproduced, all before the run; `make paper` makes all of them. This
# notebook makes one: how long a steering vector is, next to the stream that it is added to (ActAdd, figure 8), on
# SmolLM2-135M-Instruct, its weights dequantised from four bits (Q4_1).

# %%
import json
from tempfile import TemporaryDirectory

from steering_lab.runs import read_run
from steering_lab.study.finding import experiments_folder, read_study
from steering_lab.study.paper.claim import WORDS, Verdict
from steering_lab.study.paper.register import paper_figures

toml = experiments_folder() / "actadd" / "norms.toml"
print("".join(toml.read_text().partition("experiment =")[0]))

# %% [markdown]
# The file is a study like any other: a setting can be replaced, `variant=organism` asks the synthetic model. Here six
# of SmolLM2's 30 layers.

# %%
study = read_study(toml, ["layers=[0, 4, 8, 12, 20, 29]"])
print("\n".join(study.config.expects))

# %% [markdown]
# The run leaves a folder with its tables, its page and its verdict.

# %%
results = TemporaryDirectory()
run = read_run(study.experiment.run(study.config, results.name))

# %% [markdown]
# The verdict follows from the lines above, by a rule that is the same for every figure: all held, and the published
# numbers lie outside our intervals, so it is "in shape".

# %%
verdict = Verdict.read(run["verdict"])
print(verdict.sentence)
verdict.checks

# %% [markdown]
# Ours, with what the authors published beside it.

# %%
study.experiment.figure(run)

# %% [markdown]
# What became of every figure so far on SmolLM2, from the reference runs that come along. Each verdict with its numbers,
# and those on the synthetic model: `experiments/README.md`.

# %%
reference = experiments_folder().parent / "results"
newest = {figure.toml.stem: next(figure.runs(reference), None) for figure in paper_figures()}
words = {
    name: "not run here" if folder is None else Verdict.read(json.loads((folder / "verdict.json").read_text())).word
    for name, folder in newest.items()
}
for word in (*WORDS, "not run here"):
    names = [name for name in words if words[name] == word]
    print(f"{word} ({len(names)}): {', '.join(names) or 'none'}")
