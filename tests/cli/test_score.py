"""``data score`` and ``data agree``: from files to scores, resumable, with a judge that fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests import tiny
from tests.serving import Handler, fails, grades, key_of, replies, said, serving

from burnish.models.load import save_model
from burnish.records import Example, Preference, Rollout
from burnish.sampling import endpoint
from burnish.store import tables


def write(name: str, *rows: dict[str, Any]) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    Path(name).write_text(text, encoding="utf-8")


def read(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(name).read_text(encoding="utf-8").splitlines()]


def example(id: str, reply: str, question: str = "Why?") -> dict[str, Any]:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": reply}]
    return {"id": id, "messages": turns}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses between attempts."""
    monkeypatch.setattr(endpoint.random, "uniform", lambda low, high: 0.01)


def test_likelihood_scores_of_examples(burnish: Any) -> None:
    save_model(tiny.model(), tiny.tokenizer(), Path("tiny"))
    write("x.jsonl", example("a", "Because it is so."), example("b", ""), example("c", "Yes"))
    Path("x.jsonl").write_text(
        Path("x.jsonl").read_text().replace('"content": ""', '"content": ":"')
    )
    done = burnish("data", "score", "x.jsonl", "-o", "s.jsonl", "--model", "tiny", "--json",
                   "--scorers", "relevance,completeness,fluency,ifd")  # fmt: skip
    assert done.code == 0, done.err
    rows = read("s.jsonl")
    assert [set(row["scores"]) for row in rows] == [
        {"relevance", "completeness", "fluency", "ifd"}
    ] * 3
    first = rows[0]["scores"]
    mean = 0.4 * first["relevance"] + 0.3 * first["completeness"] + 0.3 * first["fluency"]
    assert rows[0]["total"] == pytest.approx(mean)
    assert rows[1]["total"] == 0.0  # S-18
    assert json.loads(done.out)["scores"]["total"]["n"] == 3
    assert tables.read("s.jsonl", Example)[0].messages[-1]["content"] == "Because it is so."
    kept = burnish("data", "score", "x.jsonl", "-o", "k.jsonl", "--scorers", "completeness,refusal",
                   "--keep", "--threshold", "0.5")  # fmt: skip
    assert kept.code == 0, kept.err
    assert [row["id"] for row in read("k.jsonl")] == ["a", "c"]
    assert "total at least 0.5: 2 of 3 records" in kept.out


def test_a_judge_is_asked_once_for_each_reply(burnish: Any) -> None:
    write("x.jsonl", *[example(f"r{n}", text) for n, text in
                       enumerate(["good", "poor", "odd one", "good"])])  # fmt: skip
    command = ["data", "score", "x.jsonl", "-o", "s.jsonl", "--scorers", "judge"]
    with serving(grades) as server:
        done = burnish(*command, "--judge", server.ref, "--json")
        assert done.code == 0, done.err
        assert len(server.bodies) == 3  # equal replies once
        assert [row["scores"].get("judge") for row in read("s.jsonl")] == [1.0, 0.0, None, 1.0]
        assert [row["total"] for row in read("s.jsonl")] == [1.0, 0.0, None, 1.0]
        found = json.loads(done.out)
        assert (found["scores"]["judge"]["n"], found["scores"]["judge"]["missing"]) == (3, 1)
        assert found["length and grade"]["n"] == 3
        again = burnish(*command, "--judge", server.ref)
        assert again.code == 0
        assert len(server.bodies) == 3
        Path("rubric.txt").write_text("Only charm counts.")
        burnish(*command, "--judge", server.ref, "--rubric", "rubric.txt")
        assert len(server.bodies) == 6


def test_what_came_before_a_failure_is_kept(burnish: Any, quick: None) -> None:
    names = [f"r{n}" for n in range(4)]
    write("x.jsonl", *[example(name, f"good {name}") for name in names])
    command = ["data", "score", "x.jsonl", "-o", "s.jsonl", "--scorers", "judge"]
    slow = fails(429, Retry_After="0")
    with serving(slow, fails(500), grades) as server:
        capped = burnish(*command, "--judge", server.ref, "--concurrency", "1",
                         "--max-requests", "4")  # fmt: skip
        assert capped.code == 2
        assert "the cap of 4 requests is spent" in capped.err
        assert "2 of 4 replies are missing" in capped.err
        assert not Path("s.jsonl").exists()
        done = burnish(*command, "--judge", server.ref)
        assert done.code == 0, done.err
        assert len(server.bodies) == 6  # two failures, and each reply once
    assert [row["scores"]["judge"] for row in read("s.jsonl")] == [1.0] * 4
    with serving(replies(b"<html>")) as server:  # garbage is a missing verdict, not a low one
        garbage = burnish(*command[:4], "g.jsonl", *command[5:], "--judge", server.ref, "--json")
        assert garbage.code == 0, garbage.err
    assert json.loads(garbage.out)["scores"]["judge"] == {"n": 0, "missing": 4}


def test_pairs_in_both_orders_with_the_bias_reported(burnish: Any) -> None:  # S-19
    def first(handler: Handler, body: dict[str, Any]) -> None:
        handler.give(said(json.dumps({"key": key_of(body), "winner": 1})))

    pair = {"prompt": "Why?", "chosen": "Because.", "rejected": "No idea at all."}
    write("x.jsonl", pair, pair | {"chosen": "It rained."}, pair | {"rejected": ""})
    with serving(first) as server:
        done = burnish(
            "data",
            "score",
            "x.jsonl",
            "-o",
            "s.jsonl",
            "--scorers",
            "pairwise,completeness",
            "--judge",
            server.ref,
            "--probes",
            "1",
            "--json",
        )
        assert done.code == 0, done.err
        assert len(server.bodies) == 6  # two pairs and a probe, each twice
    found = json.loads(done.out)
    assert found["pairwise"] == {"chosen": 1, "rejected": 0, "tie": 2, "missing": 0}
    assert found["bias"]["first"]["value"] == 1.0
    assert found["bias"]["split"]["value"] == 1.0
    rows = read("s.jsonl")
    assert [row["pairwise"] for row in rows] == [0, 0, 1]
    assert rows[2]["scores"] == {"chosen": {"completeness": 1.0}, "rejected": {"completeness": 0.0}}
    assert tables.read("s.jsonl", Preference)[2].margin == 1.0


def test_replies_of_generate_are_verified_by_their_prompts(burnish: Any) -> None:
    turns = [{"role": "user", "content": "2 + 2?"}]
    write("prompts.jsonl",
          {"id": "p1", "messages": turns, "verify": {"kind": "number", "answer": 4}},
          {"id": "p2", "messages": turns})  # fmt: skip
    write("replies.jsonl", *[{"id": name, "prompt": turns, "reply": text, "finish": "stop"}
                             for name, text in [("p1", "4"), ("p2", "4")]])  # fmt: skip
    command = ["--scorers", "verifier,completeness=0", "--prompts", "prompts.jsonl"]
    done = burnish("data", "score", "replies.jsonl", "-o", "s.jsonl", *command)
    assert done.code == 0, done.err
    assert [row["scores"].get("verifier") for row in read("s.jsonl")] == [1.0, None]
    assert [row["total"] for row in read("s.jsonl")] == [1.0, None]
    rollout = {"id": "r", "prompt_id": "p1", "prompt": turns, "completion": "5", "tokens": [1],
               "logprobs": [0.0], "finish": "stop", "temperature": 1.0, "top_p": 1.0, "seed": 0,
               "scores": {"own": 0.25}}  # fmt: skip
    write("rollouts.jsonl", rollout)
    done = burnish("data", "score", "rollouts.jsonl", "-o", "r.jsonl", *command)
    assert done.code == 0, done.err
    [found] = tables.read("r.jsonl", Rollout)
    assert (found.scores, found.reward) == (
        {"own": 0.25, "verifier": 0.0, "completeness": 1.0},
        0.0,
    )
    write("prompts.jsonl", {"id": "p1", "messages": turns, "verify": {"kind": "nothing"}})
    refused = burnish("data", "score", "replies.jsonl", "-o", "s.jsonl", *command)
    assert refused.code == 2
    assert "p1.verify: unknown kind 'nothing'" in refused.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scorers", "beauty"], "found 'beauty'; one of relevance"),
        (["--scorers", "relevance"], "relevance needs --model"),
        (["--scorers", "judge"], "judge needs --judge"),
        (["--scorers", "ifd=1"], "cannot be part of a mean"),
        (["--scorers", "completeness=-1"], "a weight from 0"),
        (["--scorers", "completeness=x"], "found 'completeness=x'"),
        (["--scorers", "pairwise", "--judge", "http://127.0.0.1:1/v1#m"], "preference records"),
        (["--scorers", "relevance", "--model", "http://127.0.0.1:1/v1#m"], "no likelihoods"),
        (["--scorers", ","], "none given"),
        (["--scorers", "gone_module:f"], "can be imported"),
    ],
)
def test_what_cannot_be_scored_is_said_first(
    burnish: Any, arguments: list[str], message: str
) -> None:
    write("x.jsonl", example("a", "Yes."))
    refused = burnish("data", "score", "x.jsonl", "-o", "s.jsonl", *arguments)
    assert refused.code == 2
    assert message in refused.err
    assert not Path("s.jsonl").exists()


def test_documents_hold_no_replies(burnish: Any) -> None:
    write("d.jsonl", {"text": "words"})
    refused = burnish("data", "score", "d.jsonl", "-o", "s.jsonl", "--scorers", "refusal")
    assert "documents hold no replies" in refused.err
    refused = burnish("data", "score", "d.jsonl", "-o", "s.csv", "--scorers", "refusal")
    assert "ends .jsonl" in refused.err


def test_agreement_of_columns(burnish: Any) -> None:
    rows = [{"ann": label, "bob": label, "scores": {"judge": 1.0 if label == "1" else 0.25}}
            for label in "10" * 20]  # fmt: skip
    write("l.jsonl", *rows, {"ann": "1", "bob": "0", "scores": {}})
    command = ["data", "agree", "l.jsonl", "--annotators", "ann,bob", "--judge", "scores.judge"]
    done = burnish(*command, "--cut", "0.8")
    assert done.code == 0, done.err
    assert "the judge's labels may be used" in done.out
    assert "41 items, 1 without a label of the judge" in done.out
    found = json.loads(burnish(*command, "--cut", "0.8", "--json").out)
    assert found["judge"]["value"] == 1.0
    assert found["people"]["n"] == 41
    as_they_are = burnish(*command, "--require")  # "1" and 1.0 are other names
    assert as_they_are.code == 4
    assert "may not be used" in as_they_are.err
    for arguments, message in [
        (["--judge", "gone"], "no row has a label in this column"),
        (["--level", "interval", "--annotators", "ann,name"], "name"),
    ]:
        refused = burnish(*command, *arguments)
        assert refused.code == 2
        assert message in refused.err
    write("l.jsonl", {"ann": "good", "scores": {"judge": 1}})
    refused = burnish("data", "agree", "l.jsonl", "--annotators", "ann", "--judge", "scores.judge",
                      "--level", "ordinal")  # fmt: skip
    assert "l.jsonl:1:ann: found 'good', which is no number" in refused.err


def test_a_judge_that_prefers_its_own_model_is_shown(burnish: Any) -> None:  # S-19
    rows = [
        {"ann": 1 + n % 3, "bob": 1 + n % 3, "judge": 1 + n % 3 + (n % 2), "by": "ab"[n % 2]}
        for n in range(60)
    ]
    write("labels.jsonl", *rows)
    command = ["data", "agree", "labels.jsonl", "--annotators", "ann,bob", "--judge", "judge",
               "--level", "ordinal"]  # fmt: skip
    done = burnish(*command, "--author", "by", "--own", "b", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["self_preference"]["value"] == 1.0
    shown = burnish(*command, "--author", "by", "--own", "b")
    assert "own replies win at equal labels" in shown.out
    assert "the judge prefers replies of b, its own model" in shown.out
    assert "prefers" not in burnish(*command, "--author", "by", "--own", "a").out
    assert "self_preference" not in burnish(*command, "--json").out
    for wrong, named in (
        (["--own", "b"], "--author"), (["--author", "by", "--own", "c"], "no row says 'c'"),
        (["--author", "by", "--own", "b", "--level", "nominal"], "labels are names"),
    ):  # fmt: skip
        refused = burnish(*command, *wrong)
        assert refused.code == 2
        assert named in refused.err
