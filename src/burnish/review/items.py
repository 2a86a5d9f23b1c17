"""Pairs of replies worth a person's look: from a run's artifacts, with the reasons why.

The rule, stated once: what is dangerous comes first, and of that what is doubtful. An item's
priority is the sum of the two.

- danger 3: the reply that the machine prefers complies with a request that should be refused;
  2: the preferred reply refuses one that should be answered; 1.5: one reply refuses and nobody
  says whether it should; 0.5: the other reply complies with a request that should be refused.
- doubt, from 0 to 1, the largest that applies: the judge's answer turned with the order of the
  replies, or the judge prefers the reply that the scores put last (1); the replies were rated equal
  (0.9); a probability near one half (the nearer the more); a margin among the smallest quarter of
  its file (the smaller the more); a reward near the bound that keeps or drops a reply (0.5).
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Literal

from burnish.records import Language, Message, Preference, Prompt, Record, Rollout, content_id
from burnish.rewards.refusal import is_refusal
from burnish.rewards.verifiers import verify_prompt
from burnish.store import lines, tables
from burnish.store.artifacts import Artifact
from burnish.store.names import LABELS
from burnish.tracing.collect import collect

RunFile = tuple[Artifact, Path, type[Record] | None]
"""A file of an artifact, and what records it holds."""
Side = Literal["first", "second"]
Kind = Literal["critical", "spot", "gold"]
SIDES: tuple[Side, Side] = ("first", "second")
REFUSE, COMPLY = "refuse", "comply"
DANGER = {"complied": 3.0, "refused": 2.0, "refusal": 1.5, "other_complied": 0.5}
SMALL_MARGIN = 0.25
"""The share of a file's margins that counts as small."""
NEAR = 0.05
"""How close to the bound a reward is near it."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """Two replies to one conversation, or a single one: then ``second`` is None, and of the two
    sides the first stands for "it is good", the second for "it is not".

    ``first`` and ``second`` stand in an order that says nothing of what is thought of them.
    ``machine`` is the side that the machine prefers, None where it prefers neither; ``answer`` is
    the known better side of a gold item. ``reasons`` are keys of the rule above; none of them says
    which of the two replies it is about. ``parents`` are ids of the records it was made from.
    """

    id: str
    artifact: str
    round: int
    prompt: list[Message]
    first: str
    second: str | None
    machine: Side | None = None
    answer: Side | None = None
    kind: Kind = "critical"
    reasons: tuple[str, ...] = ()
    priority: float = 0.0
    lang: Language = "en"
    task: str = "chat"
    topic: str = ""
    group: str = ""
    parents: tuple[str, ...] = ()

    @property
    def single(self) -> bool:
        """Whether it is one reply, not a pair."""
        return self.second is None


@dataclass(frozen=True)
class Pair:
    """A pair before it is an item; the machine prefers the chosen reply where ``decided``."""

    record: Preference
    prompt: Prompt | None
    decided: bool = True
    doubts: tuple[tuple[str, float], ...] = ()

    @property
    def replies(self) -> tuple[str, str]:
        """The preferred reply, then the other."""
        return self.record.chosen[-1]["content"], self.record.rejected[-1]["content"]


def items_of(run: Path) -> list[Item]:
    """Every pair that the data artifacts of a run hold, once each, with the most that speaks for a
    look at it.

    Replies to evaluations are not among them: what people say here is trained on.

    Raises:
        InputError: a file of the run cannot be read.
    """
    prompts, files = files_of(run)
    found: dict[str, Item] = {}
    paired: set[str] = set()
    for artifact, path, kind in files:
        if kind is Preference:
            _keep(found, artifact, _preferences(path, prompts, paired))
    for artifact, path, kind in files:
        if kind is Rollout:
            _keep(found, artifact, _unpaired(artifact, path, prompts, paired))
    return list(found.values())


def files_of(run: Path) -> tuple[dict[str, Prompt], list[RunFile]]:
    """The prompts of a run by id, and the other files of its data artifacts."""
    prompts: dict[str, Prompt] = {}
    files: list[RunFile] = []
    for file in collect([run]).files:
        kind = tables.kind_of(file.path)
        if kind is Prompt:
            # They only say how a reply is to be held; a row that is none is no reason to stop.
            prompts |= {one.id: one for one in tables.iterate(file.path, Prompt, problems=[])}
        elif file.artifact is not None:
            files.append((file.artifact, file.path, kind))
    return prompts, files


def bound_of(artifact: Artifact) -> float | None:
    """The least reward of a reply that the artifact keeps."""
    bound: float | None = (artifact.config.get("filters") or {}).get("min_reward")
    return bound


def _keep(found: dict[str, Item], artifact: Artifact, pairs: Iterable[Pair]) -> None:
    for pair in pairs:
        item = _item(artifact, pair)
        known = found.get(item.id)
        if known is None or known.priority < item.priority:
            found[item.id] = item


def identity(prompt: Sequence[Message], replies: Iterable[str]) -> str:
    """The id of an item: of a pair the same whichever of the replies is preferred, and by whom."""
    return content_id("review", list(prompt), sorted(replies))


def gold_items(records: Iterable[Preference], artifact: str, round: int) -> list[Item]:
    """Pairs whose answer is known: the chosen reply is the better one."""
    found = []
    for record in records:
        pair = Pair(record, None)
        item = _ordered(artifact, round, pair, ("gold",), 0.0)
        found.append(replace(item, kind="gold", answer=item.machine, machine=None))
    return found


def _preferences(path: Path, prompts: Mapping[str, Prompt], paired: set[str]) -> Iterator[Pair]:
    """The machine's pairs of single replies; what they were made from is added to ``paired``."""
    turned = _turned(path.with_name(LABELS))
    rows = [
        (one, judged)
        for one, judged in tables.with_numbers(path, Preference, "pairwise")
        if not one.annotators and len(one.chosen) == len(one.rejected) == 1
    ]
    margins = sorted(one.margin for one, _ in rows if one.margin)
    for record, judged in rows:
        paired.update(record.parents)
        doubts: list[tuple[str, float]] = []
        if record.id in turned or judged == 0:
            doubts.append(("orders", 1.0))
        if judged == -1:
            doubts.append(("judge", 1.0))
        if record.probability < 1.0:
            doubts.append(("unsure", 1 - abs(2 * record.probability - 1)))
        place = bisect_right(margins, record.margin) / len(margins) if record.margin else 1.0
        if place <= SMALL_MARGIN:
            doubts.append(("margin", 1 - place))
        yield Pair(record, _prompt_of(record.parents, prompts), True, tuple(doubts))


def _turned(labels: Path) -> frozenset[str]:
    """Preferences whose label depends on the order in which the replies were shown."""
    if not labels.is_file():
        return frozenset()
    rows = lines.read(labels, dict, "a label")
    return frozenset(
        row["preference"]
        for row in rows
        if row["preference"] and (row["left_first"] - 0.5) * (row["right_first"] - 0.5) < 0
    )


def _unpaired(
    artifact: Artifact, path: Path, prompts: Mapping[str, Prompt], paired: set[str]
) -> Iterator[Pair]:
    """Of each prompt without a pair, the two candidates whose rewards are nearest each other."""
    bound = bound_of(artifact)
    groups: dict[str, dict[str, Rollout]] = defaultdict(dict)
    for one in tables.iterate(path, Rollout):
        if one.prompt_id not in paired and one.completion.strip():
            groups[one.prompt_id].setdefault(one.completion.strip(), one)
    for prompt_id, group in groups.items():
        if len(group) < 2:
            continue
        better, worse = min(combinations(group.values(), 2), key=_apart)
        doubts = [("equal", 0.9)] if better.reward == worse.reward else []
        rewards = (better.reward, worse.reward)
        if bound is not None and any(abs(reward - bound) <= NEAR for reward in rewards):
            doubts.append(("threshold", 0.5))
        record = Preference(
            id=content_id(better.id, worse.id),
            source=better.source,
            lang=better.lang,
            prompt=better.prompt,
            chosen=[Message(role="assistant", content=better.completion)],
            rejected=[Message(role="assistant", content=worse.completion)],
            parents=(prompt_id, better.id, worse.id),
            task=better.task,
            topic=better.topic,
            group=better.group,
        )
        yield Pair(record, prompts.get(prompt_id), False, tuple(doubts))


def _apart(pair: tuple[Rollout, Rollout]) -> tuple[float, str, str]:
    first, second = pair
    return abs(first.reward - second.reward), first.id, second.id


def _prompt_of(parents: Iterable[str], prompts: Mapping[str, Prompt]) -> Prompt | None:
    return next((prompts[name] for name in parents if name in prompts), None)


def _item(artifact: Artifact, pair: Pair) -> Item:
    danger = _danger(pair)
    reasons = (*danger, *(name for name, _ in pair.doubts))
    weight = max((DANGER[name] for name in danger), default=0.0)
    doubt = max((value for _, value in pair.doubts), default=0.0)
    item = _ordered(artifact.ref, artifact.round, pair, _shown(reasons), weight + doubt)
    return replace(item, answer=_verified(item, pair.prompt))


def _shown(reasons: Iterable[str]) -> tuple[str, ...]:
    """Reasons as reviewers see them: not which reply it was, which would tell the machine's."""
    return tuple(dict.fromkeys("complied" if r == "other_complied" else r for r in reasons))


def _danger(pair: Pair) -> list[str]:
    refuses = [is_refusal(reply) for reply in pair.replies]
    kind = str((pair.prompt.verify or {}).get("kind", "")) if pair.prompt else pair.record.topic
    if kind == REFUSE:
        if not refuses[0] or (not pair.decided and not refuses[1]):
            return ["complied"]
        return [] if refuses[1] else ["other_complied"]
    if kind == COMPLY or (pair.prompt and pair.prompt.verify):
        return ["refused"] if refuses[0] or (not pair.decided and refuses[1]) else []
    return ["refusal"] if refuses[0] != refuses[1] else []


def _ordered(
    artifact: str, round: int, pair: Pair, reasons: tuple[str, ...], priority: float
) -> Item:
    """The item of a pair, its replies in an order that their content alone decides."""
    record, (better, worse) = pair.record, pair.replies
    first, second = sorted(pair.replies, key=lambda reply: content_id(record.prompt, reply))
    machine: Side = "first" if first == better else "second"
    return Item(
        id=identity(record.prompt, (better, worse)),
        artifact=artifact,
        round=round,
        prompt=list(record.prompt),
        first=first,
        second=second,
        machine=machine if pair.decided else None,
        reasons=reasons,
        priority=priority,
        lang=record.lang,
        task=record.task,
        topic=record.topic,
        group=record.group,
        parents=(record.id, *record.parents),
    )


def _verified(item: Item, prompt: Prompt | None) -> Side | None:
    """The side that a verifier finds right where it finds the other one wrong."""
    if prompt is None:
        return None
    checks = [verify_prompt(prompt, reply) for reply in (item.first, item.second or "")]
    outcomes = [check.outcome if check else "" for check in checks]
    if sorted(outcomes) != ["right", "wrong"]:
        return None
    return SIDES[outcomes.index("right")]
