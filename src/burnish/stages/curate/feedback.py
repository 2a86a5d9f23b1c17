"""Feedback that was collected in service, as preferences for the next round, with replay."""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic import Field, PositiveInt

from burnish.config import EvaluationRef, InputError, PreferenceRef, Problem, Settings
from burnish.records import Feedback, Figure, Preference, content_id
from burnish.stages import training
from burnish.stages.base import Context, Inputs, Outcome
from burnish.store import atomic, tables
from burnish.store.layouts import RowError
from burnish.store.names import SEEN
from burnish.store.registry import Feedback as Entry
from burnish.store.registry import Registry
from burnish.store.rows import record


class Config(Settings):
    """Turn the registry's feedback into preferences, and add earlier ones against forgetting.

    A better answer that a user gave is a pair as it is. A reply that was liked and one that was
    disliked make a pair where they are to the same conversation. ``last``, this stage's own name
    such as ``@feedback``, says where the round before stopped: only what came after that is new.
    What came before it, and the pairs of ``replay``, are the pool that is replayed:
    ``replay_share`` pairs for each new one. One user's last word on a reply counts, and at most
    ``per_user`` entries of each user. With fewer than ``least`` new entries the run stops; the same
    command goes on when there are more.
    """

    last: EvaluationRef | None = None
    replay: list[PreferenceRef] = []
    replay_share: float = Field(1.0, ge=0)
    least: PositiveInt = 20
    per_user: PositiveInt = 100


@dataclass(frozen=True)
class Said:
    """One entry that could be read."""

    sequence: int
    user: str
    found: Feedback | Preference


def run(config: Config, inputs: Inputs, context: Context) -> Outcome:
    """Write ``preferences.jsonl`` (new pairs, then replayed ones) and, where there are such, new
    replies that were liked or not and stand in no pair as ``feedback.jsonl`` (for ``fit.kto``).

    Raises:
        InputError: fewer than ``least`` new entries, or no pair can be made of anything.
    """
    with Registry(context.registry) as registry:
        entries = registry.feedback()
    read, unread = _read(entries)
    said = _limited(_last_words(read), config.per_user)
    before = _seen(inputs)
    new = [one for one in said if one.sequence > before]
    if len(new) < config.least:
        found = f"{len(new)} new entries of feedback that can be used"
        expected = f"at least {config.least} (setting least)"
        raise InputError(Problem(str(context.registry), None, context.name, found, expected))
    pairs = pairs_of(new)
    known = {pair.id for pair in pairs}
    earlier = pairs_of([one for one in said if one.sequence <= before])
    pool = [
        pair
        for pair in earlier + training.read_all(inputs.paths("replay"), Preference)
        if pair.id not in known
    ]
    count = min(len(pool), round(config.replay_share * max(len(pairs), 1)))
    replayed = random.Random(context.seed).sample(pool, count)
    if not pairs and not replayed:
        found = f"{len(new)} entries of which no two are about the same conversation"
        expected = "better answers, or replies to one conversation liked and disliked"
        raise InputError(Problem(str(context.registry), None, context.name, found, expected))
    tables.write(context.output / "preferences.jsonl", pairs + replayed)
    paired = {parent for pair in pairs for parent in pair.parents}
    thumbs = [one.found for one in new if isinstance(one.found, Feedback)]
    single = [one for one in thumbs if one.id not in paired]
    if single:
        tables.write(context.output / "feedback.jsonl", single)
    last = max(entry.sequence for entry in entries)
    atomic.write_json(context.output / SEEN, {"sequence": last})
    details = {
        "entries": len(entries),
        "unread": unread,
        "new": len(new),
        "left_out": len(read) - len(said),
        "users": len({one.user for one in new if one.user}),
        "pairs": len(pairs),
        "replayed": len(replayed),
        "single": len(single),
        "liked": sum(one.label for one in thumbs),
        "disliked": sum(not one.label for one in thumbs),
        "models": dict(Counter(entry.ref for entry in entries if entry.sequence > before)),
    }
    return Outcome("data", {"new": Figure.exact(len(new))}, details)


def _seen(inputs: Inputs) -> int:
    """The last entry that the round before knew of; 0 where there was none."""
    folder = next(iter(inputs.paths("last")), None)
    if folder is None:
        return 0
    return int(json.loads((folder / SEEN).read_text(encoding="utf-8"))["sequence"])


def _read(entries: Iterable[Entry]) -> tuple[list[Said], int]:
    """What can be read of ``{"kind": "feedback" or "preference", "record": ..., "user": ...}``,
    and how many entries could not."""
    found, unread = [], 0
    kinds: dict[str, type[Feedback] | type[Preference]]
    kinds = {"feedback": Feedback, "preference": Preference}
    for entry in entries:
        kind, row = kinds.get(str(entry.content.get("kind"))), entry.content.get("record")
        if kind is None or not isinstance(row, dict):
            unread += 1
            continue
        try:
            made = record(kind, row, f"feedback:{entry.ref}")
        except RowError:
            unread += 1
            continue
        found.append(Said(entry.sequence, str(entry.content.get("user") or ""), made))
    return found, unread


def _last_words(said: Sequence[Said]) -> list[Said]:
    """Without what the same user later said anew of the same reply."""
    last: dict[str, Said] = {}
    for one in said:
        reply = one.found.completion if isinstance(one.found, Feedback) else one.found.rejected
        by = one.user or one.sequence  # nobody knows whether two unnamed users are one
        last[content_id(by, type(one.found).__name__, one.found.prompt, reply)] = one
    return sorted(last.values(), key=lambda one: one.sequence)


def _limited(said: Sequence[Said], most: int) -> list[Said]:
    """At most ``most`` entries of each named user, the latest."""
    counts: Counter[str] = Counter()
    kept = []
    for one in reversed(said):
        counts[one.user] += bool(one.user)
        if counts[one.user] <= most:
            kept.append(one)
    return kept[::-1]


def pairs_of(said: Sequence[Said]) -> list[Preference]:
    """The pairs that users gave, and those of liked and disliked replies to one conversation."""
    given = [one.found for one in said if isinstance(one.found, Preference)]
    groups: dict[str, list[Feedback]] = defaultdict(list)
    for one in said:
        if isinstance(one.found, Feedback):
            groups[content_id(one.found.prompt)].append(one.found)
    made = []
    for key, replies in groups.items():
        liked, disliked = ([one for one in replies if one.label is side] for side in (True, False))
        made += [
            _pair(key, good, bad)
            for good, bad in zip(liked, disliked, strict=False)
            if good.completion != bad.completion
        ]
    return given + made


def _pair(group: str, good: Feedback, bad: Feedback) -> Preference:
    return Preference(
        id=content_id("feedback-pair", good.id, bad.id),
        source=good.source,
        lang=good.lang,
        tier=good.tier,
        synthetic=good.synthetic,
        parents=(good.id, bad.id),
        prompt=good.prompt,
        chosen=good.completion,
        rejected=bad.completion,
        margin=1.0,
        task=good.task,
        topic=good.topic,
        group=good.group or group,
    )
