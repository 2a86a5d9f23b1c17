"""``curate.score``, and judges in stages: chunks, resume, caps, labels that forbid a judge."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests import tiny
from tests.serving import Handler, grades, key_of, last, said, serving
from tests.stages.fits import context, saved_model

from burnish.config import InputError, references
from burnish.models.load import save_model
from burnish.records import Example, Preference, Prompt, Rollout
from burnish.rewards.judge import Judge
from burnish.sampling import EndpointError, EndpointSettings, Sampling
from burnish.selection.choose import SelectSettings
from burnish.stages import scoring
from burnish.stages.base import Context, Inputs
from burnish.stages.curate import generate, score, select
from burnish.store import tables

QUICK = EndpointSettings(pause=0.001, longest_pause=0.001, attempts=2, concurrency=1)


def example(id: str, reply: str) -> Example:
    turns = [{"role": "user", "content": f"Why {id}?"}, {"role": "assistant", "content": reply}]
    return Example(id=id, messages=turns)  # type: ignore[arg-type]


def resolved(config: Any, folder: Path) -> Inputs:
    """References of settings as the loop resolves them: files of ``folder``, models as they are."""
    return Inputs({
        ".".join(map(str, path)): [str(folder / ref) if mark.kind == "data" else ref]
        for path, ref, mark in references(config)
    })  # fmt: skip


def place(folder: Path, name: str) -> Context:
    where = folder / name
    where.mkdir()
    made = context(where)
    return replace(made, endpoint=QUICK, cache=folder / "cache", scratch=folder / "scratch")


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def labelled(folder: Path, *, agree: bool) -> dict[str, Any]:
    """Forty graded replies: two people of one mind, whom the stub's grades follow or do not."""
    made = []
    for n in range(40):
        good = n % 2 == 0
        grade = 5 if good == agree else 1
        made.append(vars(example(f"l{n}", "good" if good else "poor"))
                    | {"ann": grade, "who": {"bob": grade}})  # fmt: skip
    text = "".join(json.dumps(row) + "\n" for row in made)
    (folder / "labels.jsonl").write_text(text)
    return {"data": "labels.jsonl", "annotators": ["ann", "who.bob"]}


REPLIES = ["good", "poor", "odd one", "good enough", "good", "poor still"]


def test_scores_judged_in_a_recipe_are_what_select_reads(tmp_path: Path) -> None:
    tables.write(tmp_path / "x.jsonl", [example(f"r{n}", r) for n, r in enumerate(REPLIES)])
    weights = {"completeness": 0.0, "judge": 1.0}
    with serving(grades) as server:
        config = score.Config.model_validate(
            {"data": ["x.jsonl"], "scorers": weights, "judge": {"model": server.ref}}
        )
        where = place(tmp_path, "one")
        made = score.run(config, resolved(config, tmp_path), where)
        asked = len(server.bodies)
        # The run's cache has all: a second stage asks nobody.
        again = score.run(config, resolved(config, tmp_path), place(tmp_path, "two"))
        assert len(server.bodies) == asked == len(REPLIES)
    assert again.details["scores"] == made.details["scores"]
    found = rows(where.output / "scored.jsonl")
    assert [row["total"] for row in found] == [1.0, 0.0, None, 1.0, 1.0, 0.0]
    assert made.details["scores"]["judge"] == {
        "n": 5, "missing": 1, "mean": 0.6, "p10": 0.0, "p50": 1.0, "p90": 1.0,
    }  # fmt: skip
    assert made.details["length and grade"]["n"] == 5
    assert made.details["judge"]["used"] is True
    assert made.details["judge"]["served"]["model"] == "m"
    assert made.figures["mean_judge"].value == pytest.approx(0.6)
    assert made.figures["records"].value == 6
    chosen = select.Config(
        data=["@score"], score="total",
        select=SelectSettings(min_score=0.5, near=None, exact=False, semantic=None),
    )  # fmt: skip
    last_place = place(tmp_path, "select")
    select.run(chosen, Inputs({"data": [str(where.output)]}), last_place)
    kept = tables.read(last_place.output / "selected.jsonl", Example)
    assert [one.id for one in kept] == ["r0", "r3", "r4"]


def test_chunks_change_nothing_and_a_cap_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables.write(tmp_path / "x.jsonl", [example(f"r{n}", r) for n, r in enumerate(REPLIES)])
    plain = {"data": ["x.jsonl"], "scorers": {"completeness": 0.5, "judge": 1.0}}
    with serving(grades) as server:
        config = score.Config.model_validate(plain | {"judge": {"model": server.ref}})
        whole = place(tmp_path, "whole")
        made = score.run(config, resolved(config, tmp_path), replace(whole, cache=tmp_path / "c"))
        (tmp_path / "scratch" / "judge.jsonl").unlink()
        monkeypatch.setattr(scoring, "CHUNK", 4)
        monkeypatch.setattr(scoring, "AT_ONCE", 2)
        server.bodies.clear()
        capped = score.Config.model_validate(
            plain | {"judge": {"model": server.ref, "max_requests": 3}}
        )
        first = place(tmp_path, "first")
        with pytest.raises(EndpointError, match="cap of 3 requests is spent"):
            score.run(capped, resolved(capped, tmp_path), first)
        assert list(first.output.iterdir()) == []
        second = place(tmp_path, "second")
        parts = score.run(capped, resolved(capped, tmp_path), second)
        assert len(server.bodies) == len(REPLIES)  # each reply was asked about once
    both = [(where.output / "scored.jsonl").read_bytes() for where in (whole, second)]
    assert both[0] == both[1]
    assert parts.details["scores"] == made.details["scores"]


def test_preferences_in_parquet_with_the_judges_bias(tmp_path: Path) -> None:  # S-19
    def first(handler: Handler, body: dict[str, Any]) -> None:
        verdict = {"key": key_of(body), "winner": 1, "score": 3}
        handler.give(said(json.dumps(verdict)))

    turns: Any = [{"role": "user", "content": "Why?"}]
    pairs = [
        Preference(id=str(n), prompt=turns, chosen=[{"role": "assistant", "content": "yes " * n}],
                   rejected=[{"role": "assistant", "content": "no " * (9 - n)}])
        for n in range(1, 5)
    ]  # fmt: skip
    tables.write(tmp_path / "p.parquet", pairs)
    with serving(first) as server:
        config = score.Config.model_validate({
            "data": ["p.parquet"], "kind": "preference", "scorers": {"completeness": 1.0},
            "pairwise": True, "probes": 2, "judge": {"model": server.ref},
        })  # fmt: skip
        where = place(tmp_path, "one")
        made = score.run(config, resolved(config, tmp_path), where)
    assert made.details["pairwise"] == {"chosen": 0, "rejected": 0, "tie": 4, "missing": 0}
    assert made.details["bias"]["first"]["value"] == 1.0
    assert made.details["bias"]["split"]["value"] == 1.0
    assert made.details["bias"]["padded"]["n"] == 2
    data = scoring.Data([tmp_path / "p.parquet"], Preference, {})
    asked = scoring.Scoring(
        [scoring.scorers.find("completeness")], {"completeness": 1.0},
        scoring.Resources(None, None), scoring.ScoreCache(),
    )  # fmt: skip
    out = tmp_path / "again.parquet"
    scoring.score_files(data, asked, scoring.survey(data, 0), out)
    assert tables.read(out, Preference) == tables.read(where.output / "scored.jsonl", Preference)
    for column, values in (
        ("total.chosen", [1.0] * 4),
        ("scores.rejected.completeness", [1.0] * 4),
    ):
        found = [value for _, value in tables.with_numbers(out, Preference, column)]
        assert found == values


@pytest.mark.parametrize("agree", [True, False])
def test_labels_decide_whether_a_judge_counts(tmp_path: Path, agree: bool) -> None:
    tables.write(tmp_path / "x.jsonl", [example(f"r{n}", r) for n, r in enumerate(REPLIES)])
    labels = labelled(tmp_path, agree=agree)
    weights = {"completeness": 1.0, "judge": 1.0}
    with serving(grades) as server:
        judge = {"model": server.ref, "labels": labels}
        config = score.Config.model_validate(
            {"data": ["x.jsonl"], "scorers": weights, "judge": judge}
        )
        where = place(tmp_path, "one")
        made = score.run(config, resolved(config, tmp_path), where)
        found = rows(where.output / "scored.jsonl")
        assert made.details["judge"]["used"] is agree
        assert made.details["judge"]["labelled"] == 40
        if agree:
            assert made.details["judge"]["agreement"]["value"] == 1.0
            assert [row["total"] for row in found] == [1.0, 0.5, None, 1.0, 1.0, 0.5]
            return
        # Not asked about anything but the labelled replies, and no part of the total.
        assert all(re.search(r"Why l\d+", last(body)) for body in server.bodies)
        assert {name for row in found for name in row["scores"]} == {"completeness"}
        assert [row["total"] for row in found] == [1.0] * 6
        assert "the judge may agree with people by" in made.details["judge"]["reasons"][0]
        for change, message in (
            ({"scorers": {"judge": 1.0}}, "another scorer with a weight"),
            ({"judge": judge | {"labels": labels | {"otherwise": "stop"}}}, "another judge"),
        ):
            stops = score.Config.model_validate(
                {"data": ["x.jsonl"], "scorers": weights, "judge": judge, **change}
            )
            with pytest.raises(InputError, match=message):
                score.run(stops, resolved(stops, tmp_path), place(tmp_path, message[-5:]))


def test_labels_off_the_scale_are_refused(tmp_path: Path) -> None:
    tables.write(tmp_path / "x.jsonl", [example("r", "good")])
    (tmp_path / "labels.jsonl").write_text(
        json.dumps(vars(example("l", "good")) | {"ann": 0, "bob": None}) + "\n"
    )
    for annotator, message in (("ann", "found 0; grades from 1 to 5"), ("bob", "no row has a")):
        judge = {"model": "http://127.0.0.1:9/v1#m",
                 "labels": {"data": "labels.jsonl", "annotators": [annotator]}}  # fmt: skip
        config = score.Config.model_validate(
            {"data": ["x.jsonl"], "scorers": {"judge": 1.0}, "judge": judge}
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("burnish.sampling.ServedSampler.listed", lambda self: None)
            with pytest.raises(InputError, match=message):
                score.run(config, resolved(config, tmp_path), place(tmp_path, annotator))


def generating(folder: Path, ref: str, **changes: Any) -> generate.Config:
    prompts = [Prompt(id=f"p{n}", messages=[{"role": "user", "content": f"say {n}"}])
               for n in range(3)]  # fmt: skip
    tables.write(folder / "prompts.jsonl", prompts)
    two = [Sampling(temperature=t, max_new_tokens=6).model_dump() for t in (0.5, 1.0)]
    return generate.Config.model_validate({
        "model": saved_model(folder), "prompts": ["prompts.jsonl"], "candidates": two,
        "judge": {"model": ref}, "scoring": {"weights": {"completeness": 1.0, "judge": 3.0}},
        **changes,
    })  # fmt: skip


def by_length(handler: Handler, body: dict[str, Any]) -> None:
    """Grades 1 to 5 by the reply's length, and no verdict for every fourth request."""
    shown = last(body).split("REPLY = ")[1].splitlines()[0]
    verdict = json.dumps({"key": key_of(body), "score": 1 + len(shown) % 5})
    odd = len(handler.server.bodies) % 4 == 0
    handler.give(said("I would not know." if odd else verdict))


def test_generate_asks_a_judge_and_leaves_out_what_it_says_nothing_of(tmp_path: Path) -> None:
    with serving(by_length) as server:
        config = generating(tmp_path, server.ref)
        where = place(tmp_path, "one")
        made = generate.run(config, resolved(config, tmp_path), where)
        asked = len(server.bodies)
        again = place(tmp_path, "two")
        generate.run(config, resolved(config, tmp_path), again)
        assert len(server.bodies) == asked
    found = tables.read(where.output / "rollouts.jsonl", Rollout)
    assert found == tables.read(again.output / "rollouts.jsonl", Rollout)
    for one in found:
        mean = (one.scores["completeness"] + 3 * one.scores["judge"]) / 4
        assert one.reward == pytest.approx(mean)
    assert made.details["judge"]["unjudged"] == made.details["candidates"] - len(found)
    assert made.details["judge"]["unjudged"] >= 1


def test_generate_does_without_a_judge_that_people_contradict(tmp_path: Path) -> None:
    labels = labelled(tmp_path, agree=False)
    with serving(grades) as server:
        config = generating(tmp_path, "", judge={"model": server.ref, "labels": labels})
        where = place(tmp_path, "one")
        made = generate.run(config, resolved(config, tmp_path), where)
        assert all("Why l" in last(body) for body in server.bodies)
    found = tables.read(where.output / "rollouts.jsonl", Rollout)
    assert len(found) == 6
    assert all(set(one.scores) == {"completeness"} for one in found)
    assert all(one.reward == one.scores["completeness"] for one in found)
    assert made.details["judge"]["used"] is False


def test_a_judge_that_says_nothing_leaves_nothing_to_choose_from(tmp_path: Path) -> None:
    with serving(lambda handler, body: handler.give(said("Well."))) as server:
        config = generating(tmp_path, server.ref)
        where = place(tmp_path, "one")
        with pytest.raises(InputError, match="none of 6 candidates got a verdict"):
            generate.run(config, resolved(config, tmp_path), where)


def test_a_model_of_this_process_can_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Judge, "sampling", Sampling(temperature=0.0, max_new_tokens=4))
    model = tiny.model(max_position_embeddings=2048)
    judge = str(save_model(model, tiny.tokenizer(), tmp_path / "judge"))
    tables.write(tmp_path / "x.jsonl", [example("r", "good")])
    config = score.Config.model_validate(
        {"data": ["x.jsonl"], "scorers": {"judge": 1.0}, "judge": {"model": judge}}
    )
    made = score.run(config, resolved(config, tmp_path), place(tmp_path, "one"))
    assert made.details["scores"]["judge"] == {"n": 0, "missing": 1}  # so small a one says nothing
    assert made.details["judge"] == {"used": True}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scorers": {"judge": 1.0}}, "judge needs judge"),
        ({"scorers": {"similarity": 1.0}}, "similarity needs encoder"),
        ({"scorers": {"relevance": 1.0}}, "relevance needs model"),
        ({"scorers": {"refusal": -1.0}}, "must not be negative"),
        ({"scorers": {"mine:f": 1.0}}, "unknown scorer"),
        ({"scorers": {}}, "none given"),
        ({"scorers": {}, "pairwise": True}, "needs preferences"),
    ],
)
def test_scorers_without_their_means(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        score.Config.model_validate({"data": ["x"], **changes})


def test_generate_names_what_a_scorer_lacks() -> None:
    for weights, more, message in (
        ({"judge": 1.0}, {}, "needs the setting 'judge'"),
        ({"similarity": 1.0}, {}, "needs the setting 'encoder'"),
        ({"completeness": 1.0}, {"encoder": "x"}, "of no use without scoring.weights.similarity"),
    ):
        with pytest.raises(ValueError, match=message):
            generate.Config.model_validate({"model": "m", "scoring": {"weights": weights}, **more})
