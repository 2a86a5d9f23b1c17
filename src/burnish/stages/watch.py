"""The over-optimisation watch: held-out rewards of held-out prompts, as a policy is trained."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, PositiveInt, model_validator

from burnish.config import InputError, ModelRef, Problem, PromptRef, Settings
from burnish.engine import Action, StepInfo, ranks
from burnish.evals.overoptimisation import Fall, fall, fit_gao
from burnish.evals.resampling import Array
from burnish.evals.statistics import mean_figure
from burnish.models.load import Loaded
from burnish.objectives import k3
from burnish.records import Figure, Prompt, Rollout
from burnish.rewards.reward_model import RewardModel
from burnish.rewards.verifiers import verify_prompt
from burnish.rollouts.collect import collect, reply_seed
from burnish.rollouts.credit import Reply
from burnish.rollouts.scoring import Score
from burnish.sampling import LocalSampler, Sampling
from burnish.stages import training
from burnish.stages.alarms import AlarmSettings
from burnish.stages.base import Inputs
from burnish.store import atomic
from burnish.text.batches import batches
from burnish.text.templates import encode_prompts

log = logging.getLogger(__name__)

LEAST = 20
"""Fewer held-out prompts decide nothing."""
PROXY, KL, LENGTH, VERIFIER = "proxy", "kl", "length", "verifier"
Look = dict[str, list[float]]
"""By name, one number a prompt: proxy, kl, length, and the held-out judges."""


class WatchSettings(Settings):
    """What is watched while a policy is optimised.

    With held-out ``prompts`` the policy replies to them before training and after every ``every``
    phases, as it does in training. Held-out judges, the reward models of ``reward`` and the
    prompts' own ``verifier``, score the replies beside the reward that is trained on (the proxy).
    Where the proxy rose since the judges' best point and they fell beyond noise (a paired one-sided
    test; ``level`` is that of the whole fit, however many looks there are), the fit ends there and
    the policy goes back to the best point (``rollback``), or this is recorded (``report``). Several
    judges count alike, in standard deviations of the first look. A judge must not be what is
    trained on. ``limit`` draws prompts by seed.
    """

    prompts: list[PromptRef] = []
    reward: list[ModelRef] = []
    verifier: bool = True
    every: PositiveInt = Field(1, description="phases between looks")
    per_prompt: PositiveInt = 1
    limit: PositiveInt | None = Field(None, description="prompts")
    level: float = Field(0.05, gt=0, lt=1)
    action: Literal["rollback", "report"] = "rollback"
    alarms: AlarmSettings = AlarmSettings()

    @model_validator(mode="after")
    def _judged(self) -> Self:
        if self.reward and not self.prompts:
            raise ValueError("watch.reward needs watch.prompts, held-out ones to reply to")
        if self.prompts and not (self.reward or self.verifier):
            raise ValueError("watch.prompts needs a judge: watch.reward, or watch.verifier")
        return self


class Watch:
    """Looks at a policy, and says what the engine is to do after each look.

    What a look saw is kept on disk, so that a resumed fit decides as an unbroken one.

    Args:
        proxy: scores rollouts as training does.
        score: of the trainer, with the reference.
        judges: held-out reward models by name.
        folder: of the looks; survives an interruption.
        looks: planned ones, after the one before training.
        tokens_per_batch: of a micro-batch of replies that are scored.
    """

    def __init__(
        self,
        settings: WatchSettings,
        loaded: Loaded,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        *,
        proxy: Callable[[list[Rollout]], Sequence[float | None]],
        score: Score,
        judges: dict[str, RewardModel],
        folder: Path,
        looks: int,
        seed: int,
        tokens_per_batch: int,
    ) -> None:
        self.settings, self.loaded = settings, loaded
        self.prompts, self.sampling = prompts, sampling
        self.proxy, self.score, self.judges = proxy, score, judges
        self.folder, self.looks, self.seed = folder, looks, seed
        self.tokens_per_batch = tokens_per_batch
        self._latest: Look = {}

    def look(self) -> Look:
        """Have every prompt replied to and judged; one row of numbers for each of them.

        Raises:
            InputError: a judge's score is not finite.
        """
        rows = ranks.shared_out(self.prompts, self._rows)
        names = rows[0].keys()
        return {name: [row[name] for row in rows] for name in names}

    def _rows(self, prompts: Sequence[Prompt]) -> list[dict[str, float]]:
        each = self.settings.per_prompt
        rollouts = collect(
            LocalSampler(self.loaded.model, self.loaded.tokenizer),
            prompts,
            self.sampling,
            per_prompt=each,
            seed=reply_seed(self.seed, "watch", 0),
        )
        said = [(one.prompt, one.completion) for one in rollouts]
        columns: dict[str, Sequence[float]] = {
            PROXY: filled(self.proxy(rollouts)),
            KL: self._divergences(prompts, rollouts),
            LENGTH: [float(len(one.tokens)) for one in rollouts],
            **{name: judge.score(said) for name, judge in self.judges.items()},
        }
        if self.settings.verifier:
            asked = [prompt for prompt in prompts for _ in range(each)]
            pairs = zip(asked, rollouts, strict=True)
            checks = [verify_prompt(prompt, one.completion) for prompt, one in pairs]
            columns[VERIFIER] = [check.score if check else 0.0 for check in checks]
        means = {name: np.reshape(c, (len(prompts), each)).mean(1) for name, c in columns.items()}
        for name, values in means.items():
            if not np.isfinite(values).all():
                raise InputError(
                    Problem("", None, f"watch: {name}", "a score is not finite", "finite numbers")
                )
        return [{name: float(means[name][row]) for name in means} for row in range(len(prompts))]

    def _divergences(self, prompts: Sequence[Prompt], rollouts: Sequence[Rollout]) -> list[float]:
        """Nats of each reply to the reference: the sum of k3, which cannot be below 0."""
        encoded = encode_prompts(self.loaded.tokenizer, [prompt.messages for prompt in prompts])
        each = self.settings.per_prompt
        segments = [
            Reply(one.id, one.prompt_id, encoded[place // each], one.tokens, 0.0, True).segment()
            for place, one in enumerate(rollouts)
        ]
        found = [0.0] * len(segments)
        device = self.loaded.model.get_input_embeddings().weight.device
        for places, batch in batches(segments, self.tokens_per_batch, device):
            scores = self.score(batch)
            each_token = k3(scores["logprobs"], scores["ref_logprobs"]).cpu()
            lengths = [len(rollouts[place].tokens) for place in places]
            for place, values in zip(places, each_token.split(lengths), strict=True):
                found[place] = float(values.sum())
        return found

    def begin(self) -> None:
        """The look before training; one that an interrupted fit took is not taken again."""
        if ranks.from_first(not self._path(0).exists()):
            self._keep(0, self.look())

    def evaluate(self) -> dict[str, float]:
        """A look as metrics, ``watch_NAME`` each the mean over prompts."""
        self._latest = self.look()
        return {f"watch_{name}": float(np.mean(own)) for name, own in self._latest.items()}

    def __call__(self, info: StepInfo) -> Action | None:
        """Keeps the look after this step, where there was one: ``mark`` a new best point,
        ``rollback`` to it from an over-optimised one."""
        if f"watch_{PROXY}" not in info.metrics:
            return None
        self._keep(info.step, self._latest)
        found = self.falls(info.step)[-1]
        if found.found and self.settings.action == "rollback":
            log.warning(
                "over-optimisation after step %d: the reward rose by %.3g, what it stands for fell "
                "by %.3g (p = %.2g); back to the best point",
                info.step, found.gained, found.lost, found.p_value,
            )  # fmt: skip
            return "rollback"
        return "mark" if found.lost < 0 else None

    def falls(self, until: int) -> list[Fall]:
        """Each look but the first against the best before it."""
        looks = list(self.kept(until).values())
        heldout, proxy = combined(looks), [look[PROXY] for look in looks]
        level = self.settings.level
        return [
            fall(heldout[:end], proxy[:end], self.looks, level) for end in range(2, len(looks) + 1)
        ]

    def _keep(self, step: int, found: Look) -> None:
        if ranks.first():
            self.folder.mkdir(parents=True, exist_ok=True)
            atomic.write_text(self._path(step), json.dumps(found))
        ranks.wait()

    def _path(self, step: int) -> Path:
        return self.folder / f"{step:08d}.json"

    def kept(self, until: int) -> dict[int, Look]:
        """The looks up to a step, by step; the first is at 0."""
        paths = {int(path.stem): path for path in self.folder.glob("*.json")}
        return {
            step: json.loads(paths[step].read_text(encoding="utf-8"))
            for step in sorted(paths)
            if step <= until
        }

    def report(self, steps: int) -> tuple[dict[str, Figure], dict[str, Any]]:
        """Figures (proxy and held-out score before, at the best point, at the last look) and
        details (every look, the verdicts, Gao's curves) of a fit that took ``steps``."""
        looks, falls = self.kept(steps), self.falls(steps)
        heldout = combined(list(looks.values()))
        means = [float(np.mean(one)) for one in heldout]
        best = int(np.argmax(means))
        figures: dict[str, Figure] = {}
        for place, when in ((0, "before"), (best, "best"), (-1, "last")):
            figures[f"heldout_{when}"] = mean_figure(list(heldout[place]))
            figures[f"proxy_{when}"] = mean_figure([*looks.values()][place][PROXY])
        rows = [
            {"step": step, **{name: float(np.mean(own)) for name, own in look.items()},
             "heldout": mean}
            for (step, look), mean in zip(looks.items(), means, strict=True)
        ]  # fmt: skip
        found = [one for one in falls if one.found]
        details = {
            "looks": rows,
            "judges": [name for name in rows[0] if name not in {"step", PROXY, KL, LENGTH}][:-1],
            "falls": [asdict(one) for one in falls],
            "best_step": rows[best]["step"],
            "over_optimised": bool(found),
            "rolled_back": bool(found) and self.settings.action == "rollback",
            "gao": _curves(rows),
        }
        return figures, details


def combined(looks: Sequence[Look]) -> list[Array]:
    """For each look its held-out score, one a prompt: the judge's own, or of several judges the
    mean, each in standard deviations from its mean at the first look."""
    judges = [name for name in looks[0] if name not in (PROXY, KL, LENGTH)]
    if len(judges) == 1:
        return [np.array(look[judges[0]]) for look in looks]
    first = {name: np.array(looks[0][name]) for name in judges}
    spread = {name: float(own.std()) or 1.0 for name, own in first.items()}
    return [
        np.mean([(np.array(look[n]) - first[n].mean()) / spread[n] for n in judges], axis=0)
        for look in looks
    ]


def _curves(rows: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Gao's RL form fitted to what proxy and held-out score gained over sqrt(KL)."""
    distances = [math.sqrt(row[KL]) for row in rows]
    found = {}
    for name in (PROXY, "heldout"):
        curve = fit_gao(distances, [row[name] - rows[0][name] for row in rows])
        if curve is not None:
            found[name] = {**asdict(curve), "optimum": curve.optimum}
    return found


def heldout_prompts(
    settings: WatchSettings, inputs: Inputs, trained: Sequence[Prompt], seed: int
) -> list[Prompt]:
    """The watch's prompts, none where nothing is watched.

    Raises:
        InputError: they are too few, among those trained on, or have nothing to verify replies by.
    """
    if not settings.prompts:
        return []
    field = "watch.prompts"
    prompts = training.drawn(inputs.paths(field), Prompt, settings.limit, seed)
    if len(prompts) < LEAST:
        found = f"{len(prompts)} prompts"
        raise InputError(Problem("", None, field, found, f"at least {LEAST} to test by"))
    known = {prompt.id for prompt in trained}
    if both := [prompt.id for prompt in prompts if prompt.id in known]:
        found = f"{len(both)} are trained on, such as {both[0]}"
        raise InputError(Problem("", None, field, found, "held-out prompts"))
    bare = [prompt.id for prompt in prompts if prompt.verify is None]
    if settings.verifier and bare:
        found = f"{len(bare)} prompts have no verify, such as {bare[0]}"
        raise InputError(Problem("", None, field, found, "verify, or watch.verifier: false"))
    return prompts


def filled(rewards: Sequence[float | None]) -> list[float]:
    """Rewards with the mean of the others for a missing one, which then moves no mean; NaN where
    all are missing."""
    known = [reward for reward in rewards if reward is not None]
    mean = sum(known) / len(known) if known else math.nan
    return [mean if reward is None else reward for reward in rewards]


def judges(settings: WatchSettings, inputs: Inputs, device: str) -> dict[str, RewardModel]:
    """The held-out reward models by the names of their folders.

    Raises:
        InputError: one of them is what is trained on, or is no reward model.
    """
    if not settings.reward:
        return {}
    paths, trained = inputs.paths("watch.reward"), inputs.optional_model("reward")
    if trained is not None and Path(trained).resolve() in [path.resolve() for path in paths]:
        found = f"{trained} is what is trained on"
        raise InputError(Problem("", None, "watch.reward", found, "a held-out reward model"))
    names = [path.name for path in paths]
    if len(set(names)) < len(names):
        names = [f"{name}-{place}" for place, name in enumerate(names, 1)]
    return {n: RewardModel.load(path, device) for n, path in zip(names, paths, strict=True)}
