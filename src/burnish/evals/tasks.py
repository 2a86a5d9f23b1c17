"""Task sets: ask, store every raw reply, score, and give rates with intervals.

A task file holds ``Prompt`` records, each with a ``verify`` specification. A figure is the share
of items with one outcome:

==============  ================================================================
metric          an item counts when
==============  ================================================================
``right``       its verifier says right
``abstained``   its verifier says that the reply claims not to know
``wrong``       its verifier says wrong: the *confident-wrong* rate
``refused``     the reply declines (``rewards.refusal``), whatever the verifier
==============  ================================================================

Items of kind ``choice`` are not asked for a reply: theirs is the option that the model finds
likeliest (``evals.choices``).

A task may ask each item several times (``samples``): its value is then the chance that one of
``pass_at`` replies counts (pass@k), which with 1 is the share that does.

Figures are made of stored responses only, so that ``recompute`` gives the same numbers from the
file, and other verifiers can be applied to old replies.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PositiveInt, field_validator, model_validator

from burnish.config import InputError, Problem, PromptRef, Settings
from burnish.evals.choices import OPTION_SCORES, Option, OptionScore, chosen, is_choice
from burnish.evals.proportions import pass_at_k
from burnish.evals.statistics import mean_figure
from burnish.records import Figure, Language, Message, Prompt, content_id
from burnish.rewards.refusal import is_refusal
from burnish.rewards.verifiers import SCORE, Outcome, validate, verify
from burnish.sampling import Completion, Request, Sampler, Sampling
from burnish.store import atomic, lines, tables

Metric = Literal["right", "abstained", "wrong", "refused"]
METRICS: tuple[Metric, ...] = ("right", "abstained", "wrong", "refused")
GREEDY = Sampling(temperature=0.0, top_p=1.0, max_new_tokens=48)
Weigh = Callable[[Sequence[Prompt]], list[list[Option]]]
"""What a model says of each item's options: ``choices.measure`` with its first two arguments."""


class TaskSettings(Settings):
    """One figure measured on the items of ``data``, one file or a list of several.

    ``higher_is_better`` left empty means yes, but for the metric ``wrong``; say ``false`` where
    harmless prompts are refused. ``max_items`` takes a fixed sample of a large file.
    ``option_score`` says which option of a multiple-choice item is the model's choice: the one
    with the highest log-probability as it is (``sum``, lm-eval's acc) or a token, character
    (acc_norm) or byte, or less that after an empty question (``unconditional``). Each item is asked
    ``samples`` times, which needs a temperature, and counts with the chance that one of ``pass_at``
    replies does.
    """

    name: str = Field(pattern=r"^[\w.-]+$")
    data: list[PromptRef] = Field(min_length=1)
    metric: Metric = "right"
    dimension: Literal["capability", "alignment", "safety", "efficiency"] = "capability"
    higher_is_better: bool | None = None
    max_items: PositiveInt | None = None
    option_score: OptionScore = "per_character"
    samples: PositiveInt = 1
    pass_at: PositiveInt = 1

    @field_validator("data", mode="before")
    @classmethod
    def _listed(cls, data: object) -> object:
        return [data] if isinstance(data, str) else data

    @model_validator(mode="after")
    def _enough(self) -> TaskSettings:
        if self.pass_at > self.samples:
            raise ValueError(f"pass_at: {self.pass_at} needs as many samples, not {self.samples}")
        return self

    @property
    def upward(self) -> bool:
        """Whether a larger value is better."""
        return self.metric != "wrong" if self.higher_is_better is None else self.higher_is_better


@dataclass(frozen=True)
class Task:
    """A task's settings and its items."""

    settings: TaskSettings
    items: list[Prompt]


@dataclass(frozen=True)
class Response:
    """One raw reply to one item with all that is needed to score it again.

    ``options`` is what the model said of the options of a multiple-choice item, whose ``reply`` is
    the one with the highest ``option_score``.
    """

    task: str
    metric: Metric
    dimension: str
    higher_is_better: bool
    item_id: str
    group: str
    lang: Language
    source: str
    category: str
    messages: list[Message]
    verify: dict[str, Any] | None
    reply: str
    finish: Literal["stop", "length"]
    tokens: int
    outcome: str = ""
    refused: bool = False
    score: float = 0.0
    reason: str = ""
    options: list[Option] = field(default_factory=list)
    option_score: OptionScore = "per_character"
    topic: str = ""
    pass_at: int = 1


def load_task(settings: TaskSettings, *paths: Path) -> Task:
    """Read a task's items from its files and check that each can be scored.

    Raises:
        InputError: bad rows, ids used twice, a last turn that is not the user's, a bad or
            (unless only refusals are counted) missing ``verify``.
    """
    placed = [(path, item) for path in paths for item in tables.read(path, Prompt)]
    items = [item for _, item in placed]
    problems = [
        Problem(str(path), None, f"{item.id}.{field}", found)
        for path, item in placed
        for field, found in _problems(item, settings.metric)
    ]
    seen: set[str] = set()
    for path, item in placed:
        if item.id in seen:
            problems.append(Problem(str(path), None, item.id, "id is used twice"))
        seen.add(item.id)
    if problems:
        raise InputError(problems)
    if settings.max_items is not None and len(items) > settings.max_items:
        chosen = sorted(items, key=lambda item: _digest(item.id))[: settings.max_items]
        kept = {item.id for item in chosen}
        items = [item for item in items if item.id in kept]
    return Task(settings, items)


def _problems(item: Prompt, metric: Metric) -> list[tuple[str, str]]:
    found = []
    if not item.messages or item.messages[-1]["role"] != "user":
        found.append(("messages", "does not end with a user turn"))
    if item.verify is None and metric != "refused":
        found.append(("verify", f"is missing, and metric {metric!r} needs it"))
    if item.verify is not None:
        found += [("verify", problem) for problem in validate(item.verify)]
    return found


def _digest(*parts: object) -> int:
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def answer(
    sampler: Sampler,
    tasks: Sequence[Task],
    sampling: Sampling = GREEDY,
    seed: int = 0,
    progress: Callable[[int], object] | None = None,
    weigh: Weigh | None = None,
) -> list[Response]:
    """Ask every item of every task, ``samples`` times each, and score the replies.

    Items of several tasks with the same conversation share one reply. Greedy decoding unless
    ``sampling`` says otherwise; a reply depends on its item and the seed, not on the others.

    Args:
        progress: called with the number of replies that ended, as they end.
        weigh: for items of kind ``choice``.

    Raises:
        InputError: there are such items, and no ``weigh``; several samples, and no temperature.
    """
    several = [task.settings.name for task in tasks if task.settings.samples > 1]
    if several and sampling.temperature == 0:
        found = "temperature 0 gives the same reply each time"
        raise InputError(Problem("", None, f"tasks.{several[0]}.samples", found, "a temperature"))
    items = [(task.settings, item) for task in tasks for item in task.items]
    asked: dict[tuple[str, int], Prompt] = {}
    for task, item in items:
        for number in range(0 if is_choice(item.verify) else task.samples):
            asked.setdefault((_key(item), number), item)
    weighed = {_key(item): item for _, item in reversed(items) if is_choice(item.verify)}
    options = _options(weighed, weigh)
    if progress is not None and weighed:
        progress(len(weighed))
    requests = [
        Request(item.messages, _digest(seed, item.id, *([number] if number else [])), item.id)
        for (_, number), item in asked.items()
    ]
    completions = sampler.complete(requests, sampling, progress) if requests else []
    replies = dict(zip(asked, completions, strict=True))
    return score(
        [
            _answered(task, item, replies.get((_key(item), number)), options.get(_key(item), []))
            for task, item in items
            for number in range(1 if is_choice(item.verify) else task.samples)
        ]
    )


def _key(item: Prompt) -> str:
    """What an answer depends on: the conversation, and the options to choose from."""
    given = item.verify["choices"] if item.verify is not None and is_choice(item.verify) else None
    return content_id(item.messages, given)


def _options(items: Mapping[str, Prompt], weigh: Weigh | None) -> dict[str, list[Option]]:
    if not items:
        return {}
    if weigh is None:
        first = next(iter(items.values()))
        found = f"{len(items)} items of kind 'choice', such as {first.id}"
        expected = "a model loaded here: a served one gives no log-probabilities of given tokens"
        raise InputError(Problem("", None, "tasks", found, expected))
    return dict(zip(items, weigh(list(items.values())), strict=True))


def _answered(
    settings: TaskSettings, item: Prompt, reply: Completion | None, options: list[Option]
) -> Response:
    return Response(
        task=settings.name, metric=settings.metric, dimension=settings.dimension,
        higher_is_better=settings.upward, item_id=item.id, group=item.group,
        lang=item.lang, source=item.source, category=item.category,
        messages=item.messages, verify=item.verify, reply=reply.text if reply else "",
        finish=reply.finish if reply else "stop", tokens=len(reply.tokens) if reply else 0,
        options=options, option_score=settings.option_score, topic=item.topic,
        pass_at=settings.pass_at,
    )  # fmt: skip


def score(responses: Sequence[Response]) -> list[Response]:
    """The responses with outcome, refusal, score and reason worked out from the raw replies."""
    scored = []
    for one in responses:
        response = _choosing(one) if one.options else one
        refused = is_refusal(response.reply)
        if response.verify is None:
            scored.append(replace(response, outcome="", refused=refused))
            continue
        if response.options:
            scored.append(replace(response, refused=refused))
            continue
        check = verify(response.verify, response.reply, response.messages[-1]["content"])
        scored.append(
            replace(
                response, outcome=check.outcome, refused=refused, score=check.score,
                reason=check.reason,
            )
        )  # fmt: skip
    return scored


def _choosing(response: Response) -> Response:
    """The response with the option that its scores choose as the reply, right or wrong."""
    spec = response.verify or {}
    texts: list[str] = spec["choices"]
    place = chosen(texts, response.options, response.option_score)
    outcome: Outcome = "right" if place == spec["gold"] else "wrong"
    return replace(
        response, reply=texts[place], tokens=response.options[place]["tokens"], outcome=outcome,
        score=SCORE[outcome], reason=f"option {place + 1} has the highest {response.option_score}",
    )  # fmt: skip


def by_option_score(responses: Sequence[Response]) -> dict[str, dict[str, Figure]]:
    """``figures`` of the multiple-choice responses for each way to score an option."""
    weighed = [one for one in responses if one.options]
    return {
        kind: figures(score([replace(one, option_score=kind) for one in weighed]))
        for kind in (OPTION_SCORES if weighed else ())
    }


def counts(response: Response, metric: Metric) -> float:
    """1.0 where this response counts for the metric, else 0.0."""
    return float(response.refused if metric == "refused" else response.outcome == metric)


def by_item(responses: Sequence[Response], metric: Metric) -> dict[tuple[str, str], float]:
    """The value of each item by task and id: see the head of this file."""
    found: dict[tuple[str, str], list[Response]] = {}
    for one in responses:
        found.setdefault((one.task, one.item_id), []).append(one)
    return {
        key: pass_at_k(
            len(own), int(sum(counts(one, metric) for one in own)), min(own[0].pass_at, len(own))
        )
        for key, own in found.items()
    }


def by_task(responses: Sequence[Response]) -> dict[str, list[Response]]:
    """Responses grouped by task, in order."""
    tasks: dict[str, list[Response]] = {}
    for response in responses:
        tasks.setdefault(response.task, []).append(response)
    return tasks


def rates(responses: Sequence[Response], seed: int = 0) -> dict[Metric, Figure]:
    """All four rates of some responses; intervals are clustered on ``group`` where it is set."""
    groups = list({(one.task, one.item_id): one.group for one in responses}.values())
    return {
        metric: mean_figure(list(by_item(responses, metric).values()), groups, seed=seed)
        for metric in METRICS
    }


def figures(responses: Sequence[Response], seed: int = 0) -> dict[str, Figure]:
    """Each task's own figure, by task name."""
    return {name: rates(group, seed)[group[0].metric] for name, group in by_task(responses).items()}


def breakdown(
    responses: Sequence[Response], field: Literal["lang", "source", "category"]
) -> dict[str, dict[str, Figure]]:
    """``figures`` for each value of a field, such as each source or language."""
    values = sorted({str(getattr(response, field)) for response in responses})
    return {
        value: figures([one for one in responses if str(getattr(one, field)) == value])
        for value in values
    }


def gate_values(
    responses: Sequence[Response],
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, str]]]:
    """What a gate compares: by task, each item's value with higher better, and its group.

    Returns:
        ``({task: {item id: value}}, {task: {item id: group}})``.
    """
    values: dict[str, dict[str, float]] = {}
    groups: dict[str, dict[str, str]] = {}
    for task, own in by_task(responses).items():
        upward = own[0].higher_is_better
        found = by_item(own, own[0].metric)
        values[task] = {item: v if upward else 1 - v for (_, item), v in found.items()}
        groups[task] = {one.item_id: one.group for one in own}
    return values, groups


def write(path: Path, responses: Sequence[Response]) -> None:
    """Write the raw responses as JSON lines, whole or not at all."""
    rows = [json.dumps(asdict(response), ensure_ascii=False) for response in responses]
    atomic.write_text(path, "\n".join(rows) + "\n")


def read(path: Path) -> list[Response]:
    """Read what ``write`` wrote.

    Raises:
        InputError: the file is missing, or a line is not a response.
    """
    return lines.read(path, lambda row: Response(**row), "a response")


def recompute(path: Path, seed: int = 0) -> dict[str, Figure]:
    """The figures of a response file from its raw replies alone; stored outcomes are ignored."""
    return figures(score(read(path)), seed)
