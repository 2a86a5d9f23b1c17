"""TRL's side: its trainers as a user would call them. Nothing of burnish is imported here."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GenerationConfig,
    TrainerCallback,
)
from trl import (
    DPOConfig,
    DPOTrainer,
    GRPOConfig,
    GRPOTrainer,
    RewardConfig,
    RewardTrainer,
    SFTConfig,
    SFTTrainer,
)

from benchmarks import data, worker
from benchmarks.workloads import ALPHA, MAX_LENGTH, PER_PROMPT, Workload, from_json


class Stopwatch(TrainerCallback):
    """Marks the clock at the end of each step and ends training when enough was measured."""

    def __init__(self, clock: worker.Clock, work: Sequence[tuple[int, float]]) -> None:
        self.clock, self.work, self.seen = clock, work, 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The first step begins."""
        self.clock.start()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """A step ended; where it wrote its own replies the trainer counted their tokens."""
        if self.work:
            self.clock.mark(*self.work[len(self.clock.tokens) % len(self.work)])
        else:
            now = int(state.num_input_tokens_seen)
            self.clock.mark(now - self.seen)
            self.seen = now
        control.should_training_stop = self.clock.done


def options(workload: Workload, steps: int, folder: str) -> dict[str, Any]:
    """What has to be equal on both sides; everything else is the trainer's default."""
    equal: dict[str, Any] = {
        "output_dir": folder,
        "use_cpu": True,
        "bf16": False,
        "per_device_train_batch_size": workload.batch,
        "learning_rate": worker.rate(workload),
        "lr_scheduler_type": "constant",
        "max_steps": steps,
        "seed": data.SEED,
    }
    if workload.kind in ("grpo", "grpo_step"):
        equal |= {
            "shuffle_dataset": False,
            "num_generations": PER_PROMPT,
            "max_completion_length": workload.reply[1],
        }
    else:
        equal["train_sampling_strategy"] = "sequential"
    if workload.kind == "grpo":
        equal["num_iterations"] = worker.MOST_STEPS
    if workload.kind == "sft":
        equal["max_length"] = MAX_LENGTH
    return equal | dict(workload.peer)


def trainer_of(
    workload: Workload,
    folder: str,
    tokenizer: Any,
    rows: Sequence[data.Row],
    args: Mapping[str, Any],
) -> Any:
    """The trainer of one workload over the rows."""
    if workload.kind == "sft":
        table = [{"prompt": row.prompt, "completion": row.replies[0]} for row in rows]
        trainer = SFTTrainer(
            model=folder,
            args=SFTConfig(**args),
            train_dataset=Dataset.from_list(table),
            processing_class=tokenizer,
            peft_config=_adapter(workload) if workload.rank else None,
        )
        if workload.rank:
            worker.set_adapter(trainer.model)
        return trainer
    if workload.kind in ("dpo", "reward"):
        names = ("chosen", "rejected")
        table = [{"prompt": r.prompt} | dict(zip(names, r.replies, strict=True)) for r in rows]
        rest = {"train_dataset": Dataset.from_list(table), "processing_class": tokenizer}
        if workload.kind == "dpo":
            return DPOTrainer(model=folder, args=DPOConfig(**args), **rest)
        model = AutoModelForSequenceClassification.from_pretrained(
            folder, num_labels=1, dtype=torch.float32
        )
        model.score.weight.data.copy_(worker.head_weights(model.config.hidden_size))
        return RewardTrainer(model=model, args=RewardConfig(**args), **rest)
    return _grpo(workload, folder, tokenizer, rows, args)


def _adapter(workload: Workload) -> LoraConfig:
    return LoraConfig(
        r=workload.rank, lora_alpha=ALPHA, target_modules="all-linear", task_type="CAUSAL_LM"
    )


def _grpo(
    workload: Workload,
    folder: str,
    tokenizer: Any,
    rows: Sequence[data.Row],
    args: Mapping[str, Any],
) -> Any:
    given = {row.prompt: row for row in rows}

    def rewards(completion_ids: list[list[int]], **kwargs: Any) -> list[float]:
        return [data.reward(tokens) for tokens in completion_ids]

    def replies(prompts: list[str], trainer: Any) -> dict[str, Any]:
        """The replies of the rows, in place of sampled ones."""
        taken: Counter[str] = Counter()
        ids = []
        for prompt in prompts:
            ids.append(data.reply_ids(tokenizer, given[prompt].replies[taken[prompt]]))
            taken[prompt] += 1
        return {
            "prompt_ids": [tokenizer(prompt)["input_ids"] for prompt in prompts],
            "completion_ids": ids,
            "logprobs": [[0.0] * len(tokens) for tokens in ids],
        }

    update = workload.kind == "grpo"
    prompts = [
        {"prompt": row.prompt if update else [{"role": "user", "content": row.prompt}]}
        for row in rows
    ]
    return GRPOTrainer(
        model=folder,
        reward_funcs=rewards,
        args=GRPOConfig(**args),
        train_dataset=Dataset.from_list(prompts),
        processing_class=tokenizer,
        rollout_func=replies if update else None,
    )


def work_of(
    workload: Workload, trainer: Any, tokenizer: Any, rows: Sequence[data.Row], size: data.Shape
) -> list[tuple[int, float]]:
    """Useful tokens and operations of each step of an epoch; none where the trainer samples."""
    if workload.kind == "grpo_step":
        return []
    passes = 3
    if workload.kind == "grpo":
        prompts = [len(tokenizer(row.prompt)["input_ids"]) for row in rows]
        replies = [[len(data.reply_ids(tokenizer, r)) for r in row.replies] for row in rows]
        units = [
            [(before + length, length)]
            for before, lengths in zip(prompts, replies, strict=True)
            for length in lengths
        ]
    elif workload.kind == "sft":
        units = [
            [(len(row["input_ids"]), sum(label != -100 for label in row["labels"]))]
            for row in trainer.train_dataset
        ]
    elif workload.kind == "dpo":
        passes = 3 if workload.peer.get("precompute_ref_log_probs") else 4
        units = [
            [
                (len(row["prompt_ids"]) + len(row[side]), len(row[side]))
                for side in ("chosen_ids", "rejected_ids")
            ]
            for row in trainer.train_dataset
        ]
    else:
        units = [
            [(len(row[side]), 0) for side in ("chosen_ids", "rejected_ids")]
            for row in trainer.train_dataset
        ]
    return [
        worker.training_work(
            size,
            [pair for unit in units[i : i + workload.batch] for pair in unit],
            passes,
            workload.rank,
        )
        for i in range(0, len(units), workload.batch)
    ]


def check(job: dict[str, Any]) -> dict[str, Any]:
    """The losses of two steps on one batch; of a rollout what greedy replies are worth."""
    workload, tokenizer, rows = _begin(job)
    rows = rows[: workload.prompts or workload.batch]
    if workload.kind == "rollout":
        return {"losses": [_greedy(workload, job["model"], tokenizer, rows)]}
    if workload.kind == "grpo_step":
        workload = from_json(job["workload"] | {"kind": "grpo"})
    with tempfile.TemporaryDirectory() as folder:
        args = options(workload, worker.CHECK_STEPS, folder)
        args["logging_steps"] = 1
        trainer = trainer_of(workload, job["model"], tokenizer, rows, args)
        trainer.train()
    return {"losses": [row["loss"] for row in trainer.state.log_history if "loss" in row]}


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Steps until enough was measured."""
    workload, tokenizer, rows = _begin(job)
    clock = worker.Clock(job["seconds"])
    if workload.kind == "rollout":
        _rollout(workload, job["model"], tokenizer, rows, clock)
        return worker.timed(clock)
    with tempfile.TemporaryDirectory() as folder:
        args = options(workload, worker.MOST_STEPS, folder)
        trainer = trainer_of(workload, job["model"], tokenizer, rows, args)
        size = data.shape(AutoConfig.from_pretrained(job["model"]))
        work = work_of(workload, trainer, tokenizer, rows, size)
        trainer.add_callback(Stopwatch(clock, work))
        trainer.train()
    return worker.timed(clock)


def _generation(workload: Workload, tokenizer: Any, model: Any, **changes: Any) -> GenerationConfig:
    """The settings that GRPOTrainer generates with by default."""
    ends = model.generation_config.eos_token_id
    wanted = {
        "max_new_tokens": workload.reply[1],
        "do_sample": True,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": ends if ends is not None else tokenizer.eos_token_id,
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": 0,
        "disable_compile": True,
    }
    return GenerationConfig(**(wanted | changes))


def _load(folder: str) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def _rollout(
    workload: Workload, folder: str, tokenizer: Any, rows: Sequence[data.Row], clock: worker.Clock
) -> None:
    model = _load(folder)
    settings, size = _generation(workload, tokenizer, model), data.shape(model.config)
    torch.manual_seed(data.SEED)
    clock.start()
    while not clock.done:
        first = len(clock.tokens) * workload.prompts
        taken = [rows[(first + i) % len(rows)].prompt for i in range(workload.prompts)]
        texts = [text for text in taken for _ in range(PER_PROMPT)]
        inputs = tokenizer(texts, return_tensors="pt", padding=True, padding_side="left")
        with torch.no_grad():
            found = model.generate(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                generation_config=settings,
            )
        replies = found[:, inputs["input_ids"].shape[1] :]
        written = _written(replies, settings.eos_token_id).sum(1).tolist()
        before = inputs["attention_mask"].sum(1).tolist()
        pairs = list(zip(before, written, strict=True))
        clock.mark(sum(written), data.sampling_flops(size, pairs, before[::PER_PROMPT]))


def _written(replies: torch.Tensor, ends: int | list[int]) -> torch.Tensor:
    """``[R, L]`` bool: the tokens up to the first end token, and that one."""
    stops = torch.isin(replies, torch.tensor(ends))
    return (stops.long().cumsum(1) - stops.long()) == 0


def _greedy(workload: Workload, folder: str, tokenizer: Any, rows: Sequence[data.Row]) -> float:
    """Mean log-probability of the tokens of greedy replies."""
    model = _load(folder)
    inputs = tokenizer(
        [row.prompt for row in rows], return_tensors="pt", padding=True, padding_side="left"
    )
    settings = _generation(
        workload, tokenizer, model, do_sample=False, temperature=None, top_p=None, top_k=None,
        return_dict_in_generate=True, output_logits=True,
    )  # fmt: skip
    with torch.no_grad():
        found = model.generate(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            generation_config=settings,
        )
    replies = found.sequences[:, inputs["input_ids"].shape[1] :]
    scores = torch.stack(found.logits, 1).log_softmax(-1)
    values = scores.gather(2, replies[..., None]).squeeze(2)
    return float(values[_written(replies, settings.eos_token_id)].mean())


def _begin(job: dict[str, Any]) -> tuple[Workload, Any, list[data.Row]]:
    workload = from_json(job["workload"])
    tokenizer = AutoTokenizer.from_pretrained(job["model"])
    if tokenizer.pad_token in (None, tokenizer.eos_token):
        # An end token that is padding too would be cut from the rows of a reward model.
        tokenizer.pad_token = tokenizer.unk_token
    return workload, tokenizer, data.rows(workload, tokenizer, Path(job["corpus"]))


if __name__ == "__main__":
    worker.main({"check": check, "measure": measure}, "torch transformers trl peft")
