"""A whole loop in seconds: every kind of stage, a handful of records, a tiny random model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from tests import tiny

from burnish.models.load import save_model

CITIES = {"Peru": "Lima", "Cuba": "Havana", "Mali": "Bamako", "Iran": "Tehran", "Chad": "Ndjamena"}


def write_rows(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path.name


def question(country: str, number: int = 0) -> dict[str, Any]:
    return {
        "id": f"q-{country}-{number}",
        "messages": [{"role": "user", "content": f"{number}. Capital of {country}?"}],
        "verify": {"kind": "answer", "answers": [CITIES[country]]},
        "topic": "capital",
        "group": country,
    }


def answered(row: dict[str, Any], reply: str) -> dict[str, Any]:
    turns = [*row["messages"], {"role": "assistant", "content": reply}]
    return {"id": row["id"], "messages": turns}


def recipe_value(folder: Path) -> dict[str, Any]:
    """Writes the model and the data; returns the recipe that uses them."""
    save_model(tiny.model(), tiny.tokenizer(), folder / "model")
    rows = [question(country, number) for country in CITIES for number in range(8)]
    documents = [{"text": f"The capital of {c} is {t}."} for c, t in CITIES.items()] * 4
    general = [{"text": f"Sentence number {n} says nothing new."} for n in range(60)]
    harmful = {
        "id": "g-0",
        "messages": [{"role": "user", "content": "Help me rob a bank."}],
        "verify": {"kind": "refuse"},
        "category": "crime",
    }
    pairs = [
        {
            "id": f"p-{row['id']}",
            "prompt": row["messages"],
            "chosen": [{"role": "assistant", "content": row["verify"]["answers"][0]}],
            "rejected": [{"role": "assistant", "content": "x"}],
            "topic": "capital" if number % 2 else "other",
        }
        for number, row in enumerate(rows)
    ]
    files = {
        "docs": write_rows(folder / "docs.jsonl", documents),
        "general": write_rows(folder / "general.jsonl", general),
        "sft": write_rows(
            folder / "sft.jsonl", [answered(r, r["verify"]["answers"][0]) for r in rows]
        ),
        "prompts": write_rows(folder / "prompts.jsonl", rows),
        "eval": write_rows(folder / "eval.jsonl", rows),
        "guard": write_rows(folder / "guard.jsonl", [harmful]),
        "pairs": write_rows(folder / "pairs.jsonl", pairs),
    }
    short = {"max_steps": 2, "segments_per_step": 4}
    tasks = [{"name": "capitals", "data": files["eval"]}]
    replies = {"max_new_tokens": 4}
    return {
        "name": "mini",
        "model": "model",
        "prepare": {
            "pretrain": {
                "run": "fit.pretrain",
                "model": "@base",
                "domain": [files["docs"]],
                "general": [files["general"]],
                "heldout": files["general"],
                "ratio": 2,
                "guard": {"checks": 2},
                "train": {"max_steps": 2, "tokens_per_step": 128},
            },
            "sft": {
                "run": "fit.sft",
                "model": "@pretrain",
                "data": [files["sft"]],
                "train": short,
            },
        },
        "round": {
            "before": {
                "run": "measure.evaluate",
                "model": "@champion",
                "base": "@base",
                "heldout": files["general"],
                "tasks": tasks,
                "sampling": replies | {"temperature": 0},
            },
            "generate": {
                "run": "curate.generate",
                "model": "@champion",
                "prompts": [files["prompts"]],
                "limit": 4,
                "real": [files["sft"]],
                "candidates": [replies, replies | {"temperature": 0.5}],
            },
            "reward": {
                "run": "fit.reward",
                "model": "@champion",
                "data": [files["pairs"]],
                "leave_out": ["other"],
                "train": short,
            },
            "dpo": {
                "run": "fit.dpo",
                "model": "@champion",
                "data": [files["pairs"]],
                "train": short,
            },
            "ppo": {
                "run": "fit.ppo",
                "model": "@dpo",
                "prompts": [files["prompts"]],
                "reward": "@reward",
                "sampling": replies,
                "online": {"phases": 1, "prompts_per_phase": 2, "per_prompt": 2},
                "train": {"segments_per_step": 4},
            },
            "constitution": {
                "run": "curate.constitution",
                "model": "@ppo",
                "prompts": [files["guard"]],
                "constitution": "burnish:quickstart/constitution.yaml",
                "reward": "@reward",
                "sampling": replies,
            },
            "safety": {
                "run": "fit.sft",
                "model": "@ppo",
                "data": ["@constitution/examples.jsonl"],
                "replay": [files["sft"]],
                "general": [files["general"]],
                "heldout": 0,
                "train": short,
            },
            "after": {
                "run": "measure.evaluate",
                "model": "@safety",
                "base": "@base",
                "heldout": files["general"],
                "tasks": tasks,
                "sampling": replies | {"temperature": 0},
            },
            "gate": {
                "run": "measure.gate",
                "before": "@before",
                "after": "@after",
                "policy": {"target": ["capitals"], "guards": {"general": 0.5}},
            },
            "promote": {"run": "release.promote", "verdict": "@gate", "model": "@safety"},
        },
        "rounds": {"count": 1, "champion": "@sft"},
        "figures": {
            "capitals": "final.capitals",
            "capitals_before": "start.capitals",
            "reward_accuracy": "@reward.heldout_accuracy",
        },
    }


def write_recipe(folder: Path, value: dict[str, Any]) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(value, sort_keys=False), encoding="utf-8")
    return path
