"""What people decided on the replies of this run, beside or in place of the machine's pairs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from pydantic import Field, PositiveInt

from burnish.config import EvaluationRef, InputError, PreferenceRef, Problem, Settings
from burnish.evals.agreement import THRESHOLD, Agreement
from burnish.evals.scored import as_json
from burnish.records import Figure, Preference
from burnish.review.desk import Case, Desk, place
from burnish.review.figures import with_machine
from burnish.review.items import identity
from burnish.review.people import People
from burnish.review.people import people as standing
from burnish.stages import training
from burnish.stages.base import Context, Inputs, Outcome
from burnish.store import atomic, tables
from burnish.store.names import SEEN

FEEDBACK = "feedback.jsonl"


class Config(Settings):
    """Train on people's decisions from the review page.

    All decisions of the run that stand are taken, of every round, and locked: nobody can change
    what a model was trained on. ``data`` are the machine's own pairs; those that people decided are
    left out, whatever they said. The rest is used as ``machine`` says: ``agreed`` where people's
    spot checks show that the machine agrees with them (the lower ends of both intervals reach
    ``threshold``, as in ``burnish data agree``) or as long as nobody made any; ``always``;
    ``never``. From round ``wait_from`` on, the run stops where fewer than ``least`` items were
    decided since the round before, which ``last``, this stage's own name such as ``@review``,
    knows of; the same command goes on when there are more. What people said of single replies is
    feedback for ``fit.kto``; the machine has none.
    """

    data: list[PreferenceRef] = []
    last: EvaluationRef | None = None
    machine: Literal["agreed", "always", "never"] = "agreed"
    threshold: float = Field(THRESHOLD, ge=0, le=1)
    least: int = Field(0, ge=0)
    wait_from: PositiveInt = 2


def run(config: Config, inputs: Inputs, context: Context) -> Outcome:
    """Write ``preferences.jsonl``: people's pairs, which name their annotators, then the machine's;
    and ``feedback.jsonl``: what people called good or bad.

    Raises:
        InputError: people decided too little, or no pair is left.
    """
    people = standing(place(context.run))
    before = _seen(inputs)
    fresh = [name for name in people.found.items if name not in before]
    if context.round >= config.wait_from and len(fresh) < config.least:
        said = f"{len(fresh)} items decided since the last round"
        expected = f"at least {config.least} (setting least): review more in burnish ui"
        raise InputError(Problem(str(place(context.run)), None, context.name, said, expected))
    judged = with_machine(people.cases, config.threshold, people.without)
    used = config.machine == "always" or (
        config.machine == "agreed" and (judged is None or judged.usable)
    )
    given = training.read_all(inputs.paths("data"), Preference)
    machine = _undecided(given, people.cases) if used else []
    if not people.found.pairs and not people.found.replies and not machine:
        said = f"no pair: people decided {len(people.found.items)} items"
        expected = "decisions in burnish ui, or data and machine: always"
        raise InputError(Problem(str(place(context.run)), None, context.name, said, expected))
    people = _locked(people, context)
    fresh = [name for name in people.found.items if name not in before]
    machine = _undecided(given, people.cases) if used else []
    pairs, replies = people.found.pairs, people.found.replies
    tables.write(context.output / FEEDBACK, replies)
    tables.write(context.output / "preferences.jsonl", [*pairs, *machine])
    atomic.write_json(context.output / SEEN, {"items": [*before, *fresh]})
    figures = {"people": Figure.exact(len(pairs)), "replies": Figure.exact(len(replies)),
               "machine": Figure.exact(len(machine))}  # fmt: skip
    annotators = Counter(name for pair in pairs for name in pair.annotators)
    annotators.update(name for reply in replies for name in reply.annotators)
    details = {
        "items": len(people.found.items),
        "new": len(fresh),
        "pairs": len(pairs),
        "replies": len(replies),
        "annotators": dict(annotators),
        "left_out": people.found.left_out,
        "unreliable": sorted(people.without),
        "machine_given": len(given),
        "machine_pairs": len(machine),
        "machine_used": used,
        "machine_agreement": _told(judged),
    }
    return Outcome("data", figures, details)


def _locked(people: People, context: Context) -> People:
    """What stands once nobody can change what people's pairs are made from.

    Somebody may change a decision, or make one, between a look at the desk and the lock: the desk
    is looked at until all that was found is locked.
    """
    closed: set[str] = set()
    while not closed.issuperset(people.found.items):
        with Desk(place(context.run)) as desk:
            desk.lock(people.found.items, f"{context.name}, round {context.round}")
        closed.update(people.found.items)
        people = standing(place(context.run))
    return people


def _seen(inputs: Inputs) -> list[str]:
    """The items that the rounds before took; none in the first round."""
    folder = next(iter(inputs.paths("last")), None)
    if folder is None:
        return []
    found: list[str] = json.loads((folder / SEEN).read_text(encoding="utf-8"))["items"]
    return found


def _undecided(given: Sequence[Preference], cases: Sequence[Case]) -> list[Preference]:
    decided = {case.item.id for case in cases if case.votes or case.settled}
    return [
        pair
        for pair in given
        if identity(pair.prompt, (pair.chosen[-1]["content"], pair.rejected[-1]["content"]))
        not in decided
    ]


def _told(judged: Agreement | None) -> dict[str, object] | None:
    if judged is None:
        return None
    return {
        "items": judged.items,
        "people": as_json(judged.people),
        "machine": as_json(judged.judge),
        "usable": judged.usable,
        "reasons": judged.reasons,
    }
