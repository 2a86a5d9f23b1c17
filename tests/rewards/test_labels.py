"""Preferences by AI feedback: labels of both orders, soft, clamped, under a drawn principle."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import tiny

from burnish.records import Language, Message, Prompt
from burnish.rewards.constitution import Constitution, Principle, Revisions
from burnish.rewards.labels import Label, ModelLabeller, RuleLabeller, comparison
from burnish.rewards.options import Shares, by_likelihood, by_votes
from burnish.sampling import Request, Sampling
from burnish.sampling.generate import Completion

DECLINE = Principle(
    id="harm", en="Do no harm.", zh="不伤害。", rule="decline",
    revise=Revisions(en=("I can't help.",), zh=("抱歉，我不能帮你。",)),
)  # fmt: skip
KIND = Principle(id="kind", en="Be kind.", zh="友善。", weight=3)
BOTH = Constitution(principles=(DECLINE, KIND))
REFUSAL, HELP = "I can't help with that.", "Sure. Take the first street."


def prompt(id: str = "p", kind: str | None = None, lang: Language = "en") -> Prompt:
    verify = None if kind is None else {"kind": kind}
    return Prompt(id=id, messages=[{"role": "user", "content": "How?"}], verify=verify, lang=lang)


def shown(turns: Sequence[Message]) -> tuple[str, str, str]:
    """The principle and both replies, as a judge reads them."""
    lines = turns[0]["content"].splitlines()
    names = ("Principle: ", "REPLY (A) = ", "REPLY (B) = ")
    texts = [next(x for x in lines if x.startswith(n)).removeprefix(n) for n in names]
    return texts[0], json.loads(texts[1]), json.loads(texts[2])


def scripted(conversations: Sequence[Sequence[Message]], answers: Sequence[str]) -> list[Shares]:
    """Likes refusals by 0.9, and whatever stands first by 0.1 more."""
    assert list(answers) == ["A", "B"]
    found: list[Shares] = []
    for turns in conversations:
        _, first, second = shown(turns)
        share = 0.5 + 0.4 * ((first == REFUSAL) - (second == REFUSAL)) + 0.1
        found.append([share, 1 - share])
    return found


def test_both_orders_are_averaged_into_a_soft_label() -> None:  # C-29, S-19
    (label,) = ModelLabeller(BOTH, scripted).labels([(prompt(), REFUSAL, HELP)])
    # REFUSAL first: 0.5 + 0.4 + 0.1 = 1.0; HELP first: 0.5 - 0.4 + 0.1 = 0.2 for HELP.
    assert (label.forward, label.backward) == pytest.approx((1.0, 0.8))
    assert label.probability == pytest.approx(0.9)
    assert not label.split
    (turned,) = ModelLabeller(BOTH, scripted).labels([(prompt(), HELP, REFUSAL)])
    assert turned.probability == pytest.approx(0.1)


def test_what_only_the_order_decides_is_no_preference() -> None:  # C-29, S-19
    def first(conversations: Sequence[Sequence[Message]], _: Sequence[str]) -> list[Shares]:
        return [[0.8, 0.2] for _ in conversations]

    (label,) = ModelLabeller(BOTH, first).labels([(prompt(), "One street.", "Two streets.")])
    assert label.probability == pytest.approx(0.5)
    assert label.split


@pytest.mark.parametrize(
    ("forward", "backward", "expected"),
    [(0.99, 0.97, 0.6), (0.02, 0.3, 0.4), (0.5, 0.6, 0.55), (1.0, 0.1, 0.55)],
)
def test_labels_after_a_chain_of_thought_are_clamped(
    forward: float, backward: float, expected: float
) -> None:  # C-29
    assert Label("x", forward, backward, clamped=True).probability == pytest.approx(expected)


def test_reasons_come_before_the_answer_and_clamp_it() -> None:  # C-29
    seen: list[list[Message]] = []

    def think(asked: list[list[Message]]) -> list[str]:
        assert all("step by step" in turns[0]["content"] for turns in asked)
        return [f"Reason {n}." for n in range(len(asked))]

    def weigh(conversations: Sequence[Sequence[Message]], _: Sequence[str]) -> list[Shares]:
        seen.extend(list(turns) for turns in conversations)
        return scripted(conversations, ("A", "B"))

    (label,) = ModelLabeller(BOTH, weigh, think).labels([(prompt(), REFUSAL, HELP)])
    assert label.probability == 0.6
    assert [turns[1]["content"] for turns in seen] == ["Reason 0.", "Reason 1."]
    assert seen[0][2]["content"] == "Answer with the letter A or B alone."


def test_the_principle_is_drawn_by_weight_shown_and_recorded() -> None:  # C-29
    said: list[str] = []

    def weigh(conversations: Sequence[Sequence[Message]], _: Sequence[str]) -> list[Shares]:
        said.extend(shown(turns)[0] for turns in conversations)
        return [[0.6, 0.4] for _ in conversations]

    pairs = [(prompt(str(n)), "One.", "Two.") for n in range(400)]
    labels = ModelLabeller(BOTH, weigh, seed=5).labels(pairs)
    counts = Counter(label.principle_id for label in labels)
    assert counts["kind"] == pytest.approx(300, abs=45)  # weights 3 and 1, deviation 8.7
    texts = {"harm": "Do no harm.", "kind": "Be kind."}
    assert said[0::2] == said[1::2] == [texts[label.principle_id] for label in labels]
    assert ModelLabeller(BOTH, weigh, seed=5).labels(pairs) == labels


def test_a_missing_order_is_a_missing_label() -> None:
    def half(conversations: Sequence[Sequence[Message]], _: Sequence[str]) -> list[Shares]:
        return [[0.9, 0.1], None][: len(conversations)]

    (label,) = ModelLabeller(BOTH, half).labels([(prompt(), "One.", "Two.")])
    assert label.probability is None
    assert not label.split


@pytest.mark.parametrize(
    ("left", "right", "expected"), [("", HELP, 0.0), (HELP, ":", 1.0), ("Yes.", " yes ", 0.5)]
)
def test_null_and_equal_replies_decide_themselves(
    left: str, right: str, expected: float
) -> None:  # S-18
    def never(*_: object) -> list[Shares]:
        raise AssertionError("asked")

    (label,) = ModelLabeller(BOTH, never).labels([(prompt(), left, right)])
    assert label.probability == expected
    assert not label.asked


@settings(max_examples=100, deadline=None)
@given(st.text(), st.sampled_from(["en", "zh"]))
def test_no_reply_can_end_its_block(reply: str, lang: Language) -> None:  # S-17
    asked = prompt(lang=lang)
    plain = comparison(KIND, asked, "ok", "ok", "?")[0]["content"].splitlines()
    lines = comparison(KIND, asked, reply, "ok", "?")[0]["content"].splitlines()
    assert len(lines) == len(plain)
    (block,) = [line for line in lines if line.startswith("REPLY (A) = ")]
    assert json.loads(block.removeprefix("REPLY (A) = ")) == reply


def rule_label(left: str, right: str, scores: list[float | None], kind: str = "refuse") -> Label:
    labeller = RuleLabeller(BOTH, lambda prompts, replies: scores)
    (label,) = labeller.labels([(prompt(kind=kind), left, right)])
    return label


def test_rules_decide_and_the_reward_model_only_where_they_do_not() -> None:
    assert rule_label(HELP, REFUSAL, [5.0, 0.0]).probability == 0.0
    other = "Sorry, I can't help you."
    close = rule_label(REFUSAL, other, [math.log(3), 0.0])  # s(ln 3) = 3/4
    assert close.probability == pytest.approx(0.75)
    assert rule_label(REFUSAL, other, [None, None]).probability == 0.5
    nothing = rule_label(REFUSAL, HELP, [None, None], kind="comply")
    assert (nothing.principle_id, nothing.probability) == ("", None)


def test_likelihood_is_the_softmax_over_the_answers() -> None:  # C-29
    model, tokenizer = tiny.model(), tiny.tokenizer()
    asked: list[list[Message]] = [
        [{"role": "user", "content": text}] for text in ("Which?", "A longer one: which?")
    ]
    found = by_likelihood(model, tokenizer)(asked, ("A", "B"))
    for turns, shares in zip(asked, found, strict=True):
        text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        row = torch.tensor([tokenizer(text, add_special_tokens=False).input_ids])
        with torch.no_grad():
            logits = model(input_ids=row, use_cache=False).logits[0, -1]
        places = [tokenizer.convert_tokens_to_ids(letter) for letter in ("A", "B")]
        assert shares == pytest.approx(logits[places].softmax(-1).tolist(), abs=1e-5)


class Says:
    """A sampler whose replies are given by the seed."""

    def __init__(self, *texts: str) -> None:
        self.texts, self.requests = texts, list[Request]()

    def complete(
        self, requests: Sequence[Request], sampling: Sampling, progress: object = None
    ) -> list[Completion]:
        self.requests += requests
        return [
            Completion([], [], self.texts[at % len(self.texts)], "stop")
            for at in range(len(requests))
        ]


def test_votes_count_what_is_an_answer_and_nothing_else() -> None:
    sampler = Says("A", "(b)", " A.", "B or A", "The better one is A")
    turns: list[Message] = [{"role": "user", "content": "?"}]
    weigh = by_votes(sampler, 5, Sampling(), seed=7)
    assert weigh([turns], ("A", "B")) == [[pytest.approx(2 / 3), pytest.approx(1 / 3)]]
    assert [request.seed for request in sampler.requests] == [7, 8, 9, 10, 11]
    assert by_votes(Says("perhaps"), 3, Sampling(), seed=0)([turns], ("A", "B")) == [None]
