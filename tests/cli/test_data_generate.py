"""``data generate``: plans, writers that misbehave, interruptions, budgets."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.serving import Answer, Handler, cut, fails, last, replies, said, serving

SEEDS = [f"How old is tree number {n}?" for n in range(6)]
EVOLVE = ["data", "generate", "--seeds", "seeds.jsonl", "--method", "evolve"]


def seeds() -> None:
    rows = [
        {"id": f"s{n}", "messages": [{"role": "user", "content": t}]} for n, t in enumerate(SEEDS)
    ]
    Path("seeds.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def topics() -> None:
    Path("topics.yaml").write_text(
        "topics: [{id: tea, en: [tea], zh: [茶]}, {id: oak, en: [oaks]}]\n"
    )
    Path("scores.json").write_text(
        '{"tea": {"value": 0.2, "low": 0.1, "high": 0.4, "n": 20}, "oak": 0.8}'
    )


def writes(handler: Handler, body: dict[str, Any]) -> None:
    """A new instruction for each seed."""
    n = body["seed"]
    handler.give(said(json.dumps({"instruction": f"a{n} b{n} c{n} d{n}"})))


def lines(path: str) -> list[Any]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def test_the_plan_is_shown_and_nothing_is_made(burnish: Any) -> None:
    topics()
    command = ["data", "generate", "--topics", "topics.yaml", "--method", "templates", "-n", "10"]
    shown = burnish(*command, "--evaluation", "scores.json", "--plan")
    assert shown.code == 0, shown.err
    rows = [line.split() for line in shown.out.splitlines() if line.strip()]
    # Weakness 0.8 and 0.2: 10 * (0.25 + 0.4) and 10 * (0.25 + 0.1), the rest to the larger.
    assert ["tea", "0.20", "[0.10,", "0.40]", "65.0%", "6"] in rows
    assert ["oak", "0.80", "[0.80,", "0.80]", "35.0%", "4"] in rows
    found = json.loads(burnish(*command, "--plan", "--json").out)["plan"]
    assert [(row["topic"], row["score"], row["count"]) for row in found] == [
        ("oak", None, 5), ("tea", None, 5)
    ]  # fmt: skip
    assert sorted(path.name for path in Path().iterdir()) == ["scores.json", "topics.yaml"]


def test_templates_and_formats_need_no_writer(burnish: Any) -> None:
    topics()
    made = burnish(
        "data", "generate", "--topics", "topics.yaml", "--method", "templates", "-n", "40",
        "--lang", "zh", "-o", "zh.jsonl", "--json",
    )  # fmt: skip
    assert json.loads(made.out)["usable"] == 11  # explain, 4 solve, 4 analyse, compare, summarise
    assert {row["lang"] for row in lines("zh.jsonl")} == {"zh"}
    again = burnish(
        "data", "generate", "--seeds", "zh.jsonl", "--method", "format", "-n", "3", "-o", "f.jsonl"
    )
    assert again.code == 0, again.err
    assert [row["verify"]["kind"] for row in lines("f.jsonl")] == ["format"] * 3


def test_what_is_wrong_is_said_before_anybody_is_asked(burnish: Any) -> None:
    seeds()
    for args, message in (
        ([*EVOLVE, "-o", "x.jsonl"], "--model: evolve needs a writer"),
        ([*EVOLVE], "--out: not given"),
        ([*EVOLVE, "-o", "seeds.jsonl"], "exists already"),
        ([*EVOLVE, "-o", "x.jsonl", "--set", "sampling.heat=1"], "sampling.heat: unknown key"),
        (
            [*EVOLVE, "-o", "x.jsonl", "--lang", "zh"],
            "evolve: found prompts; expected prompts in zh",
        ),
        (
            ["data", "generate", "--seeds", "seeds.jsonl", "--method", "grounded", "-o", "x.jsonl"],
            "grounded: found prompts; expected documents in en or zh",
        ),
    ):
        refused = burnish(*args)
        assert refused.code == 2, args
        assert message in refused.err.replace("\n", " "), refused.err


def test_a_real_server_writes_and_the_report_says_how_it_went(burnish: Any) -> None:
    seeds()

    def answer(handler: Handler, body: dict[str, Any]) -> None:
        if body["seed"] % 3:
            writes(handler, body)
        else:
            handler.give(said("I would rather not say."))

    with serving(answer) as server:
        made = burnish(*EVOLVE, "--model", server.ref, "-n", "5", "-o", "x.jsonl", "--json")
        assert made.code == 0, made.err
        shown = burnish(*EVOLVE, "--model", server.ref, "-n", "5", "-o", "y.jsonl")
    report = json.loads(made.out)
    bad = sum(body["seed"] % 3 == 0 for body in server.bodies) // 2
    assert bad > 0
    assert (report["usable"], report["requests"], report["stopped"]) == (5, 5 + bad, "enough")
    assert report["rejected"]["not the JSON asked for"]["count"] == bad
    assert server.bodies[0]["temperature"] == 0.8
    assert f"5 of {5 + bad}" in shown.out
    assert "I would rather not say." in shown.out
    assert lines("x.jsonl") == lines("y.jsonl")
    assert {row["parents"][0] for row in lines("x.jsonl")} <= {f"s{n}" for n in range(6)}
    assert not list(Path().glob(".*"))  # all that was wanted is there: the journal is gone


@pytest.mark.parametrize(
    "trouble",
    [fails(429, Retry_After="0"), fails(500), cut, replies(b'{"choices": [')],
    ids=["429", "500", "cut", "not JSON"],
)
def test_trouble_ends_the_command_and_not_what_came(
    burnish: Any, trouble: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    #
    seeds()
    bad: set[str] = set()
    broken = True

    def answer(handler: Handler, body: dict[str, Any]) -> None:
        if len(bad) < 1:
            bad.add(last(body))
        if broken and last(body) in bad:
            trouble(handler, body)
        else:
            writes(handler, body)

    monkeypatch.setattr("burnish.sampling.endpoint.random.uniform", lambda low, high: 0.01)
    with serving(answer) as server:
        command = [*EVOLVE, "--model", server.ref, "-n", "6", "-o", "x.jsonl"]
        stopped = burnish(*command)
        assert stopped.code == 2
        assert "1 of 6 replies are missing; those that came are kept in .x.jsonl.replies" in (
            stopped.err.replace("\n", " ")
        )
        assert len(server.bodies) <= 5 + 6  # at most six attempts of the one
        assert not Path("x.jsonl").exists()
        broken = False
        before = len(server.bodies)
        done = burnish(*command)
    assert done.code == 0, done.err
    assert len(server.bodies) == before + 1
    assert len(lines("x.jsonl")) == 6


def test_a_request_that_the_server_refuses_is_counted_and_the_rest_goes_on(burnish: Any) -> None:
    seeds()

    def answer(handler: Handler, body: dict[str, Any]) -> None:
        if "number 3" in last(body):
            handler.give(b'{"error": "content filter"}', 400)
        else:
            writes(handler, body)

    with serving(answer) as server:
        made = burnish(*EVOLVE, "--model", server.ref, "-n", "6", "-o", "x.jsonl", "--json")
    assert made.code == 0, made.err
    report = json.loads(made.out)
    assert report["usable"] == 6
    assert report["rejected"]["refused with status 400"]["count"] >= 1
    assert report["requests"] == len(server.bodies)  # nothing was sent twice


def test_a_spent_budget_is_said_and_a_larger_one_goes_on(burnish: Any) -> None:
    seeds()
    with serving(writes) as server:
        command = [*EVOLVE, "--model", server.ref, "-n", "6", "-o", "x.jsonl", "--max-requests"]
        short = burnish(*command, "4")
        assert short.code == 0, short.err
        assert "the budget of 4 replies ran out" in short.out
        assert len(lines("x.jsonl")) == len(server.bodies) == 4
        Path("x.jsonl").unlink()
        long = burnish(*command, "20", "--json")
    assert json.loads(long.out)["usable"] == 6
    assert len(server.bodies) == 6  # the four were not asked again


def test_retries_count_and_the_same_command_goes_on(burnish: Any) -> None:
    seeds()
    with serving(fails(503), writes) as server:
        command = [*EVOLVE, "--model", server.ref, "-n", "3", "-o", "x.jsonl",
                   "--max-requests", "3", "--concurrency", "1"]  # fmt: skip
        short = burnish(*command)
        assert short.code == 2
        assert "the cap of 3 requests is spent" in short.err
        assert "1 of 3 replies are missing; those that came are kept in" in short.err
        assert len(server.bodies) == 3  # one failed
        assert not Path("x.jsonl").exists()
        again = burnish(*command, "--json")
        assert json.loads(again.out)["usable"] == len(lines("x.jsonl")) == 3
        assert len(server.bodies) == 4  # the two that came were not asked again


def test_no_use_at_all_is_an_error_after_the_report(burnish: Any) -> None:
    seeds()
    with serving(replies(said("Hello!"))) as server:
        made = burnish(*EVOLVE, "--model", server.ref, "-n", "2", "-o", "x.jsonl")
    assert made.code == 2
    assert "0 of 8" in made.out
    assert "none of 8 replies was usable" in made.err
    assert not Path("x.jsonl").exists()


def test_kill_9_pays_for_nothing_twice(burnish: Any) -> None:
    #
    seeds()
    started: list[subprocess.Popen[bytes]] = []

    def kills_at_the_fourth(handler: Handler, body: dict[str, Any]) -> None:
        if len(handler.server.bodies) == 4:
            started[0].kill()
        writes(handler, body)

    with serving(kills_at_the_fourth) as server:
        command = [*EVOLVE, "--model", server.ref, "-n", "6", "-o", "x.jsonl", "--concurrency", "1"]
        started.append(subprocess.Popen([sys.executable, "-m", "burnish.cli.main", *command]))
        assert started[0].wait(timeout=120) == -signal.SIGKILL
        assert len(lines(".x.jsonl.replies")) == 3
        assert burnish(*command).code == 0
    seen = [(last(body), body["seed"]) for body in server.bodies]
    # Three were kept; the fourth was under way and is asked again, as nobody knows its answer.
    assert len(seen) == 7
    assert len(set(seen)) == 6
    assert len(lines("x.jsonl")) == 6
