"""What a model said of options, kept beside its replies, so that it is weighed once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from burnish.evals.choices import Option
from burnish.evals.tasks import Weigh
from burnish.records import Prompt, content_id
from burnish.store.metrics import Metrics

AT_ONCE = 256
"""Items that are weighed before what came is kept: what a kill can cost."""


class Weighed(TypedDict):
    """A line of the journal."""

    key: str
    options: list[Option]


_WEIGHED = TypeAdapter(Weighed)


def kept(weigh: Weigh, model: str, journal: Path) -> Weigh:
    """``weigh`` that asks only for what ``journal``, a JSONL file, does not hold.

    Args:
        model: what tells the model from any other, such as a hash of its weights.
    """
    log = Metrics(journal)
    known: dict[str, list[Option]] = {}
    for line in log.read():
        try:
            row = _WEIGHED.validate_python(line)
        except ValidationError:  # a reply
            continue
        known[row["key"]] = row["options"]

    def ask(items: Sequence[Prompt]) -> list[list[Option]]:
        keys = [_key(model, item) for item in items]
        missing = {key: item for key, item in zip(keys, items, strict=True) if key not in known}
        left = iter(missing.items())
        while some := list(islice(left, AT_ONCE)):
            found = weigh([item for _, item in some])
            for (key, _), options in zip(some, found, strict=True):
                log.append(Weighed(key=key, options=options))
                known[key] = options
        return [known[key] for key in keys]

    return ask


def _key(model: str, item: Prompt) -> str:
    choices = (item.verify or {})["choices"]
    return content_id("options", model, item.messages, choices)
