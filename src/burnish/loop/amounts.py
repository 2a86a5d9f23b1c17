"""How much text the stages of a recipe go through, as far as their files are there already."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.config import InputError, references
from burnish.loop.recipe import Recipe
from burnish.loop.references import locate
from burnish.models.load import load_tokenizer
from burnish.records import KINDS, Preference, Record
from burnish.redteam.search import WordingSearch
from burnish.redteam.strategies import searches, turns
from burnish.selection.texts import texts_of
from burnish.stages.measure import probe
from burnish.store import tables

TURN = 5
"""Control tokens of a turn: its header and its end."""
SAMPLE = 200
BYTES_A_TOKEN = 4.0
"""Where there is no tokenizer to ask."""
UNKNOWN_LENGTH = 512
"""Tokens of a record, where nothing is known of the data."""


@dataclass(frozen=True)
class Size:
    """Records, their tokens together, and the tokens of the longest."""

    records: float
    tokens: float
    longest: float

    @property
    def mean(self) -> float:
        """Tokens of a record."""
        return self.tokens / max(1.0, self.records)

    def at_most(self, records: int | None) -> Size:
        """The size of so many records drawn from these."""
        share = min(1.0, (records or self.records) / max(1.0, self.records))
        return Size(self.records * share, self.tokens * share, self.longest)


@dataclass(frozen=True)
class Replies:
    """``count`` replies of at most ``new`` tokens, to prompts of ``prompt`` tokens at most."""

    count: float
    prompt: float
    new: int


class Amounts:
    """Sizes of a recipe's data. ``how`` says how text was turned into tokens."""

    def __init__(self, recipe: Recipe) -> None:
        self.beside = recipe.file.parent
        self._known: dict[tuple[str, str], tuple[int, int, int, int]] = {}
        self._rate = 0.0
        try:
            self._tokenizer: Any = load_tokenizer(locate(recipe.header.model, self.beside))
            self.how = "records counted, tokens by the model's tokenizer on a sample of them"
        except InputError:
            self._tokenizer, self.how = None, "records counted, a token taken as 4 bytes"

    def of(self, refs: Sequence[str], kind: str) -> Size | None:
        """The size of some files together; None where one of them is still to be made."""
        parts = [self._counted(ref, kind) for ref in refs]
        if not parts or any(part is None for part in parts):
            return None
        rows = [part for part in parts if part is not None]
        tokens = sum(self._rate * size + TURN * turns for _, size, turns, _ in rows)
        longest = max(self._rate * longest + TURN * 2 for *_, longest in rows)
        return Size(sum(count for count, *_ in rows), tokens, longest)

    def _counted(self, ref: str, kind: str) -> tuple[int, int, int, int] | None:
        """Records, bytes, turns, and bytes of the longest record."""
        path = Path(locate(ref, self.beside))
        if ref.startswith("@") or not path.exists():
            return None
        if (ref, kind) not in self._known:
            texts = [_texts(record) for record in tables.read(path, KINDS[kind])]
            self._rate = self._rate or self._tokens_a_byte(texts[:SAMPLE])
            sizes = [sum(len(text.encode()) for text in row) for row in texts]
            turns = sum(len(row) for row in texts)
            self._known[ref, kind] = (len(texts), sum(sizes), turns, max(sizes))
        return self._known[ref, kind]

    def _tokens_a_byte(self, texts: Sequence[Sequence[str]]) -> float:
        flat = [text for row in texts for text in row if text]
        if self._tokenizer is None or not flat:
            return 1 / BYTES_A_TOKEN
        ids = self._tokenizer(flat, add_special_tokens=False, verbose=False)["input_ids"]
        return sum(map(len, ids)) / sum(len(text.encode()) for text in flat)

    def epoch(self, config: Any) -> Size | None:
        """What one epoch of a fit reads: units as ``segments_per_step`` counts them."""
        if hasattr(config, "online"):
            return self._phase(config)
        if hasattr(config, "domain"):
            return self._mixed(config)
        if hasattr(config, "pairs"):
            return self._replies_apart(config)
        kinds = {path[0]: mark.records for path, _, mark in references(config)}
        data = self.of(config.data, kinds["data"])
        if data is None or not hasattr(config, "replay"):
            return data
        data = data.at_most(config.limit)
        if config.replay:
            # As many as there are, or the share: what has still to be made is taken to suffice.
            there = self.of(config.replay, "example") or data
            count = min(there.records, config.replay_share * data.records)
            data = _sum(data, Size(count, count * there.mean, there.longest))
        if config.general:
            extra = config.general_share * data.tokens
            data = _sum(data, _rows(extra, config.sequence_length))
        return data

    def _replies_apart(self, config: Any) -> Size | None:
        """Replies one by one: those of feedback, and both of each pair."""
        given = ((config.data, "feedback", 1), (config.pairs, "preference", 2))
        known = [
            Size(size.records * replies, size.tokens, size.longest)
            for refs, kind, replies in given
            if refs and (size := self.of(refs, kind)) is not None
        ]
        whole = len(known) == bool(config.data) + bool(config.pairs)
        return functools.reduce(_sum, known) if whole else None

    def _mixed(self, config: Any) -> Size | None:
        domain = self.of(config.domain, "document")
        if domain is None:
            return None
        told = domain.at_most(config.limit).tokens * config.passes
        general = self.of(config.general, "document")
        there = general.tokens * config.repeats if general else 0.0
        mixed = _rows(told + min(config.ratio * told, there), config.sequence_length)
        asked = self.of(config.examples, "example")
        if asked is None:
            return mixed
        times = config.passes
        return _sum(mixed, Size(asked.records * times, asked.tokens * times, asked.longest))

    def _phase(self, config: Any) -> Size:
        """Each reply is a unit; it is taken to be as long as it may be."""
        asked = self.replies(config)
        count = asked.count / config.online.phases
        length = asked.prompt + asked.new
        return Size(count, count * length, length)

    def replies(self, config: Any) -> Replies:
        """What a stage samples in all."""
        if hasattr(config, "tasks"):
            parts = [self.of(task.data, "prompt") for task in config.tasks]
            known = [
                part.at_most(task.max_items)
                for part, task in zip(parts, config.tasks, strict=True)
                if part is not None
            ]
            prompt = max((part.longest for part in known), default=UNKNOWN_LENGTH)
            count = sum(part.records for part in known)
            return Replies(count, prompt, config.sampling.max_new_tokens)
        if write := getattr(config, "write", None):
            return Replies(write.budget, UNKNOWN_LENGTH, write.sampling.max_new_tokens)
        if hasattr(config, "on_policy"):
            data = self.of(config.data, "example") or Size(0, 0, UNKNOWN_LENGTH)
            times = config.on_policy * config.train.epochs + (config.replies == "teacher")
            return Replies(data.records * times, data.longest, config.sampling.max_new_tokens)
        if isinstance(config, probe.Config):
            # In the first round the champion answers too.
            asked = self.of(config.probes, "prompt")
            count, length = (asked.records, asked.longest) if asked else (0, UNKNOWN_LENGTH)
            return Replies(count, length, config.max_new_tokens)
        prompts = self.of(config.prompts, "prompt")
        length = prompts.longest if prompts else UNKNOWN_LENGTH
        if isinstance(search := getattr(config, "search", None), WordingSearch):
            # Half of the prompts are taken to be harmful, and each search to spend its budget.
            count = prompts.at_most(config.limit and 2 * config.limit).records if prompts else 0
            each = turns(config.strategies) + search.budget / 2 * searches(config.strategies)
            models = 1 if config.before is None else 2
            return Replies(models * count * each, length, config.sampling.max_new_tokens)
        if online := getattr(config, "online", None):
            count = online.prompts_per_phase
            count = min(count, prompts.records) if prompts else count
            total = online.phases * count * online.per_prompt
            return Replies(total, length, config.sampling.max_new_tokens)
        count = prompts.at_most(config.limit).records if prompts else 0
        if candidates := getattr(config, "candidates", None):
            count += config.instruction_count * len(config.instructions)
            longest = max(sampling.max_new_tokens for sampling in candidates)
            return Replies(count * len(candidates), length, longest)
        return Replies(count, length, config.sampling.max_new_tokens)


def samples(config: Any) -> bool:
    """Whether a stage has its model write replies."""
    if hasattr(config, "on_policy"):
        return bool(config.on_policy > 0 or config.replies == "teacher")
    named = any(hasattr(config, name) for name in ("sampling", "candidates", "write"))
    return named or isinstance(config, probe.Config)


def _texts(record: Record) -> list[str]:
    """What is computed for a record: of a pair the prompt comes twice."""
    again = [m["content"] for m in record.prompt] if isinstance(record, Preference) else []
    return [*again, *texts_of(record)]


def _rows(tokens: float, length: int) -> Size:
    return Size(tokens / length, tokens, length)


def _sum(first: Size, second: Size) -> Size:
    return Size(
        first.records + second.records,
        first.tokens + second.tokens,
        max(first.longest, second.longest),
    )
