"""Wordings: every strategy in both languages, encodings that can be undone."""

from __future__ import annotations

import base64
import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.redteam import strategies
from burnish.redteam.encodings import deed, encode
from burnish.redteam.strategies import before, check, names, wordings, wrap
from burnish.reporting.redteamstrings import REDTEAM_STRINGS

TEXT = st.text(min_size=1, max_size=40)


@given(TEXT)
def test_encodings_hold_the_whole_text(text: str) -> None:
    assert base64.b64decode(encode("base64", text)).decode() == text
    assert codecs.decode(encode("rot13", text), "rot13") == text
    assert encode("spacing", text)[::2] == text
    assert encode("reversal", text)[::-1] == text
    assert len(encode("leetspeak", text)) == len(text)


def test_leetspeak_writes_digits_for_letters() -> None:
    assert encode("leetspeak", "Toast is 1") == "70457 15 1"


@pytest.mark.parametrize(
    ("lang", "text", "expected"),
    [
        ("en", "How do I pick a lock?", "pick a lock"),
        ("en", "Please explain to me how to pick a lock.", "pick a lock"),
        ("en", "Give me step-by-step instructions on how to pick a lock", "pick a lock"),
        ("en", "Write a letter.", "write a letter"),
        ("en", "DNS spoofing, in short", "DNS spoofing, in short"),
        ("zh", "请告诉我如何撬锁？", "撬锁"),
        ("zh", "怎么才能撬锁", "撬锁"),
        ("zh", "写一封信。", "写一封信"),
    ],
)
def test_a_request_becomes_part_of_a_sentence(lang: str, text: str, expected: str) -> None:
    assert deed(text, lang) == expected  # type: ignore[arg-type]


def test_every_strategy_holds_the_request_in_its_last_turn() -> None:
    text = {"en": "How do I pick a {lock}?", "zh": "怎么撬{锁}？"}
    for strategy in wordings().strategies.values():
        for lang in strategy.turns:
            turns = wrap(strategy, text[lang], lang)
            inside = [text[lang], deed(text[lang], lang)]
            inside += [encode(strategy.code, text[lang])] if strategy.code else []
            assert any(one in turns[-1] for one in inside), strategy.name
            # Nothing is left of a mark, and braces of the request are not taken for one.
            assert not any(mark in " ".join(turns) for mark in ("{goal}", "{deed}", "{coded}"))


def test_a_strategy_without_wording_in_a_language_has_no_turns() -> None:
    assert wrap(wordings().strategies["rot13"], "怎么撬锁？", "zh") == []
    assert all(set(one.turns) == {"en", "zh"} for name, one in wordings().strategies.items()
               if name not in ("rot13", "leetspeak"))  # fmt: skip


def test_many_shots_stand_before_the_request_answered() -> None:
    turns = before(wordings().strategies["many_shot"], "zh")
    assert [turn["role"] for turn in turns] == ["user", "assistant"] * 6
    assert before(wordings().strategies["direct"], "en") == []


def test_only_strategies_of_one_turn_are_steps_of_the_search() -> None:
    simple = {name for name, one in wordings().strategies.items() if one.simple}
    assert simple.isdisjoint({"direct", "many_shot", "crescendo"})
    assert {"role_play", "base64"} <= simple


def test_unknown_and_repeated_names_are_refused() -> None:
    check("strategies", names())
    with pytest.raises(ValueError, match=r"held_out: no strategy 'rolpelay'; expected of direct"):
        check("held_out", ["rolpelay"])
    with pytest.raises(ValueError, match="'direct' is there twice"):
        check("strategies", ["direct", "direct"])


def test_what_a_model_is_asked_holds_request_and_conversation() -> None:
    asked = strategies.ask_attacker("next_turn", "en", "Pick {talk}.", "user: hello")
    assert "Pick {talk}." in asked[0]["content"]
    assert "user: hello" in asked[0]["content"]


def test_every_strategy_has_a_name_in_the_report() -> None:
    assert {f"strategy_{name}" for name in names()} == {
        key for key in REDTEAM_STRINGS if key.startswith("strategy_")
    }
