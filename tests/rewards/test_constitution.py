from __future__ import annotations

from collections import Counter
from importlib.resources import files
from pathlib import Path

import pytest

from burnish.config import InputError
from burnish.records import Language, Prompt
from burnish.rewards.constitution import Constitution, critique, draw, load, revise

SHIPPED = Path(str(files("burnish") / "assets/quickstart/constitution.yaml"))
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
    ],
)  # fmt: skip
def test_errors_name_file_line_and_field(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(written(tmp_path, GOOD.replace(old, new)))


def test_an_id_used_twice_is_an_error(tmp_path: Path) -> None:
    twice = GOOD + GOOD.split("principles:\n")[1]
    with pytest.raises(InputError, match=r"c.yaml:11:principles.1.id: id 'harm' is used twice"):
        load(written(tmp_path, twice))
