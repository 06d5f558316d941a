"""A task of lm-evaluation-harness from what lies here: the capitals of the world as multiple choice, in two files."""

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random

from steering_lab.data.country_facts import Fact, country_facts
from steering_lab.safe_files import make_folder

TASK = "capitals_of_the_world"
YAML = """\
task: {task}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
test_split: test
output_type: multiple_choice
doc_to_text: "Question: What is the capital of {{{{subject}}}}?\\nAnswer:"
doc_to_choice: choices
doc_to_target: answer
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
  - metric: acc_norm
    aggregation: mean
    higher_is_better: true
metadata:
  version: 1.0
"""


def capitals_task(folder: str | Path, *, n_questions: int = 0, n_choices: int = 4, seed: int = 0) -> str:
    """The name of the task, after writing `capitals_of_the_world.yaml` and `.jsonl` to a folder for `include_path`.

    Wrong choices are other large cities of the country. Chance is 1 / `n_choices`.

    Args:
        folder: Where both files are written.
        n_questions: How many countries, drawn for the seed; 0 is all that have choices enough.
        n_choices: How many choices a question has, the right one among them.
        seed: What the order of choices, and the draw of countries, follow from.

    Raises:
        ValueError: fewer than two choices, or more questions or choices than there are.
    """
    if n_choices < 2:
        raise ValueError(f"n_choices is {n_choices}: a question needs 2 or more")
    facts = [fact for fact in country_facts("capital").facts if len(fact.substitutes) >= n_choices - 1]
    if not facts or n_questions > len(facts):
        raise ValueError(f"{len(facts)} countries have {n_choices} choices, {n_questions} are asked for")
    rng = Random(seed)
    chosen = rng.sample(facts, n_questions) if n_questions else facts
    folder = make_folder(folder).resolve()
    data = folder / f"{TASK}.jsonl"
    data.write_text("".join(f"{json.dumps(row)}\n" for row in _rows(chosen, n_choices, rng)), encoding="utf-8")
    (folder / f"{TASK}.yaml").write_text(YAML.format(task=TASK, data=json.dumps(str(data))), encoding="utf-8")
    return TASK


def _rows(facts: Sequence[Fact], n_choices: int, rng: Random) -> list[dict[str, object]]:
    rows = []
    for fact in facts:
        choices = [fact.answers[0], *(other[0] for other in rng.sample(fact.substitutes, n_choices - 1))]
        rng.shuffle(choices)
        rows.append({"subject": fact.subject, "choices": choices, "answer": choices.index(fact.answers[0])})
    return rows
