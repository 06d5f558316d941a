"""Every experiment file is sound, and the sweep runs end to end on a model it has never seen."""

import dataclasses
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd
import pytest
import torch

from steering_lab.cli.report import report as report_command
from steering_lab.cli.run import run as run_command
from steering_lab.data.conflict_qa import ConflictQA
from steering_lab.data.conflict_readers import write_conflict_qa
from steering_lab.data.contrast_pairs import PAIRS, ContrastPair
from steering_lab.evaluation.running.condition import Condition
from steering_lab.evaluation.running.control_vectors import CONTROLS
from steering_lab.evaluation.running.evaluate import row_seed
from steering_lab.evaluation.running.writing import Prefixed
from steering_lab.interventions.intervention import Add
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.models.generation import Sampling, continuation_log_probs, generate
from steering_lab.models.hook_points import resid_post
from steering_lab.models.loading import load_model
from steering_lab.models.loading.synthetic import organism_folder
from steering_lab.organism.world_rows import world_rows
from steering_lab.runs import RunFolder, read_run
from steering_lab.study.conflict.asking import as_asked
from steering_lab.study.conflict.questions import Counts, Part, file_rows, world_questions
from steering_lab.study.finding import Placement, experiments_folder, load_experiment, read_study
from steering_lab.study.reading import read_config
from tests.tiny_models import save_chat_model, save_tiny_model

SWEEP = experiments_folder() / "actadd_sweep.toml"
SMALL = ("front_coeffs=[-1, 1]", "everywhere_coeffs=[1]", "n_prompts=2", "n_samples=2", "max_new_tokens=6",
         "n_random=3", "n_random_confirm=3", "perplexity_budget=1e9", "sure=false")  # fmt: skip


@dataclass(frozen=True)
class Inner:
    count: int = 1

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError(f"count is {self.count}, it begins at 0")


@dataclass(frozen=True)
class Toy:
    model: str = "organism"
    layers: tuple[int, ...] = ()
    budget: float = 1.5
    kind: Literal["front", "everywhere"] = "front"
    top_k: int | None = None
    chat: bool = False
    inner: Inner = Inner()

    def __post_init__(self) -> None:
        if self.budget <= 0:
            raise ValueError("budget must be above 0")


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    path = tmp_path / "toy.toml"
    path.write_text("layers = [1, 2]\n")
    return path


@pytest.mark.parametrize("toml", sorted(experiments_folder().glob("*.toml")), ids=lambda p: p.stem)
def test_every_experiment_file_is_a_config_of_its_module(toml: Path) -> None:
    config = load_experiment(toml).Config
    assert read_config(config, toml) is not None
    for field in dataclasses.fields(config):
        wrong = "[]" if field.default_factory is dict else "{}"
        with pytest.raises(ValueError, match=f"^setting {field.name} = .*: it takes "):
            read_config(config, toml, [f"{field.name}={wrong}"])


def test_settings_replace_what_the_file_says(toml: Path) -> None:
    assert read_config(Toy, toml, ["layers=[3]", "model=gpt2-xl"]) == Toy("gpt2-xl", (3,))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("layer=[3]", "unknown setting 'layer': did you mean 'layers'"),
        ("zzz=1", "unknown setting 'zzz': known are model, layers, budget, kind, top_k, chat, inner"),
        ("layers=3", "setting layers = 3: it takes a list of whole numbers, say [3]"),
        ("layers=['a']", "setting layers[0] = 'a': it takes a list of whole numbers"),
        ("budget=much", "setting budget = 'much': it takes a number"),
        ("model=3", "setting model = 3: it takes text"),
        ("kind=back", "setting kind = 'back': it takes one of 'front', 'everywhere'"),
        ("top_k=1.5", "setting top_k = 1.5: it takes a whole number"),
        ("chat=maybe", "setting chat = 'maybe': it takes true or false"),
        ("chat=1", "setting chat = 1: it takes true or false"),
        ("chat='true'", "setting chat = 'true': it takes true or false"),
        ("budget=true", "setting budget = true: it takes a number"),
        ("layers=[true]", "setting layers[0] = true: it takes a number"),
        ("inner={count=false}", "setting inner.count = false: it takes a number"),
        ("inner={count='x'}", "setting inner.count = 'x': it takes a whole number"),
        ("inner={count=-1}", "count is -1, it begins at 0"),
        ("budget", "--set takes key=value, not 'budget'"),
        ("budget=-1", "budget must be above 0"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(toml: Path, setting: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        read_config(Toy, toml, [setting])


def test_a_file_that_is_not_toml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text("layers = [1,")
    with pytest.raises(ValueError, match="is not TOML"):
        read_config(Toy, path)


def test_a_missing_experiment_is_named_with_those_that_exist(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"actadd_sweep\.toml"):
        load_experiment(tmp_path / "nothing.toml")


def test_the_sweep_runs_end_to_end_and_leaves_a_whole_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = save_tiny_model("llama", tmp_path / "tiny-llama")
    opinion = "prompts=['I love the', 'the sea and']", "test_prompts=['I hate the', 'love in the']"
    run_command(SWEEP, set=(f"model={folder}", *SMALL, *opinion), results=tmp_path / "results")
    path = next((tmp_path / "results" / "actadd_sweep").iterdir())
    parts = read_run(path)
    assert parts["config"]["front_coeffs"] == [-1, 1]
    table: pd.DataFrame = parts["table"]
    columns = ["condition", "method", "layer", "coeff", "relative_norm", "prompt", "sample", "metric", "value"]
    assert set(columns) <= set(table.columns)
    # 3 layers x (2 front + 1 everywhere) cells, each with 3 random vectors, unsteered and prompting; 4 texts each
    assert len(parts["generations"]) == (3 * 3 * (1 + 3) + 2) * 4
    assert set(parts["confirmed"]["method"]) >= {"unsteered", "prompting Love", "prompting Hate"}
    assert not set(parts["generations"]["prompt"]) & set(parts["generations_test"]["prompt"])
    page = (path / "index.html").read_text()
    assert "tiny-llama" in page
    assert {p.stem for p in (path / "figures").glob("*.html")} >= {"actadd_front_sentiment", "actadd_front_perplexity"}
    assert "perplexity" in capsys.readouterr().out

    # The page and the figures are made again from the folder alone, and are the same.
    (path / "index.html").unlink()
    shutil.rmtree(path / "figures")
    report_command((path,))
    assert (path / "index.html").read_text() == page
    assert (path / "figures" / "actadd_front_sentiment.html").is_file()
    assert (path / "index.html").resolve().as_uri() in capsys.readouterr().out

    # What an older or thinned folder lacks is said, and the rest stands.
    for name in ("model.json", "generations.jsonl"):
        (path / name).unlink()
    report_command((path,))
    thinner = (path / "index.html").read_text()
    assert "model.json is not in this folder" in thinner
    assert "generations.jsonl is not in this folder" in thinner
    assert "generations_test.jsonl is not" not in thinner
    assert len(thinner) < len(page)


def test_a_sweep_of_averaged_pairs_in_a_chat_chooses_by_vader(tmp_path: Path) -> None:
    folder = save_chat_model(tmp_path / "tiny-chat")
    sweep = (
        f"model={folder}", "pairs=love_hate_sentences", "front_coeffs=[]", "everywhere_coeffs=[1]", "layers=[1]",
        "measures=['vader', 'valence_balance']", "chat=true", "system=Hi", "top_k=40", "top_p=0.9",
        "temperature=0.7", "repetition_penalty=1.2", "prompts=['I love the', 'the sea']",
        "test_prompts=['I hate', 'in the']", "n_samples=2", "max_new_tokens=5",
        "n_random=3", "n_random_confirm=3", "perplexity_budget=1e9",
    )  # fmt: skip
    run_command(SWEEP, set=sweep, results=tmp_path / "results")
    path = next((tmp_path / "results" / "actadd_sweep").iterdir())
    parts = read_run(path)
    assert set(parts["generations"]["prompt"]) == {"I love the", "the sea"}  # the tables keep the bare prompt
    assert set(parts["summary"]["method"]) == {
        "unsteered", "mean_difference", "random",
        f"prompting {PAIRS['love_hate_sentences'][0].positive}",
    }  # fmt: skip
    assert {"vader", "valence_balance", "perplexity"} <= set(parts["summary"]["metric"])
    assert len(parts["sweep"]["forms"][0]["pairs"]) == len(PAIRS["love_hate_sentences"])
    page = (path / "index.html").read_text()
    assert "love_hate_sentences (mean of 12 pairs)" in page
    assert "Mean difference, everywhere" in page

    # Written as a chat, and scored under the unsteered model that reads the same chat.
    model = load_model(folder)
    write = Prefixed("", model.chat_text, "Hi")
    assert write("the sea") == "<system>Hi</system><user>the sea</user><assistant>"
    rows = parts["generations"].query("role == 'unsteered'")
    assert rows["log_prob_unsteered"].tolist() == pytest.approx(rows["log_prob_steered"].tolist(), abs=1e-4)
    sampling = Sampling(0.7, 40, 0.9, 0.0, 1.2)
    first = generate(model, write("I love the"), max_new_tokens=5, sampling=sampling, seed=[row_seed(0, 0, 0)]).texts[0]
    assert rows.iloc[0]["text"] == first
    rival = parts["generations"].query("method.str.startswith('prompting') and prompt == 'the sea' and sample == 0")
    asked = Prefixed(f"{PAIRS['love_hate_sentences'][0].positive} ", model.chat_text, "Hi")("the sea")
    tokens = generate(model, asked, max_new_tokens=5, sampling=sampling, seed=[row_seed(0, 1, 0)]).tokens
    (plain,) = continuation_log_probs(model, [model.token_ids(write("the sea"))], tokens)
    assert rival["log_prob_unsteered"].item() == pytest.approx(sum(plain), abs=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("system=Hi",), "system is 'Hi', but plain prompts have no system turn: set chat = true"),
        (("system=",), "system is '', but plain prompts have no system turn"),
        (("measures=['vader']",), "reads English, which the organism's language is not"),
        (("pairs=weddings", "everywhere_coeffs=[]"), "added at every token, but everywhere_coeffs are empty"),
        (("pairs=nothing_like_it",), "neither a file nor one of the sets love_hate, "),
        (("repetition_penalty=0",), "repetition_penalty is 0"),
        (("top_k=0",), "top_k is 0"),
        (("chat=true",), "has no chat template"),
    ],
)
def test_settings_of_the_sweep_that_contradict_each_other_are_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: tuple[str, ...], message: str
) -> None:
    monkeypatch.setattr(RunFolder, "open", lambda *_, **__: pytest.fail("the run began"))
    with pytest.raises(ValueError, match=message):
        run_command(SWEEP, set=settings, results=tmp_path)


def test_pairs_are_for_every_token_and_the_one_pair_for_the_front(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("positive,negative\nJoy,Grief\n")
    config, one, mine = load_experiment(SWEEP).Config, (ContrastPair("Love", "Hate"),), (ContrastPair("Joy", "Grief"),)
    for settings, wanted in (
        ([], {"front": one, "everywhere": one}),
        ([f"pairs={tmp_path / 'mine.csv'}"], {"front": one, "everywhere": mine}),
        ([f"pairs={tmp_path / 'mine.csv'}", "front_coeffs=[]"], {"everywhere": mine}),
        (["everywhere_coeffs=[]"], {"front": one}),
    ):
        assert {form.place: form.pairs for form in read_config(config, SWEEP, settings).forms} == wanted


@pytest.mark.parametrize("lacking", ["Config", "run", "report"])
def test_a_module_that_is_no_experiment_says_what_it_lacks(tmp_path: Path, lacking: str) -> None:
    (tmp_path / "mine.toml").write_text("")
    (tmp_path / "mine.py").write_text("".join(f"{name} = int\n" for name in {"Config", "run", "report"} - {lacking}))
    with pytest.raises(ValueError, match=rf"mine\.py is no experiment, it has no {lacking}: see docs"):
        load_experiment(tmp_path / "mine.toml")


def test_a_file_without_a_module_of_its_own_names_one(tmp_path: Path) -> None:
    toml = tmp_path / "mine.toml"
    toml.write_text("")
    with pytest.raises(FileNotFoundError, match=r'no mine\.py beside it to run: add experiment = "sweep"'):
        load_experiment(toml)
    toml.write_text('experiment = "sweeps"')
    with pytest.raises(FileNotFoundError, match=r"names the experiment 'sweeps', and there is no sweeps\.py"):
        load_experiment(toml)
    toml.write_text('experiment = "../sweep"')
    with pytest.raises(ValueError, match=r"setting experiment = '\.\./sweep': it takes the name of a module"):
        load_experiment(toml)
    toml.write_text('experiment = "sweep"\npairs = "love_hate"\nexecutor = "processes"')
    study = read_study(toml, ["n_prompts=3"])
    assert (study.name, study.config.name, study.config.n_prompts) == ("mine", "mine", 3)
    assert study.placement == Placement("processes")
    assert read_study(toml, ["name=other", "executor=ray"], workers=4).placement == Placement("ray", 4)
    with pytest.raises(FileNotFoundError, match="names the experiment 'sweeps'"):
        read_study(toml, ["experiment=sweeps"])
    with pytest.raises(ValueError, match="setting executor = 'cloud': it takes one of 'local', 'processes'"):
        read_study(toml, ["executor=cloud"])


def test_overlapping_prompts_are_refused_before_a_model_is_loaded() -> None:
    with pytest.raises(ValueError, match="overlap"):
        read_config(load_experiment(SWEEP).Config, SWEEP, ["prompts=['a', 'b']", "test_prompts=['b']"])


def test_an_experiment_imports_the_modules_of_its_folder_and_no_others(tmp_path: Path) -> None:
    for folder, answer in (("one", 1), ("two", 2)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "toy.toml").write_text("")
        (tmp_path / folder / "toy.py").write_text("from .sibling import ANSWER\nConfig = run = report = ANSWER")
        (tmp_path / folder / "sibling.py").write_text(f"ANSWER = {answer}")
    assert [load_experiment(tmp_path / folder / "toy.toml").Config for folder in ("one", "two", "one")] == [1, 2, 1]


def test_experiments_load_from_where_a_wheel_puts_them(tmp_path: Path) -> None:
    """Inside the package, where no folder above them is one that Python imports from."""
    shutil.copytree(experiments_folder(), tmp_path / "steering_lab" / "experiments")
    toml = tmp_path / "steering_lab" / "experiments" / "contextfocus_conflict.toml"
    module = load_experiment(toml)
    assert Path(str(module.__file__)).parent == toml.parent
    assert read_config(module.Config, toml).model == "organism"


CONFLICT = experiments_folder() / "contextfocus_conflict.toml"
RIVALS = {"unsteered", "instructed", "opinion", "CAD alpha 1", "COIECD", "part context_only"}


def test_context_against_memory_runs_end_to_end_on_the_organism(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ("layers=[1]", "coeffs=[0, 1]", "n_vector=40", "n_validation=24", "n_test=12", "n_random=3",
             "n_shuffled=1", "agreement_budget=1", "perplexity_budget=10", "n_rounds=1",
             f"finetuned={organism_folder()}")  # fmt: skip
    run_command(CONFLICT, set=small, results=tmp_path / "results")
    path = next((tmp_path / "results" / "contextfocus_conflict").iterdir())
    parts = read_run(path)
    asked = parts["splits"]
    assert not set(asked["vector"]) & {
        i for use in ("validation", "test") for rows in asked[use].values() for i in rows
    }
    assert SteeringVector.load(path / "contextfocus.safetensors").site == resid_post(1)
    summary: pd.DataFrame = parts["summary"]
    subjects = summary[summary["kind"] == "subjects"]
    shares = subjects[subjects["metric"] == "context"].groupby("method")["value"].mean()
    assert shares["contextfocus"] > shares["random"]
    assert set(shares.index) >= RIVALS
    check_controls(summary, parts["validation"])
    # A checkpoint equal to the model does as the model does.
    twin = subjects[subjects["method"] == "fine-tuned"].set_index("metric")["effect"]
    assert twin[["context", "memory", "log_odds", "kl"]].tolist() == pytest.approx([0, 0, 0, 0], abs=1e-5)
    assert set(parts["paired"]["questions"]) == {"all", "known"}
    known = parts["paired"].query("kind == 'subjects' and questions == 'known'")
    assert set(known["n"]) == {len(parts["known"]["conflict, subjects"])}
    odd = parts["odd"].query("metric == 'log_odds_odd' and kind == 'subjects'")
    assert {"random vector 1", "random vector 2", "random vector 3"} < set(odd["method"])
    costs = parts["costs"].set_index("condition")
    assert (costs.loc["CAD alpha 1", "forwards_per_token"], costs.loc["ContextFocus +1", "forwards_per_token"]) == (
        2,
        1,
    )
    assert costs.loc[["CAD alpha 1", "COIECD", "instructed"], "perplexity_ratio"].isna().all()
    assert costs.loc["unsteered", ["tokens_per_second_ratio", "perplexity_ratio", "kl"]].tolist() == pytest.approx(
        [1, 1, 0], abs=1e-6
    )
    assert set(parts["scores"]["scorer"]) == {"strict", "official"}
    printed, page = capsys.readouterr().out, (path / "index.html").read_text()
    assert "ContextFocus +1 at layer 1" in printed.splitlines()[0]
    assert " points [" in printed.splitlines()[0].split("; one more random vector")[0]
    assert " (p " in printed.splitlines()[0]
    assert "At its norm and on average over draws, random vectors move context answers by " in printed.splitlines()[0]
    assert "another layer's vector by " in printed.splitlines()[0]
    assert "shuffled labels: context moves by at most 0.1" in printed
    assert "not measured in this run" not in printed
    assert "contextfocus: context rises by at least 0.25" in printed
    assert "Expected, and what came of it" in page
    assert set(parts["generations_test"]["verdict"]) >= {"context", "memory"}

    # The page is drawn again from the folder alone.
    shutil.rmtree(path / "figures")
    (path / "index.html").unlink()
    module = load_experiment(CONFLICT)
    assert module.report(path).read_text() == page
    assert {figure.stem for figure in (path / "figures").glob("*.html")} == {
        "layer_coeff", "context_answers", "verdicts", "log_odds", "odd_part", "cost_agreement", "cost_perplexity",
        "costs",
    }  # fmt: skip


def check_controls(summary: pd.DataFrame, validation: pd.DataFrame) -> None:
    """Every control stands beside the chosen vector at its norm, plain random vectors beside every searched cell."""
    beside = summary[summary["role"] == "control"]
    assert set(beside["method"]) == set(CONTROLS)
    assert set(beside.loc[beside["coeff"] == -1, "method"]) == {"random"}
    own = summary[(summary["method"] == "contextfocus") & (summary["coeff"] == 1)]
    assert beside["relative_norm"].to_numpy() == pytest.approx(own["relative_norm"].iloc[0])
    for regime in ("conflict", "agreement", "irrelevant", "closed_book"):
        assert set(beside.loc[(beside["regime"] == regime) & (beside["coeff"] == 1), "method"]) == set(CONTROLS)
    assert (own.loc[own["regime"] == "conflict", "n_draws"] == 6).all()  # of each kind of random vector 3
    cells = validation[validation["role"] == "steered"]
    assert (cells.loc[cells["metric"] == "context", "n_draws"] == 3).all()
    assert (cells.loc[cells["regime"] != "conflict", "n_draws"] == 0).all()
    assert set(validation.loc[validation["role"] == "control", "method"]) == {"random"}


@pytest.mark.parametrize("compare", [["instructed", "CAD"], ["reversed"]], ids=["rivals", "none"])
def test_a_search_that_finds_nothing_says_so_marks_nothing_and_shows_the_rivals_that_were_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], compare: list[str]
) -> None:
    small = ("layers=[0]", "coeffs=[0, 0.1]", "n_vector=8", "n_validation=8", "n_test=8", "perplexity_budget=0.5",
             f"compare={compare}", "n_rounds=1")  # fmt: skip
    run_command(CONFLICT, set=small, results=tmp_path)
    path = next((tmp_path / "contextfocus_conflict").iterdir())
    assert not path.name.endswith(".partial")
    parts = read_run(path)
    assert "within 0.5 (upper ends judge); the nearest are" in parts["chosen"]["nothing_chosen"]
    assert set(parts["validation"]["method"]) >= {"unsteered", "contextfocus"}
    page = (path / "index.html").read_text()
    for said in (page, capsys.readouterr().out):
        assert "ContextFocus: no cell surely keeps" in said or "works here: no cell surely keeps" in said
        assert ("Nothing works here" in said) == ("CAD" in compare and "raise context answers" not in said)
    figures = {figure.stem for figure in (path / "figures").glob("*.html")}
    assert figures >= {"layer_coeff_context", "layer_coeff_memory"}
    assert "chosen: layer" not in page
    if "CAD" in compare:
        assert set(parts["summary"]["method"]) == {"unsteered", "instructed", "CAD alpha 1"}
        assert figures >= {"context_answers", "verdicts", "costs"}
    else:
        assert "summary" not in parts  # with nobody to compare with, the questions for reporting are not asked
    assert set(parts["generations_validation"]["regime"]) == {"conflict", "agreement"}

    # The page is drawn again from the folder alone.
    (path / "index.html").unlink()
    assert load_experiment(CONFLICT).report(path).read_text() == page


def test_a_small_comparison_says_how_small_it_is_and_what_a_random_vector_may_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ("layers=[1]", "coeffs=[0, 0.5]", "n_vector=24", "n_validation=8", "n_test=8", "n_random=3", "n_rounds=1",
             "agreement_budget=1", "sure=false", "compare=['instructed']", "controls=['random']",
             "n_random_search=0")  # fmt: skip
    run_command(CONFLICT, set=small, results=tmp_path)
    path = next((tmp_path / "contextfocus_conflict").iterdir())
    parts = read_run(path)
    methods = {"unsteered", "instructed", "contextfocus", "random"}
    assert set(parts["summary"]["method"]) == methods
    assert set(parts["validation"]["method"]) == {"unsteered", "contextfocus"}  # no random vector was searched
    assert set(parts["summary"].query("layer == 1")["coeff"]) == {0.5}  # nothing was asked to be reversed
    assert "odd" not in parts
    assert not (path / "figures" / "odd_part.html").exists()
    validation = parts["validation"].query("method == 'contextfocus' and metric == 'context'")
    n_tested = len(parts["splits"]["test"]["conflict, subjects"])
    printed = capsys.readouterr().out
    assert "At its norm" not in printed  # their band says it
    assert "Right answers elsewhere: agreement from" in printed
    assert f"chosen on {int(validation['n'].iloc[0])} conflicts, where it" in printed
    assert "as the best, within held-out perplexity ≤ 1.25" in printed
    assert f"measured on {n_tested} others" in printed


def test_random_vectors_are_reversed_under_conflict_alone() -> None:
    edits = {("random", 0.5), ("random", -0.5), ("contextfocus", -0.5)}
    edit = Add(torch.ones(1, 4), resid_post(1)).everywhere()
    of = {"random": {"control_of": "contextfocus", "draw": 0}, "contextfocus": {}}
    conditions = [Condition(f"{m} {c}", c * edit, method=m, **of[m]) for m, c in sorted(edits, reverse=True)]
    asked = {regime: as_asked(conditions, world_rows(regime, 1, seed=1)) for regime in ("conflict", "agreement")}
    assert {(a.factors.method, a.factors.coeff) for a in asked["conflict"]} == edits
    assert {(a.factors.method, a.factors.coeff) for a in asked["agreement"]} == edits - {("random", -0.5)}


def unique_rows(count: int) -> list[ConflictQA]:
    return list({row.id: row for row in world_rows("conflict", count, seed=5)}.values())


def test_only_questions_that_the_model_knew_before_are_used_where_that_is_asked(tmp_path: Path) -> None:
    rows = [row for row in unique_rows(60) if row.decides]
    rows = [dataclasses.replace(r, memory_answers=("Nowhere",)) if i % 4 == 0 else r for i, r in enumerate(rows)]
    write_conflict_qa(tmp_path / "rows.jsonl", rows)
    small = (f"data={tmp_path / 'rows.jsonl'}", "known_only=true", "layers=[1]", "coeffs=[0, 1]", "n_vector=8",
             "n_validation=8", "n_test=8", "n_random=3", "agreement_budget=1", "perplexity_budget=0.5",
             "compare=['instructed']", "n_rounds=1")  # fmt: skip
    run_command(CONFLICT, set=small, results=tmp_path)
    parts = read_run(next((tmp_path / "contextfocus_conflict").iterdir()))
    known, splits = parts["known"], parts["splits"]
    asked = {row.id: row.closed_book().id for row in rows}
    assert known["asked"] == len(set(asked.values()))
    assert len(rows) / 2 < len(known["known"]) <= known["asked"] - len(rows[::4])
    used = [*splits["vector"], *splits["validation"]["conflict"], *splits["test"]["conflict"]]
    assert {asked[row] for row in used} <= set(known["known"])


def test_the_capitals_run_on_any_model_and_a_model_that_knows_none_is_told(tmp_path: Path) -> None:
    """The organism has never heard of France."""
    small = ("data=capitals", "relations=['capital', 'continent']", "min_population=40000000", "layers=[1]",
             "coeffs=[0, 1]", "n_vector=8", "n_validation=8", "n_test=8", "n_random=3",
             "compare=['instructed']", "n_rounds=1")  # fmt: skip
    with pytest.raises(ValueError, match=r"the model knows 0 of \d+ without .* known_only = false asks all"):
        run_command(CONFLICT, set=small, results=tmp_path / "known")
    left = next((tmp_path / "known" / "contextfocus_conflict").iterdir())
    assert json.loads((left / "known.json").read_text())["known"] == []
    budget = ("known_only=false", "perplexity_budget=0.1", "answer_prefix={begun}")
    run_command(CONFLICT, set=(*small, *budget), results=tmp_path / "all")
    parts = read_run(next((tmp_path / "all" / "contextfocus_conflict").iterdir()))
    assert "nothing_chosen" in parts["chosen"]
    assert set(parts["splits"]["test"]) == {"conflict", "agreement", "irrelevant", "closed_book"}


# -- bad input, refused before a model runs ----------------------------------------------------------------------------
@pytest.mark.parametrize("coeffs", ["[1, 2]", "[0]", "[0, 1, 1]"])
def test_coefficients_without_the_unsteered_model_or_others_are_refused(coeffs: str) -> None:
    with pytest.raises(ValueError, match="must hold 0, the unsteered model, and others, each once"):
        read_config(load_experiment(CONFLICT).Config, CONFLICT, [f"coeffs={coeffs}"])


@pytest.mark.parametrize(("setting", "said"), [
        ("n_rounds=0", "1 round or more"),
        ("gradient_iterations=0", "gradient_iterations is 0"),
        ("gradient_budget=0.0", "gradient_budget is 0"),
        ("compare=['CAP']", "CAP"),
        ("controls=['shuffled_labels']", "hold no random vector"),
        ("n_random_search=2", "n_random_search is 2: a control's interval needs 3 draws or more, or none at all"),
        ("other_pairs=no_such", "pairs 'no_such' are neither a file nor one of the sets"),
        ("n_vector=8 n_shuffled=36", "8 pairs have 35 ways to exchange half of them, and 36 are asked for"),
    ],
)  # fmt: skip
def test_a_rival_or_a_control_that_is_none_and_no_round_of_timing_are_refused(setting: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_config(load_experiment(CONFLICT).Config, CONFLICT, setting.split())


def conflict_lines(count: int = 40) -> list[dict[str, object]]:
    """Rows of a file in the package's own format."""
    return [
        {"question": f"Who rules land {i}?", "context": f"The ruler of land {i} is Ada {i}.",
         "original_context": f"The ruler of land {i} is Bo {i}.",
         "context_answers": [f"Ada {i}"], "memory_answers": [f"Bo {i}"]}
        for i in range(count)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        ({"context_answers": []}, (), r"rows\.jsonl.*3.*needs a context answer"),
        ({"memory_answers": []}, (), r"rows\.jsonl.*3.*needs a memory answer"),
        ({"memory_answers": ["$"]}, (), r"rows\.jsonl.*3.*'\$'.*normalises to nothing"),
        ({"context": "So it is said. " * 60 + "The ruler of land 2 is Ada 2."}, (), "has room for 96: shorten"),
        ({}, ("chat=true",), "has no chat template"),
        ({}, ("answer_prefix=The ruler of {land} is",), "answer_prefix .* cannot be filled"),
        ({}, ("relations=['currency']",), "relations and min_population are settings of data"),
        ({}, ("min_population=5",), "relations and min_population are settings of data"),
        ({}, ("data=organism", "known_only=true"), "known_only is for data"),
        ({}, ("data=capitals", "relations=[]"), "name one or more, each once"),
        (
            {},
            ("data=capitals", "relations=['anthem']"),
            r"setting relations\[0\] = 'anthem': it takes a list of any",
        ),
        ({}, ("layers=[9]",), r"layer 9 is outside 0\.\.2"),
        ({}, ("finetuned=/no/such/checkpoint",), "cannot load '/no/such/checkpoint'"),
    ],
)
def test_bad_input_is_refused_before_any_forward_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict, settings: tuple[str, ...], message: str
) -> None:
    lines = conflict_lines()
    lines[2] |= change
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(line) + "\n" for line in lines))
    model = save_tiny_model("llama", tmp_path / "tiny")
    asked = (f"model={model}", f"data={data}", "wording=context_dpo", "n_vector=8", "n_validation=8", "n_test=8")
    monkeypatch.setattr(RunFolder, "open", lambda *_, **__: pytest.fail("the run began"))
    with pytest.raises((ValueError, OSError), match=message):
        run_command(CONFLICT, set=(*asked, *settings), results=tmp_path)


def test_questions_that_serve_two_uses_are_refused() -> None:
    asked = world_questions(Counts(8, 8, 8))
    with pytest.raises(ValueError, match='is in the splits "vector" and "test"'):
        dataclasses.replace(asked, test=(Part("conflict", asked.vector),))
    with pytest.raises(ValueError, match='no questions are left for "validation"'):
        dataclasses.replace(asked, validation=(Part("conflict", ()),))


def test_blank_aliases_of_a_published_file_are_set_aside_where_that_is_asked(tmp_path: Path) -> None:
    keys = ("question", "orig_context", "orig_answer", "cf_context", "cf_answer")
    rows = [
        dict(zip(keys, (f"Who rules {i}?", f"Bo {i} rules.", f"Bo {i}", f"Ada {i} rules.", f"Ada {i}"), strict=True))
        | {"orig_alias": ["$"], "cf_alias": []}
        for i in range(20)
    ]
    (tmp_path / "confiqa.json").write_text(json.dumps(rows))
    rows, _ = file_rows(tmp_path / "confiqa.json", "confiqa", "set_aside")
    assert rows[0].blank_memory_aliases == ("$",)
    with pytest.raises(ValueError, match="set_aside"):
        file_rows(tmp_path / "confiqa.json", "confiqa", "refuse")
