"""Figures of ActAdd, each end to end on the organism at its smallest sizes."""

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from steering_lab.cli.run import run as run_command
from steering_lab.data.contrast_pairs import ContrastPair
from steering_lab.data.rated_sentences import Rated
from steering_lab.evaluation.measuring.metrics import valence_balance, words
from steering_lab.evaluation.running.grid import median_resid_norms
from steering_lab.interventions.steering import steer
from steering_lab.methods.actadd import actadd_vector
from steering_lab.models.hook_points import resid_pre
from steering_lab.models.loading import load_model
from steering_lab.organism.rng import Rng
from steering_lab.organism.stories import story
from steering_lab.runs import read_run
from steering_lab.study.finding import experiments_folder, load_experiment, read_study
from steering_lab.study.language import language_of

FOLDER = experiments_folder() / "actadd"


def ran(figure: str, results: Path, *settings: str) -> Path:
    run_command(FOLDER / f"{figure}.toml", set=("variant=organism", "n_random=3", *settings), results=results)
    return next((results / f"actadd_{figure}").iterdir())


def test_a_tokens_shift_is_the_mean_change_of_its_log_probability(tmp_path: Path) -> None:
    rng = Rng("texts of a test")
    (tmp_path / "stories.txt").write_text("\n\n".join(story(rng).text for _ in range(20)))
    groups = f"groups={{all = {{sources = ['{tmp_path / 'stories.txt'}'], words = 4}}}}"
    parts = read_run(folder := ran("token_shifts", tmp_path, groups, "occurrences=3", "n_tails=3", 'topic="she,he"'))
    config = read_study(FOLDER / "token_shifts.toml", ["variant=organism", groups]).config
    texts = [text for group in config.groups.values() for text in group.texts(frozenset(), 0)]
    model = load_model("organism")
    vector = actadd_vector(model, ContrastPair(config.positive, ""), resid_pre(config.layers[0]), pad=config.pad)
    token, found = parts["tokens"].iloc[0], list[float]()
    [wanted] = model.tokenizer.convert_tokens_to_ids([model.tokenizer.tokenize(token["token"])[0]])
    for text in texts:
        ids = model.to_tokens(text)
        if wanted not in ids.ids:
            continue
        clean = model.logits(ids)[0].log_softmax(-1)
        with steer(model, vector.at_front()):
            steered = model.logits(ids)[0].log_softmax(-1)
        for at in range(len(vector.rows) + 1, ids.ids.shape[1]):
            if int(ids.ids[0, at]) == wanted:
                found.append(float(steered[at - 1, wanted] - clean[at - 1, wanted]))
    assert len(found) == token["n"]
    assert token["value"] == pytest.approx(np.mean(found), abs=1e-4)
    measured = {check["expected"] for check in parts["verdict"]["checks"]}
    assert "topic words: shift rises beyond random vectors" in measured
    assert "Words of the topic" in (folder / "index.html").read_text(encoding="utf-8")


def test_tokens_are_picked_on_one_half_of_the_texts_and_measured_on_the_other() -> None:
    module: Any = load_experiment(FOLDER / "token_shifts.toml")
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 4, size=(40, 30))
    sums = {"noise": counts * rng.normal(size=(40, 30)), "shift": counts * np.linspace(-1, 1, 30)}
    shifts = module.Shifts([str(i) for i in range(30)], counts, sums)
    every = np.arange(30)
    assert module._tail(shifts, "shift", every, "raised tokens", 2).mean() == pytest.approx(
        np.linspace(-1, 1, 30)[-2:].mean()
    )
    assert module._tail(shifts, "shift", every, "tails", 2) == pytest.approx(0, abs=1e-12)
    own = shifts.sums["noise"][1::2].sum(axis=0) / counts[1::2].sum(axis=0)
    picked = np.argsort(shifts.sums["noise"][::2].sum(axis=0) / counts[::2].sum(axis=0))[-5:]
    noise = module._tail(shifts, "noise", every, "raised tokens", 5)
    assert noise.mean() == pytest.approx(own[picked].mean())
    assert noise.mean() < np.sort(own)[-5:].mean()


@pytest.fixture(scope="module")
def placed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    few = ("layers=[1]", "read=[1, 0]", 'positions=["front", "back"]', "n_prompts=4", "n_samples=1")
    lines = 'expects=["read at 1, back: any word above read at 1, front"]'
    return dict(read_run(ran("transplant", tmp_path_factory.mktemp("placed"), *few, "max_new_tokens=4", lines)))


def test_a_vector_is_added_as_long_as_it_was_read_or_rescaled(placed: dict[str, Any]) -> None:
    norms = placed["norms"]
    assert list(norms) == ["read at 1", "read at 0", "read at 0, rescaled"]
    assert norms["read at 0"] < norms["read at 1"]
    own = placed["table"][placed["table"]["role"] == "steered"].drop_duplicates("method").set_index("method")
    ratio = own.loc["read at 0, front", "relative_norm"] / own.loc["read at 1, front", "relative_norm"]
    assert ratio == pytest.approx(norms["read at 0"] / norms["read at 1"], rel=1e-5)
    drawn = placed["table"][placed["table"]["role"] == "control"]
    assert set(drawn["control_of"]) == set(own.index)
    assert set(own["layer"]) == {1}


def test_places_are_compared_prompt_by_prompt(placed: dict[str, Any]) -> None:
    measured = placed["measured"]
    [paired] = measured[measured["against"].notna() & (measured["metric"] == "any word")].itertuples()
    values = measured[measured["against"].isna() & (measured["metric"] == "any word")].set_index("who")["value"]
    assert paired.effect == pytest.approx(values["read at 1, back"] - values["read at 1, front"])


@pytest.mark.parametrize(
    ("figure", "few"),
    [
        (
            "topic_layers",
            ("layers=[0, 7]", "bands={early=[0, 0], late=[7, 7]}", 'expects=["weddings early: perplexity at most 3"]'),
        ),
        ("positions", ("layers=[1]", 'positions=["front"]', 'expects=["front: perplexity at most 3"]', "numbers={}")),
    ],
)
def test_of_one_prompt_alone_the_samples_are_what_intervals_are_over(
    tmp_path: Path, figure: str, few: tuple[str, ...]
) -> None:
    """So do the papers' own settings have it: 100 or 200 completions of one prompt."""
    one = ('beginnings=["Ruth walked to the market and"]', "n_samples=6", "max_new_tokens=4")
    parts = read_run(folder := ran(figure, tmp_path, *few, *one))
    assert set(parts["table"]["prompt"]) == {f"sample {i}" for i in range(6)}
    assert set(parts["generations"]["prompt"]) == {"Ruth walked to the market and"}
    shown = parts["summary" if figure == "topic_layers" else "measured"]
    assert shown.loc[shown["role"] == "steered", "low"].notna().any()
    assert "all are of one prompt, and intervals say nothing of others" in (folder / "index.html").read_text(
        encoding="utf-8"
    )


def test_the_middle_of_a_prompt_is_where_the_authors_code_begins_it() -> None:
    module: Any = load_experiment(FOLDER / "transplant.toml")
    config = read_study(FOLDER / "transplant.toml", ["variant=organism", "n_prompts=4"]).config
    model = load_model("organism")
    vector = actadd_vector(model, ContrastPair("weddings", ""), resid_pre(1), pad="\t")
    for prompt, one in module._placed(config, model, vector, "middle").items():
        [term] = one.terms
        n_tokens, n_rows = len(model.token_ids(prompt)), len(vector.rows)
        assert term.place.start == n_tokens // 2 - n_rows // 2
        assert 0 <= term.place.start <= n_tokens - n_rows


def test_openings_are_turned_the_other_way_against_an_instruction(tmp_path: Path) -> None:
    for side, word in (("positive", "joy"), ("negative", "pain")):
        lines = [
            f"{who} walked to the market full of {word} and saw the ships." for who in ("She", "He", "Ruth", "Tom")
        ]
        (tmp_path / f"{side}.txt").write_text(" ".join(lines))
    group = "{{sources = ['{}'], words = 3}}"
    sides = ", ".join(f"{side} = {group.format(tmp_path / f'{side}.txt')}" for side in ("positive", "negative"))
    few = (f"openings={{{sides}}}", "n_samples=1", "max_new_tokens=6")
    parts = read_run(folder := ran("flipped_sentiment", tmp_path, *few))
    texts, module = parts["generations"], load_experiment(FOLDER / "flipped_sentiment.toml")
    shown = parts["measured"][parts["measured"]["against"].isna()].set_index(["who", "metric"])["value"]
    lexicon = language_of("organism").lexicon
    for way, sign in (("positive to negative", -1), ("negative to positive", 1)):
        own = texts[(texts["way"] == way) & (texts["role"] == "steered")]
        scores = [valence_balance(t, positive=lexicon.positive, negative=lexicon.negative) for t in own["text"]]
        assert shown[way, "flipped"] == np.mean([sign * score > 0 for score in scores])
        opening = "joy" if sign < 0 else "pain"
        assert own["prompt"].str.contains(opening).all()
    paired = parts["measured"][parts["measured"]["against"].notna()]
    assert set(paired["who"]) == {way.name for way in module.WAYS}  # type: ignore[attr-defined]
    assert "nobody rated these texts" in (folder / "index.html").read_text(encoding="utf-8")


def test_a_scorer_that_agrees_with_people_is_said_to(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = load_experiment(FOLDER / "flipped_sentiment.toml")
    config = read_study(FOLDER / "flipped_sentiment.toml").config
    words = [
        "horrible",
        "bad",
        "poor",
        "dull",
        "plain",
        "a film",
        "fine",
        "nice",
        "good",
        "great",
        "superb",
        "the best ever",
    ]
    rated = [Rated(f"It was {word}.", rating) for rating, word in enumerate(words, -6)]
    monkeypatch.setattr(module, "rated_sentences", lambda corpus: rated)
    agreed = module._agreement(config)
    assert agreed.n == 12
    assert agreed.correlation > 0.8
    assert "12 sentences of movies" in agreed.of


def test_a_premium_is_the_median_of_ratios_within_rounds_and_models_are_of_their_layout(tmp_path: Path) -> None:
    tiny = "layouts={a = {family = 'gpt2', width = 64, layers = 1}, b = {family = 'opt', width = 64, layers = 1}}"
    few = ("rounds=6", "n_prompts=1", "prompt_tokens=9", "max_new_tokens=1", 'expects=["b: premium at most 1e9"]')
    run_command(FOLDER / "time_premium.toml", set=("variant=organism", tiny, *few), results=tmp_path)
    parts = read_run(next((tmp_path / "actadd_time_premium").iterdir()))
    seconds, found = parts["seconds"], parts["measured"].set_index(["who", "metric"])
    assert seconds.groupby("model").size().to_dict() == {"organism": 6, "a": 6, "b": 6}
    own = seconds[seconds["model"] == "b"]
    assert found.loc[("b", "premium"), "effect"] == pytest.approx(
        100 * (own["steered"] / own["unsteered"] - 1).median()
    )
    again = found.loc[("unsteered again, a", "premium")]
    assert again["low"] <= again["effect"] <= again["high"]
    d_vocab = load_model("organism").d_vocab
    block = 12 * 64**2 + 13 * 64  # four attention matrices, two of a feed-forward four times as wide, biases, two norms
    assert found.loc[("a", "premium"), "parameters"] == d_vocab * 64 + 1024 * 64 + block + 2 * 64


def test_nasty_prompts_of_a_file_are_continued_and_rude_words_counted(tmp_path: Path) -> None:
    texts = {
        f"{who} said that she hated the ships and the {thing}.": 0.9
        for who, thing in product(("Ruth", "She"), ("sea", "net"))
    }
    rows = [{"prompt": {"text": text, "toxicity": score}} for text, score in {**texts, "A kind day.": 0.0}.items()]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    few = (f"data={tmp_path / 'rows.jsonl'}", "toxicity=[0.5, 1]", "n_samples=2", "max_new_tokens=6", 'rude="sea,the"')
    parts = read_run(folder := ran("detoxification", tmp_path, *few, 'measures=["length"]'))
    written, found = parts["generations"], parts["measured"].set_index(["who", "metric"])
    assert set(written["prompt"]) == set(texts)
    own = written[written["role"] == "steered"]["text"]
    assert found.loc[("actadd", "rude word"), "value"] == np.mean(
        [{"sea", "the"} & set(words(text)) != set() for text in own]
    )
    assert {"length", "perplexity", "degenerate"} <= {metric for _, metric in found.index}
    assert "which is no measure of toxicity: sea, the" in (folder / "index.html").read_text(encoding="utf-8")


def test_coefficients_a_hundredfold_apart_stand_on_a_log_axis_beside_what_they_cost(tmp_path: Path) -> None:
    line = 'expects=["love coeff 100: degenerate moves by at most 1"]'
    few = ("coeffs=[1, 100]", "n_prompts=2", "n_samples=1", "max_new_tokens=3", line)
    parts = read_run(folder := ran("large_coefficients", tmp_path, *few))
    summary = parts["summary"]
    love = summary[(summary["method"] == "love") & (summary["metric"] == "perplexity")]
    vector = actadd_vector(load_model("organism"), ContrastPair("love", "hate"), resid_pre(2))
    prompts = read_study(FOLDER / "large_coefficients.toml", ["variant=organism", "n_prompts=2"]).config.prompts
    [norm] = median_resid_norms(load_model("organism"), prompts, [resid_pre(2)]).values()
    assert love["relative_norm"].tolist() == pytest.approx([c * vector.norm / norm for c in (1, 100)], rel=1e-4)
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "perplexity, steered over unsteered" in page
    assert parts["verdict"]["ours"].startswith("love coeff 100, degenerate ")


def test_an_answer_whose_rank_is_not_known_is_no_hit_and_no_miss() -> None:
    module: Any = load_experiment(FOLDER / "facts.toml")
    hits = module._hits(pd.Series([0.0, 5.0, np.nan]), 1)
    assert hits.tolist()[:2] == [1, 0]
    assert hits.isna().tolist() == [False, False, True]


TWO = 'topics={weddings={prompt="weddings", words="weddings,bride"}, sea={prompt="ship", words="ship,sea"}}'


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (("bands={front=[0, 0], late=[7, 7]}",), "bands has 'front', which is where vectors are added"),
        (("coeffs=[1, 2]",), "coeffs has 2 and the figure goes along x = 'layer'"),
        (("dimensions=[0.5, 1]",), "dimensions has 2 and the figure goes along x = 'layer'"),
        (("shown=any word of elephants",), "shown is 'any word of elephants': it is one of perplexity"),
        (("shown=any word of its topic",), "shown is 'any word of its topic'"),
        ((TWO.replace("sea=", '"every topic"='),), "topics has 'every topic', which is what all topics are together"),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_anything_is_written(settings: tuple[str, ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_study(FOLDER / "topic_layers.toml", ["variant=organism", *settings])


def test_topics_are_together_along_layers_where_each_has_one_vector_there() -> None:
    shown = "shown=any word of weddings"
    for settings, together in (((), True), (("dimensions=[0.5]",), False)):
        config = read_study(FOLDER / "topic_layers.toml", ["variant=organism", TWO, shown, *settings]).config
        assert config.together is together  # type: ignore[attr-defined]
