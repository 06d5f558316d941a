"""Seeds that follow from what they are for."""

import hashlib


def seed_of(*parts: object) -> int:
    """A 48-bit seed that stands for the parts, the same in every process."""
    return int.from_bytes(hashlib.sha256(" ".join(map(str, parts)).encode()).digest()[:6], "big")
