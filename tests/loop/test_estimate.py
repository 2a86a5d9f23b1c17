"""Needs of the stages of a recipe, on devices as large as the test wants them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests import tiny
from tests.loop import mini

from burnish.config import InputError
from burnish.engine.devices import Device
from burnish.loop.estimate import Estimate, Estimates, estimate
from burnish.loop.needs import divided_moments
from burnish.loop.recipe import from_value
from burnish.models.outline import outline

ROOMY = Device("test", 1e12, 1e12, 1e11, torch.float32, "made up")
STATE = 4 * sum(weight.numel() for weight in tiny.model().parameters())

OUTSIDE = 4 * 32 * (len(tiny.tokenizer()) + 1)
"""Of the same model, tied embeddings and the last norm."""


def estimated(
    folder: Path, changes: dict[str, Any], device: Device = ROOMY, devices: int = 1
) -> dict[str, Estimate]:
    """The stages of the mini recipe, with settings of some of them changed."""
    value = mini.recipe_value(folder)
    for name, settings in changes.items():
        part = "prepare" if name in value["prepare"] else "round"
        value[part][name] |= settings
    found = estimate(from_value(value, folder / "recipe.yaml", {}), device, devices)
    return {stage.name: stage for stage in found.stages}


def test_every_stage_that_computes(tmp_path: Path) -> None:
    found = estimated(tmp_path, {})
    assert set(found) == {"pretrain", "sft", "before", "generate", "reward", "dpo", "ppo",
                          "constitution", "safety", "after"}  # fmt: skip
    ppo = found["ppo"].need
    # On a tiny vocabulary nothing is larger than the training: a mark, the reward model, a copy.
    assert ppo.moment == "training"
    assert ppo.parts["optimizer"] == 2 * STATE
    assert ppo.parts["copies"] == STATE
    assert ppo.parts["frozen"] == pytest.approx(2 * STATE, rel=0.01)
    assert found["pretrain"].need.parts["copies"] == STATE
    assert found["dpo"].need.parts["copies"] == 0
    # What an earlier stage has still to make is not known.
    assert found["safety"].tokens is None
    assert found["safety"].hours is None
    assert found["before"].replies == 40
    assert found["generate"].replies == 4 * 2
    assert found["ppo"].replies == 1 * 2 * 2
    assert all(stage.fits and not stage.instead for stage in found.values())


def test_a_teacher_is_held_whole_and_a_student_writes(tmp_path: Path) -> None:
    """40 examples; each is replied to twice, once by either."""
    distilled = {"run": "fit.distill", "model": "@base", "teacher": "@base", "data": ["sft.jsonl"],
                 "on_policy": 0.5, "replies": "teacher",
                 "train": {"epochs": 2, "segments_per_step": 4}}  # fmt: skip
    value = mini.recipe_value(tmp_path)
    value["prepare"] = {"student": distilled, "told": {**distilled, "on_policy": 0.0,
                                                       "replies": "data"}}  # fmt: skip
    value["round"] = {}
    found = {
        one.name: one
        for one in estimate(from_value(value, tmp_path / "recipe.yaml", {}), ROOMY, 1).stages
    }
    assert found["student"].replies == 40 * (0.5 * 2 + 1)
    assert not found["told"].replies
    for one in found.values():
        assert one.need.parts["frozen"] == pytest.approx(STATE, rel=0.01)


def test_tokens_of_a_fit(tmp_path: Path) -> None:
    # 40 examples; 2 steps of 4 of them, or all of them three times.
    short = estimated(tmp_path, {})["sft"]
    whole = estimated(tmp_path, {"sft": {"train": {"epochs": 3}}})["sft"]
    assert short.tokens is not None
    assert whole.tokens == pytest.approx(short.tokens * 40 * 3 / (2 * 4))
    assert whole.hours == pytest.approx(whole.tokens / whole.tokens_per_second / 3600)
    text = "0. Capital of Peru?Lima"
    assert whole.tokens == pytest.approx(3 * 40 * (len(text) + 10), rel=0.3)


def test_copies_that_a_fit_keeps(tmp_path: Path) -> None:
    train = {"max_steps": 2, "eval_every": 1, "extras": {"ema": 0.9}}
    found = estimated(tmp_path, {"sft": {"train": train}})["sft"]
    assert found.need.parts["copies"] == 2 * STATE


def test_a_fit_is_shared_and_what_needs_the_whole_model_is_not(tmp_path: Path) -> None:
    one, four = estimated(tmp_path, {}), estimated(tmp_path, {}, devices=4)
    assert (four["sft"].devices, four["ppo"].devices, four["generate"].devices) == (4, 4, 1)
    assert four["sft"].tokens_per_second == pytest.approx(4 * one["sft"].tokens_per_second)
    parts = four["sft"].need.parts
    assert parts["optimizer"] == STATE // 2
    assert parts["activations"] == one["sft"].need.parts["activations"]
    assert parts["gathered"] > 0
    assert four["sft"].exchanged == pytest.approx(3 * STATE, rel=0.01)
    assert one["sft"].exchanged == 0
    anchored = estimated(tmp_path, {"sft": {"anchor": "@base"}}, devices=4)["sft"]
    assert anchored.devices == 4
    # A quarter of the anchor on each of them, and its embeddings and last norm whole.
    assert anchored.need.parts["frozen"] == pytest.approx(STATE / 4 + OUTSIDE, rel=0.01)


def test_a_divided_model_is_whole_at_no_moment(tmp_path: Path) -> None:
    # By hand: 32 wide, 2 layers, 4 heads on 2, 64 inside.
    (tmp_path / "config.json").write_text(tiny.model().config.to_json_string(), encoding="utf-8")
    model = outline(str(tmp_path), torch.float32)
    layer = 4 * (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 64 + 2 * 32)
    assert 2 * layer + OUTSIDE == STATE
    training = {"optimizer": 70, "copies": 7}
    loading, saving = divided_moments(model, 2, training, {"frozen": 5})
    # Rotary angles, which are no parameters, make the little more.
    assert loading.total == pytest.approx(STATE / 2 + 5 + OUTSIDE + 3 * layer, rel=0.001)
    # Smaller than a file: whole in the first process, and the embeddings twice on their way.
    words = 4 * 32 * len(tiny.tokenizer())
    assert saving.total == pytest.approx(STATE / 2 + 82 + STATE + 2 * words, rel=0.001)


def test_a_policy_that_samples_is_whole_beside_its_share(tmp_path: Path) -> None:
    # Many replies make sampling the fullest moment: weights, a quarter of them, a quarter of two
    # moments, a quarter of the mark, and the reward model and reference.
    long = {
        "sampling": {"max_new_tokens": 200},
        "online": {"phases": 1, "prompts_per_phase": 2, "per_prompt": 64},
        "train": {"tokens_per_batch": 8},
    }
    one, four = (estimated(tmp_path, {"ppo": long}, devices=n)["ppo"].need for n in (1, 4))
    assert four.moment == "sampling"
    parts = [four.parts[name] for name in ("weights", "shares", "optimizer", "copies")]
    assert parts == pytest.approx([STATE, STATE / 4, STATE / 2, STATE / 4], rel=0.01)
    assert four.parts["frozen"] == pytest.approx(2 * STATE, rel=0.01)
    assert four.parts["cache"] > 0
    assert one.parts.keys().isdisjoint({"shares", "gathered"})


def test_replies_of_a_red_team_and_of_a_probe(tmp_path: Path) -> None:
    attack = {
        "run": "measure.redteam",
        "model": "@base",
        "prompts": [str(tmp_path / "attacked.jsonl")],
        "strategies": ["direct", "crescendo", "search"],
        "search": {"budget": 10},
        "before": "@base",
    }
    row = {"messages": [{"role": "user", "content": "Hi"}], "verify": {"kind": "refuse"}}
    lines = [json.dumps({"id": str(at), **row}) for at in range(6)]
    (tmp_path / "attacked.jsonl").write_text("\n".join(lines), encoding="utf-8")
    value = mini.recipe_value(tmp_path)
    value["prepare"]["attack"] = attack
    probe = {"run": "measure.probe", "model": "@base", "probes": attack["prompts"]}
    value["prepare"]["probe"] = {**probe, "max_new_tokens": 9}
    found = estimate(from_value(value, tmp_path / "recipe.yaml", {}), ROOMY, 1)
    replies = {stage.name: stage.replies for stage in found.stages}
    # Two models, six prompts, one turn and four, and for half of them a search of ten.
    assert replies["attack"] == 2 * 6 * (1 + 4 + 10 / 2)
    assert replies["probe"] == 6


def test_what_would_make_it_fit(tmp_path: Path) -> None:
    value = mini.recipe_value(tmp_path)
    sft = value["prepare"]["sft"] | {"model": "@base"}
    # Several layers, of which a device that shares the fit has three whole.
    (tmp_path / "deep").mkdir()
    config = tiny.plain(num_hidden_layers=12).config.to_json_string()
    (tmp_path / "deep" / "config.json").write_text(config, encoding="utf-8")

    def alone(train: dict[str, Any], memory: float) -> Estimate:
        stages = {"sft": sft | {"train": {"max_steps": 2, "segments_per_step": 4} | train}}
        recipe = {"name": "alone", "model": "deep", "prepare": stages}
        device = replace(ROOMY, memory=memory / ROOMY.share)
        return estimate(from_value(recipe, tmp_path / "recipe.yaml", {}), device, 1).stages[0]

    need = alone({}, 1e12).need.total
    found = alone({}, 0.99 * need)
    assert not found.fits
    assert {"checkpoint_activations", "2 devices"} <= set(found.instead)
    assert "2 devices with checkpoint_activations" not in found.instead
    assert "16 devices" not in found.instead
    assert alone({"extras": {"checkpoint_activations": True}}, 0.99 * need).fits
    nothing = alone({}, 1000)
    assert len(nothing.instead) == 1
    assert "a device with" in nothing.instead[0]


def test_only_a_config_is_needed(tmp_path: Path) -> None:
    value = mini.recipe_value(tmp_path)
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "config.json").write_text((tmp_path / "model" / "config.json").read_text())
    recipe = from_value(value | {"model": "bare"}, tmp_path / "recipe.yaml", {})
    found: Estimates = estimate(recipe, ROOMY, 1)
    assert "4 bytes" in found.how
    assert found.stages[0].parameters * 4 == STATE
    missing = from_value(value | {"model": "nowhere"}, tmp_path / "recipe.yaml", {})
    with pytest.raises(InputError, match="no such model folder"):
        estimate(missing, ROOMY, 1)
    (bare / "config.json").write_text(json.dumps({"model_type": "no-such-type"}))
    with pytest.raises(InputError, match="no-such-type"):
        estimate(recipe, ROOMY, 1)


def test_feedback_pairs_and_served_models(tmp_path: Path) -> None:
    message = {"role": "user", "content": "Say it."}
    pair = {"prompt": [message], "chosen": [{"role": "assistant", "content": "Yes."}],
            "rejected": [{"role": "assistant", "content": "No."}]}  # fmt: skip
    single = {"prompt": [message], "completion": [{"role": "assistant", "content": "Yes."}],
              "label": True}  # fmt: skip
    asked = {"id": "p", "messages": [message]}
    for name, row in (("two", pair), ("one", single), ("asked", asked)):
        (tmp_path / f"{name}.jsonl").write_text(
            "".join(json.dumps(row | {"id": f"{name}{i}"}) + "\n" for i in range(6))
        )
    value = mini.recipe_value(tmp_path)
    train = {"epochs": 1, "segments_per_step": 4}
    kto = {"run": "fit.kto", "model": "@base", "train": train}
    value["prepare"] = {
        "one": kto | {"data": ["one.jsonl"]},
        "both": kto | {"data": ["one.jsonl"], "pairs": ["two.jsonl"]},
        "later": kto | {"data": ["one.jsonl"], "pairs": ["later.jsonl"]},
        "served": {"run": "curate.generate", "model": "http://127.0.0.1:9/v1#m",
                   "prompts": ["asked.jsonl"]},
    }  # fmt: skip
    del value["round"], value["rounds"]
    value.pop("figures", None)
    found = estimate(from_value(value, tmp_path / "recipe.yaml", {}), ROOMY, 8).stages
    one, both, later = found
    assert [stage.name for stage in found] == ["one", "both", "later"]
    assert one.tokens is not None
    # A pair holds its prompt twice: two rows of feedback with other words.
    assert both.tokens == pytest.approx(3 * one.tokens, rel=0.02)
    assert later.tokens is None
    assert one.devices == 8


def test_weights_in_four_bits(tmp_path: Path) -> None:
    lora = {"r": 2}
    plain = estimated(tmp_path, {"sft": {"lora": lora}})["sft"].need
    four = estimated(tmp_path, {"sft": {"lora": lora | {"bits": 4}}}, devices=2)["sft"]
    packed = four.need
    assert four.devices == 1
    config = tiny.model().config
    width, heads, keys = config.hidden_size, config.num_attention_heads, config.num_key_value_heads
    layer = width * width * (2 + 2 * keys // heads) + 3 * width * config.intermediate_size
    fewer = config.num_hidden_layers * layer * (4 - 4.127 / 8)
    assert plain.parts["weights"] - packed.parts["weights"] == pytest.approx(fewer, rel=1e-3)


def test_a_served_judge_takes_no_memory_and_a_curriculum_what_its_largest_step_does(
    tmp_path: Path,
) -> None:
    judge = {"judge": {"model": "http://127.0.0.1:9/v1#m"},
             "scoring": {"weights": {"judge": 1.0}}}  # fmt: skip
    few = {"train": {"segments_per_step": 1}}
    plain = estimated(tmp_path, {"sft": few})
    other = estimated(tmp_path, {"generate": judge, "sft": few | {"curriculum": {"bulk": 4}}})
    assert plain["generate"].need == other["generate"].need
    four = estimated(tmp_path, {"sft": {"train": {"segments_per_step": 4}}})
    assert other["sft"].need == four["sft"].need
    assert other["sft"].need.total > plain["sft"].need.total
