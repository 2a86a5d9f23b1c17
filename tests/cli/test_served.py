"""Commands that take the address of a served model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.serving import Handler, echo, fails, last, said, serving

from burnish.config.secrets import redact
from burnish.sampling.address import KEYS

KEY = "canary-7f3a91"


def write(name: str, *questions: str) -> None:
    rows = [
        {
            "id": f"id-{question}",
            "messages": [{"role": "user", "content": question}],
            "verify": {"kind": "answer", "answers": ["Lima"]},
        }
        for question in questions
    ]
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_generate_keeps_what_came_and_asks_for_the_rest(
    burnish: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("prompts.jsonl", "a", "b", "c")
    broken = True

    def answer(handler: Handler, body: dict[str, Any]) -> None:
        if broken and last(body) == "b":
            handler.give(f"no {KEY}".encode(), 400)
        else:
            echo(handler, body)

    with serving(answer) as server:
        monkeypatch.setenv(KEYS, f"{server.netloc}={KEY}")
        command = ["generate", "--model", server.ref, "--prompts", "prompts.jsonl", "--seed", "5"]
        refused = burnish(*command, "--out", "replies.jsonl", "--concurrency", "1")
        assert refused.code == 2
        assert "1 of 3 replies are missing" in refused.err
        assert "id-b: status 400: 'no [hidden]'" in refused.err
        assert KEY not in refused.err + refused.out
        assert server.most == 1
        broken = False
        done = burnish(*command, "--out", "replies.jsonl")
        assert done.code == 0, done.err
        assert [last(body) for body in server.bodies] == ["a", "b", "c", "b"]
        one = burnish("generate", "--model", server.ref, "--prompt", "hi", "--json")
    rows = [json.loads(line) for line in Path("replies.jsonl").read_text().splitlines()]
    assert [row["reply"] for row in rows] == ["a|5", "b|6", "c|7"]
    assert sorted(path.name for path in Path().iterdir()) == ["prompts.jsonl", "replies.jsonl"]
    assert json.loads(one.out)["replies"][0]["reply"] == "hi|0"


def test_eval_and_compare_take_served_models(burnish: Any) -> None:
    write("items.jsonl", "Capital of Peru?", "Capital of Mali?")
    with serving(lambda handler, body: handler.give(said("Lima"))) as server:
        measured = burnish("eval", server.ref, "--tasks", "items.jsonl", "--json")
        other = f"{server.url}#n"
        compared = burnish("compare", server.ref, other, "--tasks", "items.jsonl", "--json")
    assert measured.code == 0, measured.err
    assert json.loads(measured.out)["figures"]["items"] == {
        "value": 1.0, "low": pytest.approx(0.34, abs=0.01), "high": 1.0, "n": 2
    }  # fmt: skip
    assert compared.code == 0, compared.err
    assert [body["model"] for body in server.bodies[2:]] == ["m", "m", "n", "n"]


def test_commands_that_need_weights_refuse_a_served_model(burnish: Any) -> None:
    # S-15: without repeating the address.
    with serving(fails(500)) as server:
        ref = f"http://me:{KEY}@{server.netloc}/v1#m"
        talked = burnish("chat", ref)
        assert talked.code == 2
        assert "a served model has no weights to load" in talked.err
        write("prompts.jsonl", "a")
        asked = burnish("generate", "--model", ref, "--prompt", "hi")
        assert asked.code == 2
        assert "must not hold a user or password" in asked.err
        Path("x.yaml").write_text(
            f"name: x\nmodel: '{ref}'\nprepare:\n  look:\n    run: measure.evaluate\n"
            f"    model: '{ref}'\n    tasks: [{{name: items, data: prompts.jsonl}}]\n"
        )
        for command in (["check"], ["plan"], ["run"]):
            refused = burnish(*command, "x.yaml")
            assert refused.code == 2, command
            assert KEY not in refused.err + refused.out, command
        assert server.bodies == []
    assert KEY not in talked.err + asked.err


def test_a_crash_file_hides_each_key() -> None:
    # S-15
    environment = {KEYS: f"api.example.com={KEY} other.example=abc=def123"}
    text = f"sent {KEY} and abc=def123 to api.example.com"
    assert redact(text, environment) == "sent [hidden] and [hidden] to api.example.com"
