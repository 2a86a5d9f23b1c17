"""TRL's side of the oracle: its own loss methods on given numbers. Runs where TRL is installed.

The methods are those of TRL's trainers, called without a trainer: a stub holds the few attributes
they read, and stands in for the model by returning the given log-probabilities.

Usage: python oracle_trl.py REQUEST.json ANSWER.json
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import trl
from torch import Tensor
from trl.experimental.cpo import CPOTrainer
from trl.experimental.orpo import ORPOTrainer
from trl.rewards import get_soft_overlong_punishment
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.kto_trainer import KTOTrainer
from trl.trainer.reward_trainer import RewardTrainer
from trl.trainer.rloo_trainer import RLOOTrainer

Answer = dict[str, list[float]]
Rows = list[list[float]]

# Lists that TRL turns into tensors must keep their digits.
torch.set_default_dtype(torch.float64)


def leaf(values: Any) -> Tensor:
    return torch.tensor(values, requires_grad=True)


def answer(values: Tensor, leaves: list[Tensor]) -> Answer:
    """Values, and the gradient of their sum by every number of the leaves in turn."""
    slopes = torch.autograd.grad(values.sum(), leaves, allow_unused=True) if leaves else ()
    flat = [
        torch.zeros_like(one).flatten() if slope is None else slope.flatten()
        for one, slope in zip(leaves, slopes, strict=True)
    ]
    gradient = torch.cat(flat).tolist() if flat else []
    return {"values": values.detach().flatten().tolist(), "gradient": gradient}


def padded(rows: list[Tensor]) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)


def mask_of(rows: Rows) -> Tensor:
    return padded([torch.ones(len(row), dtype=torch.int64) for row in rows])


def same(value: Any, **_: Any) -> Any:
    return value


def trainer(**attributes: Any) -> SimpleNamespace:
    """What the methods read of a trainer in training mode on one device."""
    accelerator = SimpleNamespace(
        device=torch.device("cpu"),
        num_processes=1,
        process_index=0,
        is_main_process=True,
        sync_gradients=True,
        gather=same,
        gather_for_metrics=same,
        reduce=same,
    )
    common = {
        "accelerator": accelerator,
        "model": SimpleNamespace(training=True, is_gradient_checkpointing=False),
        "aux_loss_enabled": False,
        "_metrics": {"train": defaultdict(list)},
        "_total_train_tokens": 0,
        "_tp_size": 1,
    }
    return SimpleNamespace(**{**common, **attributes})


def speaking(rows: list[Tensor]) -> Callable[..., SimpleNamespace]:
    """A model that says these log-probabilities of its labels, one row a sequence."""
    said = padded(rows)
    shown = {name: torch.zeros_like(said) for name in ("entropy", "mean_logits")}
    output = SimpleNamespace(log_probs=said, is_top1=said > 0, **shown)
    return lambda **_: output


def batch_of(rows: Rows) -> dict[str, Tensor]:
    """One prompt token before each reply."""
    mask = torch.nn.functional.pad(mask_of(rows), (1, 0))
    return {
        "input_ids": torch.zeros_like(mask),
        "attention_mask": torch.ones_like(mask),
        "completion_mask": mask,
    }


def dpo(data: dict[str, Any], settings: dict[str, Any]) -> Answer:
    """Each pair by itself, so that the mean over the batch is the pair's own row."""
    plain = {"loss_weights": [1.0] * len(settings["loss_types"]), "label_smoothing": 0.0}
    losses, leaves = [], []
    for pair in data["pairs"]:
        rows = [leaf(pair["chosen"]), leaf(pair["rejected"])]
        inputs = batch_of([pair["chosen"], pair["rejected"]])
        for side in ("chosen", "rejected"):
            inputs[f"ref_{side}_logps"] = torch.tensor([sum(pair[f"ref_{side}"])])
        stub = trainer(
            ld_alpha=None,
            precompute_ref_logps=True,
            f_divergence_type="reverse_kl",
            use_weighting=False,
            **{**plain, **settings},
        )
        losses.append(DPOTrainer._compute_loss(stub, speaking(rows), inputs, False))
        leaves += rows
    return answer(torch.stack(losses), leaves)


def simpo(data: dict[str, Any], settings: dict[str, Any]) -> Answer:
    leaves = [leaf(pair[side]) for side in ("chosen", "rejected") for pair in data["pairs"]]
    means = torch.stack([one.mean() for one in leaves]).chunk(2)
    stub = trainer(alpha=0.0, loss_type="simpo", label_smoothing=0.0, **settings)
    return answer(CPOTrainer.cpo_loss(stub, *means)[0], leaves)


def orpo(data: dict[str, Any], settings: dict[str, Any]) -> Answer:
    """The odds-ratio term alone, as a loss."""
    leaves = [leaf(pair[side]) for side in ("chosen", "rejected") for pair in data["pairs"]]
    means = torch.stack([one.mean() for one in leaves]).chunk(2)
    return answer(-ORPOTrainer.odds_ratio_loss(trainer(**settings), *means)[0].double(), leaves)


def kto(data: dict[str, Any], settings: dict[str, Any]) -> Answer:
    leaves = [leaf(row) for row in data["replies"]]
    inputs = batch_of(data["replies"])
    inputs["label"] = torch.tensor(data["desirable"])
    inputs["ref_logps"] = torch.tensor([sum(row) for row in data["ref_replies"]])
    inputs["ref_KL_logps"] = torch.tensor(data["ref_mismatched"]) + settings.pop("shift")
    mismatched = torch.tensor(data["mismatched"])
    stub = trainer(
        precompute_ref_logps=True,
        calculate_KL=True,
        loss_type="kto",
        _compute_kl_logps=lambda *_: mismatched,
        **settings,
    )
    return answer(KTOTrainer._compute_loss(stub, speaking(leaves), inputs, False), leaves)


def reward(data: dict[str, Any], settings: dict[str, Any]) -> Answer:
    losses, leaves = [], []
    for chosen, rejected, margin in zip(
        *(data[f"score_{n}"] for n in ("c", "r", "m")), strict=True
    ):
        scores = leaf([[chosen], [rejected]])
        inputs: dict[str, Any] = {"attention_mask": torch.ones(2, 1)}
        if settings["margin"]:
            inputs["margin"] = torch.tensor([margin])
        output = SimpleNamespace(logits=scores)
        args = SimpleNamespace(center_rewards_coefficient=settings["centring"])
        stub = trainer(args=args)
        losses.append(RewardTrainer.compute_loss(stub, lambda output=output, **_: output, inputs))
        leaves.append(scores)
    return answer(torch.stack(losses), leaves)


def policy(data: dict[str, Any], settings: dict[str, Any]) -> Answer:
    leaves = [leaf(row) for row in data["replies"]]
    logprobs, mask = padded(leaves), mask_of(data["replies"])
    inputs = {
        "prompt_ids": torch.zeros(len(mask), 1, dtype=torch.int64),
        "prompt_mask": torch.ones(len(mask), 1, dtype=torch.int64),
        "completion_ids": torch.zeros_like(mask),
        "completion_mask": mask,
        "advantages": torch.tensor(data["advantages"]),
        "num_items_in_batch": mask.sum(),
    }
    for name, rows in (("old", "old_replies"), ("ref", "ref_replies")):
        inputs[f"{name}_per_token_logps"] = padded([torch.tensor(row) for row in data[rows]])
    if settings.pop("importance", False):
        inputs["importance_sampling_ratio"] = padded([torch.tensor(r) for r in data["weights"]])
    scores = (logprobs, torch.zeros_like(logprobs), None)
    arguments = SimpleNamespace(
        delta=settings.pop("delta", None), use_bias_correction_kl=False, steps_per_generation=1
    )
    plain: dict[str, Any] = {
        "beta": 0.0,
        "epsilon_low": 0.2,
        "epsilon_high": 0.2,
        "importance_sampling_level": "token",
        "max_completion_length": data["longest"],
    }
    stub = trainer(
        args=arguments,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        use_vllm="importance_sampling_ratio" in inputs,
        vllm_importance_sampling_correction=True,
        current_gradient_accumulation_steps=1,
        _entropy_bonus_enabled=False,
        _get_per_token_logps_and_entropies=lambda *_, **__: scores,
        **{**plain, **settings},
    )
    return answer(GRPOTrainer._compute_loss(stub, None, inputs), leaves)


def rollout(data: dict[str, Any], attributes: dict[str, Any], generated: Any) -> SimpleNamespace:
    """A stub that generates the given replies, and more about them, and gets the given rewards."""
    count = len(data["rewards"])
    old = data.get("old_replies", [[0.0]])
    replies = [[0] * len(row) for row in old[:count]] + [[0]] * (count - len(old))
    scores = (padded([torch.tensor(row) for row in old]), None, None)
    rewards = torch.tensor(data["rewards"])[:, None]
    plain = {
        "args": SimpleNamespace(
            per_device_train_batch_size=count,
            steps_per_generation=1,
            gradient_accumulation_steps=1,
            gradient_checkpointing_kwargs=None,
        ),
        "_tokenizer": SimpleNamespace(pad_token_id=0),
        "_generate": lambda _: ([[0]] * count, replies, *generated),
        "_get_per_token_logps_and_entropies": lambda *_, **__: scores,
        "_calculate_rewards": lambda *_: rewards,
        "_logs": defaultdict(list, rewards=defaultdict(list), extra=defaultdict(list)),
        "_pending_extra_logs": {},
        "_pending_metrics": {},
        "beta": 0.0,
        "environment_factories": None,
        "environments": None,
        "log_multimodal": False,
        "mask_truncated_completions": False,
        "multi_objective_aggregation": "sum_then_normalize",
        "normalize_advantages": False,
        "num_generations": data["per_prompt"],
        "num_iterations": 1,
        "pad_to_multiple_of": None,
        "reward_clip_range": None,
        "reward_func_names": ["reward"],
        "reward_weights": torch.ones(1),
        "scale_rewards": "group",
        "tools": None,
        "use_vllm": False,
        "vllm_importance_sampling_clip_min": None,
        "vllm_importance_sampling_correction": True,
        "vllm_importance_sampling_mode": "token_truncate",
    }
    return trainer(**{**plain, **attributes})


def grpo_advantages(data: dict[str, Any], settings: dict[str, Any]) -> Answer:
    texts = [""] * len(data["grouped"]["rewards"])
    stub = rollout(data["grouped"], settings, (None, texts, None, {}, None, None))
    found = GRPOTrainer._generate_and_score_completions(stub, [{"prompt": ""}] * len(texts))
    return answer(found["advantages"], [])


def rloo_advantages(data: dict[str, Any], settings: dict[str, Any]) -> Answer:
    texts = [""] * len(data["grouped"]["rewards"])
    stub = rollout(data["grouped"], settings, (texts,))
    found = RLOOTrainer._generate_and_score_completions(stub, [{"prompt": ""}] * len(texts))
    return answer(found["advantages"], [])


def importance(data: dict[str, Any], settings: dict[str, Any]) -> Answer:
    count = len(data["replies"])
    sampled = {
        "rewards": [float(index) for index in range(count)],
        "per_prompt": count,
        "old_replies": data["old_replies"],
    }
    generated = (None, [""] * count, data["sampler_replies"], {}, None, None)
    stub = rollout(sampled, {"use_vllm": True, **settings}, generated)
    found = GRPOTrainer._generate_and_score_completions(stub, [{"prompt": ""}] * count)
    ratio = found["importance_sampling_ratio"]
    return answer(ratio[mask_of(data["replies"]).bool()], [])


def overlong(data: dict[str, Any], settings: dict[str, Any]) -> Answer:
    punish = get_soft_overlong_punishment(settings["limit"], settings["buffer"])
    return answer(torch.tensor(punish([[0] * length for length in data["lengths"]])), [])


CALLS: dict[str, Callable[[dict[str, Any], dict[str, Any]], Answer]] = {
    "dpo": dpo,
    "simpo": simpo,
    "orpo": orpo,
    "kto": kto,
    "reward": reward,
    "policy": policy,
    "grpo_advantages": grpo_advantages,
    "rloo_advantages": rloo_advantages,
    "importance": importance,
    "overlong": overlong,
}


def main(request: Path, reply: Path) -> None:
    """Answer every call of the request file."""
    asked = json.loads(request.read_text(encoding="utf-8"))
    answers = [CALLS[call](asked["data"], dict(settings)) for call, settings in asked["calls"]]
    found = {"version": trl.__version__, "answers": answers}
    reply.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
