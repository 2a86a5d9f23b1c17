"""Both phases of a constitution: critiques, revisions, labels, and what is written down."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.serving import Answer, Handler, said, serving
from tests.stages.fits import context, saved_model

from burnish.config import InputError
from burnish.records import Example, Preference, Prompt
from burnish.rewards.constitution import Critique
from burnish.stages.base import Inputs
from burnish.stages.constitutional import balanced, opening, refusals
from burnish.stages.curate import compare, constitution
from burnish.stages.curate.constitution import Handled
from burnish.store import tables

RULES = """\
principles:
  - {id: kind, en: Be kind., zh: 友善。}
  - {id: brief, en: Be brief., zh: 简短。}
"""
HARMFUL, HELP = "I can't help with that.", "Sure. Take the first street on the left."


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("Sure. First, take the", "Sure."),
        ("好的，我来说明。首先", "好的，我来说明。"),
        ("No full stop here", "No full stop here"),
        ("", ""),
    ],
)
def test_only_the_opening_of_a_rejected_reply_is_kept(reply: str, expected: str) -> None:
    assert opening(reply) == expected


def pair(number: int, kind: str) -> Preference:
    return Preference(
        id=f"{kind}-{number}",
        source="test",
        lang="en",
        tier="selected",
        synthetic=True,
        prompt=[{"role": "user", "content": "?"}],
        chosen=[{"role": "assistant", "content": "a"}],
        rejected=[{"role": "assistant", "content": "b"}],
        topic=kind,
    )


def test_neither_helping_nor_declining_outnumbers_the_other() -> None:
    kinds = ["comply"] * 5 + ["refuse"] * 2 + [""] * 3
    pairs = [pair(number, kind) for number, kind in enumerate(kinds)]
    kept = balanced(pairs)
    assert [p.topic for p in kept] == ["comply"] * 2 + ["refuse"] * 2 + [""] * 3
    assert kept == [p for p in pairs if p in kept]
    assert {p.id for p in balanced(pairs[::-1])} == {p.id for p in kept}


def test_pairs_of_one_kind_are_all_kept() -> None:
    pairs = [pair(number, "refuse") for number in range(4)]
    assert balanced(pairs) == pairs
    assert balanced([]) == []


def prompts(folder: Path, count: int, kind: str | None = None, category: str = "") -> Path:
    made = [
        Prompt(id=f"{kind}-{n}", messages=[{"role": "user", "content": f"{n}?"}],
               verify=None if kind is None else {"kind": kind}, category=category)
        for n in range(count)
    ]  # fmt: skip
    tables.write(folder / f"{kind}.jsonl", made)
    return folder / f"{kind}.jsonl"


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def model_of_all_trades(handler: Handler, body: dict[str, Any]) -> None:
    """Replies long and rude; calls what is rude unkind and what is long not brief; revises one
    fault at a time."""
    text = body["messages"][0]["content"]
    if text.startswith("Rewrite"):
        reply = json.loads(next(x for x in text.splitlines() if x.startswith("REPLY = "))[8:])
        worse = "rude" if "Be kind." in text else "long"
        handler.give(said(" ".join(word for word in reply.split() if word != worse)))
    elif text.startswith("You check"):
        key = text.rsplit("VERDICT ", 1)[1].split(":")[0]
        reply = next(x for x in text.splitlines() if x.startswith("REPLY = "))
        broken = "rude" in reply if "Be kind." in text else "long" in reply
        handler.give(said(f"Said so.\nVERDICT {key}: {'BREAKS' if broken else 'KEEPS'}"))
    else:
        handler.give(said("a rude long reply"))


def phase1(folder: Path, revisions: int) -> Any:
    (folder / "rules.yaml").write_text(RULES, encoding="utf-8")
    with serving(model_of_all_trades) as server:
        config = constitution.Config(
            model=server.ref, prompts=["p"], constitution="c", critic="model", revisions=revisions
        )
        inputs = {"model": [server.ref], "constitution": [str(folder / "rules.yaml")],
                  "prompts": [str(prompts(folder, 24))]}  # fmt: skip
        where = context(folder)
        return constitution.run(config, Inputs(inputs), where), where.output


def test_each_revision_answers_a_principle_of_its_own(tmp_path: Path) -> None:  # C-29
    made, output = phase1(tmp_path, 3)
    examples = tables.read(output / "examples.jsonl", Example)
    traces = rows(output / "critiques.jsonl")
    assert [trace["example"] for trace in traces] == [one.id for one in examples]
    for trace, example in zip(traces, examples, strict=True):
        drawn = [step["principle"] for step in trace["steps"]]
        assert len(drawn) == 3
        words = {"rude": "kind", "long": "brief"}
        kept = " ".join(w for w in ["a", "rude", "long", "reply"] if words.get(w) not in drawn)
        assert example.messages[-1]["content"] == kept
        # A principle that was kept once is found kept when it is drawn again.
        found = [step["violated"] for step in trace["steps"]]
        assert found == [one not in drawn[:at] for at, one in enumerate(drawn)]
    assert len({tuple(step["principle"] for step in trace["steps"]) for trace in traces}) > 2
    drawn_in_all = Counter(s["principle"] for trace in traces for s in trace["steps"])
    counts = made.details["principles"]
    assert {name: row["drawn"] for name, row in counts.items()} == dict(drawn_in_all)
    assert sum(row["drawn"] for row in counts.values()) == 24 * 3
    pairs = tables.read(output / "preferences.jsonl", Preference)
    assert {pair.rejected[0]["content"] for pair in pairs} == {"a rude long reply"}
    assert {trace["preference"] for trace in traces} == {pair.id for pair in pairs}


def test_one_revision_is_the_same_as_the_first_of_several(tmp_path: Path) -> None:
    one, several = tmp_path / "one", tmp_path / "several"
    for folder in (one, several):
        folder.mkdir()
    first = rows(phase1(one, 1)[1] / "critiques.jsonl")
    more = rows(phase1(several, 2)[1] / "critiques.jsonl")
    assert [row["steps"][0] for row in first] == [row["steps"][0] for row in more]


def test_the_critique_that_counts_is_the_first_that_found_something() -> None:
    asked = Prompt(id="p", messages=[{"role": "user", "content": "?"}])
    kept, broken = Critique("a", False, "", "model"), Critique("b", True, "", "model")
    assert Handled(asked, "r", (kept, broken), "s").critique is broken
    assert Handled(asked, "r", (kept, kept), "r").critique is kept


def test_harmlessness_and_over_refusal_are_counted_together() -> None:
    def asked(kind: str) -> Prompt:
        return Prompt(id=kind, messages=[], verify={"kind": kind})

    found = refusals([asked("refuse"), asked("refuse"), asked("comply")], [HARMFUL, HELP, HELP])
    assert {name: figure.value for name, figure in found.items()} == {
        "harmful_complied": 0.5, "harmless_refused": 0.0
    }  # fmt: skip
    alone = refusals([asked("refuse")], [HELP])
    assert alone["harmful_complied"].value == 1
    assert math.isnan(alone["harmless_refused"].value)
    assert refusals([Prompt(id="x", messages=[])], [HELP]) == {}


def test_rules_need_a_principle_with_a_rule(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(RULES, encoding="utf-8")
    inputs = Inputs({"constitution": [str(tmp_path / "rules.yaml")]})
    for stage in (constitution, compare):
        config = stage.Config(model="m", prompts=["p"], constitution="c")
        where = tmp_path / stage.__name__
        where.mkdir()
        with pytest.raises(InputError, match=r"rules.yaml:principles: no principle has a rule"):
            stage.run(config, inputs, context(where))


def counting_judge(handler: Handler, body: dict[str, Any]) -> None:
    """A policy whose replies differ by seed, and a judge who likes the larger number; once in four
    votes it says something else."""
    text = body["messages"][0]["content"]
    if not text.startswith("You compare"):
        handler.give(said(f"reply {body['seed'] % 97}"))
        return
    lines = text.splitlines()
    first, second = (
        int(json.loads(next(x for x in lines if x.startswith(f"REPLY ({s}) = "))[12:]).split()[1])
        for s in "AB"
    )
    if body["seed"] % 4 == 0:
        handler.give(said("Both are good."))
    else:
        handler.give(said("A" if first > second else "B"))


def phase2(folder: Path, answer: Answer = counting_judge, **changes: Any) -> tuple[Any, Path]:
    (folder / "rules.yaml").write_text(RULES, encoding="utf-8")
    with serving(answer) as server:
        settings = {"model": server.ref, "prompts": ["p"], "constitution": "c", "by": "model",
                    "judge": server.ref, "votes": 4}  # fmt: skip
        config = compare.Config.model_validate(settings | changes)
        inputs = {"model": [server.ref], "judge": [server.ref],
                  "constitution": [str(folder / "rules.yaml")],
                  "prompts": [str(prompts(folder, 12))]}  # fmt: skip
        where = context(folder)
        return compare.run(config, Inputs(inputs), where), where.output


def number(turns: Sequence[Any]) -> int:
    return int(turns[-1]["content"].split()[1])


def test_a_served_judge_votes_and_every_label_is_traced(tmp_path: Path) -> None:  # C-29
    made, output = phase2(tmp_path)
    pairs = tables.read(output / "preferences.jsonl", Preference)
    assert len(pairs) >= 8
    assert all(number(pair.chosen) > number(pair.rejected) for pair in pairs)
    assert {pair.probability for pair in pairs} == {1.0}  # every vote that could be read agrees
    labels = rows(output / "labels.jsonl")
    assert len(labels) == 12
    assert {row["preference"] for row in labels} - {None} == {pair.id for pair in pairs}
    counts = made.details["principles"]
    assert sum(row["drawn"] for row in counts.values()) == 12
    assert sum(row["preferences"] for row in counts.values()) == len(pairs)
    assert Counter(row["principle"] for row in labels) == {
        name: row["drawn"] for name, row in counts.items()
    }
    assert made.figures["order_decides"].value == 0


def test_a_served_judge_is_read_by_its_log_probabilities(tmp_path: Path) -> None:  # C-29
    def tells(handler: Handler, body: dict[str, Any]) -> None:
        if not body.get("logprobs"):
            return counting_judge(handler, body)
        top = [{"token": "A", "logprob": math.log(0.6)}, {"token": " B", "logprob": math.log(0.2)}]
        content = [{"token": "A", "logprob": -0.5, "top_logprobs": top}]
        return handler.give(said("A", logprobs={"content": content}))

    made, output = phase2(tmp_path, answer=tells, votes=None)
    asked = [row for row in rows(output / "labels.jsonl") if row["asked"]]
    assert asked
    for row in asked:  # always (A): the two orders cancel
        assert row["left_first"] == pytest.approx(0.75)
        assert row["right_first"] == pytest.approx(0.25)
        assert row["left_better"] == pytest.approx(0.5)
    assert (made.details["read"], made.details["preferences"]) == ("log-probabilities", 0)


def test_votes_are_drawn_where_a_server_tells_no_log_probabilities(tmp_path: Path) -> None:
    def refuses(handler: Handler, body: dict[str, Any]) -> None:
        if body.get("logprobs"):
            return handler.give(b'{"error": "logprobs"}', 400)
        return counting_judge(handler, body)

    for name, answer in (("refuses", refuses), ("silent", counting_judge)):
        (tmp_path / name).mkdir()
        made, _ = phase2(tmp_path / name, answer=answer, votes=None)
        assert made.details["read"] == f"{compare.VOTES} votes"
        assert made.details["preferences"] >= 8


def test_reasons_clamp_soft_labels_and_hard_ones_forget_them(tmp_path: Path) -> None:  # C-29
    soft, hard = tmp_path / "soft", tmp_path / "hard"
    for folder in (soft, hard):
        folder.mkdir()
    pairs = tables.read(phase2(soft, reasons=True)[1] / "preferences.jsonl", Preference)
    assert {pair.probability for pair in pairs} == {0.6}
    assert {round(pair.margin, 9) for pair in pairs} == {0.2}
    pairs = tables.read(
        phase2(hard, reasons=True, labels="hard")[1] / "preferences.jsonl", Preference
    )
    assert {pair.probability for pair in pairs} == {1.0}


def test_a_model_in_this_process_is_read_by_its_log_probabilities(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(RULES, encoding="utf-8")
    model = saved_model(tmp_path)
    config = compare.Config(model=model, prompts=["p"], constitution="c", by="model")
    inputs = {"model": [model], "constitution": [str(tmp_path / "rules.yaml")],
              "prompts": [str(prompts(tmp_path, 6))]}  # fmt: skip
    where = context(tmp_path)
    made = compare.run(config, Inputs(inputs), where)
    pairs = tables.read(where.output / "preferences.jsonl", Preference)
    assert pairs
    assert all(0.5 < pair.probability < 1 for pair in pairs)
    assert made.details["missing"] == 0
    asked = [row for row in rows(where.output / "labels.jsonl") if row["asked"]]
    for row in asked:
        assert row["left_better"] == pytest.approx((row["left_first"] + row["right_first"]) / 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sampling": {"temperature": 0}}, "the same reply twice"),
        ({"by": "rules"}, "of no use with by: rules"),
        ({"reward": "r"}, "of no use with by: model"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, Any], message: str) -> None:
    good = {"model": "m", "prompts": ["p"], "constitution": "c", "by": "model",
            "judge": "http://localhost:1/v1#m", "votes": 3}  # fmt: skip
    compare.Config.model_validate(good)
    with pytest.raises(ValueError, match=message):
        compare.Config.model_validate(good | changes)
