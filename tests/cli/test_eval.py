"""``eval`` and ``compare`` on tiny models, with a served judge and with a reward model."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch
from tests import tiny
from tests.loop.mini import CITIES, question, write_rows
from tests.serving import said, serving

from burnish.models.heads import ScalarHead
from burnish.models.load import save_model
from burnish.rewards.reward_model import RewardModel

torch.set_num_threads(1)


@pytest.fixture
def models(burnish: Any) -> Any:
    """``burnish`` in a folder with two models and items."""
    for name, seed in (("one", 0), ("two", 1)):
        save_model(tiny.model(seed), tiny.tokenizer(), Path(name))
    write_rows(Path("items.jsonl"), [question(country) for country in CITIES])
    return burnish


def last_json(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text.splitlines()[-1])
    return found


class Balanced(HTMLParser):
    """Fails where an element is not closed in its place."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_eval_says_dimension_and_language(models: Any) -> None:
    done = models("eval", "one", "--tasks", "items.jsonl", "--efficiency", "--json")
    assert done.code == 0, done.err
    found = last_json(done.out)
    assert found["dimensions"]["items"] == "capability"
    assert found["dimensions"]["size_bytes"] == "efficiency"
    assert found["by_language"]["en"]["items"]["n"] == len(CITIES)
    shown = models("eval", "one", "--tasks", "items.jsonl")
    assert "capability" in shown.out


def test_three_models_in_one_table_with_a_page(models: Any) -> None:
    command = ("compare", "one", "two", "one", "--tasks", "items.jsonl", "-o", "page")
    done = models(*command)
    assert done.code == 0, done.err
    assert "two against one (1)" in done.out
    assert "one (2) against one (1)" in done.out
    for name in ("comparison.html", "comparison.zh.html"):
        assert Balanced((Path("page") / name).read_text(encoding="utf-8")).open == []
    found = json.loads((Path("page") / "comparison.json").read_text())
    assert found["models"] == ["one (1)", "two", "one (2)"]
    refused = models(*command)
    assert refused.code == 2
    assert "exists already" in refused.err
    alone = models("compare", "one")
    assert alone.code == 2
    assert "two models or more" in alone.err
    lost = models("eval", "one", "--harness-folder", "page")
    assert lost.code == 2
    assert "given without --harness" in lost.err


def test_a_judge_decides_pairs_of_replies(models: Any) -> None:
    def longer(handler: Any, body: dict[str, Any]) -> None:
        prompt = body["messages"][-1]["content"]
        replies = [json.loads(re.search(rf"REPLY_{n} = (.*)", prompt)[1]) for n in (1, 2)]  # type: ignore[index]
        key = re.search(r'"key": "([0-9a-f]{16})"', prompt)[1]  # type: ignore[index]
        first, second = map(len, replies)
        winner = 0 if first == second else 1 if first > second else 2
        handler.give(said(json.dumps({"key": key, "winner": winner})))

    with serving(longer) as server:
        judged = models(
            "compare", "one", "two", "--tasks", "items.jsonl", "--judge", server.ref, "--json"
        )
        assert judged.code == 0, judged.err
        said_so = models("compare", "one", "two", "--tasks", "items.jsonl", "--judge", server.ref)
    found = last_json(judged.out)
    rate = found["win_rates"]["two"]
    assert rate["wins"] + rate["ties"] + rate["losses"] + rate["missing"] == len(CITIES)
    assert found["decider"] == "judge"
    assert "no labels say" in said_so.out
    assert "head to head, by the judge" in said_so.out


def test_a_reward_model_decides_pairs_of_replies(models: Any) -> None:
    torch.manual_seed(0)
    RewardModel(tiny.model(), tiny.tokenizer(), ScalarHead(32, std=0.5)).save(Path("reward"))
    done = models("compare", "one", "two", "--tasks", "items.jsonl", "--reward", "reward", "--json")
    assert done.code == 0, done.err
    found = last_json(done.out)
    assert found["decider"] == "reward model"
    assert set(found["win_rates"]) == {"two"}
    assert set(found["ratings"]["ratings"]) == {"one", "two"}
