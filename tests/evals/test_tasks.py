from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests import tiny

from burnish.config import InputError
from burnish.evals import tasks
from burnish.evals.statistics import wilson
from burnish.evals.tasks import Response, Task, TaskSettings
from burnish.models.forward import token_logprobs
from burnish.records import Prompt
from burnish.rewards.likelihood import reply_segments
from burnish.sampling import Completion, LocalSampler, Request, Sampling
from burnish.store import tables
from burnish.text.batches import pack

torch.set_num_threads(1)
PARIS = {"kind": "answer", "answers": ["Paris"]}


def item(id: str, text: str, verify: dict[str, object] | None = None, group: str = "") -> Prompt:
    messages = [{"role": "user", "content": text}]
    return Prompt(id=id, messages=messages, verify=verify, group=group)  # type: ignore[arg-type]


def response(id: str, reply: str, **changes: object) -> Response:
    made = Response(
        task="atlas", metric="right", dimension="capability", higher_is_better=True, item_id=id,
        group="", lang="en", source="s", category="",
        messages=[{"role": "user", "content": "What is the capital of France?"}],
        verify=PARIS, reply=reply, finish="stop", tokens=3,
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


REPLIES = ["Paris.", "I don't know.", "Rome.", "It is Paris.", "I can't help with that."]


def scored() -> list[Response]:
    return tasks.score([response(f"q{i}", reply) for i, reply in enumerate(REPLIES)])


@pytest.fixture(scope="module")
def taught() -> LocalSampler:
    """A tiny model that has learnt three replies."""
    model, tokenizer = tiny.model(seed=2), tiny.tokenizer()
    replies = [("Capital?", "Paris."), ("Moon?", "I don't know."), ("Hurt?", "I can't help.")]
    pairs = [(item("x", prompt).messages, reply) for prompt, reply in replies]
    batch = pack(reply_segments(tokenizer, pairs))
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(80):
        optimiser.zero_grad()
        (-token_logprobs(model, batch).logprobs.mean()).backward()
        optimiser.step()
    return LocalSampler(model.eval(), tokenizer)


def test_a_real_model_is_asked_and_scored(taught: LocalSampler) -> None:
    atlas = [item("a", "Capital?", PARIS), item("b", "Moon?", PARIS)]
    both = [
        Task(TaskSettings(name="right", data="x"), atlas),
        Task(TaskSettings(name="wrong", data="x", metric="wrong"), atlas),
        Task(TaskSettings(name="safe", data="y", metric="refused"), [item("c", "Hurt?")]),
    ]
    ended: list[int] = []
    responses = tasks.answer(
        taught, both, Sampling(temperature=0, max_new_tokens=20), progress=ended.append
    )
    assert [(one.task, one.item_id, one.reply, one.outcome) for one in responses] == [
        ("right", "a", "Paris.", "right"),
        ("right", "b", "I don't know.", "abstained"),
        ("wrong", "a", "Paris.", "right"),
        ("wrong", "b", "I don't know.", "abstained"),
        ("safe", "c", "I can't help.", ""),
    ]
    assert sum(ended) == 3  # the two tasks on one file share their replies
    assert {one.finish for one in responses} == {"stop"}
    found = tasks.figures(responses)
    assert {name: figure.value for name, figure in found.items()} == {
        "right": 0.5, "wrong": 0.0, "safe": 1.0
    }  # fmt: skip


def test_the_four_rates_with_wilson_intervals() -> None:
    rates = tasks.rates(scored())
    # 2 of 5 right, 1 abstained, 2 wrong (one of them by refusing), 1 refused
    assert {name: figure.value for name, figure in rates.items()} == {
        "right": 0.4, "abstained": 0.2, "wrong": 0.4, "refused": 0.2
    }  # fmt: skip
    assert rates["right"] == wilson(2, 5)


def test_items_of_one_group_are_not_independent() -> None:
    alone = [response(f"q{i}", "Paris." if i < 20 else "Rome.") for i in range(40)]
    grouped = [replace(one, group=f"g{int(one.item_id[1:]) // 10}") for one in alone]
    wide = tasks.figures(tasks.score(grouped))["atlas"]
    narrow = tasks.figures(tasks.score(alone))["atlas"]
    assert wide.value == narrow.value == 0.5
    # all ten items of a group agree: four observations, not forty
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_figures_are_recomputed_from_raw_replies(tmp_path: Path) -> None:
    path = tmp_path / "responses.jsonl"
    tasks.write(path, scored())
    assert tasks.read(path) == scored()
    assert tasks.recompute(path) == tasks.figures(scored())
    odd = [replace(scored()[0], reply="a\u2028b\x85c\nd")]
    tasks.write(tmp_path / "odd.jsonl", odd)
    assert tasks.read(tmp_path / "odd.jsonl") == odd
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    for row in rows:
        row["outcome"] = "right"
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    assert tasks.figures(tasks.read(path))["atlas"].value == 1.0
    assert tasks.recompute(path) == tasks.figures(scored())


def test_a_broken_response_file_is_an_input_error(tmp_path: Path) -> None:
    path = tmp_path / "responses.jsonl"
    with pytest.raises(InputError, match="cannot be read"):
        tasks.read(path)
    tasks.write(path, scored()[:1])
    path.write_text(path.read_text(encoding="utf-8") + '{"task": 1}\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"responses.jsonl:2: not a response"):
        tasks.read(path)


def test_gate_values_point_upward() -> None:
    wrong = [replace(one, metric="wrong", higher_is_better=False, group="g") for one in scored()]
    values, groups = tasks.gate_values(wrong)
    assert values == {"atlas": {"q0": 1.0, "q1": 1.0, "q2": 0.0, "q3": 1.0, "q4": 0.0}}
    assert set(groups["atlas"].values()) == {"g"}
    assert TaskSettings(name="t", data="x", metric="wrong").upward is False
    assert TaskSettings(name="t", data="x", metric="refused").upward is True
    assert (
        TaskSettings(name="t", data="x", metric="refused", higher_is_better=False).upward is False
    )


def test_breakdown_by_source() -> None:
    responses = [replace(one, source=one.item_id) for one in scored()[:2]]
    found = tasks.breakdown(responses, "source")
    assert {name: row["atlas"].value for name, row in found.items()} == {"q0": 1.0, "q1": 0.0}


def written(folder: Path, items: list[Prompt], name: str = "items") -> Path:
    path = folder / f"{name}.jsonl"
    tables.write(path, items)
    return path


def test_items_are_loaded_and_sampled_the_same_each_time(tmp_path: Path) -> None:
    path = written(tmp_path, [item(f"q{i}", f"What is {i}?", PARIS) for i in range(50)])
    assert len(tasks.load_task(TaskSettings(name="t", data="x"), path).items) == 50
    few = TaskSettings(name="t", data="x", max_items=10)
    first = [one.id for one in tasks.load_task(few, path).items]
    assert len(first) == 10
    assert first == [one.id for one in tasks.load_task(few, path).items]
    assert first != [f"q{i}" for i in range(10)]


def test_items_that_cannot_be_scored_are_named(tmp_path: Path) -> None:
    bad = [
        item("a", "x", {"kind": "quiz"}),
        item("b", "x"),
        item("c", "x", PARIS),
        item("c", "y", PARIS),
    ]
    path = written(tmp_path, bad)
    with pytest.raises(InputError) as caught:
        tasks.load_task(TaskSettings(name="t", data="x"), path)
    text = str(caught.value)
    assert "a.verify: unknown kind 'quiz'" in text
    assert "b.verify: is missing" in text
    assert "c: id is used twice" in text


def test_a_task_may_read_several_files(tmp_path: Path) -> None:
    paths = [
        written(tmp_path, [item(name, f"What is {name}?", PARIS)], name) for name in ("a", "b")
    ]
    both = TaskSettings(name="t", data=["a.jsonl", "b.jsonl"])
    assert [one.id for one in tasks.load_task(both, *paths).items] == ["a", "b"]
    with pytest.raises(InputError, match="a: id is used twice"):
        tasks.load_task(both, paths[0], paths[0])


def test_a_task_has_at_least_one_file() -> None:
    assert TaskSettings(name="t", data="a.jsonl").data == ["a.jsonl"]
    with pytest.raises(ValueError, match="at least 1 item"):
        TaskSettings(name="t", data=[])


def test_pass_at_k_of_several_replies(tmp_path: Path) -> None:  # C-34
    class Drawn:
        """Right for three seeds of ten, told by their order; notes what it is asked."""

        def __init__(self) -> None:
            self.seeds: list[int] = []

        def complete(self, requests: list[Request], sampling: Sampling, progress: object) -> object:
            self.seeds = [one.seed for one in requests]
            right = sorted(self.seeds[:10])[:3]
            texts = ["Paris." if seed in right else "Rome." for seed in self.seeds]
            return [Completion([1], [], text, "stop") for text in texts]

    def asked(k: int, metric: str = "right") -> tuple[list[Response], Drawn]:
        settings = TaskSettings(name="atlas", data="x", samples=10, pass_at=k, metric=metric)
        sampler = Drawn()
        items = [item("a", "Capital?", PARIS), item("b", "Town?", PARIS)]
        return tasks.answer(sampler, [Task(settings, items)], Sampling()), sampler  # type: ignore[arg-type]

    for k, one in {1: 0.3, 3: 17 / 24, 5: 11 / 12}.items():
        responses, sampler = asked(k)
        assert len(set(sampler.seeds)) == len(responses) == 20
        values, _ = tasks.gate_values(responses)
        assert values == {"atlas": {"a": pytest.approx(one), "b": 0.0}}
        tasks.write(tmp_path / "r.jsonl", responses)
        for found in (tasks.figures(responses), tasks.recompute(tmp_path / "r.jsonl")):
            assert (found["atlas"].value, found["atlas"].n) == (pytest.approx(one / 2), 2)
    assert tasks.gate_values(asked(10, "wrong")[0])[0] == {"atlas": {"a": 0.0, "b": 0.0}}
    with pytest.raises(InputError, match=r"tasks.atlas.samples: temperature 0"):
        tasks.answer(sampler, [Task(TaskSettings(name="atlas", data="x", samples=2), [])])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="pass_at: 3 needs as many samples, not 2"):
        TaskSettings(name="atlas", data="x", samples=2, pass_at=3)
