"""Figures of papers: a claim and its verdict, variants of one file, texts in groups, the table of what came of it."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from steering_lab.cli.paper import TABLE, paper
from steering_lab.evaluation.inferring.statistics import summarise
from steering_lab.models.loading.synthetic import organism_at
from steering_lab.numerics.kinds import Kind
from steering_lab.study.finding import experiment_files, experiments_folder, load_experiment, read_study
from steering_lab.study.paper.beside_lines import dear, each_draw, moved
from steering_lab.study.paper.claim import ClaimSettings, Verdict, checks_of, judge, judged_again
from steering_lab.study.paper.page import with_published
from steering_lab.study.paper.pooling import each_by_its_own, pooled
from steering_lab.study.paper.register import PAPERS, paper_figures, verdict_table
from steering_lab.study.paper.texts import TextGroup, density
from steering_lab.study.reading import read_toml
from steering_lab.tables import Factors, measurements

FIGURES = [path for path in experiment_files() if path.parent.name in PAPERS]


def claim(**changed: object) -> ClaimSettings:
    said = {"source": "Somebody", "claim": "It rises.", "published": "2", "not_reproduced": "it falls"}
    return ClaimSettings(**{**said, "expects": ("vector: effect rises",), **changed})  # type: ignore[arg-type]


def measured(effect: float, low: float, high: float) -> pd.DataFrame:
    row = {"who": "vector", "metric": "effect", "scale": "difference", "effect": effect, "low": low, "high": high}
    return pd.DataFrame([row])


@pytest.mark.parametrize(
    ("low", "high", "published", "word"),
    [
        (0.5, 2.5, 2.0, "reproduced"),
        (0.5, 1.5, 2.0, "in shape"),
        (0.5, 1.5, None, "in shape"),
        (-0.5, 2.5, 2.0, "cannot say"),
        (-1.5, -0.5, 2.0, "not reproduced"),
        (np.nan, np.nan, None, "cannot say"),
    ],
)
def test_the_verdict_follows_from_the_lines_and_the_numbers(
    low: float, high: float, published: float | None, word: str
) -> None:
    numbers = {} if published is None else {"vector: effect": published}
    verdict = judge(claim(numbers=numbers), measured((low + high) / 2, low, high), "ours")
    assert verdict.word == word
    assert set(verdict.checks["about"]) == ({"shape", "number"} if numbers else {"shape"})


def test_a_paired_difference_answers_a_comparison_and_no_number() -> None:
    paired = measured(0.5, 0.1, 0.9).assign(against="other")
    both = pd.concat([measured(2.0, 1.0, 3.0), measured(1.5, 0.5, 2.5).assign(who="other"), paired])
    config = claim(expects=("vector: effect above other",), numbers={"vector: effect": 2.0})
    verdict = judge(config, both, "ours")
    assert verdict.word == "reproduced"
    assert verdict.checks["measured"].str.contains("against other").tolist() == [True, False]
    alone = judge(config, both[both["against"].isna()], "ours")
    assert alone.word == "cannot say"  # the two intervals overlap


@pytest.mark.parametrize(
    ("low", "high", "answer"), [(0.996, 1.06, "cannot say"), (1.01, 1.06, "held"), (0.9, 0.99, "failed")]
)
def test_a_paired_ratio_is_above_another_where_it_is_above_one(low: float, high: float, answer: str) -> None:
    both = pd.concat([measured(1.1, 1.0, 1.2), measured(1.08, 1.0, 1.15).assign(who="other")])
    paired = measured((low + high) / 2, low, high).assign(against="other")
    rows = pd.concat([both, paired]).assign(scale="ratio")
    assert checks_of(["vector: effect above other"], {}, rows)["answer"].tolist() == [answer]


def test_a_number_is_found_by_its_name_with_spaces_as_a_line_is() -> None:
    closed = measured(0.5, 0.1, 0.9).assign(metric="closed_book")
    lines = ("vector: closed book rises",)
    assert judge(claim(expects=lines, numbers={"vector: closed book": 0.5}), closed, "ours").word == "reproduced"


def test_a_figure_is_given_the_number_of_each_who_and_metric_that_has_one() -> None:
    rows = pd.DataFrame({"who": ["front", "front", "back"], "metric": ["any word", "words", "words"]})
    told = with_published(rows, {"numbers": {"front: any_word": 0.5, "back: words": 1}})["published"]
    assert told.fillna(-1).tolist() == [0.5, -1, 1]
    assert with_published(rows, {})["published"].isna().all()


def test_a_number_of_something_that_was_not_measured_is_refused() -> None:
    with pytest.raises(ValueError, match="numbers has 'other: effect', and the run measures vector: effect"):
        judge(claim(numbers={"other: effect": 1.0}), measured(1.0, 0.0, 2.0), "ours")


def test_a_verdict_names_the_lines_that_make_it_and_random_vectors_beside_them() -> None:
    beside = {"control_low": -0.27, "control_high": 0.13}
    failed = judge(claim(), measured(-0.08, -0.11, -0.04).assign(**beside), "ours")
    line = '"vector: effect rises" (−0.08 [−0.11, −0.04]; random vectors [−0.27, +0.13], as random vectors may)'
    assert failed.sentence == f"Not reproduced (lines: 1 failed): failed {line}; ours."
    assert judge(claim(), measured(0.1, -0.1, 0.3), "ours").sentence == (
        'Cannot say (lines: 1 cannot say): not answered "vector: effect rises" (+0.10 [−0.10, +0.30]); ours.'
    )
    assert judge(claim(), measured(0.2, 0.1, 0.3), "ours").sentence == "In shape (lines: 1 held): ours."


def test_a_verdict_that_older_code_wrote_says_as_much_and_says_it_once() -> None:
    new = judge(claim(), measured(-0.08, -0.11, -0.04), "ours")
    old = Verdict.read({**new.as_json(), "ours": "ours"})
    assert old.sentence == new.sentence == Verdict.read(new.as_json()).sentence


def test_a_kept_verdict_is_judged_again_by_the_rules_of_today() -> None:
    config = {"expects": ["vector: effect rises beyond random vectors"]}
    row = measured(0.05, -0.1, 0.2).assign(control_low=-0.1, control_high=0.1)
    kept = judge(claim(expects=tuple(config["expects"])), row, "ours")._replace(word="not reproduced")
    again = judged_again(kept, config, row)
    assert (again.word, again.ours) == ("cannot say", kept.ours)
    fell = judged_again(kept, config, row.assign(effect=-0.2, low=-0.3, high=-0.1))
    assert fell.word == "not reproduced"
    assert fell.ours.startswith('failed "vector: effect rises')
    assert fell.ours.endswith("; ours")
    assert fell.ours.count("vector: effect rises") == 1


@pytest.mark.parametrize("left_out", ["source", "claim", "published", "not_reproduced", "expects"])
def test_a_claim_says_everything_before_the_run(left_out: str) -> None:
    with pytest.raises(ValueError, match=f"{left_out} is left out"):
        claim(**{left_out: () if left_out == "expects" else ""})


def test_a_variant_replaces_what_the_file_says_and_a_setting_replaces_both(tmp_path: Path) -> None:
    toml = tmp_path / "a.toml"
    toml.write_text('x = 1\ny = 1\nz = 1\nvariant = "one"\n[variants.one]\ny = 2\nz = 2\n[variants.two]\ny = 3\n')
    assert read_toml(toml, ["z=9"]) == {"x": 1, "y": 2, "z": 9}
    assert read_toml(toml, ["variant=two"]) == {"x": 1, "y": 3, "z": 1}
    with pytest.raises(ValueError, match=r"variant = 'three': .* has 'one', 'two'"):
        read_toml(toml, ["variant=three"])


@pytest.mark.parametrize("toml", FIGURES, ids=lambda path: path.stem)
def test_every_figure_has_its_three_settings_and_says_first_what_it_asks(toml: Path) -> None:
    text = toml.read_text(encoding="utf-8")
    variants, lines = tomllib.loads(text)["variants"], text.splitlines()
    assert {"smollm2", "organism", "paper"} <= set(variants)
    for line, word in zip(lines, ("# Question: ", "# Claim: ", "# Published", "# Not reproduced: "), strict=False):
        assert line.startswith(word), toml
    models = {variant: read_study(toml, [f"variant={variant}"]).config.model for variant in variants}
    assert models["smollm2"] == "smollm2"
    assert models["organism"] == "organism"
    assert models["paper"] not in ("smollm2", "organism")
    assert read_study(toml).config.model == "smollm2"


@pytest.mark.parametrize("toml", FIGURES, ids=lambda path: path.stem)
def test_a_file_says_the_same_above_its_settings_and_in_them(toml: Path) -> None:
    lines, said = toml.read_text(encoding="utf-8").splitlines(), tomllib.loads(toml.read_text(encoding="utf-8"))
    [above] = [line.removeprefix("# Not reproduced: ") for line in lines if line.startswith("# Not reproduced: ")]
    assert above == said["not_reproduced"]


def test_a_run_is_of_a_file_whose_words_changed_or_that_expects_less_and_of_no_other(tmp_path: Path) -> None:
    [figure] = paper_figures(("norms",))
    config = json.loads(json.dumps(asdict(figure.study.config)))
    runs = {
        "same": {}, "words": {"published": "2"}, "more": {"expects": [*config["expects"], "position 1: x rises"]},
        "less": {"expects": config["expects"][:1]}, "other": {"prefix": "tokenizer"}, "before": {},
    }  # fmt: skip
    for name, changed in runs.items():
        run = tmp_path / figure.study.name / name
        run.mkdir(parents=True)
        kept = {key: value for key, value in config.items() if name != "before" or key != "device"}
        (run / "config.json").write_text(json.dumps({**kept, **changed}))
        held = {"verdict": "in shape", "ours": "1", "checks": [{"about": "shape", "answer": "held"}]}
        (run / "verdict.json").write_text(json.dumps(held))
        made = {"started": "2026-11-26T00:00:00", "finished": "2026-11-26T00:01:00"}
        (run / "provenance.json").write_text(json.dumps(made))
    assert {run.name for run in figure.runs(tmp_path)} == {"same", "words", "more", "before"}
    table, *sections = verdict_table(tmp_path).split("\n\n### ")
    assert "| norms | `steering-lab paper norms` | 1 | `actadd_norms/words` | in shape |" in table
    [section] = [section for section in sections if section.startswith("norms")]
    assert "- smollm2: in shape (lines: 1 held): 1 (`actadd_norms/words`)" in section
    assert "- smollm2: in shape (lines: 1 held): 1 (`actadd_norms/same`)" in section
    assert '- prefix "tokenizer": in shape (lines: 1 held): 1 (`actadd_norms/other`)' in section


def test_a_row_has_the_first_number_given_and_ours_and_a_further_variant_a_row_of_its_own(tmp_path: Path) -> None:
    asked = {"multipliers": "contextfocus_multipliers/one", "norms": "actadd_norms/one"}
    for name, where in asked.items():
        [figure] = paper_figures((name,), variant="begun" if name == "multipliers" else "")
        (run := tmp_path / where).mkdir(parents=True)
        about = "number" if name == "norms" else "shape"
        checks = [
            {"about": about, "expected": f"layer 1: share is {n}", "measured": "+0.1 [0, +0.2]", "answer": "failed"}
            for n in (0.88, 0.9)
        ]
        held = {
            "config": json.loads(json.dumps(asdict(figure.study.config))),
            "verdict": {"verdict": "in shape", "ours": "1", "checks": checks},
            "provenance": {"started": "2026-11-27T10:00:00Z", "finished": "2026-11-27T10:01:00Z"},
        }
        for part, said in held.items():
            (run / f"{part}.json").write_text(json.dumps(said))
    table = verdict_table(tmp_path)
    assert "`actadd_norms/one` | in shape | layer 1: share: 0.88 → +0.1 [0, +0.2] (and 1 more) | not run" in table
    begun = "| multipliers, begun | `steering-lab paper multipliers --variant begun` | 1 |"
    assert f"{begun} `contextfocus_multipliers/one` | in shape | none given |" in table
    assert "| multipliers | `steering-lab paper multipliers` |  |  | not run here |" in table
    alone = verdict_table(tmp_path, ("norms",))
    assert "| norms |" in alone
    assert "multipliers" not in alone


def test_names_of_runs_are_those_of_their_paper_and_no_two_are_alike() -> None:
    names = {figure.study.name: figure.toml for figure in paper_figures()}
    assert len(names) == len(FIGURES)
    for name, toml in names.items():
        assert name == f"{toml.parent.name}_{toml.stem}"


def cells(method: str, place: str, layer: int, values: list[float]) -> pd.DataFrame:
    role, coeff = ("unsteered", 0.0) if method == "unsteered" else ("steered", 1.0)
    own = Factors(method, role, None if role == "unsteered" else place, None, layer, coeff)  # type: ignore[arg-type]
    observed = pd.DataFrame({"prompt": [f"text {i}" for i in range(len(values))], "sample": 0, "value": values})
    return measurements(f"{method} {layer}", own, observed, metric="perplexity", scale="ratio")


def test_a_band_of_layers_is_the_geometric_mean_of_its_ratios() -> None:
    rng = np.random.default_rng(0)
    base, one, two = (list(np.exp(rng.normal(size=12))) for _ in range(3))
    table = pd.concat([cells("unsteered", "", 0, base), cells("v", "front", 3, one), cells("v", "front", 4, two)])
    table.loc[table["role"] == "unsteered", "layer"] = np.nan
    summary = summarise(pooled(table, {"early": (3, 4)}))
    effects = summary.set_index(summary["place"].fillna("") + summary["layer"].map(lambda x: f" {x:g}"))["effect"]
    assert effects["early nan"] == pytest.approx(np.sqrt(effects["front 3"] * effects["front 4"]))
    with pytest.raises(ValueError, match="band 'late' is layers 7 to 8, and the run has none of them"):
        pooled(table, {"late": (7, 8)})


def test_vectors_taken_together_are_each_measured_by_its_own_metric_and_so_are_their_random_vectors() -> None:
    shares = {  # of 4 texts, by method and metric
        "unsteered": {"a": [0, 0, 0, 1], "b": [0, 0, 0, 0]},
        "a": {"a": [1, 1, 0, 1], "b": [1, 1, 1, 1]},
        "b": {"a": [1, 1, 1, 1], "b": [1, 0, 0, 0]},
    }
    observed = {"prompt": [f"text {i}" for i in range(4)], "sample": 0}
    blocks = []
    for method, metrics in shares.items():
        steered = method != "unsteered"
        own = Factors(method, "steered" if steered else "unsteered", "front" if steered else None, None, 3, 1.0)
        factors = [own, *([Factors("random", "control", "front", method, 3, 1.0)] if steered else [])]
        for one in factors:
            for metric, values in metrics.items():
                told = values if one.role != "control" else values[::-1]
                rows = measurements(
                    f"{method} {one.role}", one, pd.DataFrame({**observed, "value": told}), metric=metric
                )
                blocks.append(rows.assign(draw=0.0 if one.role == "control" else np.nan))
    table = pd.concat(blocks, ignore_index=True)
    both = each_by_its_own(table, {"a": {"a": "own"}, "b": {"b": "own"}}, called="both")
    means = both[both["metric"] == "own"].groupby("role")["value"].agg(list)
    assert means["unsteered"] == [0, 0, 0, 0.5]
    assert means["steered"] == [1, 0.5, 0, 0.5]
    assert means["control"] == [0.5, 0, 0.5, 1]
    assert set(both.loc[both["metric"] == "own", "control_of"].dropna()) == {"both"}
    assert both[: len(table)].equals(table)
    with pytest.raises(ValueError, match="the table has no 'c' of 'a'"):
        each_by_its_own(table, {"a": {"c": "own"}}, called="both")


def test_a_group_holds_the_texts_that_it_names(tmp_path: Path) -> None:
    (tmp_path / "essay.txt").write_text("The bride met the groom here today. It rained. Ships and ports and cranes.")
    wedding = frozenset({"bride", "groom"})
    assert density("The bride met the groom.", wedding) == 40.0
    on = TextGroup(("essay.txt",), density=(1.0, 100.0), words=3).texts(wedding, 0, tmp_path)
    off = TextGroup(("essay.txt",), density=(0.0, 0.0), words=3).texts(wedding, 0, tmp_path)
    assert (on, off) == (["The bride met the groom here today."], ["Ships and ports and cranes."])
    stories = TextGroup(("organism",), n=5)
    assert len(stories.texts(wedding, 1)) == 5
    assert stories.texts(wedding, 1) != stories.texts(wedding, 2)
    with pytest.raises(ValueError, match=r"no text of essay\.txt is of this group"):
        TextGroup(("essay.txt",), density=(90.0, 100.0)).texts(wedding, 0, tmp_path)
    with pytest.raises(ValueError, match="have no ratings"):
        TextGroup(("organism",), rated=(-1.0, 1.0))


def test_norms_that_rise_between_the_ends_are_said_to() -> None:
    between = load_experiment(experiments_folder() / "actadd" / "norms.toml")._between  # type: ignore[attr-defined]
    ratios = {1: (1.4, 9.9, 1.2, 2.2, 0.8), 2: (1.7, 1.2, 0.9, 0.9, 0.4)}
    table = pd.DataFrame(
        [{"position": position, "layer": layer, "effect": ratio, "low": 0.9 * ratio, "high": 1.1 * ratio}
         for position, of in ratios.items() for layer, ratio in enumerate(of)]
    )  # fmt: skip
    [said] = between(table)
    peak = "up to 9.90 [8.91, 10.89] (layer 1)"
    assert said == f"between the ends position 1 does not fall at every layer: {peak}, surely up at layers 1, 3"


def test_figures_are_made_once_and_the_table_of_verdicts_finds_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("before\n" + "".join(TABLE) + "after\n")
    paper(("norms",), variant="organism", results=tmp_path / "results", table=readme)
    [verdict] = (tmp_path / "results").glob("actadd_norms/*/verdict.json")
    assert json.loads(verdict.read_text())["verdict"] in ("in shape", "reproduced", "not reproduced", "cannot say")
    page = (verdict.parent / "index.html").read_text(encoding="utf-8")
    assert "Not reproduced would be" in page
    assert "What differs" in page
    written = readme.read_text()
    assert written.startswith("before\n")
    assert written.endswith("after\n")
    assert "figure 8" in written
    capsys.readouterr()
    made = json.loads((verdict.parent / "provenance.json").read_text())["commit"]
    monkeypatch.setattr("steering_lab.study.paper.register.git_commit", lambda: made)
    paper(("norms",), variant="organism", results=tmp_path / "results")
    assert "is there" in capsys.readouterr().err
    assert len(list((tmp_path / "results").glob("actadd_norms/*/verdict.json"))) == 1


def test_another_seed_of_the_synthetic_model_stands_beside_the_first(tmp_path: Path) -> None:
    for seed in ("seed8", "seed9"):
        weights = shutil.copytree(organism_at("organism") or "", tmp_path / seed)
        paper(("norms",), variant="organism", model=f"organism:{weights}", results=tmp_path / "results")
    table = verdict_table(tmp_path / "results")
    [row] = [line for line in table.splitlines() if "`steering-lab paper norms`" in line]
    assert row.endswith("| not run here |  | not run here | not reproduced; not reproduced |")
    assert re.findall(r"^- (organism-seed\d): not reproduced .*organism-seed\d_", table, re.M) == [
        "organism-seed8", "organism-seed9",
    ]  # fmt: skip
    page = next((tmp_path / "results").glob("actadd_norms/*seed9*/index.html")).read_text(encoding="utf-8")
    assert "on synthetic model organism-seed9, 8 layers" in page


def test_figures_made_at_once_are_those_made_one_by_one(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    figures = "norms", "facts", "time_premium"
    assert [one.study.config.alone for one in paper_figures(figures)] == [False, False, True]
    paper(figures[:2], variant="organism", results=tmp_path / "both", at_once=2)
    told = capfd.readouterr().err
    assert {line.split(": ")[0] for line in told.splitlines()} >= {"norms", "facts"}
    paper(("norms",), variant="organism", results=tmp_path / "one")
    [both, one] = (next((tmp_path / each).glob("actadd_norms/*/measured.parquet")) for each in ("both", "one"))
    pd.testing.assert_frame_equal(pd.read_parquet(both), pd.read_parquet(one), rtol=1e-5)
    assert next((tmp_path / "both").glob("actadd_facts/*/index.html")).is_file()
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "actadd_facts").write_text("a file where a folder must be")
    with pytest.raises(SystemExit):
        paper(figures[:2], variant="organism", results=blocked, at_once=2)
    assert list(blocked.glob("actadd_norms/*/index.html"))
    assert "facts: steering-lab: " in capfd.readouterr().err
    with pytest.raises(ValueError, match="--at-once is 0"):
        paper(figures, at_once=0)


def test_figures_made_at_once_end_with_the_command_that_began_them(tmp_path: Path) -> None:
    asked = [sys.executable, "-m", "steering_lab.cli", "paper", "topics", "transplant", "--variant", "organism"]
    both = [*asked, "--at-once", "2", "--results", str(tmp_path)]
    with subprocess.Popen(both, stderr=subprocess.PIPE, text=True) as command:
        assert command.stderr is not None
        begun = next((line for line in command.stderr if ": cells: " in line), "")
        command.terminate()
        command.stderr.read()  # to its end, which is there when all that hold it have ended
    assert begun.startswith(("topics: ", "transplant: "))
    assert command.returncode == 143
    assert not list(tmp_path.glob("*/*/index.html"))


def test_a_figure_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="'figure_99' is no figure of a paper: there are actadd, "):
        paper(("figure_99",), list=True)
    assert (experiments_folder() / "actadd").is_dir()


def test_a_file_without_a_place_for_the_table_is_refused_before_a_figure_is_made(tmp_path: Path) -> None:
    readme, results = tmp_path / "README.md", tmp_path / "results"
    with pytest.raises(ValueError, match=r"there is no file .*README\.md to write the table into"):
        paper(("norms",), results=results, table=readme)
    readme.write_text("no marks\n")
    with pytest.raises(ValueError, match="has no place for the table: put <!-- verdicts"):
        paper(("norms",), results=results, table=readme)
    assert not results.exists()


def test_the_table_of_verdicts_says_what_the_runs_say() -> None:
    readme = (experiments_folder() / "README.md").read_text(encoding="utf-8")
    results = experiments_folder().parent / "results"
    table, *sections = readme[readme.index(TABLE[0]) : readme.index(TABLE[1])].split("\n### ")
    alike = verdict_table(results).split("\n### ")[1]
    assert alike.startswith("Lines on SmolLM2 and on every seed of the organism\n\n*As random vectors may*: on SmolLM2")
    assert "\n\n- held on all (" in alike
    assert alike.strip() == sections[0].strip()
    for figure in paper_figures():
        name, config = figure.toml.stem, figure.study.config
        [row] = [line for line in table.splitlines() if f"`steering-lab paper {name}`" in line]
        _, _, _, _, run, real, _, known, seeds, _ = (cell.strip() for cell in row.split("|"))
        [section] = [section for section in sections if section.startswith(f"{name}\n")]
        lines = section.splitlines()
        asked = f"{config.source}. *{config.question}* {config.claim}"
        assert {asked, f"- published: {config.published}"} <= set(lines)
        for who, verdict in zip(("smollm2", "organism"), (real, known), strict=True):
            [said] = [line for line in lines if line.startswith(f"- {who}: ")]
            if verdict == "not run here":
                assert said == f"- {who}: {verdict}"
                continue
            [folder] = re.findall(r"\(`(.+)`\)$", said)
            assert who == "organism" or folder == run.strip("`")
            held = Verdict.read(json.loads((results / folder / "verdict.json").read_text()))
            assert (verdict, said) == (held.word, f"- {who}: {held.word} ({held.counted}): {held.said} (`{folder}`)")
        others = [line.split(": ")[1].partition(" (")[0] for line in lines if line.startswith("- organism-")]
        assert seeds == ("; ".join(others) or "not run here")


@pytest.mark.parametrize(("band", "n_draws", "answer"), [
    ((-0.2, 0.3), 3, "cannot say"),  # three draws with a mean of 0.05 and a spread of 0.05: two spreads end at 0.148
    ((-0.2, 0.3), 30, "failed"),
    ((-0.1, 0.9), 30, "cannot say"),  # nothing can be beyond: 10 % unsteered, at most 100 %
])  # fmt: skip
def test_a_line_fails_beside_random_vectors_only_where_the_draws_themselves_go_as_far(
    band: tuple[float, float], n_draws: int, answer: str
) -> None:
    row = {
        "who": "front", "metric": "any word", "scale": "difference", "value": 0.15, "effect": 0.05, "low": -0.05,
        "high": 0.155, "control_low": band[0], "control_high": band[1], "p_random": 0.9, "p_family": 0.9, "least": 0.0,
        "most": 1.0, "against": None, "n_draws": n_draws,
    }  # fmt: skip
    line = ["front: any word rises beyond random vectors"]
    assert checks_of(line, {}, pd.DataFrame([row]))["answer"].iloc[0] == answer
    worse = pd.DataFrame([row | {"low": -0.15, "high": -0.01}])
    assert checks_of(line, {}, worse)["answer"].iloc[0] == "failed"


@pytest.mark.parametrize(("low", "answer"), [(0.98, "cannot say"), (1.01, "failed")])
def test_how_far_random_vectors_surely_go_is_that_of_logarithms_where_the_effect_is_a_ratio(
    low: float, answer: str
) -> None:
    row = measured(1.02, low, 1.06).assign(scale="ratio", control_low=0.84, control_high=1.48, p_random=1.0, n_draws=3)
    fall = ["vector: effect falls beyond random vectors"]  # the band's logarithms: 0.109 ± 0.283, two spreads ± 0.112
    assert checks_of(fall, {}, row)["answer"].iloc[0] == answer
    assert (
        checks_of(fall, {}, row.assign(low=0.98, control_low=1.06, control_high=1.06))["answer"].iloc[0] == "cannot say"
    )


def test_a_line_about_random_vectors_says_by_how_many_they_are_told() -> None:
    row = measured(0.5, 0.1, 0.9).assign(control_low=0.0, control_high=0.0, p_random=1 / 6, n_draws=5)
    checks = checks_of(["vector: effect rises beyond random vectors", "vector: effect rises"], {}, row)
    assert checks["answer"].tolist() == ["cannot say", "held"]
    assert checks["measured"].tolist() == [
        "+0.50 [+0.10, +0.90]; random vectors all at 0.00, 5 draws alike: p 0.17",
        "+0.50 [+0.10, +0.90]; random vectors all at 0.00",
    ]


def drawn_table() -> pd.DataFrame:
    """One vector's words and perplexity over 20 prompts, and three random vectors that move words by 0, 0.1 and 0.2."""
    prompts = [f"prompt {i}" for i in range(20)]

    def rows(name: str, factors: Factors, value: float, metric: str, scale: str) -> pd.DataFrame:
        noise = np.linspace(-0.1, 0.1, 20) * (2 if factors.role == "steered" else 1)
        observed = pd.DataFrame({"prompt": prompts, "sample": 0, "value": value + noise})
        return measurements(name, factors, observed, metric=metric, scale=scale, kind=Kind.SYMMETRIC)

    cell = {"place": "front", "layer": 3, "coeff": 2.0, "relative_norm": 1.0}
    blocks = []
    for metric, scale, of_all in (
        ("words", "difference", (0, 1, 0.1, 0, 0.2)),
        ("perplexity", "ratio", (1, 3, 1, 1, 1.1)),
    ):
        each = [
            ("plain", Factors("unsteered", "unsteered")),
            ("vector", Factors("vector", "steered", **cell)),
            *((f"random {i}", Factors("random", "control", control_of="vector", draw=i, **cell)) for i in range(3)),
        ]
        blocks += [rows(*who, value, metric, scale) for who, value in zip(each, of_all, strict=True)]
    return pd.concat(blocks, ignore_index=True)


def test_a_page_says_what_moved_beside_the_lines_what_it_cost_and_each_draw() -> None:
    table = drawn_table()
    summary = summarise(table)
    found = summary[summary["role"] == "steered"].assign(who="vector", against=None)
    [beyond] = moved(found, ["words"])
    assert beyond.startswith("Told from no effect and from random vectors")
    assert "vector, words +1.00" in beyond
    [inside] = moved(found.assign(p_random=0.5), ["words"])
    assert inside.startswith("Told from no effect and not from random vectors")
    assert moved(found.assign(p_family=0.5)) == ()
    [cost] = dear(found, "to the model the text")
    assert cost.startswith("What it costs: to the model the text is surely 1.5 times as perplexing or more, vector ×3")
    assert dear(found[found["metric"] == "words"], "") == ()
    draws = each_draw(["vector: words rises"], found, table)
    assert draws["random vectors, each"].tolist() == ["0.00  +0.10  +0.20"]
    assert each_draw(["vector: words rises"], found, None).empty
    renamed = found.assign(measure=found["metric"], metric="ratio")
    assert len(each_draw(["vector: ratio falls"], renamed, table)) == 1


def test_facts_may_be_those_of_a_file_in_lamas_form(tmp_path: Path) -> None:
    file = tmp_path / "facts.jsonl"
    file.write_text(json.dumps({"masked_sentences": ["You find bees in [MASK]."], "obj_label": "hives"}))
    [figure] = paper_figures(("facts",), "paper")
    assert figure.study.config.data == "lama_conceptnet.jsonl"
    [asked] = replace(figure.study.config, data=str(file)).asked()
    assert (asked.country, asked.text, asked.answer) == ("You find bees in", "You find bees in", "hives")
    assert (
        len({one.text for one in replace(figure.study.config, data="", min_population=0, templates=4).asked()}) > 2500
    )
