"""Laws of the batched grid: a cell's rows depend on the cell alone, and a kept cell is never computed again."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
import torch

from steering_lab.data.conflict_qa import ConflictQA
from steering_lab.data.contrast_pairs import ContrastPair
from steering_lab.data.templates import PromptStyle
from steering_lab.evaluation.measuring.measures import Perplexity, TextMeasure
from steering_lab.evaluation.measuring.metrics import length
from steering_lab.evaluation.running.condition import UNSTEERED, Condition, prompting
from steering_lab.evaluation.running.evaluate import Decoding, cell_key, evaluate, row_seed, run_conditions
from steering_lab.evaluation.running.grid import layer_coeff_grid, median_resid_norms
from steering_lab.evaluation.running.writing import Asked
from steering_lab.interventions.intervention import Edit, Intervention
from steering_lab.interventions.steering import steer
from steering_lab.methods.actadd import actadd_vectors
from steering_lab.methods.cad import CAD
from steering_lab.methods.mean_difference import mean_difference_vectors
from steering_lab.models.generation import GREEDY, Sampling, continuation_log_probs, generate
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.loading import load_model
from steering_lab.organism.wording import ORGANISM
from tests.tiny_models import save_tiny_model

PROMPTS = ["I hate you because", "Love and the sea"]
DECODING = Decoding(max_new_tokens=5, n_samples=2, seed=3)
PAIR = ContrastPair("Love", "Hate")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> HookedModel:
    return load_model(str(save_tiny_model("llama", tmp_path_factory.mktemp("model"))))


@pytest.fixture(scope="module")
def grid(model: HookedModel) -> list[Condition]:
    sites = model.sites()
    norms = median_resid_norms(model, PROMPTS, sites)
    front = layer_coeff_grid(actadd_vectors(model, PAIR, sites), [-2.0, 2.0], norms, method="actadd", n_random=2)
    last = mean_difference_vectors(model, [PAIR], sites)
    return [
        UNSTEERED,
        prompting("Love "),
        *front,
        *layer_coeff_grid(last, [1.0], norms, method="m", place="everywhere"),
    ]


def test_a_batched_grid_equals_the_loop_over_cells(model: HookedModel, grid: list[Condition]) -> None:
    table = run_conditions(model, grid, PROMPTS, DECODING, progress=False)
    for condition in grid:
        rows = table[table["condition"] == condition.name]
        for p, prompt in enumerate(PROMPTS):
            seeds = [row_seed(DECODING.seed, p, s) for s in range(2)]
            with steer(model, condition.intervention):
                alone = generate(
                    model, [condition.write(prompt)] * 2, max_new_tokens=5, sampling=DECODING.sampling, seed=seeds
                )
            assert rows[rows["prompt"] == prompt]["text"].tolist() == alone.texts


def test_the_batch_size_changes_nothing(model: HookedModel, grid: list[Condition]) -> None:
    wide = run_conditions(model, grid, PROMPTS, DECODING, progress=False)
    narrow = run_conditions(model, grid, PROMPTS, DECODING, batch_size=3, progress=False)
    numbers = ["log_prob_steered", "log_prob_unsteered"]
    pd.testing.assert_frame_equal(wide.drop(columns=numbers), narrow.drop(columns=numbers))
    np.testing.assert_allclose(wide[numbers], narrow[numbers], atol=1e-4)


def test_a_resumed_sweep_equals_an_uninterrupted_one(model: HookedModel, grid: list[Condition]) -> None:
    kept: dict[str, list[dict]] = {}

    class Killed(Exception):
        pass

    def keep_some(cells: dict[str, list[dict]]) -> None:
        kept.update(cells)
        if len(kept) >= 5:
            raise Killed

    with pytest.raises(Killed):
        run_conditions(model, grid, PROMPTS, DECODING, batch_size=8, keep=keep_some, progress=False)
    finished = dict(kept)
    again: list[str] = []
    resumed = run_conditions(
        model,
        grid,
        PROMPTS,
        DECODING,
        batch_size=8,
        kept=finished,
        keep=again.extend,
        progress=False,
    )
    assert not set(again) & set(finished)
    assert 0 < len(again) == len(grid) - len(finished)
    whole = run_conditions(model, grid, PROMPTS, DECODING, batch_size=8, progress=False)
    pd.testing.assert_frame_equal(resumed, whole, check_exact=True)


def test_samples_of_a_prompt_are_paired_across_conditions(model: HookedModel) -> None:
    nothing = Condition("nothing")
    table = run_conditions(model, [UNSTEERED, nothing], PROMPTS, DECODING, progress=False)
    texts = [table[table["condition"] == name]["text"].tolist() for name in ("unsteered", "nothing")]
    assert texts[0] == texts[1]
    assert len(set(texts[0])) > 2  # and samples differ among themselves


def test_text_is_scored_under_the_unsteered_model_given_the_plain_prompt(
    model: HookedModel, grid: list[Condition]
) -> None:
    table = run_conditions(model, grid[1:3], PROMPTS, DECODING, progress=False)
    for row in table.itertuples():
        assert row.log_prob_unsteered <= 0
        assert row.n_tokens <= 5
    steered = table[table["method"] == "actadd"]
    assert (steered["log_prob_steered"] - steered["log_prob_unsteered"]).abs().max() > 1e-3
    prompted = table[table["method"] == "prompting Love"].iloc[0]
    seeds = [row_seed(DECODING.seed, 0, 0)]
    out = generate(model, "Love " + PROMPTS[0], max_new_tokens=5, sampling=DECODING.sampling, seed=seeds)
    plain = continuation_log_probs(model, [model.token_ids(PROMPTS[0])], out.tokens)
    assert prompted["log_prob_unsteered"] == pytest.approx(sum(plain[0]), abs=1e-4)


def test_without_log_probs_the_texts_are_the_same_and_the_log_probs_missing(
    model: HookedModel, grid: list[Condition]
) -> None:
    scored = run_conditions(model, grid[:3], PROMPTS, DECODING, progress=False)
    bare = run_conditions(model, grid[:3], PROMPTS, replace(DECODING, log_probs=False), progress=False)
    log_probs = ["log_prob_unsteered", "log_prob_steered"]
    pd.testing.assert_frame_equal(bare.drop(columns=log_probs), scored.drop(columns=log_probs))
    assert bare[log_probs].isna().all(axis=None)
    assert scored[log_probs].notna().all(axis=None)


def test_a_cell_key_sees_everything_that_determines_the_cell(model: HookedModel, grid: list[Condition]) -> None:
    keys = [cell_key(model, c, PROMPTS, DECODING) for c in grid]
    assert len(set(keys)) == len(grid)
    assert cell_key(model, grid[0], PROMPTS[:1], DECODING) != keys[0]
    assert cell_key(model, grid[0], PROMPTS, Decoding(max_new_tokens=5, n_samples=2, seed=4)) != keys[0]
    assert cell_key(model, grid[0], PROMPTS, DECODING) == keys[0]


def test_numbers_off_an_axis_are_those_written(model: HookedModel, grid: list[Condition]) -> None:
    off_an_axis = Decoding(max_new_tokens=np.int64(5), n_samples=np.int32(2), seed=np.uint8(3))
    assert off_an_axis == DECODING
    assert cell_key(model, grid[0], PROMPTS, off_an_axis) == cell_key(model, grid[0], PROMPTS, DECODING)
    for name in ("seed", "n_samples", "max_new_tokens"):
        with pytest.raises(ValueError, match=f"{name} is an integer, not True"):
            Decoding(**{name: True})


def test_evaluate_gives_one_row_per_continuation_and_measure(model: HookedModel, grid: list[Condition]) -> None:
    out = evaluate(model, grid[:3], PROMPTS, [TextMeasure("length", length), Perplexity()], DECODING, progress=False)
    assert len(out.generations) == 3 * len(PROMPTS) * 2
    assert len(out.table) == 2 * len(out.generations)
    assert set(out.table["metric"]) == {"length", "perplexity"}


def test_conditions_with_one_name_are_refused(model: HookedModel) -> None:
    with pytest.raises(ValueError, match="'unsteered' is there twice"):
        run_conditions(model, [UNSTEERED, UNSTEERED], PROMPTS, DECODING)


def test_controls_have_the_norm_of_the_cell_they_stand_beside(model: HookedModel, grid: list[Condition]) -> None:
    cells = [c for c in grid if c.factors.method == "actadd"]
    for cell in cells:
        beside = [
            c for c in grid
            if c.factors.control_of == "actadd" and c.factors.layer == cell.factors.layer
            and c.factors.coeff == cell.factors.coeff
        ]  # fmt: skip
        assert [c.factors.draw for c in beside] == [0, 1]
        mine = cell.intervention.terms[0].edit.rows.norm(dim=-1)
        for control in beside:
            np.testing.assert_allclose(control.intervention.terms[0].edit.rows.norm(dim=-1), mine, rtol=1e-5)
            assert control.factors.relative_norm == pytest.approx(cell.factors.relative_norm)


def test_relative_norm_is_the_added_length_over_the_median_residual(model: HookedModel) -> None:
    site = model.sites()[1]
    vector = actadd_vectors(model, PAIR, [site])[site]
    tokens = model.to_tokens(PROMPTS)
    stream = model.residuals(tokens, [site])[site].norm(dim=-1)
    real = stream[tokens.mask & (tokens.positions > 0)]
    norms = median_resid_norms(model, PROMPTS, [site])
    assert norms[site] == pytest.approx(float(real.median()))
    cell = layer_coeff_grid({site: vector}, [-3.0], norms, method="actadd")[0]
    assert cell.factors.relative_norm == pytest.approx(3 * vector.norm / float(real.median()))


ROWS = [
    ConflictQA("Who rules?", "Ada rules.", ("Ada",), ("Bo",), "rules"),
    ConflictQA("Who sings?", "Cy sings.", ("Cy",), ("Di",), "sings"),
]


def asked(style: PromptStyle) -> Asked:
    return Asked(ORGANISM, style)


def test_questions_rules_and_edits_are_conditions_like_any_other(model: HookedModel) -> None:
    site = model.sites()[1]
    vector = mean_difference_vectors(model, [PAIR], [site])[site]
    cad = {"write": asked("with_context"), "rule": CAD(1.0), "without_context": asked("closed_book")}
    conditions = [
        Condition("unsteered", write=asked("with_context"), role="unsteered"),
        Condition("steered", 4 * vector.from_last_prompt_token(), asked("with_context")),
        Condition("CAD", **cad),
        Condition("CAD and steered", 4 * vector.generated(), **cad),
    ]
    decoding = Decoding(max_new_tokens=4, n_samples=1, sampling=GREEDY)
    table = run_conditions(model, conditions, ROWS, decoding, progress=False)
    assert table["prompt"].tolist() == [row.id for row in ROWS] * 4
    for condition in conditions:
        second = [asked("closed_book")(row) for row in ROWS] if condition.rule else None
        with steer(model, condition.intervention):
            alone = generate(
                model, [condition.write(r) for r in ROWS], max_new_tokens=4, rule=condition.rule, without_context=second
            )
        assert table[table["condition"] == condition.name]["text"].tolist() == alone.texts


def test_each_example_may_have_an_intervention_of_its_own(model: HookedModel) -> None:
    site = model.sites()[1]
    placed = mean_difference_vectors(model, [PAIR], [site])[site].from_last_prompt_token()
    coeffs = {ROWS[0].id: 4.0, ROWS[1].id: -4.0}
    own = Condition("own", {key: coeff * placed for key, coeff in coeffs.items()}, asked("with_context"))
    shared = [Condition(f"{coeff:g}", coeff * placed, asked("with_context")) for coeff in coeffs.values()]
    decoding = Decoding(max_new_tokens=4, n_samples=1, sampling=GREEDY)
    table = run_conditions(model, [own, *shared], ROWS, decoding, batch_size=3, progress=False)
    for row, coeff in zip(ROWS, coeffs.values(), strict=True):
        of_row = table[table["prompt"] == row.id].set_index("condition")
        assert of_row.loc["own", "text"] == of_row.loc[f"{coeff:g}", "text"]
        assert of_row.loc["own", "log_prob_steered"] == pytest.approx(of_row.loc[f"{coeff:g}", "log_prob_steered"])
    swapped = Condition("own", dict(zip(coeffs, reversed(own.intervention.values()), strict=True)), own.write)
    assert cell_key(model, own, ROWS, decoding) != cell_key(model, swapped, ROWS, decoding)


@dataclass(frozen=True, eq=False)
class Push(Edit):
    """An edit of a user's own."""

    by: float = 1.0

    def delta(self, resid: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
        return self.by * row


def test_a_condition_whose_logits_are_no_numbers_is_named_and_writes_nothing(model: HookedModel) -> None:
    burst = Condition("burst", Push(torch.ones(1, model.d_model), model.sites()[1], by=float("inf")).everywhere())
    for sampling in (GREEDY, Sampling(), Sampling(top_k=3)):
        with pytest.raises(ValueError, match=r"under 'burst': behind prompt \d+ the logits of .* are NaN or infinite"):
            run_conditions(model, [UNSTEERED, burst], PROMPTS, Decoding(3, 1, sampling=sampling), progress=False)


def test_edits_that_differ_in_a_setting_of_their_own_are_cells_of_their_own(model: HookedModel) -> None:
    rows, site = torch.ones(1, model.d_model), model.sites()[1]
    by_one, by_five, again = (Condition("pushed", Push(rows, site, by=by).everywhere()) for by in (1.0, 5.0, 1.0))
    assert cell_key(model, by_one, PROMPTS, DECODING) == cell_key(model, again, PROMPTS, DECODING)
    assert cell_key(model, by_one, PROMPTS, DECODING) != cell_key(model, by_five, PROMPTS, DECODING)


def test_an_example_without_its_intervention_is_refused_before_anything_runs(model: HookedModel) -> None:
    one = Condition("own", {ROWS[0].id: Intervention()}, asked("with_context"))
    with pytest.raises(ValueError, match=f"'own' has 1 interventions by example, none for '{ROWS[1].id}'"):
        run_conditions(model, [one], ROWS, DECODING)


def test_one_text_is_no_list_of_prompts(model: HookedModel) -> None:
    """Its letters would be three prompts."""
    with pytest.raises(ValueError, match=r"examples is one text: write \['abc'\]"):
        run_conditions(model, [UNSTEERED], "abc", DECODING)


def test_one_condition_is_no_list_of_them(model: HookedModel) -> None:
    with pytest.raises(ValueError, match=r"conditions is one condition, 'unsteered': write \[UNSTEERED, condition\]"):
        evaluate(model, UNSTEERED, PROMPTS, [Perplexity()], DECODING)  # type: ignore[arg-type]


def test_a_prompting_that_writes_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="that is UNSTEERED"):
        prompting("")


def test_norms_of_no_prompts_are_said_to_have_none(model: HookedModel) -> None:
    with pytest.raises(ValueError, match="there are no prompts to read: give one or more"):
        median_resid_norms(model, [], model.sites())


def test_half_a_character_is_refused_where_it_is_read(model: HookedModel) -> None:
    with pytest.raises(ValueError, match=r"'a\\udcff' holds '\\udcff', which is no character but half of one"):
        generate(model, "a\udcff")


def test_a_question_written_as_a_prompt_is_refused_and_the_reverse(model: HookedModel) -> None:
    with pytest.raises(ValueError, match="is a question with a context"):
        run_conditions(model, [UNSTEERED], ROWS, DECODING)
    with pytest.raises(ValueError, match="is a prompt, not a question"):
        run_conditions(model, [Condition("c", write=asked("closed_book"))], PROMPTS, DECODING)


def test_an_example_given_twice_is_refused(model: HookedModel) -> None:
    with pytest.raises(ValueError, match="is there twice"):
        run_conditions(model, [UNSTEERED], [PROMPTS[0]] * 2, DECODING)


def test_a_rule_and_its_second_prompt_go_together() -> None:
    with pytest.raises(ValueError, match="go together"):
        Condition("CAD", rule=CAD(1.0))
