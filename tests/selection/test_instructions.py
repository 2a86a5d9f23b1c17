from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from burnish.config import InputError
from burnish.selection.instructions import cells, load, make_counted, make_prompts

GOOD = """\
version: 1
topics:
  - id: sleep
    en: [sleep, naps]
    zh: [睡眠]
  - id: tea
    en: [tea]
templates:
  - id: tip
    en: Give one tip about {topic}.
    zh: 请给出一条关于{topic}的建议。
    verify: {kind: comply}
  - id: why
    en: Why does {topic} matter?
    topics: [sleep]
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "topics.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_all_combinations_and_no_others(tmp_path: Path) -> None:
    prompts = make_prompts(load(written(tmp_path, GOOD)), 100, seed=0)
    asked = {prompt.messages[0]["content"] for prompt in prompts}
    assert asked == {
        "Give one tip about sleep.",
        "Give one tip about naps.",
        "请给出一条关于睡眠的建议。",
        "Give one tip about tea.",
        "Why does sleep matter?",
        "Why does naps matter?",
    }
    by_text = {prompt.messages[0]["content"]: prompt for prompt in prompts}
    chinese = by_text["请给出一条关于睡眠的建议。"]
    assert (chinese.lang, chinese.topic, chinese.verify) == ("zh", "sleep", {"kind": "comply"})
    assert chinese.synthetic


def test_drawing_is_seeded_and_weighted(tmp_path: Path) -> None:
    source = load(written(tmp_path, GOOD))
    first = make_prompts(source, 3, seed=5)
    assert [p.id for p in first] == [p.id for p in make_prompts(source, 3, seed=5)]
    assert len({tuple(p.id for p in make_prompts(source, 3, seed=s)) for s in range(10)}) > 1
    only_tea = make_prompts(source, 100, seed=0, weights={"sleep": 0.0})
    assert {prompt.topic for prompt in only_tea} == {"tea"}
    firsts = Counter(
        make_prompts(source, 1, seed=s, weights={"tea": 3.0})[0].topic for s in range(400)
    )
    # tea with weight 3 against 1: 300 of 400 expected, standard deviation 8.7
    assert firsts["tea"] == pytest.approx(300, abs=40)
    assert {prompt.lang for prompt in make_prompts(source, 100, 0, langs=["zh"])} == {"zh"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("about {topic}.", "about it.", r"yaml:10:templates.0.en: found .*exactly one {topic}"),
        ("topics: [sleep]", "topics: [nap]", r"yaml:15:templates.1.topics: unknown topic 'nap'"),
        ("{kind: comply}", "{kind: x}", r"yaml:12:templates.0.verify: unknown kind 'x'"),
        ("id: tea", "id: sleep", r"topics.yaml:6:topics.1.id: id 'sleep' is used twice"),
        ("en: [tea]", "en: []", r"topics.yaml:6:topics.1: no words in any language"),
        ("id: why\n", "id: why\n    mood: sad\n", r"topics.yaml:14:templates.1.mood: unknown key"),
    ],
)  # fmt: skip
def test_errors_name_file_line_and_field(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(written(tmp_path, GOOD.replace(old, new, 1)))


def test_other_slots_are_filled_with_every_word(tmp_path: Path) -> None:
    text = GOOD + '  - id: solve\n    en: "{topic} with {how}: {x}?"\n'
    text += "    slots: {how: {en: [ease, '{topic}']}}\n    topics: [tea]\n"
    prompts = make_prompts(load(written(tmp_path, text)), 100, seed=0)
    asked = {p.messages[0]["content"] for p in prompts if p.source == "instructions:solve"}
    # Words are put in as they are, and braces that name no slot stay.
    assert asked == {"tea with ease: {x}?", "tea with {topic}: {x}?"}
    for old, new, message in (
        ("with {how}", "with", r"yaml:17:templates.2.en: found .*exactly one {how}"),
        ("{en: [ease, '{topic}']}", "{zh: [易]}", r"yaml:18:templates.2.slots.how: no words in en"),
    ):
        with pytest.raises(InputError, match=message):
            load(written(tmp_path, text.replace(old, new, 1)))


def test_a_file_without_templates_has_the_five_that_ship(tmp_path: Path) -> None:
    source = load(written(tmp_path, "topics: [{id: tea, en: [tea], zh: [茶]}]\n"))
    assert [one.id for one in source.templates] == [
        "explain", "solve", "analyse", "compare", "summarise"
    ]  # fmt: skip
    asked = {cell.text for cell in cells(source)["tea"]}
    assert {"请解释茶的基本概念。", "比较茶的不同方法。", "总结茶的最佳实践。"} <= asked
    assert {"如何在茶领域解决预算有限的问题？", "分析茶中的主要风险。"} <= asked
    assert {"Explain the basic ideas of tea.", "Compare different approaches to tea."} <= asked
    assert len(asked) == 2 * (3 + 4 + 4)
    with pytest.raises(InputError, match="no topics"):
        load(written(tmp_path, "version: 1\n"))


def test_counts_by_topic(tmp_path: Path) -> None:
    found = cells(load(written(tmp_path, GOOD)))
    prompts = make_counted(found, {"sleep": 3, "tea": 5}, seed=1)
    assert Counter(prompt.topic for prompt in prompts) == {"sleep": 3, "tea": 1}
    assert len({prompt.id for prompt in prompts}) == 4
    again = make_counted(found, {"sleep": 3, "tea": 5}, seed=1)
    assert [p.id for p in again] == [p.id for p in prompts]
    assert make_counted(found, {"tea": 1}, seed=1)[0].topic == "tea"
