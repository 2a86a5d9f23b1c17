"""Conversations to token ids, through the model's own chat template.

A conversation is cut before and after every reply and each stretch is tokenised by itself, so a
prompt's ids, followed by a reply's ids, are the ids that training sees: no token ever spans the
cut. Text inside messages that looks like a control token is encoded as plain text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from transformers import PreTrainedTokenizerBase

from burnish.config import InputError
from burnish.records import Message
from burnish.text.encoder import Encoder

TEMPLATES = {
    "chatml": (
        "{% for message in messages %}"
        "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
    ),
    "plain": (
        "{% for message in messages %}"
        "{% if message['role'] == 'assistant' %}"
        "{{ 'Assistant: ' + message['content'] + eos_token + '\\n\\n' }}"
        "{% else %}{{ message['role'] | capitalize + ': ' + message['content'] + '\\n\\n' }}"
        "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
    ),
}
"""Fallbacks for models without a chat template of their own, by name."""

TEMPLATE_TOKENS = {"chatml": ("<|im_start|>", "<|im_end|>"), "plain": ()}
"""Control tokens that a fallback needs in the vocabulary (``models.load`` adds them)."""

_encoders: WeakKeyDictionary[PreTrainedTokenizerBase, Encoder] = WeakKeyDictionary()


@dataclass(frozen=True)
class Encoded:
    """A conversation as ids. ``tokens [L]``; ``mask [L]``: the token is a training target."""

    tokens: list[int]
    mask: list[bool]


def default_template(name: str) -> str:
    """The Jinja text of a fallback template; raises InputError for an unknown name."""
    if name not in TEMPLATES:
        raise InputError(f"no chat template named {name!r}; there are: {', '.join(TEMPLATES)}")
    return TEMPLATES[name]


def encode(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], train_from: int = 0
) -> Encoded:
    """Encode one conversation.

    Targets are every assistant message's tokens and the end token after it, from message
    ``train_from`` on. The sequence stops after the end token of a last assistant message; where
    the template has no end token, the tokenizer's eos is put there.

    Raises:
        InputError: no chat template, a template that misbehaves or rejects the conversation,
            an unknown role, content that is not text.
    """
    return encode_many(tokenizer, [messages], train_from)[0]


def encode_many(
    tokenizer: PreTrainedTokenizerBase,
    conversations: Sequence[Sequence[Message]],
    train_from: int | Sequence[int] = 0,
) -> list[Encoded]:
    """``encode`` for many conversations at once, which is several times faster.

    ``train_from``: one number for all, or one a conversation.
    """
    firsts = [train_from] * len(conversations) if isinstance(train_from, int) else train_from
    rows = _encoder(tokenizer).encode(conversations, generate=False)
    encoded = []
    for row, first in zip(rows, firsts, strict=True):
        tokens: list[int] = []
        mask: list[bool] = []
        for ids, reply in row:
            tokens += ids
            mask += [reply >= first and reply >= 0] * len(ids)
        encoded.append(Encoded(tokens, mask))
    return encoded


def encode_prompt(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> list[int]:
    """Ids of a conversation up to where the next reply begins (with the generation prompt)."""
    return encode_prompts(tokenizer, [messages])[0]


def encode_prompts(
    tokenizer: PreTrainedTokenizerBase, conversations: Sequence[Sequence[Message]]
) -> list[list[int]]:
    """``encode_prompt`` for many conversations at once."""
    rows = _encoder(tokenizer).encode(conversations, generate=True)
    return [[token for ids, _ in row for token in ids] for row in rows]


def end_tokens(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Ids that end a reply: eos, and the token the chat template puts after a reply."""
    ends = set() if tokenizer.eos_token_id is None else {int(tokenizer.eos_token_id)}
    if tokenizer.chat_template is not None:
        ends |= _encoder(tokenizer).end_of_reply()
    return ends


def leading(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Ids the tokenizer itself puts before any text: ``[bos]`` or nothing."""
    first = tokenizer("a")["input_ids"][:1]
    return list(first) if first == [tokenizer.bos_token_id] else []


def _encoder(tokenizer: PreTrainedTokenizerBase) -> Encoder:
    template = tokenizer.chat_template
    if isinstance(template, dict):
        template = template.get("default")
    if not template:
        raise InputError(
            "this model has no chat template; name one to use: " + ", ".join(TEMPLATES)
        )
    found = _encoders.get(tokenizer)
    if found is None or found.template != template or found.size != len(tokenizer):
        trusted = template in TEMPLATES.values()
        found = Encoder(tokenizer, template, leading(tokenizer), trusted)
        _encoders[tokenizer] = found
    return found
