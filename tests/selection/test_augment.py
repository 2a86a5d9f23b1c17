"""Copies of examples with words left out."""

from __future__ import annotations

from collections import Counter
from typing import Any

from burnish.records import Example, Prompt
from burnish.rewards.verifiers import validate, verify
from burnish.selection.augment import format_variants, word_dropout


def example(name: str, question: str, answer: str = "An answer of several words.") -> Example:
    return Example(
        id=name, source="test", lang="en", tier="expert", synthetic=False,
        messages=[
            {"role": "user", "content": question}, {"role": "assistant", "content": answer}
        ],
    )  # fmt: skip


LONG = [example(f"e{n}", " ".join(f"w{n}x{i}" for i in range(20))) for n in range(50)]


def test_about_the_share_of_the_prompts_words_goes_and_the_reply_stays() -> None:
    copies = word_dropout(LONG, 0.3, seed=1)
    left = sum(len(copy.messages[0]["content"].split()) for copy in copies)
    assert 0.65 < left / 1000 < 0.75
    for one, copy in zip(LONG, copies, strict=True):
        words = copy.messages[0]["content"].split()
        assert words == [w for w in one.messages[0]["content"].split() if w in words]
        assert copy.messages[1] == one.messages[1]
        assert (copy.parents, copy.synthetic, copy.id != one.id) == ((one.id,), True, True)


def test_it_depends_on_seed_and_id_alone() -> None:
    copies = word_dropout(LONG, 0.3, seed=1)
    assert copies == word_dropout(LONG[::-1], 0.3, seed=1)[::-1]
    assert copies != word_dropout(LONG, 0.3, seed=2)


def test_chinese_loses_characters_and_no_prompt_becomes_empty() -> None:
    text = "如何消灭厨房里的蚂蚁？请告诉我几个办法。"
    thinned = word_dropout([example("zh", text)], 0.3, seed=3)[0].messages[0]["content"]
    assert 5 < len(thinned) < len(text)
    short = word_dropout([example(f"s{n}", "Hi") for n in range(20)], 0.9, seed=0)
    assert {one.messages[0]["content"] for one in short} == {"Hi"}


def asked(name: str, text: str, **fields: Any) -> Prompt:
    return Prompt(id=name, messages=[{"role": "user", "content": text}], **fields)


def test_a_demand_on_the_form_comes_with_the_rule_that_verifies_it() -> None:
    prompts = [asked("e", "Name a tree."), asked("z", "说出一种树。", lang="zh", topic="树")]
    made = format_variants(prompts, 100, seed=0)
    # 6 demands in English, 4 in Chinese; each prompt once before any twice.
    assert Counter(one.parents[0] for one in made) == {"e": 6, "z": 4}
    assert {one.parents[0] for one in made[:2]} == {"e", "z"}
    assert len({one.id for one in made}) == 10
    for one in made:
        assert validate(one.verify) == []
        parent = prompts[one.parents[0] == "z"]
        assert one.messages[0]["content"].startswith(parent.messages[0]["content"])
        assert (one.group, one.topic, one.synthetic) == (parent.id, parent.topic, True)
    rules = {one.verify["rules"][0]["rule"]: one for one in made if one.lang == "en" and one.verify}
    assert verify(rules["uppercase"].verify or {}, "AN OAK").outcome == "right"
    assert verify(rules["uppercase"].verify or {}, "An oak").outcome == "wrong"
    assert [one.id for one in format_variants(prompts, 3, 0)] == [one.id for one in made[:3]]


def test_a_prompt_with_a_verifier_of_its_own_is_left_out() -> None:
    number = asked("n", "1 + 1?", verify={"kind": "number", "answer": 2})
    free = asked("f", "Say hello.", verify={"kind": "comply"})
    assert {one.parents[0] for one in format_variants([number, free], 9, 0)} == {"f"}
