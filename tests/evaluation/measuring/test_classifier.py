"""Tiny random classifiers, asked by the measure and by transformers' own pipeline. No network."""

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
    pipeline,
)

from experiments.actadd.detoxification import run
from steering_lab.analysis.plots import export
from steering_lab.cli.run import run as run_command
from steering_lab.evaluation.measuring.classifier import Classifier
from steering_lab.evaluation.measuring.measures import Measure
from steering_lab.evaluation.measuring.named_measures import label_of, named_measure
from steering_lab.runs import read_run
from steering_lab.study.finding import read_study
from tests.tiny_models import TEXT, tiny_tokenizer

TEXTS = [*TEXT, "I hate it.", "a", " ".join(TEXT * 4)]  # the last is longer than a classifier here reads
LIMIT = 40
SIZE = {
    "vocab_size": 320, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
    "initializer_range": 0.8, "pad_token_id": 2,
}  # fmt: skip
TWO = {0: "neutral", 1: "toxic"}
THREE = {0: "calm", 1: "rude", 2: "vile"}


def saved(folder: Path, labels: dict[int, str] = TWO, *, roberta: bool = False, pads: bool = True, **more: Any) -> Path:
    """A classifier of random weights and its tokenizer; of RoBERTa's, the first position is 3."""
    torch.manual_seed(len(labels))
    named = {"id2label": labels, "label2id": {label: i for i, label in labels.items()}, **SIZE, **more}
    if roberta:
        config: Any = RobertaConfig(**named, max_position_embeddings=LIMIT + 3, type_vocab_size=1)
        RobertaForSequenceClassification(config).save_pretrained(folder)
    else:
        BertForSequenceClassification(BertConfig(**named, max_position_embeddings=LIMIT)).save_pretrained(folder)
    tokenizer = tiny_tokenizer(pad=pads)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def toxic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("classifiers") / "tiny-toxic")


def table(texts: list[Any]) -> pd.DataFrame:
    return pd.DataFrame({"text": texts}, index=range(5, 5 + len(texts)))


def measured(name: str, **changed: Any) -> Classifier:
    found = named_measure(name)
    assert isinstance(found, Classifier)
    made = {"name": name, "folder": found.folder, "label": found.label, "hf_model": found.hf_model}
    return Classifier(**{**made, "tokenizer": found.tokenizer, **changed})


@pytest.mark.parametrize(
    ("labels", "label", "more"),
    [
        (TWO, "toxic", {}),
        (TWO, "neutral", {"roberta": True}),
        (THREE, "rude", {}),
        (THREE, "vile", {"problem_type": "multi_label_classification"}),
        ({0: "toxic"}, "toxic", {}),
    ],
)
def test_probabilities_are_those_of_transformers_own_pipeline(
    tmp_path: Path, labels: dict[int, str], label: str, more: dict[str, Any]
) -> None:
    folder = saved(tmp_path / "tiny", labels, **more)
    oracle = pipeline("text-classification", model=str(folder), device="cpu")
    asked = oracle(TEXTS, top_k=None, truncation=True, max_length=LIMIT)
    wanted = [next(one["score"] for one in row if one["label"] == label) for row in asked]
    values = named_measure(f"classifier:{folder}:{label}")(table(TEXTS))
    assert values.tolist() == pytest.approx(wanted, abs=1e-5)
    assert max(wanted) - min(wanted) > 0.02, "a classifier that says the same of every text would show nothing"


def test_a_batch_does_not_change_a_probability_nor_does_asking_again(toxic: Path) -> None:
    name = f"classifier:{toxic}"
    alone, together = measured(name, batch_size=1), measured(name, batch_size=7)
    values = together(table(TEXTS))
    assert values.tolist() == pytest.approx(alone(table(TEXTS)).tolist(), abs=1e-5)
    assert measured(name)(table(TEXTS[::-1])).tolist()[::-1] == named_measure(name)(table(TEXTS)).tolist()


def test_a_classifier_without_a_token_to_pad_with_reads_one_text_at_a_time(toxic: Path, tmp_path: Path) -> None:
    folder = saved(tmp_path / "bare", pads=False)
    values = named_measure(f"classifier:{folder}")(table(TEXTS))
    assert values.tolist() == pytest.approx(named_measure(f"classifier:{toxic}")(table(TEXTS)).tolist(), abs=1e-5)


@pytest.mark.parametrize("roberta", [False, True])
def test_of_a_long_text_the_beginning_is_read_up_to_the_models_own_limit(tmp_path: Path, roberta: bool) -> None:
    """The tokenizers here have no limit of their own, and RoBERTa's positions begin behind the padding's."""
    measure = measured(f"classifier:{saved(tmp_path / 'tiny', roberta=roberta)}")
    assert measure.max_tokens == LIMIT
    [first, again, other] = measure(table([TEXTS[-1], TEXTS[-1] + " more", TEXTS[-1][200:]]))
    assert first == pytest.approx(again, abs=1e-6)
    assert abs(first - other) > 1e-4
    measure.tokenizer.model_max_length = 7
    assert measure.max_tokens == 7


def test_a_row_without_words_has_no_probability_and_each_value_stands_on_its_row(toxic: Path) -> None:
    measure = named_measure(f"classifier:{toxic}")
    assert isinstance(measure, Measure)
    values = measure(table(["a", None, " \n", TEXT[0], "a"]))
    assert values.index.tolist() == [5, 6, 7, 8, 9]
    assert [math.isnan(value) for value in values] == [False, True, True, False, False]
    assert values[5] == values[9] != values[8]


def test_the_label_is_the_second_of_two_or_the_one_named(toxic: Path) -> None:
    by_default, named = named_measure(f"classifier:{toxic}"), named_measure(f"classifier:{toxic}:toxic")
    other = named_measure(f"classifier:{toxic}:neutral")
    assert by_default(table(TEXTS)).tolist() == named(table(TEXTS)).tolist()
    assert (by_default(table(TEXTS)) + other(table(TEXTS))).tolist() == pytest.approx([1.0] * len(TEXTS), abs=1e-6)
    assert label_of(named.name) == "probability of toxic, as tiny-toxic gives it"
    assert label_of(by_default.name) == "probability, as tiny-toxic gives it"
    assert (by_default.kind, by_default.bounds, by_default.scale) == ("bounded", (0, 1), "difference")


def test_a_folder_may_have_a_colon_in_its_name(tmp_path: Path) -> None:
    folder = saved(tmp_path / "tiny:toxic", THREE)
    assert measured(f"classifier:{folder}:rude").label == "rude"
    with pytest.raises(ValueError, match="names no label"):
        named_measure(f"classifier:{folder}")


# -- at the door -----------------------------------------------------------------------------------------------------
def test_a_label_that_there_is_not_is_refused_with_those_that_there_are(toxic: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"tiny-toxic has no label 'rude': choose one of neutral, toxic$"):
        named_measure(f"classifier:{toxic}:rude")
    three = saved(tmp_path / "three", THREE)
    with pytest.raises(ValueError, match=r"names no label: write classifier:.*:LABEL, LABEL one of calm, rude, vile$"):
        named_measure(f"classifier:{three}")


def test_what_is_no_classifier_is_refused(tmp_path: Path, toxic: Path) -> None:
    with pytest.raises(ValueError, match=r"^the classifier '.*nowhere': there is no such folder$"):
        named_measure(f"classifier:{tmp_path / 'nowhere'}:toxic")
    with pytest.raises(ValueError, match=r"'nowhere/tiny': it is no folder here, and the Hugging Face hub did not giv"):
        named_measure("classifier:nowhere/tiny:toxic")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty': the folder holds none that can be opened"):
        named_measure(f"classifier:{tmp_path / 'empty'}")
    with pytest.raises(ValueError, match=r"unknown measure 'classifier': choose .* or classifier:FOLDER:LABEL$"):
        named_measure("classifier")
    headless = tmp_path / "headless"
    BertForMaskedLM(BertConfig(**SIZE)).save_pretrained(headless)
    tiny_tokenizer().save_pretrained(headless)
    with pytest.raises(ValueError, match=r"headless' is no whole classifier: its files lack .*classifier\.weight"):
        named_measure(f"classifier:{headless}")
    mute = saved(tmp_path / "mute")
    for file in mute.glob("token*"):
        file.unlink()
    with pytest.raises(ValueError, match="mute': no tokenizer with a vocabulary stands beside its weights"):
        named_measure(f"classifier:{mute}")
    value = saved(tmp_path / "value", problem_type="regression")
    with pytest.raises(ValueError, match="value' gives a value and no probability"):
        named_measure(f"classifier:{value}")


def test_a_file_of_settings_with_a_wrong_label_fails_before_any_model_is_loaded(
    toxic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(self: object) -> None:
        raise AssertionError("the model was loaded")

    toml = Path(__file__).parents[3] / "experiments/actadd/detoxification.toml"
    config = read_study(toml, ["variant=organism", f"measures=['classifier:{toxic}:rude']"]).config
    monkeypatch.setattr(type(config), "load", never)
    with pytest.raises(ValueError, match="has no label 'rude': choose one of neutral, toxic"):
        run(config, tmp_path)
    sweep = tmp_path / "mine.toml"
    sweep.write_text(f'experiment = "sweep"\npairs = "love_hate"\nmeasures = ["classifier:{toxic}:rude"]')
    with pytest.raises(ValueError, match="has no label 'rude': choose one of neutral, toxic"):
        read_study(sweep)


# -- in a run --------------------------------------------------------------------------------------------------------
def test_a_run_says_which_classifier_measured_it(toxic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "find_chrome", lambda: None)
    name = f"classifier:{toxic}:toxic"
    sweep = tmp_path / "mine.toml"
    sweep.write_text('experiment = "sweep"\npairs = "love_hate"\nplace = "front"\ncosts = []')
    small = ("layers=[1]", "coeffs=[-1, 1]", "n_prompts=2", "n_samples=1", "max_new_tokens=3", "n_random=3")
    run_command(sweep, set=(*small, "n_random_confirm=3", f"measures=['{name}']"), results=tmp_path / "r")
    [folder] = (tmp_path / "r/mine").iterdir()
    parts = read_run(folder)
    assert parts["sweep"]["metric"] == name
    assert parts["summary"].query("metric == @name")["value"].between(0, 1).all()
    [said] = json.loads((folder / "judges.json").read_text())
    assert (said["folder"], said["label"], said["labels"]) == ("tiny-toxic", "toxic", ["neutral", "toxic"])
    assert said["max_tokens"] == LIMIT
    assert said["weights"] == measured(name).described()["weights"]
    changed = saved(tmp_path / "other", initializer_range=0.7)
    assert named_measure(f"classifier:{changed}").described()["weights"] != said["weights"]  # type: ignore[attr-defined]


def test_rude_continuations_are_measured_by_a_classifier_too(
    toxic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "find_chrome", lambda: None)
    toml = Path(__file__).parents[3] / "experiments/actadd/detoxification.toml"
    name = f"classifier:{toxic}"
    rows = tmp_path / "rows.jsonl"
    rows.write_text("\n".join(json.dumps({"prompt": {"text": text, "toxicity": 0.9}}) for text in TEXT))
    few = ("variant=organism", f"data={rows}", "n_random=3", "n_samples=1", "max_new_tokens=4")
    run_command(toml, set=(*few, f"measures=['{name}']"), results=tmp_path)
    [folder] = (tmp_path / "actadd_detoxification").iterdir()
    parts = read_run(folder)
    own = parts["generations"].query("role == 'steered'")
    found = parts["measured"].set_index(["who", "metric"]).loc[("actadd", name)]
    assert found["value"] == pytest.approx(named_measure(name)(own).mean())
    assert json.loads((folder / "judges.json").read_text())[0]["label"] == "toxic"
    said = "is the probability that the classifier tiny-toxic gives to the label toxic, of at most"
    assert said in (folder / "index.html").read_text()


def test_settings_that_name_a_classifier_twice_read_it_once(toxic: Path) -> None:
    first, second = measured(f"classifier:{toxic}"), measured(f"classifier:{toxic}:neutral")
    assert first.hf_model is second.hf_model
