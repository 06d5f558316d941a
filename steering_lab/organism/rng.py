"""Random choices that keep account of their own probability.

A generator that draws only through `Rng` knows, beside each text, how improbable the law found it: `rng.nats` is
minus the log-probability of every choice made since `rng.forget()`. Nothing here knows what is being chosen.
"""

import random
from collections.abc import Sequence
from math import log
from typing import TypeVar

T = TypeVar("T")


class Rng:
    """Draws for a seed; `.nats` is the sum of -log p over the draws so far."""

    def __init__(self, seed: int | str) -> None:
        self._random = random.Random(seed)
        self.nats = 0.0

    def forget(self) -> None:
        """The account starts again at zero; the stream of draws goes on."""
        self.nats = 0.0

    def chance(self, probability: float) -> bool:
        """True with `probability`."""
        hit = self._random.random() < probability
        self.nats -= log(probability if hit else 1.0 - probability)
        return hit

    def pick(self, options: Sequence[T]) -> T:
        """One of `options`, each equally likely."""
        self.nats += log(len(options))
        return options[self._random.randrange(len(options))]

    def weighted(self, options: Sequence[T], weights: Sequence[float]) -> T:
        """One of `options`, in proportion to `weights`."""
        index = self._random.choices(range(len(options)), weights)[0]
        self.nats -= log(weights[index] / sum(weights))
        return options[index]

    def between(self, low: int, high: int) -> int:
        """A whole number in low..high, both included."""
        return self.pick(range(low, high + 1))

    def several(self, options: Sequence[T], count: int) -> list[T]:
        """`count` different members of `options`, in random order."""
        left = list(options)
        chosen = []
        for _ in range(count):
            chosen.append(left.pop(left.index(self.pick(left))))
        return chosen
