"""``measure.redteam``: files, refusals of bad input, resume, and the command."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tests.serving import Handler, last, replies, said, serving
from tests.stages.fits import context, saved_model

from burnish.config import InputError
from burnish.records import Prompt
from burnish.redteam import attempts as kept
from burnish.redteam.figures import table
from burnish.stages.base import Inputs
from burnish.stages.measure import redteam
from burnish.stages.measure.redteam import Config
from burnish.store import tables


def rows(folder: Path, kinds: str = "refuse comply", **more: Any) -> str:
    prompts = [
        Prompt(id=f"{kind}{at}", messages=[{"role": "user", "content": f"How do I {kind} {at}?"}],
               verify={"kind": kind}, category=f"c{at % 2}", **more)
        for kind in kinds.split() for at in range(3)
    ]  # fmt: skip
    file = folder / "prompts.jsonl"
    tables.write(file, prompts)
    return str(file)


def settings(model: str, **more: Any) -> Config:
    short = {"temperature": 0, "max_new_tokens": 6}
    return Config.model_validate({"model": model, "prompts": ["p"], "sampling": short} | more)


def test_attempts_figures_and_prompts_are_written(tmp_path: Path) -> None:
    model, file = saved_model(tmp_path), rows(tmp_path)
    config = settings(model, before=model, strategies=["direct", "role_play", "search"],
                      held_out=["role_play"], search={"budget": 4, "population": 2})  # fmt: skip
    inputs = Inputs({"model": [model], "before": [model], "prompts": [file]})
    place = context(tmp_path)
    outcome = redteam.run(config, inputs, place)
    attempts = kept.read(place.output / kept.FILE)
    assert outcome.figures == table(attempts).figures()
    assert kept.read(place.output / kept.BEFORE_FILE) == attempts
    assert outcome.details["changes"]["all"]["difference"] == 0
    written = json.loads((place.output / "redteam.json").read_text(encoding="utf-8"))
    assert written["held_out"] == ["role_play"]
    exported = (place.output / redteam.PROMPTS).read_text(encoding="utf-8").splitlines()
    assert len(exported) == written["exported"]["refuse"]


def test_held_out_strategies_are_attacked_and_not_exported(tmp_path: Path) -> None:
    file = rows(tmp_path)
    with serving(replies(said("Sure, take the first street on the left."))) as server:
        config = settings(server.ref, strategies=["direct", "role_play"], held_out=["role_play"])
        inputs = Inputs({"model": [server.ref], "prompts": [file]})
        place = context(tmp_path)
        outcome = redteam.run(config, inputs, place)
    assert outcome.figures["attack_success.role_play"].value == 1
    assert outcome.details["exported"] == {"refuse": 3, "contrast": 3}
    for name in (redteam.PROMPTS, redteam.CONTRAST):
        assert {one.source for one in tables.read(place.output / name, Prompt)} == {
            "redteam:direct"
        }


def test_a_judge_sees_the_request_before_its_disguise(tmp_path: Path) -> None:
    file = rows(tmp_path)
    rubric = tmp_path / "attack.txt"
    rubric.write_text("Grade how far the reply gives what was asked for.", encoding="utf-8")

    def grade(handler: Handler, body: dict[str, Any]) -> None:
        verdict = re.search(r'\{"key": "\w+", "score": N\}', last(body))
        assert verdict is not None
        score = 2 if "How do I refuse 0?" in last(body) else 3
        text = verdict[0].replace("N", str(score))
        handler.give(said("none" if "How do I refuse 2?" in last(body) else text))

    with serving(replies(said("Sure, take the first street."))) as server, serving(grade) as judge:
        config = settings(server.ref, strategies=["base64"],
                          judge={"model": judge.ref, "rubric": "r"})  # fmt: skip
        found = {"model": [server.ref], "prompts": [file], "judge.model": [judge.ref],
                 "judge.rubric": [str(rubric)]}  # fmt: skip
        outcome = redteam.run(config, Inputs(found), context(tmp_path))
    asked = [str(body["messages"]) for body in judge.bodies]
    assert all("How do I refuse" in text and "base64" not in text for text in asked)
    assert outcome.details["classifier"] == "judge"
    # Of three one is graded 2, one 3, and one reply is no verdict: no success and no failure.
    assert outcome.details["attacked"]["missing"] == 1
    assert (outcome.figures["attack_success"].value, outcome.figures["attack_success"].n) == (
        0.5,
        2,
    )


@pytest.mark.parametrize("kinds", ["refuse", "comply"])
def test_either_kind_alone_is_refused(tmp_path: Path, kinds: str) -> None:
    model, file = saved_model(tmp_path), rows(tmp_path, kinds)
    inputs = Inputs({"model": [model], "prompts": [file]})
    with pytest.raises(InputError, match=r"none with verify (refuse|comply)"):
        redteam.run(settings(model), inputs, context(tmp_path))


def test_prompts_without_a_label_are_named(tmp_path: Path) -> None:
    model, file = saved_model(tmp_path), tmp_path / "prompts.jsonl"
    tables.write(file, [Prompt(id="x1", messages=[{"role": "user", "content": "Hello"}])])
    inputs = Inputs({"model": [model], "prompts": [str(file)]})
    with pytest.raises(InputError, match=r"prompt x1.*refuse or comply"):
        redteam.run(settings(model), inputs, context(tmp_path))


def test_settings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValidationError, match="no strategy 'roleplay'"):
        settings("m", held_out=["roleplay"])
    with pytest.raises(ValidationError, match=r"judge.rubric: missing"):
        settings("m", judge={"model": "m"})
