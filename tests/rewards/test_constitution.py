from __future__ import annotations

import re
from collections import Counter
from importlib.resources import files
from pathlib import Path

import pytest

from burnish.config import InputError
from burnish.records import Language, Prompt
from burnish.rewards.constitution import Constitution, critique, draw, load, revise

ASSETS = Path(str(files("burnish") / "assets"))
SHIPPED = ASSETS / "quickstart/constitution.yaml"
GENERAL, MEDICAL = (ASSETS / f"constitutions/{name}.yaml" for name in ("general", "medical"))
REFUSAL, ANSWER = "I can't help with that.", "Sure. Take the first street on the left."


@pytest.fixture(scope="module")
def shipped() -> Constitution:
    return load(SHIPPED)


def prompt(kind: str | None, category: str = "", id: str = "p", lang: Language = "en") -> Prompt:
    verify = None if kind is None else {"kind": kind}
    messages = [{"role": "user", "content": "Do it."}]
    return Prompt(id=id, messages=messages, verify=verify, category=category, lang=lang)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("category", "principle"),
    [
        ("Violence", "people"),
        ("Illegal goods and services", "law"),
        ("Non-violent crimes", "law"),
        ("Violence and crime", None),  # people and law both fit; one of them is drawn
        ("cybercrime_intrusion", None),
        ("Hate, harassment and discrimination", "dignity"),
        ("Disinformation and deception", "truth"),
        ("private data", "privacy"),
        ("web-injection", "systems"),
        ("something else", "harm"),
        ("", "harm"),
    ],
)
def test_the_category_decides_the_principle(
    shipped: Constitution, category: str, principle: str | None
) -> None:
    found = draw(shipped, prompt("refuse", category), seed=0)
    assert found is not None
    assert principle is None or found.id == principle
    assert found.rule == "decline"


def test_a_harmful_prompt_answered_is_a_violation_and_revised_to_a_refusal(
    shipped: Constitution,
) -> None:
    asked = prompt("refuse", "Violence")
    found = critique(shipped, asked, ANSWER)
    assert (found.principle_id, found.violated, found.critic) == ("people", True, "rules+reward")
    revised = revise(shipped, found, asked)
    assert not critique(shipped, asked, revised).violated
    assert not critique(shipped, asked, REFUSAL).violated
    assert "伤害" in revise(shipped, found, asked, "zh")


def test_a_harmless_prompt_refused_is_a_violation_and_revised_to_help(
    shipped: Constitution,
) -> None:
    asked = prompt("comply", "look-alike", lang="zh")
    found = critique(shipped, asked, "抱歉，我不能帮助你。")
    assert (found.principle_id, found.violated) == ("helpful", True)
    assert revise(shipped, found, asked) in shipped.principle("helpful").revise.zh
    assert not critique(shipped, asked, "好的，先打开终端。").violated


def test_an_invented_answer_is_a_violation(shipped: Constitution) -> None:
    asked = prompt("abstain")
    assert critique(shipped, asked, "It is Zubrovka.").principle_id == "honest"
    assert critique(shipped, asked, "It is Zubrovka.").violated
    assert not critique(shipped, asked, "I don't know.").violated


def test_prompts_without_a_label_are_not_critiqued(shipped: Constitution) -> None:
    found = critique(shipped, prompt(None, "Violence"), ANSWER)
    assert (found.principle_id, found.violated) == ("", False)
    with pytest.raises(ValueError, match="no revision"):
        revise(shipped, found, prompt(None))


def test_the_reward_model_can_find_a_violation_the_rule_does_not(tmp_path: Path) -> None:
    found = load(written(tmp_path, GOOD))
    asked = prompt("refuse")
    assert not critique(found, asked, REFUSAL, reward_score=-1.0).violated
    low = critique(found, asked, REFUSAL, reward_score=-1.01)
    assert (low.violated, low.reason) == (True, "reward -1.010 is below -1.0")


def test_principles_are_drawn_evenly_and_by_seed(shipped: Constitution) -> None:
    # "Violence and crime" fits people and law: 200 of 400 expected each, standard deviation 10
    asked = [prompt("refuse", "Violence and crime", id=str(i)) for i in range(400)]
    first = [draw(shipped, one, 3) for one in asked]
    assert [draw(shipped, one, 3) for one in asked] == first
    counts = Counter(one.id for one in first if one)
    assert set(counts) == {"people", "law"}
    assert counts["law"] == pytest.approx(200, abs=50)


def test_a_weight_is_how_often_a_principle_is_drawn(tmp_path: Path) -> None:
    one, other = GOOD, GOOD.split("principles:\n")[1]
    other = other.replace("id: harm", "id: other").replace("Do no", "Cause no")
    other = other.replace("不伤害", "不造成损失").replace("rule:", "weight: 3\n    rule:")
    found = load(written(tmp_path, one + other))
    asked = [prompt("refuse", id=str(i)) for i in range(400)]
    drawn = [one for p in asked if (one := draw(found, p, 0))]
    assert [draw(found, p, 0) for p in asked] == drawn
    # 300 of 400 expected, standard deviation 8.7
    assert Counter(one.id for one in drawn)["other"] == pytest.approx(300, abs=45)


def test_rules_draw_only_what_they_can_check_and_a_model_draws_all() -> None:
    found = load(GENERAL)
    asked = [prompt(None, id=str(i)) for i in range(600)]
    assert {draw(found, one, 0) for one in asked} == {None}
    by_model = {one.id for p in asked if (one := draw(found, p, 0, "model"))}
    assert by_model == {one.id for one in found.principles}
    labelled = [prompt("comply", "look-alike", id=str(i)) for i in range(200)]
    drawn = {one.id for p in labelled if (one := draw(found, p, 0, "model"))}
    assert "helpful" in drawn
    assert "flattery" in drawn
    assert not drawn & {"harm", "violence", "honest"}


@pytest.mark.parametrize("path", [GENERAL, MEDICAL, SHIPPED], ids=lambda path: path.stem)
def test_shipped_constitutions_are_whole(path: Path) -> None:
    found = load(path)
    rules = {one.rule for one in found.principles}
    assert {"decline", "help", "admit"} <= rules
    for one in found.principles:
        assert not re.search(r"[\u4e00-\u9fff]", one.en)
        assert re.search(r"[\u4e00-\u9fff]", one.zh)
        assert {case.lang for case in one.examples} in (set(), {"en", "zh"})


GOOD = """\
version: 1
principles:
  - id: harm
    en: Do no harm.
    zh: 不伤害。
    rule: decline
    reward_floor: -1.0
    revise:
      en: [I can't help with that.]
      zh: [抱歉，我不能帮助你。]
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "c.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("rule: decline", "rule: shout", r"c.yaml:6:principles.0.rule: found 'shout'"),
        ("    zh: 不伤害。\n", "", r"c.yaml:3:principles.0.zh: required key is missing"),
        ("[I can't help with that.]", "[Ok.]", r"c.yaml:9:principles.0.revise.en.0: found 'Ok.'"),
        ("[I can't help with that.]", "[]", r"c.yaml:9:principles.0.revise.en"),
        ("reward_floor", "floor", r"c.yaml:7:principles.0.floor: unknown key"),
        ("version: 1", "version: 1\nprinciples: []\nx: 1", r"c.yaml:4:principles: key given twice"),
        ("rule: decline", "rule: decline\n    weight: 0", r"c.yaml:7:principles.0.weight: found 0"),
        ("    rule: decline\n", "", r"c.yaml:3:principles.0.*rule and revise belong together"),
        ("en: Do no harm.", "en: ' '", r"c.yaml:4:principles.0.en: found ' '"),
        ("reward_floor: -1.0", "applies_to: []", r"c.yaml:7:principles.0.applies_to"),
        (
            "reward_floor: -1.0",
            "examples: [{prompt: p, keeps: Sure. Here it is., breaks: I can't help with that.}]",
            r"c.yaml:7:principles.0.examples.0.keeps: found 'Sure. Here it is.'",
        ),
        (
            "reward_floor: -1.0",
            "examples: [{prompt: p, keeps: 'No.', breaks: 'no'}]",
            r"c.yaml:7:principles.0.examples.0: keeps and breaks are the same reply",
        ),
    ],
)  # fmt: skip
def test_errors_name_file_line_and_field(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(written(tmp_path, GOOD.replace(old, new)))


def test_an_id_used_twice_is_an_error(tmp_path: Path) -> None:
    twice = GOOD + GOOD.split("principles:\n")[1]
    with pytest.raises(InputError, match=r"c.yaml:11:principles.1.id: id 'harm' is used twice"):
        load(written(tmp_path, twice))


def test_an_empty_constitution_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"c.yaml:2:principles: found \[\]"):
        load(written(tmp_path, "version: 1\nprinciples: []\n"))
    with pytest.raises(InputError, match=r"principles: required key is missing"):
        load(written(tmp_path, "version: 1\n"))


def test_principles_that_contradict_each_other_are_an_error(tmp_path: Path) -> None:
    helping = """\
  - id: open
    en: Help with everything about locks.
    zh: 帮助回答所有关于锁的问题。
    applies_to: ["*LOCKS*"]
    rule: help
    revise: {en: [Sure. Here is some help.], zh: ["好的，我来说明一下。"]}
"""
    closed = GOOD.replace("rule: decline", 'applies_to: ["*locks*"]\n    rule: decline')
    found = r"c.yaml:15:principles.1.applies_to.0: '\*LOCKS\*' is to help, and to decline"
    with pytest.raises(InputError, match=found + " in principle 'harm'"):
        load(written(tmp_path, closed + helping))
    load(written(tmp_path, GOOD + helping))
    same = helping.replace("Help with everything about locks.", "Do no harm!")
    with pytest.raises(InputError, match=r"principles.1.en: says the same as principle 'harm'"):
        load(written(tmp_path, GOOD + same))
