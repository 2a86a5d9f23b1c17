"""The multi-task benchmark: what is held out is not trained on, and its differences by hand."""

from __future__ import annotations

import pytest
from benchmarks.multitask import CHAT_HELDOUT, SETS, difference, examples, share

from burnish.rewards.refusal import is_refusal
from burnish.rewards.verifiers import verify_prompt


def test_held_out_chat_is_not_trained_on_and_refusals_refuse() -> None:
    found, items = examples()
    assert {one.task for one in found} == set(SETS)
    assert [len(prompts) for prompts in items.values()] == [CHAT_HELDOUT] * 2
    asked = {part: {p.messages[0]["content"] for p in prompts} for part, prompts in items.items()}
    assert not asked["dev"] & asked["eval"]
    trained = {one.messages[0]["content"] for one in found if one.task == "chat"}
    assert trained
    assert not trained & (asked["dev"] | asked["eval"])
    for prompt in items["eval"]:
        answer = verify_prompt(prompt, prompt.verify["answers"][0]) if prompt.verify else None
        assert answer is not None
        assert answer.outcome == "right"
    refusals = [one for one in found if one.id.startswith("guard_train")]
    assert len(refusals) == 217
    assert all(is_refusal(one.messages[-1]["content"]) for one in refusals)


def test_tasks_count_alike_whatever_their_size() -> None:
    one = {"a": {f"x {i}": 0.0 for i in range(8)}, "b": {f"y {i}": 1.0 for i in range(2)}}
    other = {"a": {f"x {i}": float(i < 4) for i in range(8)}, "b": {"y 0": 1.0, "y 1": 0.0}}
    # a: +50 points of 8 items, b: -50 of 2: a plain mean over items would say +30
    assert share(one) == pytest.approx(0.5)
    assert share(other) == pytest.approx(0.5)
    assert difference(one, other, {}).startswith("+0.0 [")
    assert difference({"a": one["a"]}, {"a": other["a"]}, {}).startswith("+50.0 [")
