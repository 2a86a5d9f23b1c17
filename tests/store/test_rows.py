from __future__ import annotations

from typing import Any

import pytest

from burnish.records import Document, Example, Feedback, Preference, Prompt, Rollout, content_id
from burnish.store.layouts import RowError
from burnish.store.rows import detect_language, record


def turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


U, A, B, S = (
    turn("user", "Hi"),
    turn("assistant", "Hello"),
    turn("assistant", "No"),
    turn("system", "Be kind"),
)

EXAMPLES = {
    "messages": ({"messages": [S, U, A]}, [S, U, A]),
    "prompt and completion": ({"prompt": "Hi", "completion": "Hello"}, [U, A]),
    "conversational": ({"prompt": [S, U], "completion": [A]}, [S, U, A]),
    "alpaca": (
        {"instruction": "Sum", "input": "1 2", "output": "3"},
        [turn("user", "Sum\n\n1 2"), turn("assistant", "3")],
    ),
    "alpaca without input": ({"instruction": "Hi", "input": "", "output": "Hello"}, [U, A]),
    "alpaca with null input": ({"instruction": "Hi", "input": None, "output": "Hello"}, [U, A]),
    "sharegpt": (
        {"system": "Be kind",
         "conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]},
        [S, U, A],
    ),
    "parts": (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}, A]}, [U, A]
    ),
    "other keys": ({"messages": [{**U, "name": "Bob"}, A], "url": "x"}, [U, A]),
}  # fmt: skip


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_layouts(name: str) -> None:
    row, expected = EXAMPLES[name]
    before = repr(row)
    assert record(Example, row, "s").messages == expected
    assert repr(row) == before  # the caller's row is left alone


PROMPTS = {
    "messages": ({"messages": [S, U]}, [S, U]),
    "string": ({"prompt": "Hi"}, [U]),
    "list": ({"prompt": [A, U]}, [A, U]),
    "alpaca": ({"instruction": "Hi", "output": "left out"}, [U]),
    "sharegpt": ({"conversations": [{"from": "human", "value": "Hi"}]}, [U]),
    "system": ({"system": "Be kind", "prompt": "Hi"}, [S, U]),
}


@pytest.mark.parametrize("name", PROMPTS)
def test_prompt_layouts(name: str) -> None:
    row, expected = PROMPTS[name]
    assert record(Prompt, row, "s").messages == expected


PREFERENCES = {
    "strings": {"prompt": "Hi", "chosen": "Hello", "rejected": "No"},
    "lists": {"prompt": [U], "chosen": [A], "rejected": [B]},
    "prompt inside": {"chosen": [U, A], "rejected": [U, B]},
    "prompt inside and apart": {"prompt": "Hi", "chosen": [U, A], "rejected": [U, B]},
}


@pytest.mark.parametrize("name", PREFERENCES)
def test_preference_layouts(name: str) -> None:
    found = record(Preference, PREFERENCES[name], "s")
    assert (found.prompt, found.chosen, found.rejected) == ([U], [A], [B])


FEEDBACK = {
    "strings": ({"prompt": "Hi", "completion": "Hello", "label": True}, [U], [A], True),
    "lists": ({"prompt": [S, U], "completion": [A], "label": False}, [S, U], [A], False),
    "messages": ({"messages": [U, A, U, B], "label": False}, [U, A, U], [B], False),
    "csv": ({"prompt": "Hi", "completion": "Hello", "label": "true"}, [U], [A], True),
}  # fmt: skip


@pytest.mark.parametrize("name", FEEDBACK)
def test_feedback_layouts(name: str) -> None:
    row, *expected = FEEDBACK[name]
    found = record(Feedback, row, "s")
    assert [found.prompt, found.completion, found.label] == expected
    assert found.id != record(Feedback, {**row, "label": not expected[2]}, "s").id


def test_shared_prompt_ends_with_a_user_turn() -> None:
    """Replies that begin alike are not taken for a part of the prompt."""
    found = record(Preference, {"chosen": [U, A, U, A], "rejected": [U, A, U, B]}, "s")
    assert (found.prompt, found.chosen, found.rejected) == ([U, A, U], [A], [B])
    same = record(Preference, {"chosen": [U, A], "rejected": [U, A, U, B]}, "s")
    assert (same.prompt, same.chosen, same.rejected) == ([U], [A], [A, U, B])


def test_missing_identity_is_filled() -> None:
    found = record(Document, {"text": "Some text", "id": "", "lang": None, "source": ""}, "atlas")
    assert found == Document(
        id=content_id("Some text"), text="Some text", source="atlas", lang="en"
    )
    assert record(Document, {"text": "Some text"}, "elsewhere").id == found.id
    given = {"text": "x", "id": 7, "lang": "zh-CN", "source": "web", "parents": ["a"]}
    kept = record(Document, given, "atlas")
    assert (kept.id, kept.lang, kept.source, kept.parents) == ("7", "zh", "web", ("a",))
    assert record(Prompt, {"prompt": "床前明月光"}, "s").lang == "zh"
    pair = record(Preference, {"prompt": "Q", "chosen": "床前明月光", "rejected": "x"}, "s")
    assert pair.lang == "zh"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", "en"), ("   ", "en"), ("Paris", "en"), ("巴黎", "zh"), ("abcd中", "zh"),
     ("abcde中", "en"), ("a b c d 中", "zh"), ("你好,world", "zh"), ("\U00020000", "zh"),
     ("12,3", "en"), ("。", "en")],
)  # fmt: skip
def test_language_is_by_share_of_characters(text: str, expected: str) -> None:
    assert detect_language(text) == expected


BAD: list[tuple[type, dict[str, Any], str]] = [
    (Document, {}, "text"),
    (Document, {"text": " \n"}, "text"),
    (Document, {"text": 3}, "text"),
    (Document, {"text": "x", "tier": "gold"}, "tier"),
    (Document, {"text": "x", "id": [1]}, "id"),
    (Document, {"text": "x", "parents": "a"}, "parents"),
    (Example, {}, "messages"),
    (Example, {"messages": []}, "messages"),
    (Example, {"messages": "Hi"}, "messages"),
    (Example, {"messages": [U, "Hello"]}, "messages.1"),
    (Example, {"messages": [U, {"role": "assistant"}]}, "messages.1.content"),
    (Example, {"messages": [U, {"role": "assistant", "content": [{"image": 1}]}]},
     "messages.1.content.0"),
    (Example, {"messages": [{"content": "x"}, A]}, "messages.0.role"),
    (Example, {"messages": [U, turn("assistant", " ")]}, "messages"),
    (Example, {"prompt": "Hi"}, "completion"),
    (Example, {"instruction": "Hi"}, "output"),
    (Example, {"instruction": 3, "output": "x"}, "instruction"),
    (Example, {"conversations": [{"from": "alien", "value": "x"}]}, "conversations.0.role"),
    (Example, {"conversations": {"from": "human"}}, "conversations"),
    (Prompt, {}, "messages"),
    (Prompt, {"messages": [U, A]}, "messages"),
    (Prompt, {"prompt": "Hi", "verify": "{"}, "verify"),
    (Prompt, {"prompt": "Hi", "verify": "[1]"}, "verify"),
    (Feedback, {"prompt": "p", "completion": "a"}, "label"),
    (Feedback, {"prompt": "p", "completion": "a", "label": "liked"}, "label"),
    (Feedback, {"prompt": "p", "label": True}, "completion"),
    (Feedback, {"messages": [A], "label": True}, "prompt"),
    (Feedback, {"messages": [U], "label": True}, "prompt"),
    (Feedback, {"prompt": "p", "completion": [U], "label": True}, "completion"),
    (Preference, {"chosen": "a"}, "rejected"),
    (Preference, {"rejected": "a"}, "chosen"),
    (Preference, {"chosen": "a", "rejected": "b"}, "prompt"),
    (Preference, {"prompt": [U, A], "chosen": "a", "rejected": "b"}, "prompt"),
    (Preference, {"prompt": "p", "chosen": [U], "rejected": "b"}, "chosen"),
    (Preference, {"prompt": "p", "chosen": [A], "rejected": []}, "rejected"),
    (Preference, {"prompt": "p", "chosen": "a", "rejected": "b", "margin": "x"}, "margin"),
    (Preference, {"prompt": "p", "chosen": "a", "rejected": "b", "margin": float("nan")}, "margin"),
    (Preference, {"preferred_output": [A]}, "non_preferred_output"),
    (Preference, {"preferred_output": [A], "non_preferred_output": [B]}, "input"),
    (Preference, {"preferred_output": [A], "non_preferred_output": [B], "input": "Hi"}, "input"),
    (Example, {"messages": [U, {**A, "weight": 0}]}, "messages.1.weight"),
    (Example, {"messages": [U, A], "weight": float("inf")}, "weight"),
    (Example, {"messages": [U, {"role": "assistant", "tool_calls": [{"function": {}}]}]},
     "messages.1.tool_calls.0"),
    (Example, {"messages": [U, {"role": "assistant", "function_call":
                                {"name": "f", "arguments": "{"}}]}, "messages.1.tool_calls.0"),
    (Example, {"instruction": "Hi", "output": "Ho", "history": [["only one"]]}, "history.0"),
    (Example, {"instruction": "Hi", "output": "Ho", "history": "earlier"}, "history.0"),
    (Preference, {"prompt": "p", "chosen": "a", "rejected": "b", "objectives": {"safe": "x"}},
     "objectives.safe"),
    (Preference, {"prompt": "p", "chosen": "a", "rejected": "b", "objectives": '{"safe": 1e999}'},
     "objectives.safe"),
    (Preference, {"prompt": "p", "chosen": "a", "rejected": "b", "objectives": ["safe"]},
     "objectives"),
    (Rollout, {"prompt": [U], "completion": "x"}, "prompt_id"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "row", "field"), BAD)
def test_bad_rows_name_the_field(kind: type[Document], row: dict[str, Any], field: str) -> None:
    with pytest.raises(RowError) as info:
        record(kind, row, "s")
    assert info.value.findings[0][0] == field
    assert all(found and expected for _field, found, expected in info.value.findings)
