"""How far a scorer ranks texts as people did."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import norm, spearmanr

Numbers = Sequence[float | int]
FEWEST = 10  # texts


@dataclass(frozen=True)
class Agreement:
    """Spearman's rank correlation of a scorer with people's labels, with its 95 % interval.

    Args:
        correlation: From −1 to 1.
        low: The interval's lower end.
        high: Its upper end.
        n: How many texts have a score.
        n_asked: How many were asked about.
        judge: The fingerprint of the scorer.
        of: What the labels are.
    """

    correlation: float
    low: float
    high: float
    n: int
    n_asked: int
    judge: str
    of: str

    @property
    def share_read(self) -> float:
        """The share of answers that were a score."""
        return self.n / self.n_asked

    def __str__(self) -> str:
        return (
            f"rank correlation {self.correlation:.2f} [{self.low:.2f}, {self.high:.2f}] with {self.of},"
            f" {self.n} of {self.n_asked} answers read"
        )


def agreement_of(scores: Numbers, labels: Numbers, *, n_asked: int, judge: str, of: str) -> Agreement:
    """The agreement of `scores` with `labels`, text by text.

    The interval is tanh(artanh r ± 1.96 √((1 + r²/2) / (n − 3))) (Bonett and Wright 2000, Psychometrika 65, eq. 4).

    Args:
        scores: The scorer's.
        labels: People's.
        n_asked: How many texts the scorer was asked about.
        judge: Its fingerprint.
        of: What the labels are.

    Raises:
        ValueError: fewer than 10 texts, or all scores or all labels alike.
    """
    n = len(scores)
    if n < FEWEST:
        raise ValueError(f"{n} of {n_asked} texts have a score: an agreement needs {FEWEST} or more")
    for what, values in (("scores", scores), ("labels", labels)):
        if len(set(values)) == 1:
            raise ValueError(f"all {n} {what} are {values[0]:g}, so there is no order to agree in")
    correlation = float(spearmanr(scores, labels).statistic)
    middle = math.atanh(min(max(correlation, -1 + 1e-9), 1 - 1e-9))
    half = float(norm.ppf(0.975)) * math.sqrt((1 + correlation**2 / 2) / (n - 3))
    return Agreement(correlation, math.tanh(middle - half), math.tanh(middle + half), n, n_asked, judge, of)
