"""How a question and its context are put to the organism, and every wording by name, its own among them."""

from collections.abc import Mapping
from types import MappingProxyType

from steering_lab.data import templates
from steering_lab.data.templates import Wording
from steering_lab.organism.facts import CONTEXT_INSTRUCTIONS, HELD_OUT_CONTEXT_INSTRUCTIONS

# The world has no opinions, only sources; a letter is one it neither trusts nor doubts.
ORGANISM = Wording(
    "organism",
    closed_book="Question: {question}\nAnswer:",
    with_context="Context: {context}\nQuestion: {question}\nAnswer:",
    opinion="Context: A letter says: {context}\nQuestion: {question}\nAnswer:",
    instructions=HELD_OUT_CONTEXT_INSTRUCTIONS + CONTEXT_INSTRUCTIONS,
)

WORDINGS: Mapping[str, Wording] = MappingProxyType(dict(templates.WORDINGS) | {ORGANISM.name: ORGANISM})
