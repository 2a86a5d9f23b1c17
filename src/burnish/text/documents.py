"""Documents for (continued) pre-training to segments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from transformers import PreTrainedTokenizerBase

from burnish.records import Document
from burnish.text.batches import Segment
from burnish.text.templates import leading

_TOKENISED_AT_ONCE = 256
_DOCUMENT_ENDS = ("<|endoftext|>", "<|eos|>", "<|end_of_text|>", "</s>", "<eos>")


def document_marks(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """Ids put before and after every document.

    Before: bos, where the tokenizer itself adds it or the chat template begins with it. After: the
    token pre-training ends documents with, which in chat models often is not eos (that one ends a
    turn); eos where none is known by name.
    """
    start = leading(tokenizer)
    template = tokenizer.chat_template
    if not start and isinstance(template, str) and "bos_token" in template:
        start = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    vocabulary = tokenizer.get_added_vocab()
    named = [vocabulary[name] for name in _DOCUMENT_ENDS if name in vocabulary]
    end = named[0] if named else tokenizer.eos_token_id
    return start, [] if end is None else [end]


def document_segments(
    tokenizer: PreTrainedTokenizerBase, documents: Iterable[Document], length: int
) -> Iterator[Segment]:
    """Tokenise documents, each into segments of at most ``length`` tokens.

    Every document stands alone (attention never crosses into another one). A long one is split;
    a piece begins with the last token of the piece before it, so that every token but a document's
    first is a target exactly once. Documents are read as they are needed.

    Raises:
        ValueError: ``length`` below 2.
    """
    if length < 2:
        raise ValueError(f"a segment needs room for 2 tokens, found length {length}")
    start, end = document_marks(tokenizer)
    stream = iter(documents)
    while chunk := list(islice(stream, _TOKENISED_AT_ONCE)):
        texts = [document.text for document in chunk]
        rows = tokenizer(
            texts,
            add_special_tokens=False,
            split_special_tokens=True,
            return_attention_mask=False,
            verbose=False,
        )["input_ids"]
        for document, row in zip(chunk, rows, strict=True):
            yield from _split([*start, *row, *end], document.id, length)


def _split(tokens: list[int], name: str, length: int) -> Iterator[Segment]:
    for number, begin in enumerate(range(0, max(1, len(tokens) - 1), length - 1)):
        piece = tokens[begin : begin + length]
        if len(piece) > 1:
            mask = [False] + [True] * (len(piece) - 1)
            yield Segment(piece, mask, name if number == 0 else f"{name}#{number}")
