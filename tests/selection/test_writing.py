"""Asking a writer until there is enough or its budget is spent."""

from __future__ import annotations

import json

from tests.selection.writers import Scripted, numbered, prompt, saying

from burnish.sampling import Request
from burnish.selection.writing import WriteSettings, write

SEEDS = {t: [prompt(f"{t} seed {n}", f"{t}{n}", topic=t) for n in range(3)] for t in ("a", "b")}


def test_each_topic_gets_its_count() -> None:
    found, report = write("evolve", SEEDS, {"a": 5, "b": 2}, numbered(), WriteSettings(count=7), 0)
    assert [record.topic for record in found] == ["a"] * 5 + ["b"] * 2
    assert (report.requests, report.usable, report.stopped) == (7, 7, "enough")
    assert report.topics["a"] == {"wanted": 5, "requests": 5, "usable": 5}
    # Three seeds for five records: each is used once before any is used again.
    first = [record.parents[0] for record in found[:3]]
    assert sorted(first) == ["a0", "a1", "a2"]
    assert [record.parents[0] for record in found[3:5]] == first[:2]


def test_a_budget_that_runs_out_is_said_and_loses_nothing() -> None:
    # Every other reply is of no use; the share of a topic's budget is that of its records.
    turns = iter(range(1000))

    def say(request: Request) -> str:
        n = next(turns)
        return json.dumps({"instruction": f"w{n} x{n} y{n}"}) if n % 2 else "no idea"

    told: list[tuple[int, int]] = []
    options = WriteSettings(count=8, max_requests=10)
    found, report = write(
        "evolve", SEEDS, {"a": 6, "b": 2}, Scripted(say), options, 0,
        told=lambda records, requests: told.append((records, requests)),
    )  # fmt: skip
    assert (report.requests, report.usable, report.stopped) == (10, 5, "budget")
    assert {topic: row["requests"] for topic, row in report.topics.items()} == {"a": 8, "b": 2}
    assert len(found) == 5
    assert told[-1] == (5, 10)
    assert report.rejected["not the JSON asked for"].count == 5
    assert len(report.rejected["not the JSON asked for"].examples) == 3
    assert report.rejected["not the JSON asked for"].examples[0]["reply"] == "no idea"
    assert json.loads(json.dumps(report.details()))["usable"] == 5


def test_nothing_is_asked_beyond_what_is_lacking() -> None:
    writer = numbered()
    write("evolve", SEEDS, {"a": 70, "b": 0}, writer, WriteSettings(count=70), 0)
    assert len(writer.asked) == 70
    assert writer.drawn[0].temperature == 0.8


def test_equal_seeds_ask_the_same_and_others_do_not() -> None:
    asked = []
    for seed in (1, 1, 2):
        writer = numbered()
        write("self_instruct", SEEDS, {"a": 4, "b": 4}, writer, WriteSettings(count=8), seed)
        asked.append([(request.messages, request.seed) for request in writer.asked])
    assert asked[0] == asked[1]
    assert asked[0] != asked[2]
    assert len({seed for _, seed in asked[0]}) == 8


def test_what_is_written_is_in_the_pool_at_once() -> None:
    found, report = write(
        "self_instruct", SEEDS, {"a": 2}, saying(instruction="one two three four"),
        WriteSettings(count=2, max_requests=3), 0,
    )  # fmt: skip
    assert (len(found), report.rejected["nearly as one there is"].count) == (1, 2)


def test_what_does_not_fit_the_writer_is_counted_and_not_asked() -> None:
    writer = numbered()
    origins = {"": [prompt("short one here"), prompt("long " * 200, "p2")]}
    found, report = write(
        "evolve", origins, {"": 2}, writer, WriteSettings(count=2, max_requests=2), 0,
        fits=lambda turns: len(turns[0]["content"]) < 1000,
    )  # fmt: skip
    assert (len(found), len(writer.asked), report.requests) == (1, 1, 2)
    assert report.rejected["too long for the writer"].count == 1
