"""The settings of a training run of the organism."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Config:
    """One training run; with `report`, trained folders are measured and nothing is trained.

    A run left off (by hand, or at step `stop_after`) goes on from its last checkpoint when the command is given again.
    """

    seed: int = 0
    out: Path = Path("organism")
    report: tuple[Path, ...] = ()
    tokens: int = 6_000_000
    small_tables: float = 0.11
    rows: int = 8
    length: int = 192
    layers: int = 8
    d_model: int = 128
    heads: int = 4
    d_mlp: int = 336
    vocabulary: int = 3072
    muon_lr: float = 0.01
    adam_lr: float = 2e-3
    warm_up: float = 0.0125
    answer_weight: float = 5.0
    prompt_weight: float = 0.02
    threads: int = 2
    compile: bool = True
    checkpoint_every: int = 250
    stop_after: int | None = None
    probe_rows: int = 60
    device: str = "auto"
