"""Stages that compute with the model between steps, by one process and by several; as a program,
what each of several does.

``torchrun --nproc-per-node 2 -m tests.stages.several FOLDER`` leaves ``FOLDER/<rank>.pt``.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import torch
from safetensors.torch import load_file
from tests import tiny
from tests.engine.fits import TIMES
from transformers import AutoModelForCausalLM

from burnish.config import InputError, Interrupted
from burnish.engine import SilentProgress, StepInfo, TrainSettings, ranks
from burnish.models.load import save_model
from burnish.records import Document, Example, Feedback, Message, Preference, Prompt, Record
from burnish.rollouts import OnlineSettings, online
from burnish.sampling import Sampling
from burnish.stages.base import Context, Inputs
from burnish.stages.fit import distill, dpo, grpo, kto, online_dpo, ppo, pretrain, sft
from burnish.stages.policy import KlBound
from burnish.store import tables

CUT = 5
Done = dict[str, Any]


def said(role: str, text: str) -> Message:
    return {"role": role, "content": text}  # type: ignore[return-value, typeddict-item]


def write(folder: Path) -> None:
    """A model, another one as anchor, and data of every kind."""
    for name, seed in (("model", 0), ("anchor", 1)):
        save_model(tiny.model(seed, vocab_size=269), tiny.tokenizer(extra=["<|odd|>"]),
                   folder / name)  # fmt: skip
    verify = {"kind": "format", "rules": [{"rule": "max_words", "n": 1}]}
    prompts = [
        Prompt(id=f"p{n}", messages=[said("user", "a" * n)], verify=verify) for n in range(1, 7)
    ]
    # Longer than the context, and the fourth of five prompts in the first phase: the second
    # process's.
    long = Prompt(id="long", messages=[said("user", "z" * 600)], verify=verify)
    feedback = [
        Feedback(id=f"f{n}", prompt=[said("user", f"the {n}")], label=n % 2 == 1, group=str(n),
                 completion=[said("assistant", "hello " * (n % 4 + 1))])
        for n in range(13)
    ]  # fmt: skip
    examples = [
        Example(
            id=f"e{n}", messages=[said("user", f"{n}?"), said("assistant", "he " * (n % 3 + 1))]
        )
        for n in range(9)
    ]
    general = [Document(id=f"d{n}", text="the hell " * (n % 3 + 1)) for n in range(6)]
    pairs = [
        Preference(id=f"c{n}", prompt=[said("user", f"{n}?")],
                   chosen=[said("assistant", "he " * (n % 3 + 1))],
                   rejected=[said("assistant", "no")])
        for n in range(5)
    ]  # fmt: skip
    heldout = [replace(prompts[0], id=f"h{n}", messages=[said("user", "h" * n)])
               for n in range(1, 21)]  # fmt: skip
    domain = [Document(id=f"o{n}", text="an odd text " * (n % 2 + 1)) for n in range(5)]
    rows: dict[str, Sequence[Record]] = {
        "domain": domain,
        "pairs": pairs, "heldout": heldout,
        "prompts": prompts, "long": [*prompts, long], "feedback": feedback, "examples": examples,
        "general": general,
    }  # fmt: skip
    for name, records in rows.items():
        tables.write(folder / f"{name}.jsonl", records)


DIVIDED = ("anchored", "dpo", "pretrain")
"""Stages in which no process holds the model whole."""
ONLINE: dict[str, Any] = {
    "model": "m",
    "prompts": ["p"],
    "max_kl": 1000.0,
    "sampling": Sampling(temperature=0.9, max_new_tokens=8),
    "online": OnlineSettings(phases=2, prompts_per_phase=5, per_prompt=4),
    # Windows of two, two and one prompts, in micro-batches of one or two.
    "train": TrainSettings(
        learning_rate=0.01, schedule="constant", epochs=2, segments_per_step=8, tokens_per_batch=80
    ),
}
STAGES: dict[str, tuple[ModuleType, dict[str, Any], dict[str, str]]] = {
    "grpo": (grpo, ONLINE, {"prompts": "prompts"}),
    "ppo": (ppo, ONLINE, {"prompts": "prompts"}),
    # An adapter; rolled back at the start of the third phase.
    "online_dpo": (
        online_dpo,
        {
            **ONLINE, "lora": {"r": 3}, "max_kl": 6.5,
            "online": OnlineSettings(phases=3, prompts_per_phase=5, per_prompt=4),
        },
        {"prompts": "prompts"},
    ),
    # Micro-batches of two kinds, of which a process may have one alone; a second trunk; looks.
    "hybrid": (
        ppo,
        {
            **ONLINE, "critic": {"trunk": "own"},
            "credit": {"adaptive": {"target": 0.5, "horizon": 20}},
            "preferences": {"data": ["d"], "pairs_per_step": 2},
            "watch": {"prompts": ["h"], "action": "report"},
            "train": ONLINE["train"].model_copy(update={"learning_rate": 0.0005}),
            "online": OnlineSettings(phases=2, prompts_per_phase=5, per_prompt=2),
        },
        {"prompts": "prompts", "preferences.data": "pairs", "watch.prompts": "heldout"},
    ),
    "long": (grpo, ONLINE, {"prompts": "long"}),
    "kto": (
        kto,
        {
            "model": "m", "data": ["d"], "beta": 0.5, "heldout": 0.3,
            "train": TrainSettings(learning_rate=0.003, epochs=2, segments_per_step=4,
                                   tokens_per_batch=25, eval_every=3),
        },
        {"data": "feedback"},
    ),
    "dpo": (
        dpo,
        {
            "model": "m", "data": ["d"], "heldout": 0.3,
            "train": TrainSettings(learning_rate=0.003, epochs=3, segments_per_step=4,
                                   tokens_per_batch=40, eval_every=2),
        },
        {"data": "pairs"},
    ),
    # An adapter over frozen weights that are divided, layers computed again in backward; general
    # text is measured on the way.
    "pretrain": (
        pretrain,
        {
            "model": "m", "domain": ["d"], "general": ["g"], "heldout": "h", "anchor": "a",
            "ratio": 1.0, "lora": {"r": 3}, "guard": {"checks": 3, "action": "watch"},
            "domain_heldout": 0.0, "sequence_length": 24,
            "train": TrainSettings(learning_rate=0.01, epochs=3, segments_per_step=3,
                                   tokens_per_batch=24, extras={"checkpoint_activations": True}),
        },
        {"domain": "domain", "general": "general", "heldout": "domain"},
    ),
    "distilled": (
        distill,
        {
            "model": "m", "teacher": "t", "data": ["d"], "heldout": 0.2, "on_policy": 0.5,
            "sampling": Sampling(max_new_tokens=6),
            "train": TrainSettings(learning_rate=0.0005, epochs=2, segments_per_step=5,
                                   tokens_per_batch=30),
        },
        {"data": "examples"},
    ),
    "anchored": (
        sft,
        {
            "model": "m", "data": ["d"], "general": ["g"], "anchor": "a", "heldout": 0.2,
            "train": TrainSettings(learning_rate=0.01, epochs=2, segments_per_step=5,
                                   tokens_per_batch=30),
        },
        {"data": "examples", "general": "general"},
    ),
}  # fmt: skip


def run(name: str, data: Path, place: Path) -> Done:
    """A whole stage on what ``write`` left in ``data``, in ``place``: its log without the clock's
    readings, and the weights that it saved."""
    stage, settings, files = STAGES[name]
    inputs = {field: [str(data / f"{file}.jsonl")] for field, file in files.items()}
    inputs["model"] = [str(data / "model")]
    for other in ("anchor", "teacher"):
        if other in settings:
            inputs[other] = [str(data / "anchor")]
    place.mkdir(parents=True, exist_ok=True)
    context = Context(
        name="fit", round=1, seed=0, output=place / "output", scratch=place / "scratch",
        cache=place / "cache", metrics=place / "metrics.jsonl", registry=place / "registry.sqlite",
        progress=SilentProgress(), device="cpu",
    )  # fmt: skip
    stage.run(stage.Config(**settings), Inputs(inputs), context)
    ranks.wait()
    lines = [json.loads(line) for line in context.metrics.read_text().splitlines()]
    rows = [{k: v for k, v in row.items() if k not in {*TIMES, "stage"}} for row in lines]
    # A pair's two rewards begin at 0: which is greater is a matter of rounding.
    rows[0].pop("accuracy", None)
    return {"rows": rows, "weights": load_file(context.output / "model.safetensors")}


def cut(name: str, data: Path, place: Path) -> str:
    """The message of a stage that is interrupted after step CUT by a signal to the last process."""
    usual = KlBound.__call__

    def watch(self: KlBound, info: StepInfo) -> Any:
        if info.step == CUT and ranks.index() == ranks.count() - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return usual(self, info)

    try:
        with mock.patch.object(KlBound, "__call__", watch):
            run(name, data, place)
    except Interrupted as error:
        return str(error)
    return "not interrupted"


def refused(name: str, data: Path, place: Path) -> str:
    """The message of a stage that one process finds wrong."""
    try:
        run(name, data, place)
    except InputError as error:
        return str(error)
    return "not refused"


def alone(items: Sequence[Any], work: Callable[[Sequence[Any]], Sequence[Any]]) -> list[Any]:
    """A mistake: what this process has worked out is taken for everything."""
    return list(work(items[ranks.index() :: ranks.count()] or items[:1]))


@contextmanager
def sampled() -> Iterator[list[tuple[list[str], int]]]:
    """Of each call that samples in this process its prompts, and how many replies came."""
    seen = []
    usual = online.collect

    def collect(sampler: Any, prompts: Sequence[Prompt], *rest: Any, **named: Any) -> Any:
        found = usual(sampler, prompts, *rest, **named)
        seen.append(([prompt.id for prompt in prompts], len(found)))
        return found

    with mock.patch.object(online, "collect", collect):
        yield seen


def main(folder: Path) -> None:
    """Every stage of this file; FOLDER/one holds a checkpoint that a single process left."""
    torch.set_num_threads(1)
    ranks.join()
    with sampled() as seen:
        done: dict[str, Any] = {"grpo": run("grpo", folder, folder / "grpo")}
    done["sampled"] = seen
    for name in ("ppo", "hybrid", "online_dpo", "kto", "distilled"):
        done[name] = run(name, folder, folder / name)
    whole = AssertionError("loaded whole")
    with mock.patch.object(AutoModelForCausalLM, "from_pretrained", side_effect=whole):
        for name in DIVIDED:
            done[name] = run(name, folder, folder / name)
    with mock.patch.object(kto.ranks, "shared_out", alone):
        done["own z0"] = run("kto", folder, folder / "own z0")
    done["long"] = refused("long", folder, folder / "long")
    done["cut"] = cut("ppo", folder, folder / "again")
    if ranks.first():
        shutil.copytree(folder / "again", folder / "for one")
    ranks.wait()
    done["2 to 2"] = run("ppo", folder, folder / "again")
    done["1 to 2"] = run("ppo", folder, folder / "one")
    torch.save(done, folder / f"{ranks.index()}.pt")
    ranks.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
