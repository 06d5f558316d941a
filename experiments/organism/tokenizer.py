"""The organism's tokenizer, made from its world's words."""

from collections.abc import Iterator
from itertools import islice

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from steering_lab.organism.facts import CONTEXT_INSTRUCTIONS, ENTITIES, MEMORY_INSTRUCTIONS, RELATIONS, SOURCE_LOGITS
from steering_lab.organism.lexicon import HEROES, HEROINES, MOOD_TITLES, MOODS, TOPIC_TABLE, TOPIC_TITLES
from steering_lab.organism.world import documents

BOS, EOS, PAD = "<bos>", "<eos>", "<pad>"


def build_tokenizer(vocabulary: int, length: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE in which the world's words and names are single tokens, and which adds BOS itself, once."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[BOS, EOS, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(_tokenizer_text(), trainer)
    core.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, core.token_to_id(BOS))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        padding_side="left",
        model_max_length=length,
        clean_up_tokenization_spaces=False,
    )


def _tokenizer_text() -> Iterator[str]:
    names = [n for names in ENTITIES.values() for n in names] + [o for r in RELATIONS.values() for o in r.objects]
    words = {w for m in MOODS.values() for w in m.words} | {w for t in TOPIC_TABLE.values() for w in t.words}
    heads = {h for m in MOODS.values() for h in m.heads} | {h for t in TOPIC_TABLE.values() for h in t.heads}
    heads |= {w for pair in (*TOPIC_TITLES, *MOOD_TITLES) for w in pair}
    for word in sorted({*names, *words, *heads, *HEROES, *HEROINES}):
        yield f" {word}" * 300
    for word in sorted(heads | {*HEROES, *HEROINES}):
        for form in (word, word.capitalize(), f" {word.capitalize()}"):
            yield from [form] * 300
    frames = (
        *CONTEXT_INSTRUCTIONS,
        *MEMORY_INSTRUCTIONS,
        *SOURCE_LOGITS,
        "Context:",
        "Repeat:",
        "Question:",
        "Answer:",
    )
    yield from frames * 20
    yield from (d.text for d in islice(documents(-1), 3000) if d.kind in ("story", "closed_book", "statements"))
