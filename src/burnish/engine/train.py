"""The training loop: every fit goes through here, and nothing else divides a loss."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from torch import nn

from burnish.config import InputError, Interrupted
from burnish.engine import optim, state
from burnish.engine.guard import Patience, check_finite
from burnish.engine.log import MetricsLog
from burnish.engine.progress import Handle, Progress, SilentProgress
from burnish.engine.schedule import learning_rate
from burnish.engine.settings import TrainSettings
from burnish.engine.signals import Signals
from burnish.engine.source import Source
from burnish.engine.window import accumulate
from burnish.objectives.types import Loss
from burnish.text.batches import Batch

Action = Literal["mark", "stop", "rollback"]
LossFunction = Callable[[Any, Batch], Loss]
NOT_IDENTITY = ("save_seconds", "save_steps")
"""Settings that a resumed fit may change: they do not touch its result."""
Reason = Literal["finished", "patience", "stop", "rollback"]


@dataclass(frozen=True)
class StepInfo:
    """What ``on_step`` is told: ``step`` of ``steps`` is done; ``metrics`` is its logged row."""

    step: int
    steps: int
    metrics: Mapping[str, float]
    tokens: int


@dataclass(frozen=True)
class FitResult:
    """``history`` has one row of metrics a step, also of the steps before an interruption."""

    steps: int
    history: list[dict[str, float]]
    stopped_reason: Reason
    tokens: int
    seconds: float


def train(
    model: nn.Module,
    source: Source,
    loss: LossFunction,
    settings: TrainSettings,
    *,
    seed: int,
    scratch: Path | None = None,
    metrics: Path | None = None,
    progress: Progress | None = None,
    label: str = "training",
    tags: Mapping[str, str | int] | None = None,
    evaluate: Callable[[], Mapping[str, float]] | None = None,
    on_step: Callable[[StepInfo], Action | None] | None = None,
    trainable: optim.Trainable | None = None,
) -> FitResult:
    """Fit ``model`` in place.

    Each optimiser step sums ``loss(model, batch).total`` over a window's micro-batches and
    divides the gradient once by the window's summed ``count``: how a window is cut into
    micro-batches makes no difference, and the short last window is exact.

    Args:
        model: put into train mode where the source allows dropout, else into eval mode; its mode
            is put back at the end.
        source: gives the windows.
        loss: undivided sums of one micro-batch.
        seed: of python's, numpy's and torch's generators, which are set here.
        scratch: folder of step checkpoints. A fit that finds one there continues it, bit for bit.
        metrics: JSONL file, one row a step (cut back to the resumed step first).
        label: the name of this fit in the progress display and in messages.
        tags: written into each row of ``metrics``, for a file that several fits share.
        evaluate: held-out numbers, logged with the step; ``"loss"`` (lower is better) as
            ``eval_loss``. Where it is among them, the weights with the lowest are those the fit
            ends with. It runs in eval mode, without gradients, and cannot shift the random state
            of training.
        on_step: called after each step. ``"mark"`` remembers the weights as good, ``"stop"`` ends
            the fit, ``"rollback"`` puts back the marked weights (those of the start where none
            were marked) and ends the fit.
        trainable: what is trained, by name; default: every parameter of ``model`` with
            ``requires_grad``. See ``optim.named_trainable`` for a model with a head.

    Raises:
        TrainingDiverged: loss or gradient is not finite; the step is not taken.
        Interrupted: SIGINT or SIGTERM came; the step was finished and saved.
        InputError: the checkpoint in ``scratch`` is of another fit, or nothing is trainable.
    """
    if trainable is None:
        trainable = optim.named_trainable(model=model)
    if not trainable:
        raise InputError("the model has no parameter to train; all of them are frozen")
    fit = _Fit(
        model,
        source,
        loss,
        settings,
        trainable,
        scratch,
        MetricsLog(metrics, tags),
        evaluate,
        on_step,
        label,
    )
    was_training = model.training
    try:
        fit.begin(seed)
        board = progress or SilentProgress()
        with Signals() as signals, board.task(label, fit.steps) as bar:
            bar.advance(fit.step)
            while fit.reason is None:
                fit.advance(bar)
                if signals.received is not None:
                    raise Interrupted(fit.interrupted(signals.received.name))
        return FitResult(fit.step, fit.log.rows, fit.reason, fit.tokens, fit.seconds)
    finally:
        model.train(was_training)


@dataclass
class _Fit:
    """One fit under way."""

    model: nn.Module
    source: Source
    loss: LossFunction
    settings: TrainSettings
    trainable: optim.Trainable
    scratch: Path | None
    log: MetricsLog
    evaluate: Callable[[], Mapping[str, float]] | None
    on_step: Callable[[StepInfo], Action | None] | None
    label: str
    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    reason: Reason | None = None
    kept: dict[str, state.Weights] = field(default_factory=dict)

    def begin(self, seed: int) -> None:
        """Seed, and continue from the newest checkpoint where there is one."""
        state.seed_everything(seed)
        self.identity = {
            "seed": seed,
            "steps": self.source.steps,
            "settings": self.settings.model_dump(mode="json", exclude=set(NOT_IDENTITY)),
        }
        self.steps = self.source.steps
        if self.settings.max_steps is not None:
            self.steps = min(self.steps, self.settings.max_steps)
        self.optimizer = optim.build_optimizer(self.trainable, self.settings)
        self.patience = Patience(self.settings.patience)
        if self.on_step is not None:
            self.kept["mark"] = state.copy_weights(self.trainable)
        self._resume()
        self.log.cut(self.step)
        self.model.train(self.source.dropout)
        self.saved_at = self.stepped_at = time.monotonic()

    def advance(self, bar: Handle) -> None:
        """One optimiser step with all that belongs to it."""
        window = self.source.window(self.step) if self.step < self.steps else None
        if window is None:
            self._stop("finished")
            return
        row = self._update(window)
        self.step += 1
        self._evaluate(row)
        action = self._ask(row)
        self._clock(row)
        self.log.write(row)
        shown = {"loss": row["loss"], "tok/s": row["tokens_per_second"]}
        bar.advance(1, **shown)
        if action == "stop" or action == "rollback":
            self._stop(action)
        elif self.patience.exhausted:
            self._stop("patience")
        elif self._save_is_due():
            self._save()

    def _update(self, window: list[Batch]) -> dict[str, float]:
        device = next(iter(self.trainable.values())).device
        sums = accumulate(self.model, self.loss, [batch.to(device) for batch in window])
        rate = learning_rate(self.step + 1, self.steps, self.settings)
        norm = 0.0
        # A window without a single target has nothing to say; dividing by its count would be NaN.
        if sums.count != 0:
            norm_tensor = optim.divide_gradients(self.trainable, sums.count)
            norm = norm_tensor.item()
            check_finite(
                step=self.step + 1,
                totals=sums.totals,
                ids=[batch.ids for batch in window],
                norm=norm,
                learning_rate=rate,
            )
            optim.clip_gradients(self.trainable, norm_tensor, self.settings.clip_norm)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.tokens += sums.tokens
        return {
            "step": self.step + 1,
            "loss": sums.loss,
            "learning_rate": rate,
            "grad_norm": norm,
            "tokens": self.tokens,
            "window_tokens": sums.tokens,
            "targets": sums.targets,
            **self.source.metrics(),
            **sums.metrics,
        }

    def _evaluate(self, row: dict[str, float]) -> None:
        every = self.settings.eval_every
        due = self.step == self.steps or (every > 0 and self.step % every == 0)
        if self.evaluate is None or not due:
            return
        with state.aside(self.model):
            found = self.evaluate()
        row.update({"eval_loss" if name == "loss" else name: float(v) for name, v in found.items()})
        if "loss" in found and self.patience.improved(found["loss"]):
            self.kept["best"] = state.copy_weights(self.trainable)

    def _ask(self, row: Mapping[str, float]) -> Action | None:
        if self.on_step is None:
            return None
        with state.aside(self.model):
            action = self.on_step(StepInfo(self.step, self.steps, row, self.tokens))
        if action == "mark":
            self.kept["mark"] = state.copy_weights(self.trainable)
        return action

    def _clock(self, row: dict[str, float]) -> None:
        now = time.monotonic()
        took = now - self.stepped_at
        self.stepped_at = now
        self.seconds += took
        row["seconds"] = round(self.seconds, 3)
        row["tokens_per_second"] = round(row["window_tokens"] / max(took, 1e-9), 1)

    def _stop(self, reason: Reason) -> None:
        """End the fit with the weights it is meant to end with, and save that it has ended."""
        if reason == "rollback":
            state.put_weights(self.trainable, self.kept["mark"])
        elif "best" in self.kept:
            state.put_weights(self.trainable, self.kept["best"])
        self.reason = reason
        self.kept = {}
        self._save()

    def _save_is_due(self) -> bool:
        if self.settings.save_steps is not None:
            return self.step % self.settings.save_steps == 0
        return time.monotonic() - self.saved_at >= self.settings.save_seconds

    def _save(self) -> None:
        if self.scratch is None:
            return
        self.log.sync()
        progress = {
            "step": self.step,
            "tokens": self.tokens,
            "seconds": self.seconds,
            "reason": self.reason,
            "best": self.patience.best,
            "waited": self.patience.waited,
        }
        state.save(
            self.scratch,
            self.step,
            self.identity,
            progress,
            self.trainable,
            self.optimizer,
            self.source,
            self.kept,
        )
        self.saved_at = time.monotonic()

    def _resume(self) -> None:
        if self.scratch is None:
            return
        found = state.restore(
            self.scratch, self.identity, self.trainable, self.optimizer, self.source
        )
        if found is None:
            return
        progress, self.kept = found
        self.step, self.tokens = progress["step"], progress["tokens"]
        self.seconds, self.reason = progress["seconds"], progress["reason"]
        self.patience.best, self.patience.waited = progress["best"], progress["waited"]

    def interrupted(self, signal_name: str) -> str:
        """Save after a signal; the message for the person who sent it."""
        self._save()
        where = f"{self.label}: stopped by {signal_name} after step {self.step} of {self.steps}"
        if self.scratch is None:
            return f"{where}; nothing was saved"
        return f"{where}; saved, the same command continues here"
