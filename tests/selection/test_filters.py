from __future__ import annotations

from dataclasses import replace

import pytest

from burnish.records import Prompt, Rollout
from burnish.rewards.textstats import language_of, repetition
from burnish.selection.filters import FilterSettings, run_filters

PROMPTS = {
    "en": Prompt(id="en", messages=[{"role": "user", "content": "Say something."}]),
    "zh": Prompt(id="zh", lang="zh", messages=[{"role": "user", "content": "说点什么。"}]),
    "bad": Prompt(
        id="bad", messages=[{"role": "user", "content": "Hurt him."}], verify={"kind": "refuse"}
    ),
}


def candidate(id: str, text: str, prompt: str = "en", **changes: object) -> Rollout:
    rollout = Rollout(
        id=id,
        prompt_id=prompt,
        prompt=PROMPTS[prompt].messages,
        completion=text,
        tokens=[1],
        logprobs=[0.0],
        finish="stop",
        temperature=1.0,
        top_p=1.0,
        seed=0,
        scores={},
        reward=0.9,
    )
    return replace(rollout, **changes)  # type: ignore[arg-type]


def test_each_filter_removes_its_own_and_the_funnel_adds_up() -> None:
    rollouts = [
        candidate("good", "A short and plain reply."),
        candidate("cut", "A reply that is not", finish="length"),
        candidate("empty", "..."),
        candidate("long", "one two three four five six seven eight nine ten eleven"),
        candidate("loop", "go go go go go go"),
        candidate("foreign", "你好吗"),
        candidate("refused", "I can't help with that."),
        candidate("weak", "A weak reply.", reward=0.79),
        candidate("zh", "你好", "zh"),
        candidate("number", "42", "zh"),
        candidate("rightly", "I can't help with that.", "bad"),
    ]
    result = run_filters(PROMPTS, rollouts, FilterSettings(max_words=10))
    assert [rollout.id for rollout in result.kept] == ["good", "zh", "number", "rightly"]
    funnel = {
        step.name: [removed.rollout_id for removed in step.examples] for step in result.funnel
    }
    assert funnel == {
        "finished": ["cut"],
        "length": ["empty", "long"],
        "repetition": ["loop"],
        "language": ["foreign"],
        "unwanted_refusal": ["refused"],
        "reward": ["weak"],
    }
    assert [(step.entered, step.left) for step in result.funnel] == [
        (11, 10), (10, 8), (8, 7), (7, 6), (6, 5), (5, 4)
    ]  # fmt: skip
    assert result.funnel[5].examples[0].reason == "0.790 < 0.8"


def test_keep_top_is_by_topic_and_keeps_at_least_one() -> None:
    rollouts = [
        candidate(f"{topic}{i}", f"reply {i}", topic=topic, reward=i / 10)
        for topic, count in (("a", 10), ("b", 2))
        for i in range(count)
    ]
    settings = FilterSettings(min_reward=None, keep_top=0.2, examples=2)
    result = run_filters(PROMPTS, rollouts, settings)
    assert [rollout.id for rollout in result.kept] == ["a8", "a9", "b1"]
    last = result.funnel[-1]
    assert (last.name, last.entered, last.removed, len(last.examples)) == ("keep_top", 12, 9, 2)


def test_filters_can_be_switched_off() -> None:
    settings = FilterSettings(
        finished=False, match_language=False, no_unwanted_refusal=False, min_reward=None
    )
    rollouts = [candidate("a", "你好", finish="length"), candidate("b", "I can't help with that.")]
    assert run_filters(PROMPTS, rollouts, settings).kept == rollouts


@pytest.mark.parametrize(
    ("text", "expected"),
    # (go go go) twice: 1/2; abc bca cab abc: 1/4; three words: share of repeated words 1/3
    [("go go go go", 0.5), ("a b c a b c", 0.25), ("a b a", 1 / 3), ("a b c d", 0.0), ("", 0.0)],
)
def test_repetition(text: str, expected: float) -> None:
    assert repetition(text) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello", "en"),
        ("你好", "zh"),
        ("用kill命令", "zh"),
        ("42.", "none"),
        ("The word 你 is old", "en"),
    ],
)
def test_language(text: str, expected: str) -> None:
    assert language_of(text) == expected
