"""What steering costs in `generate`, and what shared batches save over one `generate` per cell.

Machines drift, so every figure is a ratio of two commands timed in turn inside one run, and its spread is printed:
python benchmarks/steering_overhead.py [--model organism] [--rounds 7]
"""

import platform
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime

import torch
import tyro

from steering_lab.data.contrast_pairs import ContrastPair
from steering_lab.data.invented_world import STORY_PROMPTS_VALIDATION
from steering_lab.evaluation.condition import UNSTEERED, layer_coeff_grid, median_resid_norms
from steering_lab.evaluation.evaluate import Decoding, row_seed, run_conditions
from steering_lab.interventions.steering import steer
from steering_lab.methods.actadd import actadd_vectors
from steering_lab.methods.mean_difference import mean_difference_vectors
from steering_lab.models.generation import Sampling, generate
from steering_lab.models.loading import load_model


def ratios(a: Callable[[], object], b: Callable[[], object], rounds: int) -> list[float]:
    """Seconds of `a` over seconds of `b`, the two run in turn."""
    found = []
    for turn in range(rounds + 1):
        seconds = {}
        for name, call in (("a", a), ("b", b)) if turn % 2 else (("b", b), ("a", a)):
            start = time.perf_counter()
            call()
            seconds[name] = time.perf_counter() - start
        found.append(seconds["a"] / seconds["b"])
    return found[1:]  # the first turn warms up


def report(what: str, found: list[float]) -> None:
    print(f"{what:<78} {statistics.median(found):6.3f}   ({min(found):.3f} to {max(found):.3f}, {len(found)} rounds)")


def main(model: str = "organism", rounds: int = 7, max_new_tokens: int = 24, grid_layers: int = 4) -> None:
    """Prints each ratio as median, minimum and maximum over the rounds."""
    lm, prompts, pair = load_model(model), list(STORY_PROMPTS_VALIDATION[:8]), ContrastPair("Love", "Hate")
    print(f"{datetime.now(UTC):%Y-%m-%d}, {lm!r}")
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    sites = lm.sites()
    front, last = actadd_vectors(lm, pair, sites), mean_difference_vectors(lm, [pair], sites)
    middle = sites[len(sites) // 2]
    for rows in (1, 8, 64):
        batch = (prompts * 8)[:rows]

        def plain(batch: list[str] = batch) -> object:
            return generate(lm, batch, max_new_tokens=max_new_tokens, sampling=Sampling())

        for name, edit in (("front", front[middle].at_front()), ("everywhere", last[middle].everywhere())):

            def steered(edit: object = edit, batch: list[str] = batch) -> object:
                with steer(lm, edit):  # type: ignore[arg-type]
                    return generate(lm, batch, max_new_tokens=max_new_tokens, sampling=Sampling())

            report(f"generate, {rows} rows: steered ({name}, one layer) / unsteered", ratios(steered, plain, rounds))

    chosen = {site: front[site] for site in sites[:grid_layers]}
    norms = median_resid_norms(lm, prompts, sites)
    cells = [UNSTEERED, *layer_coeff_grid(chosen, [-2.0, -1.0, 1.0, 2.0], norms, method="actadd")]
    decoding = Decoding(max_new_tokens, n_samples=1)

    def loop() -> None:
        for cell in cells:
            with steer(lm, cell.intervention):
                generate(lm, prompts, max_new_tokens=max_new_tokens, sampling=decoding.sampling, log_probs=True,
                         seed=[row_seed(0, p, 0) for p in range(len(prompts))])  # fmt: skip

    def loop_over_prompts() -> None:
        for cell in cells:
            for p, prompt in enumerate(prompts):
                with steer(lm, cell.intervention):
                    generate(lm, prompt, max_new_tokens=max_new_tokens, sampling=decoding.sampling, log_probs=True,
                             seed=[row_seed(0, p, 0)])  # fmt: skip

    def grid() -> None:
        run_conditions(lm, cells, prompts, decoding, progress=False)

    what = f"{len(cells)} cells x {len(prompts)} prompts"
    report(f"{what}: one generate per cell / shared batches", ratios(loop, grid, rounds))
    report(
        f"{what}: one generate per cell and prompt / shared batches", ratios(loop_over_prompts, grid, min(rounds, 3))
    )


if __name__ == "__main__":
    tyro.cli(main)
