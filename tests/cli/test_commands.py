"""The command line says what it does, and turns a mistake into one line and exit status 2."""

from pathlib import Path
from typing import Any

import pytest

from steering_lab.cli.demo import demo
from steering_lab.models.hooked_model import HookedModel
from steering_lab.study.finding import experiments_folder, load_experiment
from steering_lab.study.reading import read_config
from tests.cli.calling import call
from tests.tiny_models import save_chat_model, save_tiny_model

ALL = ["demo", "run", "new", "paper", "report", "steer", "lens", "vector", "check", "models"]
VECTOR = [["vector", verb] for verb in ["make", "show", "verify", "export"]]


@pytest.mark.parametrize("command", [[], *([name] for name in ALL), *VECTOR])
def test_help_teaches_each_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    assert call(monkeypatch, *command, "--help") == 0
    assert len(capsys.readouterr().out.split()) > 30


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize(
    ("file", "organism", "model"),
    [
        (Path("SmolLM2.gguf"), False, "smollm2"),
        (Path("SmolLM2.gguf"), True, "organism"),
        (None, True, "organism"),
        (None, False, "organism"),
    ],
)
def test_the_demo_sweeps_and_then_compares_on_smollm2_or_where_that_is_missing_or_as_asked_on_the_organism(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    quick: bool,
    file: Path | None,
    organism: bool,
    model: str,
) -> None:
    runs: dict[str, Any] = {}

    def read(toml: Path, *, set: tuple[str, ...], results: Path) -> None:
        runs[toml.stem] = read_config(load_experiment(toml).Config, toml, set)

    monkeypatch.setattr("steering_lab.cli.demo.run", read)
    monkeypatch.setattr("steering_lab.models.loading.at_hand.smollm2_file", lambda: file)
    demo(quick, organism)
    assert list(runs) == ["actadd_sweep", "contextfocus_conflict"]
    assert {config.model for config in runs.values()} == {model}
    assert ("the demo runs on the synthetic organism" in capsys.readouterr().out) == (not organism and file is None)


def test_settings_may_follow_one_set_or_several(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for wrong in (["--set", "seed=x", "n_samples=1", "--set", "n_samples=2"], ["-s", "n_samples=2", "seed=x"]):
        assert call(monkeypatch, "run", str(experiments_folder() / "sweep.toml"), *wrong) == 2
        assert "setting seed = 'x'" in capsys.readouterr().err


def test_an_interruption_ends_with_130_whatever_a_package_made_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        """Is interrupted."""
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise RecursionError("maximum recursion depth exceeded")  # noqa: B904 as an import hook does

    def endless() -> None:
        """Has a mistake of ours."""
        endless()

    monkeypatch.setattr("steering_lab.cli.commands.COMMANDS", {"stop": interrupted, "endless": endless})
    assert call(monkeypatch, "stop") == 130
    with pytest.raises(RecursionError):
        call(monkeypatch, "endless")


def test_steer_prints_unsteered_beside_steered(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = str(save_tiny_model("gpt2", tmp_path / "tiny"))
    options = ["--model", folder, "--layer", "1", "--max-new-tokens", "5"]
    pair = ["--positive", "Love", "--negative", "Hate", "--place", "front", "--coeff", "4"]
    prompt = ["--prompt", "I hate you because you love the sea"]
    for chosen, said in ((pair, "Love − Hate, front"), ([], "love_hate_sentences, mean of 12 pairs, everywhere")):
        assert call(monkeypatch, "steer", *prompt, *options, *chosen) == 0
        out = capsys.readouterr().out
        assert f"parameters: {said}, layer 1, coefficient" in out
        labels = [line.split(" (perplexity")[0].strip() for line in out.splitlines() if "(perplexity" in line]
        assert labels == ["unsteered", "steered", "random, same norm"]


EQUAL = "steered and unsteered text are equal (2 of 2): try a larger --coeff, or another --layer"


@pytest.mark.parametrize(("coeff", "equal"), [("1e-6", True), ("50", False)])
def test_steer_says_so_where_steering_changed_no_text(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, coeff: str, equal: bool
) -> None:
    options = ["--model", str(save_tiny_model("gpt2", tmp_path / "tiny")), "--layer", "1", "--temperature", "0"]
    assert call(monkeypatch, "steer", "--prompt", "I hate you", "the sea", *options, "--coeff", coeff) == 0
    assert (capsys.readouterr().out.splitlines()[-1] == EQUAL) is equal


@pytest.mark.parametrize(
    ("options", "written"),
    [
        ([], "I hate you"),
        (["--chat"], "<user>I hate you</user><assistant>"),
        (["--system", "Hi"], "<system>Hi</system><user>I hate you</user><assistant>"),
        (["--system", "", "--chat"], "<system></system><user>I hate you</user><assistant>"),
    ],
)
@pytest.mark.parametrize("command", ["steer", "lens"])
def test_a_prompt_is_put_as_the_chat_template_writes_it(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    command: str,
    options: list[str],
    written: str,
) -> None:
    read: list[str] = []
    to_tokens = HookedModel.to_tokens

    def noting(self: HookedModel, texts: Any, *rest: Any, **more: Any) -> Any:
        read.extend([texts] if isinstance(texts, str) else texts)
        return to_tokens(self, texts, *rest, **more)

    monkeypatch.setattr(HookedModel, "to_tokens", noting)
    folder, pair = str(save_chat_model(tmp_path / "tiny")), ["--positive", "Love", "--negative", "Hate", "--layer", "1"]
    assert call(monkeypatch, command, "--model", folder, "--prompt", "I hate you", *pair, *options) == 0
    assert {text for text in read if "you" in text} == {written}
    assert capsys.readouterr().out.splitlines()[0].count(", as a chat") == bool(options)


@pytest.mark.parametrize("command", ["steer", "lens"])
def test_a_chat_without_a_template_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str
) -> None:
    folder = str(save_tiny_model("gpt2", tmp_path / "tiny"))
    pair = ["--positive", "Love", "--layer", "1"]
    assert call(monkeypatch, command, "--model", folder, "--prompt", "Hi you", *pair, "--system", "Hi") == 2
    assert "tiny has no chat template: use plain prompts" in capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--layer", "99"], "layer 99 is outside 0..2 of tiny"),
        (["--prompt", ""], "prompt 0 is empty"),
        (["--dtype", "float13"], "unknown dtype 'float13'"),
        (["--max-new-tokens", "500"], "context of tiny"),
        (["--pairs", "nobody's"], "are neither a file nor one of the sets love_hate"),
        (["--n-samples", "0"], "n_samples is 0: it must be 1 or more"),
        (["--pairs", "weddings", "--positive", "Love"], "give --pairs ('weddings') or one pair"),
        (["--place", "front"], "at the front stands one pair, love_hate_sentences has 12"),
    ],
)
def test_a_mistake_is_one_line_in_the_users_terms(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: list[str],
    message: str,
) -> None:
    folder = str(save_tiny_model("gpt2", tmp_path / "tiny"))
    prompt = [] if "--prompt" in arguments else ["--prompt", "I hate you because"]
    assert call(monkeypatch, "steer", "--model", folder, "--layer", "1", *prompt, *arguments) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("steering-lab: ")
    assert message in error


LENS_MISTAKES = [
    (["--coeff", "4"], "give a pair"),
    (["--positive", "Love", "--layer", "99"], "layer 99 is outside 0..2 of tiny"),
    (["--token", "zzz"], "'zzz' is 3 tokens of tiny"),
    (["--top-k", "0"], "top_k is 0"),
    (["--out", "lens.pdf"], "the page is HTML"),
    (["--prompt", ""], "prompt 0 is empty"),
]


@pytest.mark.parametrize(("arguments", "message"), LENS_MISTAKES)
def test_a_mistake_about_the_lens_is_one_line_too(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: list[str],
    message: str,
) -> None:
    folder = str(save_tiny_model("gpt2", tmp_path / "tiny"))
    prompt = [] if "--prompt" in arguments else ["--prompt", "I hate you because"]
    assert call(monkeypatch, "lens", "--model", folder, *prompt, *arguments) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("steering-lab: ")
    assert message in error


@pytest.mark.parametrize("given", [["--positive", "", "--negative", ""], ["--positive", ""], ["--pairs", ""]])
def test_an_empty_pair_is_refused_and_not_taken_for_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], given: list[str]
) -> None:
    assert call(monkeypatch, "steer", "--prompt", "I hate you", "--model", "nobody/nothing", *given) == 2
    assert "pair" in capsys.readouterr().err


COMMANDS_WITH_COEFF = {
    "steer": ["steer", "--prompt", "I hate you"],
    "lens": ["lens", "--prompt", "I hate you", "--positive", "Love"],
    "vector make": ["vector", "make", "love.safetensors", "--positive", "Love"],
}


@pytest.mark.parametrize("command", COMMANDS_WITH_COEFF)
@pytest.mark.parametrize(
    ("coeff", "message"),
    [
        ("0", "--coeff is 0, which is the unsteered text"),
        ("-0.0", "--coeff is 0, which is the unsteered text"),
        ("nan", "--coeff is nan: choose a number between -1e+19 and 1e+19"),
        ("-inf", "--coeff is -inf: choose a number between"),
        ("1e30", "--coeff is 1e+30: choose a number between"),
    ],
)
def test_a_coefficient_that_adds_nothing_or_too_much_is_refused_before_a_model_is_loaded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str, coeff: str, message: str
) -> None:
    given = COMMANDS_WITH_COEFF[command]
    assert call(monkeypatch, *given, "--model", "nobody/nothing", f"--coeff={coeff}") == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["new", "mine", "--folder", "{}"],
        ["new", "mine", "--folder", "{}/deeper"],
        ["run", "sweep.toml", "--results", "{}"],
        ["lens", "--prompt", "x", "--model", "nobody/nothing", "--out", "{}/x.html"],
        ["vector", "make", "{}/x.safetensors", "--positive", "Love", "--model", "nobody/nothing"],
        ["vector", "make", "x.safetensors", "--positive", "Love", "--model", "nobody/nothing", "--export", "caa={}"],
    ],
)
def test_a_file_where_a_folder_is_wanted_is_named_before_anything_is_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str]
) -> None:
    (tmp_path / "file").write_text("hours of work")
    assert call(monkeypatch, *(one.format(tmp_path / "file") for one in arguments)) == 2
    assert capsys.readouterr().err == f"steering-lab: {tmp_path / 'file'} is a file, where a folder is wanted\n"


def test_lens_prints_every_layer_clean_beside_steered_and_writes_the_page(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder, page = str(save_tiny_model("gpt2", tmp_path / "tiny")), tmp_path / "lens.html"
    pair = ["--positive", "Love", "--negative", "Hate", "--layer", "1", "--coeff", "8", "--place", "everywhere"]
    options = ["--model", folder, *pair, "--token", "a", " ", "--out", str(page)]
    assert call(monkeypatch, "lens", "--prompt", "I hate you because", *options) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "Love − Hate, everywhere, layer 1, coefficient 8" in lines[0]
    likeliest, followed = (i for i, line in enumerate(lines) if line.startswith("layer"))
    assert lines[likeliest].split() == ["layer", "clean", "KL", "clean", "steered", "KL", "steered"]
    assert [line.split()[0] for line in lines[likeliest + 1 : likeliest + 5]] == ["2", "1", "0", "embed"]
    assert "'a' clean" in lines[followed]
    assert "' ' steered" in lines[followed]
    assert lines[followed + 1].count("rank") == 4
    text = page.read_text()
    assert all(f'id="{name}"' in text for name in ("clean", "steered", "entropy", "probability", "rank"))


def test_lens_without_a_pair_is_the_model_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = str(save_tiny_model("gpt2", tmp_path / "tiny"))
    assert call(monkeypatch, "lens", "--prompt", "I hate you", "--model", folder) == 0
    out = capsys.readouterr().out
    assert "parameters, unsteered" in out
    assert "steered   KL" not in out


def test_an_unreachable_model_is_named_with_the_ways_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "steer", "--model", "nobody/nothing", "--prompt", "x") == 2
    assert "cannot load 'nobody/nothing'" in capsys.readouterr().err


def test_models_lists_what_is_at_hand_and_what_a_path_holds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = save_tiny_model("llama", tmp_path / "tiny")
    (tmp_path / "lora").mkdir()
    (tmp_path / "lora" / "adapter_config.json").write_text('{"base_model_name_or_path": "tiny"}')
    (tmp_path / "torn.gguf").write_bytes(b"GGUF and nothing else")
    paths = [folder, tmp_path / "lora", tmp_path / "torn.gguf", tmp_path, tmp_path / "nowhere"]
    assert call(monkeypatch, "models", *map(str, paths)) == 0
    lines = capsys.readouterr().out.splitlines()
    said = ["LlamaForCausalLM", "a PEFT adapter of tiny", "cannot be opened", "no config.json", "no such path"]
    assert [line.split()[0] for line in lines[:2]] == ["organism", "smollm2"]
    for path, what in zip(paths, said, strict=True):
        assert any(line.startswith(f"{path} ") and what in line for line in lines)


@pytest.mark.parametrize(("given", "said"), [(["stear"], "'stear' is no command"), ([], "no command was given")])
def test_a_word_that_is_no_command_is_answered_with_those_there_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], given: list[str], said: str
) -> None:
    assert call(monkeypatch, *given) == 2
    assert f"steering-lab: {said}: choose {', '.join(ALL)}, or --help\n" == capsys.readouterr().err
