"""``data select``, ``data mix``, ``data pairs``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


def write(name: str, *rows: dict[str, Any]) -> None:
    Path(name).write_text("\n".join(json.dumps(row) for row in rows) + "\n")


def read(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(name).read_text().splitlines()]


def example(number: int, **more: Any) -> dict[str, Any]:
    messages = [
        {"role": "user", "content": f"What is {number} and {number}?"},
        {"role": "assistant", "content": f"It is {2 * number}."},
    ]
    return {"id": f"e{number}", "messages": messages, **more}


def test_select_keeps_the_best_and_lists_the_rest(burnish: Any) -> None:
    write("x.jsonl", *[example(n, total=n) for n in range(10)], example(3, id="again", total=0))
    write("eval.jsonl", {"id": "q", "messages": example(9)["messages"][:1],
                         "verify": {"kind": "comply"}})  # fmt: skip
    done = burnish(
        "data", "select", "x.jsonl", "-o", "y.jsonl", "--score", "total", "--evaluation",
        "eval.jsonl", "--count", "2", "--set", "clusters=1", "--set", "near=null", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    said = json.loads(done.out)
    # 9 holds the evaluation item, so that 8 and 7 are the best
    assert [row["id"] for row in read("y.jsonl")] == ["e7", "e8"]
    assert (said["entered"], said["kept"], said["evaluation_items_hit"]) == (11, 2, {"eval": 1})
    removed = Path("y.jsonl.removed.tsv").read_text().splitlines()
    assert len(removed) == 10
    assert "again\texact_duplicate\trepeats e3" in removed
    assert Path("y.jsonl.hits.tsv").read_text().splitlines()[1].startswith("e9\teval\tq\t1.000")


def test_select_shows_the_funnel(burnish: Any) -> None:
    write("x.jsonl", *[example(n) for n in range(12)])
    done = burnish("data", "select", "x.jsonl", "-o", "y.jsonl", "--share", "0.5")
    assert done.code == 0, done.err
    assert all(word in done.out for word in ("exact_duplicate", "balance", "nearest", "wrote"))
    assert burnish("data", "select", "x.jsonl", "-o", "y.jsonl").code == 2
    unknown = burnish("data", "select", "x.jsonl", "-o", "z.jsonl", "--set", "nearly=1")
    assert unknown.code == 2
    assert "nearly: unknown key" in unknown.err
    no_scores = burnish("data", "select", "x.jsonl", "-o", "z.jsonl", "--score", "total")
    assert no_scores.code == 2
    assert "x.jsonl:total: none of 12 records has a number" in no_scores.err


def tiered(expert: int, selected: int, bulk: int) -> list[dict[str, Any]]:
    counts = {"expert": expert, "selected": selected, "bulk": bulk}
    tiers = [tier for tier, count in counts.items() for _ in range(count)]
    return [
        example(n, tier=tier, synthetic=tier != "expert" and n % 4 != 0)
        for n, tier in enumerate(tiers)
    ]


def test_mix_draws_the_pyramid(burnish: Any) -> None:
    write("x.jsonl", *tiered(10, 60, 160))
    done = burnish("data", "mix", "x.jsonl", "-o", "y.jsonl", "--count", "100", "--json")
    assert done.code == 0, done.err
    said = json.loads(done.out)
    assert said["after"]["counts"] == {"expert": 5, "selected": 25, "bulk": 70}
    assert 0.7 <= said["after"]["synthetic"] <= 0.8
    assert len(read("y.jsonl")) == 100
    assert "70.0%" in burnish("data", "mix", "x.jsonl", "-o", "z.jsonl", "--count", "100").out


def test_mix_says_which_tier_is_short_and_writes_nothing(burnish: Any) -> None:
    write("x.jsonl", *tiered(3, 60, 160))
    done = burnish("data", "mix", "x.jsonl", "-o", "y.jsonl", "--count", "100")
    assert done.code == 2
    assert "3 records of tier 'expert' can be used; a mix of 100 takes 5: 2 more" in done.err
    assert not Path("y.jsonl").exists()


def rollout(number: int, text: str, reward: float) -> dict[str, Any]:
    return {
        "id": f"r{number}", "prompt_id": "p", "completion": text, "reward": reward, "tokens": [1],
        "prompt": [{"role": "user", "content": "Capital of France?"}], "logprobs": [0.0],
        "finish": "stop", "temperature": 1.0, "top_p": 1.0, "seed": 0, "scores": {},
    }  # fmt: skip


@pytest.mark.parametrize(("options", "pair"), [
    ([], ("Nice it is", "Paris")),
    (["--prompts", "p.jsonl"], ("Paris", "Rome")),
    (["--prompts", "p.jsonl", "--choose", "hard"], ("Paris", "Nice it is")),
])  # fmt: skip
def test_pairs(burnish: Any, options: list[str], pair: tuple[str, str]) -> None:
    # by reward Nice wins; by the verifier Paris alone is right, Rome is nearest to it in length
    replies = [rollout(0, "Paris", 0.1), rollout(1, "Nice it is", 0.9), rollout(2, "Rome", 0.2)]
    write("x.jsonl", *replies)
    write("p.jsonl", {"id": "p", "messages": replies[0]["prompt"],
                      "verify": {"kind": "answer", "answers": ["Paris"]}})  # fmt: skip
    done = burnish("data", "pairs", "x.jsonl", "-o", "y.jsonl", *options, "--json")
    assert done.code == 0, done.err
    row = read("y.jsonl")[0]
    assert (row["chosen"][0]["content"], row["rejected"][0]["content"]) == pair
    assert json.loads(done.out)["pairs"] == 1
    shown = burnish("data", "pairs", "x.jsonl", "-o", "z.jsonl", *options).out
    assert "of 1 pairs of unequal length" in shown
