"""Runs whose pairs are to be reviewed, and desks with decisions on them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from burnish.records import Preference, Prompt, Rollout
from burnish.review.desk import Choice, Decision, Desk
from burnish.review.items import Item
from burnish.store import tables
from burnish.store.artifacts import ArtifactStore, Input, Origin
from burnish.store.manifest import content_fingerprint

REFUSED = "I can't help with that."


def turn(text: str, role: str = "user") -> Any:
    return {"role": role, "content": text}


GOLD = [Preference(id="k", prompt=[turn("2 + 2?")], chosen=[turn("4", "assistant")],
                   rejected=[turn("5", "assistant")])]  # fmt: skip
"""A pair whose answer is known."""


def pair(number: int, chosen: str, rejected: str, **more: Any) -> Preference:
    return Preference(
        id=f"p{number}",
        prompt=[turn(more.pop("asked", f"Question {number}?"))],
        chosen=[turn(chosen, "assistant")],
        rejected=[turn(rejected, "assistant")],
        **more,
    )


def rollout(prompt: str, text: str, reward: float) -> Rollout:
    return Rollout(
        id=f"{prompt} {text}", prompt_id=prompt, prompt=[turn(f"Ask {prompt}")], completion=text,
        tokens=[], logprobs=[], finish="stop", temperature=1, top_p=1, seed=0, scores={},
        reward=reward,
    )  # fmt: skip


def make_run(
    folder: Path,
    pairs: Iterable[Preference] = (),
    rollouts: Iterable[Rollout] = (),
    prompts: Iterable[Prompt] = (),
    labels: Iterable[Mapping[str, Any]] = (),
    round: int = 1,
) -> Path:
    """A run with one artifact that holds these, made from a file of prompts."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.yaml").touch()
    inputs = {}
    if prompts := list(prompts):
        given = folder.parent / "prompts.jsonl"
        tables.write(given, prompts)
        inputs["prompts.0"] = Input(str(given), content_fingerprint(given))
    origin = Origin(
        stage="curate.generate", config={"filters": {"min_reward": 0.8}, "round": round},
        inputs=inputs,
    )  # fmt: skip
    with ArtifactStore(folder).create("generate", origin, round=round) as draft:
        draft.kind = "data"
        if pairs := list(pairs):
            tables.write(draft.path / "preferences.jsonl", pairs)
        if rollouts := list(rollouts):
            tables.write(draft.path / "rollouts.jsonl", rollouts)
        if labels := list(labels):
            text = "".join(json.dumps(row) + "\n" for row in labels)
            (draft.path / "labels.jsonl").write_text(text)
    return folder


def say(desk: Desk, who: str, item: Item, choice: Choice, edited: str | None = None) -> None:
    """Decide an item that ``who`` was given."""
    said = Decision(item=item.id, choice=choice, key=f"{who} {item.id}", edited=edited, seconds=9)
    assert desk.decide(who, said)
