"""A slip gets an answer in the user's terms: what was given, and what to write instead."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from steering_lab import HookedModel, HookSite, SteeringVector, generate, logit_lens, resid_post, resid_pre, steer
from steering_lab.analysis.projection import projection_profile
from steering_lab.analysis.split_half import split_half
from steering_lab.data.conflict_readers import read_conflict_qa
from steering_lab.data.conflict_splits import SplitManifest
from steering_lab.data.contrast_pairs import PAIRS, ContrastPair, read_pairs
from steering_lab.data.prompt_files import read_prompts
from steering_lab.evaluation.measuring.measures import Perplexity
from steering_lab.evaluation.running.condition import UNSTEERED
from steering_lab.evaluation.running.evaluate import evaluate
from steering_lab.interventions.source import Source
from steering_lab.methods.actadd import actadd_vector, actadd_vectors
from steering_lab.methods.by_name import pair_vectors
from steering_lab.methods.mean_difference import mean_difference_vectors
from steering_lab.methods.probe import fit_probe
from steering_lab.models.block_outputs import block_outputs
from steering_lab.models.reading import read_stream
from steering_lab.safe_files import make_folder
from steering_lab.study.reading import read_toml
from tests.tiny_models import hooked, passes, random_vector

PAIR, MANY = ContrastPair("Love", "Hate"), PAIRS["love_hate_sentences"]
NAME = "blocks.1.hook_resid_pre"
Call = Callable[[HookedModel, Any], object]

ONE_SITE: dict[str, Call] = {
    "actadd_vector": lambda model, site: actadd_vector(model, PAIR, site),
    "fit_probe": lambda model, site: fit_probe(model, ["a", "b", "c", "d"], ["e", "f", "g", "h"], site),
    "SteeringVector": lambda model, site: SteeringVector(torch.ones(8), site, Source.of(model, "by hand")),
    "check_site": lambda model, site: model.check_site(site),
}
LISTS: dict[str, Call] = {
    "actadd_vectors": lambda model, sites: actadd_vectors(model, PAIR, sites),
    "mean_difference_vectors": lambda model, sites: mean_difference_vectors(model, MANY, sites),
    "pair_vectors": lambda model, sites: pair_vectors("pca", model, MANY, sites),
    "read_stream": lambda model, sites: read_stream(model, ["I love you"], sites),
    "residuals": lambda model, sites: model.residuals(model.to_tokens("I love you"), sites),
    "split_half": lambda model, sites: split_half(model, MANY, sites, n_splits=2),
    "logit_lens": lambda model, sites: logit_lens(model, "I love you", sites=sites),
    "projection_profile": lambda model, sites: projection_profile(model, "I love you", torch.ones(32), sites),
}


@pytest.fixture
def model(gpt2: HookedModel) -> HookedModel:
    return gpt2


@pytest.mark.parametrize("asked", ONE_SITE)
@pytest.mark.parametrize(
    ("given", "message"),
    [
        (NAME, r"'blocks\.1\.hook_resid_pre' is no site: write resid_pre\(1\)$"),
        ("blocks.1.hook_resid_post", r"is no site: write resid_post\(1\)$"),
        ("blocks.1.hook_resid_mid", r"is no site: write resid_pre\(6\) or resid_post\(6\)$"),
        (1, r"1 is no site: write resid_pre\(1\)$"),
        ([resid_pre(1)], r"is no site: write resid_pre\(6\) or resid_post\(6\)$"),
    ],
)
def test_a_name_or_a_layer_where_a_site_is_wanted(model: HookedModel, asked: str, given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ONE_SITE[asked](model, given)


@pytest.mark.parametrize("asked", LISTS)
@pytest.mark.parametrize(
    ("given", "message"),
    [
        (6, r"6 is no list of sites: write \[resid_pre\(6\)\]$"),
        (resid_post(1), r"resid_post\(1\) is no list of sites: write \[resid_post\(1\)\]$"),
        (NAME, r"is no list of sites: write \[resid_pre\(1\)\]$"),
        ([NAME], r"is no site: write resid_pre\(1\)$"),
        ([1, 2], r"1 is no site: write resid_pre\(1\)$"),
    ],
)
def test_one_site_or_a_layer_where_a_list_is_wanted(model: HookedModel, asked: str, given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LISTS[asked](model, given)


def test_layers_that_are_no_list(model: HookedModel) -> None:
    with pytest.raises(ValueError, match=r"layers are a list: write \[1\]"):
        block_outputs(model, model.to_tokens("I love you"), layers=1)  # type: ignore[arg-type]


@pytest.mark.parametrize("made", [HookSite, resid_pre, resid_post])
def test_a_hook_name_where_a_layer_is_wanted(made: Callable[[Any], HookSite]) -> None:
    with pytest.raises(ValueError, match=r"'blocks\.1\.hook_resid_pre' is a hook point's name: write resid_pre\(1\)"):
        made(NAME)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("Love", "Hate"), r"write ContrastPair\('Love', 'Hate'\)$"),
        ("love_hate", r"'love_hate' is no contrast pair: write PAIRS\['love_hate'\]\[0\]$"),
        (PAIRS["love_hate"], r"write one of them, say pairs\[0\], or average all with mean_difference_vectors$"),
        (None, r"None is no contrast pair: write ContrastPair\('Love', 'Hate'\)$"),
    ],
)
def test_something_else_where_a_pair_is_wanted(model: HookedModel, given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        actadd_vector(model, given, resid_pre(1))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (PAIR, r"Love − Hate is one contrast pair where a list is wanted: write \[pair\]$"),
        ("love_hate_sentences", r"write PAIRS\['love_hate_sentences'\], or read_pairs of a file$"),
        ([("Love", "Hate")], r"write ContrastPair\('Love', 'Hate'\)$"),
        (3, "3 is no list of contrast pairs"),
    ],
)
@pytest.mark.parametrize("asked", [mean_difference_vectors, split_half, partial(pair_vectors, "mean_difference")])
def test_something_else_where_pairs_are_wanted(model: HookedModel, given: Any, message: str, asked: Any) -> None:
    with pytest.raises(ValueError, match=message):
        asked(model, given, [resid_pre(1)])


@pytest.mark.parametrize(
    ("sides", "message"),
    [
        (("Love", "Love"), "both sides of the contrast pair are 'Love': their difference is nothing"),
        (("Love", None), "the negative side of a contrast pair must be text, not None"),
        ((["Love"], "Hate"), r"the positive side of a contrast pair must be text, not \['Love'\]"),
    ],
)
def test_a_pair_without_a_difference_or_without_text(sides: tuple[Any, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ContrastPair(*sides)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            lambda vector: vector,
            r"has no place yet: say at which tokens it acts, with \.at_front\(\), \.everywhere\(\)",
        ),
        (
            lambda vector: 2.0 * vector,
            r"has no place yet: say at which tokens it acts, with \.at_front\(\), \.everywhere\(\)",
        ),
        (lambda vector: {vector.site: vector}, r"a mapping is no intervention: place each vector and add them"),
        (lambda vector: 2.0, r"a float is no intervention: place a vector with"),
        (lambda vector: hooked("gpt2"), r"a model is given where .*: write steer\(model, vector\.everywhere\(\)\)"),
    ],
)
def test_a_vector_that_was_not_placed(model: HookedModel, given: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message), steer(model, given(random_vector(model, resid_pre(1)))):
        pass


def test_a_coefficient_that_no_stream_can_hold_is_refused_and_a_large_one_that_it_can_hold_is_not(
    model: HookedModel,
) -> None:
    vector = random_vector(model, resid_pre(1)).unit()
    for coeff in (1e30, -1e30, 1e20):
        with (
            pytest.raises(ValueError, match=r"long, which a stream in torch\.float32 cannot hold: stay below 1e\+19"),
            steer(model, coeff * vector.everywhere()),
        ):
            pass
    with steer(model, 1e18 * vector.everywhere()):
        written = generate(model, "I love you", max_new_tokens=2, log_probs=True)
    assert written.log_probs is not None
    assert torch.tensor(written.log_probs).isfinite().all()


def test_a_vector_whose_length_has_no_square_is_refused_where_it_is_made(model: HookedModel) -> None:
    vector = random_vector(model, resid_pre(1)).unit()
    with pytest.raises(ValueError, match=r"has norm 1e\+30: its square is not finite in float32"):
        1e30 * vector
    assert (1e18 * vector).norm == pytest.approx(1e18)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["vader"], r"'vader' is a measure's name: write named_measures\(\['vader'\]\)$"),
        ("vader", r"'vader' is a measure's name: write named_measures\(\['vader'\]\)$"),
        (Perplexity(), r"is no list of measures: write \[perplexity\]$"),
        ([Perplexity(), 3], "3 is no measure: it needs a name, a weight, a scale, a kind, bounds and a call$"),
        ([], r"measures is \[\]: give one or more"),
        (None, "None is no list of measures"),
    ],
)
def test_something_else_where_measures_are_wanted_costs_no_generation(
    model: HookedModel, monkeypatch: pytest.MonkeyPatch, given: Any, message: str
) -> None:
    seen = passes(monkeypatch)
    with pytest.raises(ValueError, match=message):
        evaluate(model, [UNSTEERED], ["I love you"], given)
    assert not seen


NO_TEXT = b"\xff\xfe and so on"
READERS: dict[str, Callable[[Path], object]] = {
    "prompts": read_prompts,
    "contrast pairs": read_pairs,
    "questions": read_conflict_qa,
    "splits": SplitManifest.load,
    "settings": read_toml,
}


@pytest.mark.parametrize("of", READERS)
def test_a_file_that_is_not_there_or_no_text_is_named_with_what_it_should_hold(tmp_path: Path, of: str) -> None:
    with pytest.raises(FileNotFoundError, match=f"^no file of {of} at .*nofile$"):
        READERS[of](tmp_path / "nofile")
    with pytest.raises(FileNotFoundError, match=f"is a folder, where a file of {of} is wanted$"):
        READERS[of](tmp_path)
    (tmp_path / "bytes.json").write_bytes(NO_TEXT)
    with pytest.raises(ValueError, match=r"bytes\.json is no UTF-8 text \(byte 1\): save it as UTF-8$"):
        READERS[of](tmp_path / "bytes.json")


@pytest.mark.parametrize(
    ("name", "reader"),
    [
        ("love.gguf", r"read_gguf\(path\)"),
        ("love.svec", r"read_svec\(path, reading="),
        ("love.pt", r"read_steering_vectors\(path\)"),
        ("love.json", r"read_neuronpedia\(path\), or read_easysteer\(path\) for a spec"),
        ("caa/vec_layer_1.pt", r"read_caa\(path\)"),
    ],
)
def test_another_tools_file_where_a_vector_is_wanted_is_answered_with_what_reads_it(
    tmp_path: Path, name: str, reader: str
) -> None:
    (tmp_path / "caa").mkdir()
    (tmp_path / name).write_bytes(b"GGUF")
    given = tmp_path / ("caa" if name.startswith("caa") else name)
    with pytest.raises(ValueError, match=rf"read another tool's file in Python with .*formats\.{reader}"):
        SteeringVector.load(given)
    with pytest.raises(FileNotFoundError, match=r"no steering vector at .*nowhere\.gguf$"):
        SteeringVector.load(tmp_path / "nowhere.gguf")


def test_a_folder_is_made_only_where_no_file_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("hours of work")
    for wanted in (tmp_path / "file", tmp_path / "file" / "deeper" / "still"):
        with pytest.raises(NotADirectoryError, match=r"file is a file, where a folder is wanted$"):
            make_folder(wanted)
    assert make_folder(tmp_path / "a" / "b").is_dir()
    assert make_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
