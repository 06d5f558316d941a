"""Whether the Hugging Face hub can be reached, known within seconds; where not, its client is kept from asking."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

HUB_PATIENCE = 3.0  # seconds


def hub_answers() -> bool:
    """Whether the hub can be reached, known within seconds; its own client would try for more than a minute."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    answered: list[bool] = []

    def ask() -> None:
        import httpx

        try:
            httpx.head(constants.ENDPOINT, timeout=HUB_PATIENCE)
            answered.append(True)
        except httpx.HTTPError:
            pass

    thread = threading.Thread(target=ask, daemon=True)  # a name server that never answers has no time limit of its own
    thread.start()
    thread.join(HUB_PATIENCE + 0.5)
    return bool(answered)


@contextmanager
def hub_left_alone(unreachable: bool) -> Iterator[None]:
    """Inside the block a hub that is `unreachable` is not asked, which its client does even for cached files."""
    from huggingface_hub import constants

    was = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = was or unreachable
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = was
