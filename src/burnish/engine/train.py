"""The training loop: every fit goes through here, and nothing else divides a loss."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from burnish.config import InputError, Interrupted
from burnish.config.progress import Handle, Progress, SilentProgress
from burnish.engine import average, optim, ranks, state, trackers
from burnish.engine.actions import Action, Change, Mixture, StepInfo
from burnish.engine.activations import recomputed, train_mode
from burnish.engine.flops import cost
from burnish.engine.guard import Patience, check_finite
from burnish.engine.log import MetricsLog
from burnish.engine.noise import noisy
from burnish.engine.schedule import learning_rate
from burnish.engine.settings import TrainSettings
from burnish.engine.shards import Share, shared
from burnish.engine.signals import Signals
from burnish.engine.source import Source
from burnish.engine.spikes import Spikes
from burnish.engine.window import LossFunction, WindowSums, accumulate
from burnish.text.batches import Batch

NOT_IDENTITY: dict[str, Any] = {
    "save_seconds": True,
    "save_steps": True,
    "extras": {"checkpoint_activations": True, "trackers": True},
}
"""Settings that a resumed fit may change: they do not touch its result."""
SKIPPED = "skipped.jsonl"
MARK, BEST, AVERAGE = "mark", "best", "average"
"""Sets of weights that a fit keeps beside those it trains."""
Reason = Literal["finished", "patience", "stop", "rollback"]


@dataclass(frozen=True)
class FitResult:
    """``history`` has one row of metrics a step, also of the steps before an interruption;
    ``skipped`` one for each window left out as a loss spike: step, loss, limit and record ids."""

    steps: int
    history: list[dict[str, float]]
    stopped_reason: Reason
    tokens: int
    seconds: float
    skipped: list[dict[str, Any]] = field(default_factory=list)


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

    Of several processes (``ranks.join``) each makes this call with the same arguments, takes its
    share of every window, and ends with the same whole ``model``. Only the first writes and shows.
    ``evaluate`` finds the model whole, or divided where it was given so (``models.divided``);
    ``on_step`` must not look at it.

    Args:
        model: put into train mode where the source allows dropout, else into eval mode; its mode
            is put back at the end.
        source: gives the windows.
        loss: undivided sums of one micro-batch.
        seed: of python's, numpy's and torch's generators, which are set here.
        scratch: folder of step checkpoints. A fit that finds one there continues it, bit for bit.
        metrics: JSONL file, one row a step (cut back to the resumed step first). Windows left out
            as loss spikes are listed in ``skipped.jsonl`` beside it.
        label: the name of this fit in the progress display and in messages.
        tags: written into each row of ``metrics``, for a file that several fits share.
        evaluate: held-out numbers, logged with the step; ``"loss"`` (lower is better) as
            ``eval_loss``. Where it is among them, the weights with the lowest are those the fit
            ends with. It runs in eval mode, without gradients, and cannot shift the random state
            of training.
        on_step: called after each step. ``"mark"`` remembers the weights as good, ``"stop"`` ends
            the fit, ``"rollback"`` puts back the marked weights (those of the start where none
            were marked) and ends the fit, a ``Change`` goes on otherwise than before.
        trainable: what is trained, by name; default: every parameter of ``model`` with
            ``requires_grad``. See ``optim.named_trainable`` for a model with a head.

    Raises:
        TrainingDiverged: loss or gradient is not finite; the step is not taken.
        Interrupted: SIGINT or SIGTERM came; the step was finished and saved.
        InputError: the checkpoint in ``scratch`` is of another fit, nothing is trainable, or one
            of ``settings.extras`` does not go with model, source, machine or parameters.
    """
    if trainable is None:
        trainable = optim.named_trainable(model=model)
    if not trainable:
        raise InputError("the model has no parameter to train; all of them are frozen")
    extras, log = settings.extras, MetricsLog(metrics if ranks.first() else None, tags)
    if extras.neftune > 0 and not source.dropout:
        raise InputError("neftune does not go with this stage, which must train without noise")
    board = progress if progress and ranks.first() else SilentProgress()
    was_training = model.training
    try:
        with (
            trackers.following(log, settings, label) if ranks.first() else nullcontext(),
            shared(model, trainable) as share,
            noisy(share.model, extras.neftune),
            recomputed(share.model, extras.checkpoint_activations),
        ):
            fit = _Fit(share, loss, source, settings, scratch, log, evaluate, on_step, label)
            return fit.run(seed, board)
    finally:
        model.train(was_training)


@dataclass
class _Fit:
    """One fit under way."""

    share: Share
    loss: LossFunction
    source: Source
    settings: TrainSettings
    scratch: Path | None
    log: MetricsLog
    evaluate: Callable[[], Mapping[str, float]] | None
    on_step: Callable[[StepInfo], Action | None] | None
    label: str
    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    rate: float = 1.0
    reason: Reason | None = None
    kept: dict[str, state.Weights] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.model, self.trainable = self.share.model, self.share.trainable

    def run(self, seed: int, board: Progress) -> FitResult:
        """All steps, until something ends the fit."""
        self.begin(seed)
        with Signals() as signals, board.task(self.label, self.steps) as bar:
            bar.advance(self.step)
            while self.reason is None:
                self.advance(bar)
                if number := ranks.greatest(signals.received or 0):
                    raise Interrupted(self.interrupted(signal.Signals(number).name))
        skipped = self.spikes.skipped if self.spikes else []
        return FitResult(self.step, self.log.rows, self.reason, self.tokens, self.seconds, skipped)

    def begin(self, seed: int) -> None:
        """Seed, and continue from the newest checkpoint where there is one."""
        state.seed_everything(seed)
        self.identity = {
            "seed": seed,
            "steps": self.source.steps,
            "settings": self.settings.model_dump(mode="json", exclude=NOT_IDENTITY),
        }
        self.steps = self.source.steps
        if self.settings.max_steps is not None:
            self.steps = min(self.steps, self.settings.max_steps)
        self.optimizer = optim.build_optimizer(self.trainable, self.settings)
        self.patience = Patience(self.settings.patience)
        self.cost = cost(self.model)
        extras = self.settings.extras
        skips = self.log.beside(SKIPPED)
        self.spikes = Spikes(extras.spikes, skips) if extras.spikes is not None else None
        if self.on_step is not None:
            self.kept[MARK] = state.copy_weights(self.trainable)
        if extras.ema > 0:
            self.kept[AVERAGE] = average.begin(self.trainable)
        self._resume()
        self.log.cut(self.step)
        skips.cut(self.step)
        mode = train_mode(self.model, self.source.dropout, extras.checkpoint_activations)
        self.model.train(mode)
        self.saved_at = self.stepped_at = time.monotonic()

    def advance(self, bar: Handle) -> None:
        """One optimiser step with all that belongs to it."""
        window = self._window()
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
        if "flops" in row:
            speed = row["flops"] / row["window_tokens"] * row["tokens_per_second"]
            shown["GFLOP/s"] = speed / 1e9
        bar.advance(1, **shown)
        if action == "stop" or action == "rollback":
            self._stop(action)
        elif self.patience.exhausted:
            self._stop("patience")
        elif self._save_is_due():
            self._save()

    def _window(self) -> list[Batch] | None:
        if self.step >= self.steps:
            return None
        asked = self.source.asks_model(self.step)
        with self.share.whole() if asked else nullcontext():
            return self.source.window(self.step)

    def _update(self, window: list[Batch]) -> dict[str, float]:
        device = next(iter(self.trainable.values())).device
        sums = accumulate(self.model, self.loss, [batch.to(device) for batch in window])
        self.share.collect()
        rate = self.rate * learning_rate(self.step + 1, self.steps, self.settings)
        norm, skipped = 0.0, False
        # A window without a single target has nothing to say; dividing by its count would be NaN.
        if sums.count != 0:
            gradient_norm = self.share.norm(sums.count)
            norm = gradient_norm.item()
            skipped = self._unfit(window, sums, norm, rate)
            if not skipped:
                self._take_step(sums.count, gradient_norm, rate)
        self.optimizer.zero_grad(set_to_none=True)
        self.tokens += sums.tokens
        row = {
            "step": self.step + 1,
            "loss": sums.loss,
            "learning_rate": rate,
            "grad_norm": norm,
            "tokens": self.tokens,
            "window_tokens": sums.tokens,
            "targets": sums.targets,
        }
        if self.cost is not None:
            row["flops"] = self.cost.of(window, sums.targets)
        if self.spikes is not None:
            row["skipped"] = int(skipped)
        return {**row, **self.source.metrics(), **sums.metrics}

    def _unfit(self, window: list[Batch], sums: WindowSums, norm: float, rate: float) -> bool:
        """Whether no step may be taken on this window; raises where its numbers are not finite."""
        ids = [batch.ids for batch in window]
        check_finite(step=self.step + 1, totals=sums.totals, ids=ids, norm=norm, learning_rate=rate)
        if self.spikes is None:
            return False
        return self.spikes.skip(self.step + 1, sums.loss, list(chain.from_iterable(ids)))

    def _take_step(self, count: float, norm: Tensor, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        optim.step(self.optimizer, count, norm, self.settings.clip_norm)
        if AVERAGE in self.kept:
            decay = self.settings.extras.ema
            average.update(self.kept[AVERAGE], self.trainable, decay, self.step)

    def _evaluate(self, row: dict[str, float]) -> None:
        every = self.settings.eval_every
        due = self.step == self.steps or (every > 0 and self.step % every == 0)
        if self.evaluate is None or not due:
            return
        with state.aside(self.model), self._final_weights(), self.share.whole():
            found = ranks.from_first(self.evaluate())
            if "loss" in found and self.patience.improved(found["loss"]):
                self.kept[BEST] = state.copy_weights(self.trainable)
        row.update({"eval_loss" if name == "loss" else name: float(v) for name, v in found.items()})

    def _ask(self, row: Mapping[str, float]) -> Action | None:
        if self.on_step is None:
            return None
        with state.aside(self.model), self._final_weights():
            info = StepInfo(self.step, self.steps, row, self.tokens, self.log.rows)
            action = ranks.from_first(self.on_step(info))
            if action == "mark":
                self.kept[MARK] = state.copy_weights(self.trainable)
        if isinstance(action, Change):
            self._change(action)
        return action

    def _change(self, change: Change) -> None:
        if change.back:
            state.put_weights(self.trainable, self.kept[MARK])
            optim.forget_momentum(self.optimizer)
            if AVERAGE in self.kept:
                self.kept[AVERAGE] = average.begin(self.trainable)
        self.rate *= change.rate
        if change.share is not None:
            assert isinstance(self.source, Mixture)
            self.source.remix(self.step, change.share)

    def _final_weights(self) -> AbstractContextManager[None]:
        """Inside, the weights are what they would be if the fit ended now."""
        return average.in_place(self.trainable, self.kept.get(AVERAGE))

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
            state.put_weights(self.trainable, self.kept[MARK])
        elif BEST in self.kept:
            state.put_weights(self.trainable, self.kept[BEST])
        elif AVERAGE in self.kept:
            state.put_weights(self.trainable, self.kept[AVERAGE])
        self.reason = reason
        self.kept = {}
        self._save()

    def _save_is_due(self) -> bool:
        if self.settings.save_steps is not None:
            return self.step % self.settings.save_steps == 0
        due = time.monotonic() - self.saved_at >= self.settings.save_seconds
        return bool(ranks.greatest(due))

    def _save(self) -> None:
        if self.scratch is None:
            return
        self.log.sync()
        progress = {
            "step": self.step,
            "tokens": self.tokens,
            "seconds": self.seconds,
            "rate": self.rate,
            "reason": self.reason,
            "best": self.patience.best,
            "waited": self.patience.waited,
            "spikes": self.spikes.state() if self.spikes else None,
        }
        state.save(
            self.scratch,
            self.step,
            self.identity,
            progress,
            self.share,
            self.optimizer,
            self.source,
            self.kept,
        )
        self.saved_at = time.monotonic()

    def _resume(self) -> None:
        if self.scratch is None:
            return
        found = state.restore(self.scratch, self.identity, self.share, self.optimizer, self.source)
        if found is None:
            return
        progress, self.kept = found
        self.step, self.tokens = progress["step"], progress["tokens"]
        self.seconds, self.reason = progress["seconds"], progress["reason"]
        self.rate = progress["rate"]
        self.patience.best, self.patience.waited = progress["best"], progress["waited"]
        if self.spikes is not None:
            self.spikes.restore(progress["spikes"])

    def interrupted(self, signal_name: str) -> str:
        """Save after a signal; the message for the person who sent it."""
        self._save()
        where = f"{self.label}: stopped by {signal_name} after step {self.step} of {self.steps}"
        if self.scratch is None:
            return f"{where}; nothing was saved"
        return f"{where}; saved, the same command continues here"
