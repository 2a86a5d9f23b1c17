"""The forgetting guard: its decisions by hand, and post-pretraining under it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests import tiny
from tests.engine import fits

from burnish.config import InputError, Interrupted
from burnish.engine import (
    Action,
    Change,
    DatasetSource,
    SilentProgress,
    StepInfo,
    TrainSettings,
    train,
)
from burnish.engine.schedule import learning_rate
from burnish.models.load import save_model
from burnish.records import Document, Figure, Prompt
from burnish.stages import forgetting
from burnish.stages.base import Context, Inputs, Outcome
from burnish.stages.fit import pretrain
from burnish.stages.forgetting import Guard, Watch
from burnish.store import tables
from burnish.text.documents import document_segments


@pytest.mark.parametrize(
    ("ratio", "share", "action", "expected"),
    [
        (1.2, 0.1, "rollback", "mark"),
        (1.2, 1.0, "rollback", "mark"),
        (1.3, 1.0, "rollback", "mark"),  # at the bound is not past it
        (1.5, 0.3, "rollback", None),  # re-warming: within the bound's square, early
        (1.7, 0.3, "rollback", "rollback"),  # past 1.3 ** 2 = 1.69
        (1.5, 0.6, "rollback", "rollback"),
        (1.5, 1.0, "stop", "stop"),
        (9.0, 1.0, "watch", "mark"),
        (1.5, 0.6, "raise_replay", Change(share=0.8)),  # 1 : 1 becomes 1 : 4
        (1.5, 0.3, "raise_replay", None),
        (1.5, 0.6, "lower_rate", Change(rate=0.5)),
        (1.5, 1.0, "raise_replay", "rollback"),  # nothing is still to come
        (1.5, 1.0, "lower_rate", "rollback"),
    ],
)
def test_the_guard_acts_by_ratio_and_time(
    ratio: float, share: float, action: str, expected: Action | None
) -> None:
    guard = Guard(bound=1.3, grace=0.5, action=action)
    watch = Watch(guard, {"general_ppl": 40.0}, 1.0)
    step = int(share * 100)
    info = StepInfo(step, 100, {"step": step, "general_ppl": 40.0 * ratio}, 0)
    assert watch(info) == expected
    assert watch(StepInfo(50, 100, {"step": 50, "loss": 1.0}, 0)) is None


def test_the_rate_warms_up_again_and_decays_again_by_default() -> None:
    # C-42
    train = pretrain.Config(model="m", domain=["d"]).train
    rates = [learning_rate(step, 1000, train) / train.learning_rate for step in (5, 10, 505, 1000)]
    assert rates == pytest.approx([0.5, 1.0, 0.55, 0.1])


def played(guard: Guard, ratios: list[float | None], replay: float = 1.0) -> list[Any]:
    """Each reading's action of ten a fit, and the answer given to the engine at the last."""
    watch = Watch(guard, {"general_ppl": 10.0}, replay)
    rows = [{"step": n, "general_ppl": None if r is None else 10 * r}
            for n, r in enumerate(ratios, 1)]  # fmt: skip
    info = StepInfo(len(rows), 10, rows[-1], 0, rows[:-1])  # type: ignore[arg-type]
    return [*(one["action"] for one in watch.readings(rows, 10)), watch(info)]


def test_replay_rises_to_its_most_and_then_the_guard_rolls_back() -> None:
    guard = Guard(grace=0, action="raise_replay", replay_factor=4, replay_max=10)
    acted = ["raise_replay", "raise_replay"]
    assert played(guard, [1.4, 1.5]) == [*acted, Change(share=10 / 11)]
    assert played(guard, [1.4, 1.5, 1.6]) == [*acted, "rollback", "rollback"]


def test_the_rate_falls_to_its_least_and_then_the_guard_rolls_back() -> None:
    guard = Guard(grace=0, action="lower_rate", rate_factor=0.5, rate_min=0.25)
    assert played(guard, [1.4, 1.5, 1.6])[:3] == ["lower_rate", "lower_rate", "rollback"]
    watch = Watch(guard, {"general_ppl": 10.0})
    rows = [{"step": 1, "general_ppl": 14.0}, {"step": 2, "general_ppl": 11.0}]
    assert [one["rate"] for one in watch.readings(rows, 10)] == [0.5, 0.5]


def test_the_guard_waits_while_readings_get_better_unless_it_went_back() -> None:
    guard = Guard(grace=0, action="raise_replay", replay_max=100)
    assert played(guard, [1.6, 1.5, 1.4, 1.45])[:4] == ["raise_replay", None, None, "raise_replay"]
    back = guard.model_copy(update={"go_back": True})
    assert played(back, [1.6, 1.5]) == ["raise_replay"] * 2 + [Change(True, share=16 / 17)]


def test_a_perplexity_that_is_not_finite_is_past_every_bound() -> None:
    # As a log gives it back after an interruption.
    assert played(Guard(grace=0), [None]) == ["rollback", "rollback"]
    assert played(Guard(grace=0), [float("inf")]) == ["rollback", "rollback"]


def test_tasks_have_bounds_of_their_own() -> None:
    listed = [{"name": "sums", "data": "x", "margin": 0.05},
              {"name": "lies", "data": "x", "metric": "wrong", "margin": 0.1}]  # fmt: skip
    guard = Guard(tasks=listed, grace=0, action="stop")
    watch = Watch(guard, {"guard_sums": 0.6, "guard_lies": 0.2})

    def action(sums: float, lies: float) -> Action | None:
        return watch(StepInfo(1, 10, {"step": 1, "guard_sums": sums, "guard_lies": lies}, 0))

    assert action(0.55, 0.3) == "mark"
    assert action(0.54, 0.2) == "stop"
    assert action(0.9, 0.31) == "stop"
    assert action(0.7, 0.0) == "mark"
    rows = [{"step": 1, "guard_sums": 0.5, "guard_lies": 0.2}]
    assert watch.readings(rows, 10)[0]["tasks"] == {"sums": 0.5, "lies": 0.2}
    assert watch.limits()["sums"] == pytest.approx({"start": 0.6, "bound": 0.55})
    assert watch.limits()["lies"] == pytest.approx({"start": 0.2, "bound": 0.3})


def test_readings_tell_what_was_measured_and_done() -> None:
    watch = Watch(Guard(bound=1.3, grace=0.5), {"general_ppl": 10.0}, 5.0)
    history = [
        {"step": 1, "loss": 2.0},
        {"step": 5, "loss": 1.5, "general_ppl": 15.0, "general_share": 0.8},
        {"step": 10, "loss": 1.0, "general_ppl": 20.0},
    ]
    assert watch.readings(history, 10) == [
        {"step": 5, "ratio": 1.5, "general_share": 0.8, "action": None, "replay": 5.0, "rate": 1.0},
        {"step": 10, "ratio": 2.0, "action": "rollback", "replay": 5.0, "rate": 1.0},
    ]


PPL = {"general_ppl": Figure.exact(10.0)}
TASK = {"name": "sums", "data": "x", "margin": 0.05}


@pytest.mark.parametrize(
    ("guard", "start", "ratio", "spare", "message"),
    [
        ({"action": "raise_replay"}, {}, 1.0, 9, "guard.action: raise_replay without anything"),
        ({"action": "lower_rate"}, {}, 1.0, 9, "guard.action: lower_rate without anything"),
        ({"action": "raise_replay"}, PPL, 0.0, 9, "no general text in the mix; ratio above 0"),
        ({"action": "raise_replay"}, PPL, 1.0, 0, "all general text is in the mix"),
        (
            {"action": "raise_replay", "replay_max": 5}, PPL, 5.0, 9,
            r"guard.replay_max: 5, and the mix begins with 5.00",
        ),
        (
            {"tasks": [TASK]}, PPL | {"guard_sums": Figure.exact(0.04)}, 1.0, 9,
            r"guard.tasks.0.margin: sums starts at 0.040",
        ),
        (
            {"tasks": [TASK | {"metric": "wrong"}]}, {"guard_sums": Figure.exact(0.97)}, 1.0, 9,
            r"cannot get worse by more; below 0.030",
        ),
    ],
)  # fmt: skip
def test_a_guard_that_could_not_act_is_refused(
    guard: dict[str, Any], start: dict[str, Figure], ratio: float, spare: int, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        forgetting.check(Guard(**guard), start, ratio, spare)
    forgetting.check(Guard(), start, ratio, spare)


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="go_back: goes with raise_replay and lower_rate"):
        Guard(go_back=True)
    with pytest.raises(ValueError, match="each needs a name of its own, found sums, sums"):
        Guard(tasks=[TASK, TASK])


def data(folder: Path) -> None:
    """A model that knows the general text, and a domain that takes it far from there."""
    domain = [Document(id=f"d{n}", text="the hell " * (n % 4 + 2)) for n in range(40)]
    general = [Document(id=f"g{n}", text=f"an {n} Q# {n * n}") for n in range(90)]
    items = [
        Prompt(
            id=f"p{n}", messages=[{"role": "user", "content": f"{n}?"}],
            verify={"kind": "choice", "choices": ["he", f"Z{n}"], "gold": n % 2},
        )
        for n in range(12)
    ]  # fmt: skip
    model, tokenizer = tiny.model(3, vocab_size=269), tiny.tokenizer(extra=["<|odd|>"])
    settings = TrainSettings(learning_rate=0.01, epochs=6, segments_per_step=16)
    known = DatasetSource(list(document_segments(tokenizer, general[:80], 64)), settings, seed=0)
    train(model, known, fits.nll, settings, seed=0)
    save_model(model, tokenizer, folder / "model")
    tables.write(folder / "domain.jsonl", domain)
    tables.write(folder / "general.jsonl", general[:80])
    tables.write(folder / "heldout.jsonl", general[80:])
    tables.write(folder / "task.jsonl", items)
    tables.write(folder / "asked.jsonl", [replace(item, verify=None) for item in items])
    tables.write(folder / "empty.jsonl", [])


TRAIN = {"learning_rate": 0.02, "tokens_per_step": 60, "warmup": 0}


def stage(folder: Path, place: Path, guard: dict[str, Any], **changes: Any) -> Outcome:
    """A whole ``fit.pretrain`` on ``data``."""
    config = pretrain.Config(
        model="m", domain=["d"], general=["g"], heldout="h", ratio=0.3, train=TRAIN,
        guard={"checks": 6, "grace": 0, "bound": 1.02, **guard}, **changes,
    )  # fmt: skip
    files = {name: [str(folder / f"{name}.jsonl")] for name in ("domain", "general", "heldout")}
    tasks = [str(folder / f"{one['data']}.jsonl") for one in guard.get("tasks", [])]
    files |= {f"guard.tasks.{n}.data": [path] for n, path in enumerate(tasks)}
    place.mkdir(exist_ok=True)
    context = Context(
        name="fit", round=1, seed=0, output=place / "output", scratch=place / "scratch",
        cache=place / "cache", metrics=place / "metrics.jsonl", registry=place / "r.sqlite",
        progress=SilentProgress(), device="cpu",
    )  # fmt: skip
    return pretrain.run(config, Inputs({**files, "model": [str(folder / "model")]}), context)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("data")
    data(made)
    return made


def test_more_replay_keeps_more_and_is_recorded(folder: Path, tmp_path: Path) -> None:
    tasks = [{"name": "odd", "data": "task", "margin": 0.4},
             {"name": "open", "data": "asked", "metric": "refused", "higher_is_better": False,
              "margin": 0.6, "max_items": 3}]  # fmt: skip
    loose = stage(folder, tmp_path / "a", {"action": "watch", "tasks": tasks})
    held = stage(folder, tmp_path / "b", {"action": "raise_replay", "tasks": tasks})
    readings = held.details["guard"]["readings"]
    actions = [one["action"] for one in readings]
    assert "raise_replay" in actions
    first = actions.index("raise_replay")
    assert readings[first]["replay"] == pytest.approx(4 * loose.details["guard"]["readings"][0]
                                                      ["replay"])  # fmt: skip
    assert readings[first + 1]["general_share"] > readings[first]["general_share"]
    assert held.details["guard"]["domain_tokens_left_out"] > 0
    assert held.figures["general_ppl_after"].value < loose.figures["general_ppl_after"].value
    assert readings[0]["tasks"].keys() == {"odd", "open"}
    assert readings[0]["tasks"]["open"] == 0.0  # a reply was asked for, and refuses nothing
    assert {"guard_odd_before", "guard_odd_after"} <= held.figures.keys()


@pytest.mark.parametrize("action", ["raise_replay", "lower_rate"])
@pytest.mark.parametrize("go_back", [False, True])
def test_no_fit_ends_past_its_bound(
    folder: Path, tmp_path: Path, action: str, go_back: bool
) -> None:
    made = stage(folder, tmp_path, {"action": action, "go_back": go_back})
    assert action in [one["action"] for one in made.details["guard"]["readings"]]
    before, after = (made.figures[f"general_ppl_{n}"].value for n in ("before", "after"))
    assert after <= 1.02 * before


def test_a_guarded_stage_resumes_bit_for_bit(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # interrupted at the step of the first action.
    guard = {"action": "raise_replay", "go_back": True}
    whole = stage(folder, tmp_path / "a", guard)
    step = next(one["step"] for one in whole.details["guard"]["readings"]
                if one["action"] == "raise_replay")  # fmt: skip
    usual = Watch.__call__

    def watch(self: Watch, info: StepInfo) -> Action | None:
        fits.interrupt_at(step)(info)
        return usual(self, info)

    with monkeypatch.context() as patched:
        patched.setattr(Watch, "__call__", watch)
        with pytest.raises(Interrupted):
            stage(folder, tmp_path / "b", guard)
    again = stage(folder, tmp_path / "b", guard)
    assert json.dumps(again.details["guard"]) == json.dumps(whole.details["guard"])
    saved = [tmp_path / name / "output/model.safetensors" for name in ("a", "b")]
    assert saved[0].read_bytes() == saved[1].read_bytes()


def test_bad_input_is_refused_before_the_first_step(folder: Path, tmp_path: Path) -> None:
    empty = {"tasks": [{"name": "none", "data": "empty"}]}
    with pytest.raises(InputError, match=r"empty.jsonl: holds no records"):
        stage(folder, tmp_path, empty)
    with pytest.raises(InputError, match="all general text is in the mix"):
        stage(folder, tmp_path, {"action": "raise_replay"}, limit=30, repeats=1, passes=9)
    with pytest.raises(InputError, match="replay_max"):
        stage(folder, tmp_path, {"action": "raise_replay", "replay_max": 0.1})
    assert not (tmp_path / "metrics.jsonl").exists()
