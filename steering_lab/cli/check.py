"""`steering-lab check`: a model's certificate on the terminal and in a file, and whether everything holds."""

from pathlib import Path

import tyro


def check(
    model: tyro.conf.Positional[str],
    device: str = "auto",
    dtype: str = "auto",
    prefix: str | None = None,
    json: Path | None = None,
) -> None:
    """Print what holds for a model: Hugging Face's numbers at every site, batches, cache, lens, and what is refused.

    Each line has its largest difference, relative to the largest value compared, and what rounding explains. Exit
    status: 0 when everything holds, 1 when something is wrong, 2 when the model cannot be opened.

    Example: steering-lab check gpt2 --json gpt2.json

    Args:
        model: "organism", "smollm2", a Hugging Face hub name, a local folder or a GGUF file.
        device: Where the model runs: cpu, cuda or auto.
        dtype: The precision of the weights: float32, bfloat16, float16 or auto.
        prefix: What stands in front of a text; left out, what load_model takes by itself.
        json: Also keep the certificate in this file.
    """
    from steering_lab.models.certificate import certificate

    if json is not None and not json.resolve().parent.is_dir():
        raise ValueError(f"--json is {str(json)!r}: there is no folder {str(json.parent)!r}")
    chosen = {} if prefix is None else {"prefix": prefix}
    found = certificate(model, device=device, dtype=dtype, **chosen)
    print(found, end="")
    if json is not None:
        json.write_text(found.to_json(), encoding="utf-8")
        print(f"kept in {json}")
    if not found.holds:
        raise SystemExit(1)
