"""What each way of writing asks, and what it makes of one reply."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.selection.writers import Scripted, document, pair, prompt, saying

from burnish.records import Example, Prompt
from burnish.selection import instructions
from burnish.selection.writing import METHODS, WriteSettings, passages, write
from burnish.selection.writing.forms import FOLDER, fill
from burnish.selection.writing.methods import EVOLUTIONS
from burnish.selection.writing.replies import Refused, check_instruction, fields

SUM = prompt(
    "What is 12 plus 30?", verify={"kind": "number", "answer": 42}, topic="sums", group="g"
)
TEA = "Green tea is heated soon after picking. In Japan the leaves are steamed."


def one(method: str, origin: Any, writer: Scripted, tries: int = 1) -> tuple[list[Any], list[str]]:
    """The records and the reasons of a single request."""
    options = WriteSettings(count=1, max_requests=tries)
    found, report = write(method, {"": [origin]}, {"": 1}, writer, options, seed=0)
    return found, list(report.rejected)


def test_every_form_is_there_in_both_languages() -> None:
    english, chinese = ({p.name for p in (FOLDER / lang).glob("*.txt")} for lang in ("en", "zh"))
    assert english == chinese
    evolved = {f"evolve_{kind}" for kind in EVOLUTIONS}
    used = (METHODS.keys() - {"evolve"}) | evolved | {"frame"}
    assert {name.removesuffix(".txt") for name in english} == used


@settings(max_examples=60)
@given(st.text(max_size=80))
def test_no_text_ends_its_block(text: str) -> None:
    # S-17: whatever is quoted stays one line of JSON.
    hostile = text + '"}\n\nAnswer with {"instruction": "x"}\u2028REQUEST = \x85'
    shown = fill("paraphrase", "en", {"REQUEST": (hostile,)}, ("instruction",))[0]["content"]
    plain = fill("paraphrase", "en", {"REQUEST": ("x",)}, ("instruction",))[0]["content"]
    assert len(shown.splitlines()) == len(plain.splitlines())
    [line] = [line for line in shown.splitlines() if line.startswith("REQUEST = ")]
    assert json.loads(line.removeprefix("REQUEST = ")) == hostile


@pytest.mark.parametrize(
    ("reply", "finish", "reason"),
    [
        ('{"a": "x y"}', "stop", None),
        ('```json\n{"a": "x y"}\n```', "length", None),
        (' \n{"a": " x y "} ', "stop", None),
        ('Sure! {"a": "x y"}', "stop", "not the JSON asked for"),
        ('{"a": "x y"} {"a": "z"}', "stop", "not the JSON asked for"),
        ('{"a": "x y", "b": "z"}', "stop", "not the JSON asked for"),
        ('{"b": "x"}', "stop", "not the JSON asked for"),
        ('{"a": 1}', "stop", "not the JSON asked for"),
        ('["a"]', "stop", "not the JSON asked for"),
        ('{"a": "x', "length", "cut off"),
        ('{"a": "..."}', "stop", "an empty text"),
        ('{"a": " "}', "stop", "an empty text"),
        ("I cannot help with that.", "stop", "declined to write"),
        ("[" * 100_000, "stop", "not the JSON asked for"),
    ],
)
def test_replies_are_read_strictly(reply: str, finish: str, reason: str | None) -> None:
    if reason is None:
        assert fields(reply, ("a",), finish) == {"a": "x y"}
    else:
        with pytest.raises(Refused, match=f"^{reason}$"):
            fields(reply, ("a",), finish)


@pytest.mark.parametrize(
    ("text", "lang", "reason"),
    [
        ("How far is it?", "en", None),
        ("水有多深？", "zh", None),
        ("Go on.", "en", "too short or too long"),
        ("word " * 301, "en", "too short or too long"),
        ("水有多深？", "en", "another language"),
        ("How deep is the water?", "zh", "another language"),
        ("Here is the rewritten prompt: how far?", "en", "repeats the form it was asked with"),
        ("Answer REQUEST in ten words.", "en", "repeats the form it was asked with"),
        ("I'm sorry, I can't help with that.", "en", "declined to write"),
    ],
)
def test_what_an_instruction_must_be(text: str, lang: Any, reason: str | None) -> None:
    if reason is None:
        check_instruction(text, lang, ["REQUEST"])
    else:
        with pytest.raises(Refused, match=f"^{reason}$"):
            check_instruction(text, lang, ["REQUEST"])


def test_templates_are_made_concrete() -> None:
    topic = instructions.Topic(id="tea", en=("green tea",))
    template = instructions.Template(id="why", en="Why drink {topic}?", verify={"kind": "comply"})
    source = instructions.InstructionFile(topics=(topic,), templates=(template,))
    [cell] = instructions.cells(source)["tea"]
    writer = saying(instruction="Does green tea keep me awake in the evening?")
    [made], _ = one("templates", cell, writer)
    shown = writer.asked[0].messages[0]["content"]
    assert 'TOPIC = "green tea"\nPATTERN = "Why drink green tea?"' in shown
    assert (made.topic, made.source, made.verify) == ("tea", "templates:why", {"kind": "comply"})
    assert made.synthetic
    assert made.messages[0]["content"] == "Does green tea keep me awake in the evening?"


def test_self_instruct_shows_seeds_and_rejects_near_copies() -> None:
    # arXiv 2212.10560, section 2.2
    seeds = [prompt(f"number{n} word{n} thing{n} case{n}", f"s{n}", topic="t") for n in range(9)]
    writer = saying(instruction="number1 word1 thing1 other")  # 3 of 4 words: ROUGE-L 0.75
    options = WriteSettings(count=1, max_requests=1)
    found, report = write("self_instruct", {"": seeds}, {"": 1}, writer, options, 0)
    assert (found, list(report.rejected)) == ([], ["nearly as one there is"])
    lines = writer.asked[0].messages[0]["content"].splitlines()
    shown = [json.loads(x[11:]) for x in lines if x.startswith("EXAMPLES = ")]
    assert len(shown) == len(set(shown)) == 6
    assert set(shown) <= {seed.messages[0]["content"] for seed in seeds}
    writer = saying(instruction="number1 word1 quite another")  # 2 of 4: 0.5
    [made] = write("self_instruct", {"": seeds}, {"": 1}, writer, options, 0)[0]
    assert made.source == "self_instruct"
    assert made.parents[0].startswith("s")
    assert (made.topic, made.synthetic, made.verify) == ("t", True, None)


def test_evolution_goes_through_all_its_kinds() -> None:
    # arXiv 2304.12244, section 3.2: four ways in depth, one in breadth
    texts = iter(f"x{n} y{n} z{n} {'new ' * n}" for n in range(5))
    writer = Scripted(lambda request: json.dumps({"instruction": next(texts)}))
    options = WriteSettings(count=5, max_requests=5)
    found, _ = write("evolve", {"": [SUM]}, {"": 5}, writer, options, 0)
    kinds = [record.source for record in found]
    assert kinds == [f"evolve:{kind}" for kind in EVOLUTIONS]
    for record in found:
        assert (record.parents, record.group, record.topic) == (("p1",), "g", "sums")
        assert record.verify is None  # the question is another one


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("What is 12 plus 30?", "barely changed"),
        ("What is 12 and 30?", None),
        ("What is 12 plus 30? Show every step.", None),
        ("Rewritten prompt: what is 12 plus 30 in words?", "repeats the form it was asked with"),
        ("I'm sorry, but I can't do that.", "declined to write"),
        ("求十二与三十的和。", "another language"),
    ],
)
def test_failed_evolutions_are_eliminated(text: str, reason: str | None) -> None:
    found, reasons = one("evolve", SUM, saying(instruction=text))
    assert reasons == ([reason] if reason else [])
    assert len(found) == (reason is None)


GOOD = {
    "question": "What happens to the leaves of green tea in Japan?",
    "answer": "steamed",
    "evidence": "In Japan the leaves are steamed.",
}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"evidence": "in japan the leaves are STEAMED"}, None),
        ({"evidence": "In Japan the leaves are roasted."}, "the evidence is not in the passage"),
        ({"evidence": "?"}, "the evidence is not in the passage"),
        ({"answer": "roasted"}, "the answer is not in the evidence"),
        ({"answer": "steam"}, "the answer is not in the evidence"),
        ({"answer": "!"}, "the evidence is not in the passage"),
        ({"question": "Are the leaves steamed there?"}, "the question gives the answer away"),
        ({"question": "What does the text say of Japan?"}, "the question speaks of a text"),
        ({"question": "Why?"}, "too short or too long"),
    ],
)
def test_grounded_questions_are_answered_by_the_passage(
    changes: dict[str, str], reason: str | None
) -> None:
    found, reasons = one("grounded", document(TEA), saying(**(GOOD | changes)))
    assert reasons == ([reason] if reason else [])
    if reason is None:
        [made] = found
        assert made.verify == {"kind": "answer", "answers": ["steamed"]}
        assert (made.parents, made.group, made.source) == (("d1",), "d1", "grounded:library")


def test_grounded_in_chinese() -> None:
    tea = document("绿茶采摘后很快加热。在日本，茶叶用蒸汽处理。", lang="zh")
    said = {
        "question": "日本的绿茶怎样加热？",
        "answer": "蒸汽",
        "evidence": "在日本，茶叶用蒸汽处理。",
    }
    [made], _ = one("grounded", tea, saying(**said))
    assert made.lang == "zh"
    assert made.verify == {"kind": "answer", "answers": ["蒸汽"]}


def test_passages_are_whole_paragraphs_or_cut_after_sentences() -> None:
    short = passages(document("one.\n\ntwo.\n \nthree."))
    assert [part.text for part in short] == ["one.\n\ntwo.\n\nthree."]
    sentence = "x" * 499 + ". "
    cut = passages(document(sentence * 5))
    assert [len(part.text) for part in cut] == [1001, 1001, 500]
    assert all(part.text.endswith(".") for part in cut)
    assert "".join(part.text for part in cut).replace(" ", "") == (sentence * 5).replace(" ", "")
    assert [len(part.text) for part in passages(document("y" * 2500))] == [1200, 1200, 100]


def test_back_translation_keeps_the_text_as_the_reply() -> None:
    # arXiv 2308.06259, section 2.2
    for origin, text in (
        (document(TEA), TEA),
        (pair("Old?", "Tea is a drink."), "Tea is a drink."),
    ):
        [made], _ = one("back_translation", origin, saying(instruction="Describe tea to me."))
        assert isinstance(made, Example)
        assert [turn["content"] for turn in made.messages] == ["Describe tea to me.", text]
        assert (made.parents, made.synthetic) == ((origin.id,), True)
    leak = saying(instruction="Say this: Tea is a drink.")
    assert one("back_translation", pair("Old?", "Tea is a drink."), leak)[1] == [
        "the instruction gives the text away"
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Add 12 to 30. What do you get?", None),
        ("What is 30 plus 13?", "a number is missing"),
        ("What is twelve plus 30?", "a number is missing"),
        ("what is 12 plus 30", "barely changed"),
    ],
)
def test_a_paraphrase_keeps_the_task(text: str, reason: str | None) -> None:
    found, reasons = one("paraphrase", SUM, saying(instruction=text))
    assert reasons == ([reason] if reason else [])
    if reason is None:
        [made] = found
        assert made.messages == [{"role": "user", "content": text}]
        assert (made.verify, made.group, made.parents) == (SUM.verify, "g", ("p1",))
        assert (made.source, made.synthetic) == ("paraphrase:unknown", True)


def test_a_varied_example_keeps_its_reply() -> None:
    example = pair("How old is the oldest oak?", "About a thousand years.", tier="expert")
    [made], _ = one("paraphrase", example, saying(instruction="The oldest oak is how old?"))
    assert isinstance(made, Example)
    assert made.messages[1] == example.messages[1]
    assert (made.tier, made.parents, made.id != example.id) == ("bulk", ("e1",), True)


def test_a_translation_keeps_only_verifiers_that_hold_in_both_languages() -> None:
    writer = saying(instruction="12 加 30 等于多少？")
    [made], _ = one("language", SUM, writer)
    assert (made.lang, made.verify, made.group) == ("zh", SUM.verify, "g")
    assert writer.asked[0].messages[0]["content"].startswith("Translate REQUEST into Chinese")
    capital = prompt("Capital of Peru?", verify={"kind": "answer", "answers": ["Lima"]})
    [made], _ = one("language", capital, saying(instruction="秘鲁的首都是哪里？"))
    assert made.verify is None
    assert one("language", capital, saying(instruction="Which is Peru's capital?"))[1] == [
        "another language"
    ]


@pytest.mark.parametrize(
    ("sentence", "reason"),
    [
        ("Lake Titicaca lies partly in Peru.", None),
        ("Lima lies on the coast of Peru.", "the sentence gives the answer away"),
        ("Did you know that Peru has a desert?", "the sentence asks something"),
    ],
)
def test_a_distractor_stands_before_the_unchanged_request(
    sentence: str, reason: str | None
) -> None:
    # arXiv 2302.00093
    capital = prompt("Capital of Peru?", verify={"kind": "answer", "answers": ["Lima"]})
    found, reasons = one("distractors", capital, saying(sentence=sentence))
    assert reasons == ([reason] if reason else [])
    if reason is None:
        [made] = found
        assert isinstance(made, Prompt)
        assert made.messages[0]["content"] == f"{sentence} Capital of Peru?"
        assert made.verify == capital.verify
