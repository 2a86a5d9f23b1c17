"""A source whose data the model writes itself: sample, reward, then train on it in passes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import chain
from typing import Any

from pydantic import PositiveFloat, PositiveInt
from torch import Tensor
from transformers import PreTrainedModel

from burnish.config import InputError, Settings
from burnish.engine import ranks
from burnish.engine.settings import TrainSettings
from burnish.engine.source import epoch_order, micro_batches
from burnish.records import Prompt, Rollout
from burnish.rollouts.collect import collect, reply_seed
from burnish.rollouts.constraint import Constraint
from burnish.rollouts.control import KlControl
from burnish.rollouts.credit import Controls, Credit, Reply
from burnish.rollouts.missing import learnt_from
from burnish.rollouts.phase import credited, finite, phase_metrics, weighed
from burnish.rollouts.scoring import Score
from burnish.sampling import LocalSampler, Sampling
from burnish.text.batches import Batch, Segment, pack, size
from burnish.text.templates import encode_prompts

STREAM = "stream."
Unit = list[int]
"""Places of replies that are computed together, for they share their prompt."""
Group = list[tuple[Unit, int]]
"""All replies to one prompt as units, with the tokens of each."""
Reward = Callable[[list[Rollout]], Sequence[float | None]]
Anneal = Callable[[float], tuple[Reward, dict[str, float]]]
"""The reward at a share of the way from the first phase (0) to the last (1), and its weights."""
Rewarded = tuple[Rollout, float | None, float]
"""A reply, its reward (None: missing) and its cost."""
Told = Callable[[int, Sequence[Rollout], Sequence[float | None]], object]


class OnlineSettings(Settings):
    """How much is sampled between updates. A *phase* samples ``per_prompt`` replies to each of
    ``prompts_per_phase`` prompts with the weights of the moment, then trains on them
    ``TrainSettings.epochs`` times.

    ``importance_cap`` corrects for a sampler that is not the trainer (``top_p`` below 1, another
    engine): it weighs each token's policy loss by the trainer's over the sampler's probability,
    but at most by this. 2 is usual; None leaves all weights at 1.
    """

    phases: PositiveInt = 8
    prompts_per_phase: PositiveInt = 32
    per_prompt: PositiveInt = 4
    importance_cap: PositiveFloat | None = None


class OnlineSource:
    """Windows of the model's own replies.

    Of several processes each samples and rewards all replies to some of a phase's prompts, and
    scores some micro-batches; every process then has all replies, and gives them the same credit.

    Args:
        model: samples at the start of each phase; the one being trained.
        prompts: taken in turn, in an order set by the seed.
        reward: one number for each rollout, None for a missing one: see ``missing.credited``.
        anneal: gives each phase a reward in place of ``reward``, and weights for its metrics.
        score: the trainer's log-probabilities, reference and values; see ``scoring.scorer``. It is
            asked in the very batches of a phase's first pass, so that the ratio of new to old
            probability begins at exactly 1.
        credit: replies of a phase to segments with the streams the loss wants.
        constraint: gives each rollout's cost, and moves the multiplier after each phase.
        kl_control: moves the weight of the divergence after each phase; None leaves it to credit.
        train: gives window and micro-batch sizes; ``epochs`` are passes over each phase. A window
            has whole groups of replies, the fewest that make ``segments_per_step``.
        told: called with each phase's number, its replies and their rewards.

    Raises:
        InputError: no prompts, greedy sampling, or windows measured in tokens.
    """

    dropout = False

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: Any,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        *,
        reward: Reward,
        score: Score,
        credit: Credit,
        settings: OnlineSettings,
        train: TrainSettings,
        seed: int,
        anneal: Anneal | None = None,
        constraint: Constraint | None = None,
        kl_control: KlControl | None = None,
        told: Told | None = None,
    ) -> None:
        if not prompts:
            raise InputError("there are no prompts to train on")
        if sampling.temperature == 0:
            raise InputError("temperature 0 always gives the same reply: nothing to learn from")
        if train.tokens_per_step is not None:
            raise InputError("tokens_per_step does not go with sampling; use segments_per_step")
        self._model, self._tokenizer, self._prompts = model, tokenizer, prompts
        self._sampling, self._reward, self._anneal = sampling, reward, anneal
        self._score, self._credit = score, credit
        self._constraint, self._kl_control = constraint, kl_control
        self._controls = Controls(
            multiplier=constraint.settings.initial if constraint else None,
            kl_coef=kl_control.initial if kl_control else None,
        )
        self._settings, self._train, self._seed = settings, train, seed
        self._told = told
        self._prompts_per_phase = min(settings.prompts_per_phase, len(prompts))
        self._prompts_per_window = math.ceil(train.segments_per_step / settings.per_prompt)
        self._windows_per_pass = math.ceil(self._prompts_per_phase / self._prompts_per_window)
        self._phase: int | None = None
        self._phase_step = 0
        self._segments: list[Segment] = []
        self._groups: list[Group] = []
        self._metrics: dict[str, float] = {}

    @property
    def steps(self) -> int:
        """Windows of all passes of all phases."""
        return self._settings.phases * self._train.epochs * self._windows_per_pass

    def asks_model(self, step: int) -> bool:
        """Where a phase begins: its replies are sampled and scored."""
        return self._place(step)[0] != self._phase

    def _place(self, step: int) -> tuple[int, int]:
        """The phase of a step, and its number there."""
        return divmod(step, self._train.epochs * self._windows_per_pass)

    def window(self, step: int) -> list[Batch] | None:
        """The micro-batches of step ``step``; samples where it is the first of a phase."""
        if step >= self.steps:
            return None
        phase, within = self._place(step)
        if phase != self._phase:
            self._begin(phase)
        self._phase_step = within + 1
        number, index = divmod(within, self._windows_per_pass)
        plan = self._plan(self._groups, phase, number)
        return [
            pack([[self._segments[i] for i in unit] for unit in batch]) for batch in plan[index]
        ]

    def metrics(self) -> dict[str, float]:
        """``phase_step`` (from 1), and of the phase, sampled before its first step: what
        ``phase.phase_metrics``, ``phase.weighed`` and ``phase.credited`` tell. With a constraint
        ``cost`` (mean) and ``lambda``, with a controller ``kl_coef``: the multiplier and the weight
        that this phase is trained with. Where rewards were missing ``unrewarded``, the share of
        replies left out of the phase.
        """
        return {"phase_step": self._phase_step} | self._metrics

    def state(self) -> dict[str, Any]:
        """The phase under way and its numbers."""
        if self._phase is None:
            return {"phase": None}
        batch = pack(self._segments)
        return {
            "phase": self._phase,
            "metrics": self._metrics,
            "controls": asdict(self._controls),
            "ids": batch.ids,
            "lengths": batch.lengths,
        }

    def tensors(self) -> dict[str, Tensor]:
        """The replies of the phase under way, with their streams."""
        if self._phase is None:
            return {}
        batch = pack(self._segments)
        streams = {STREAM + name: values for name, values in batch.per_token.items()}
        return {"tokens": batch.tokens, "targets": batch.targets} | streams

    def restore(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Continue in the phase that was under way."""
        self._phase = state["phase"]
        if self._phase is None:
            return
        self._metrics = state["metrics"]
        self._controls = Controls(**state["controls"])
        split = {name: values.split(state["lengths"]) for name, values in tensors.items()}
        names = [name for name in split if name.startswith(STREAM)]
        segments = [
            Segment(
                split["tokens"][row].tolist(),
                split["targets"][row].tolist(),
                name,
                {stream.removeprefix(STREAM): split[stream][row].tolist() for stream in names},
            )
            for row, name in enumerate(state["ids"])
        ]
        self._take(segments)

    def _take(self, segments: list[Segment]) -> None:
        """These are the replies of the phase under way."""
        self._segments, self._groups = segments, self._grouped(segments)

    def _grouped(self, segments: Sequence[Segment]) -> list[Group]:
        """For each prompt its replies: a unit, that the prompt may be computed once, or several
        where a micro-batch cannot hold them."""
        each, limit = self._settings.per_prompt, self._train.tokens_per_batch
        starts = range(0, len(segments), each)
        return [_units(segments, range(start, start + each), limit) for start in starts]

    def _plan(self, groups: Sequence[Group], phase: int, number: int) -> list[list[list[Unit]]]:
        """Windows of micro-batches of units, for one pass over a phase's replies.

        A window has all replies to its prompts.
        """
        order = epoch_order(len(groups), self._seed, phase, number)
        windows = []
        for start in range(0, len(order), self._prompts_per_window):
            prompts = order[start : start + self._prompts_per_window]
            units = list(chain.from_iterable(groups[prompt] for prompt in prompts))
            sizes = [tokens for _, tokens in units]
            chosen = micro_batches(range(len(units)), sizes, self._train.tokens_per_batch)
            windows.append([[units[i][0] for i in batch] for batch in chosen])
        return windows

    def _chosen(self, phase: int) -> list[Prompt]:
        """The next prompts in turn; they are shuffled anew each time round."""
        count, first = len(self._prompts), phase * self._prompts_per_phase
        chosen = []
        for place in range(first, first + self._prompts_per_phase):
            again, index = divmod(place, count)
            chosen.append(self._prompts[epoch_order(count, self._seed, again)[index]])
        return chosen

    def _begin(self, phase: int) -> None:
        """Sample, reward, score and credit the replies of a phase."""
        weights: dict[str, float] = {}
        if self._anneal is not None:
            self._reward, weights = self._anneal(phase / max(self._settings.phases - 1, 1))
        prompts = self._chosen(phase)
        groups = ranks.shared_out(prompts, partial(self._sampled, phase))
        rollouts, rewards, costs = zip(*chain.from_iterable(groups), strict=True)
        if self._told:
            self._told(phase, rollouts, rewards)
        encoded = encode_prompts(self._tokenizer, [prompt.messages for prompt in prompts])
        owners = [i for i in range(len(prompts)) for _ in range(self._settings.per_prompt)]
        replies = [
            Reply(
                id=rollout.id,
                # A prompt that comes up twice in a phase makes two groups.
                prompt_id=f"{owner}:{rollout.prompt_id}",
                prompt=encoded[owner],
                tokens=rollout.tokens,
                reward=math.nan if reward is None else finite("reward", reward, rollout),
                finished=rollout.finish == "stop",
                cost=finite("cost", cost, rollout),
            )
            for owner, rollout, reward, cost in zip(owners, rollouts, rewards, costs, strict=True)
        ]
        replies = self._scored(replies, phase)
        replies, ratios = weighed(replies, rollouts, self._settings.importance_cap)
        segments, missing = learnt_from(replies, self._credit, self._controls)
        self._take(segments)
        self._metrics = {"phase": phase} | phase_metrics(replies, rollouts) | ratios | weights
        if missing:
            self._metrics["unrewarded"] = missing / len(replies)
        self._metrics |= credited(segments) | self._controlled(replies)
        self._phase = phase

    def _sampled(self, phase: int, prompts: Sequence[Prompt]) -> list[list[Rewarded]]:
        """For each prompt its replies with their rewards and costs."""
        rollouts = collect(
            LocalSampler(self._model, self._tokenizer),
            prompts,
            self._sampling,
            per_prompt=self._settings.per_prompt,
            seed=reply_seed(self._seed, "phase", phase),
        )
        rewards = self._reward(rollouts)
        costs = self._constraint.cost(rollouts) if self._constraint else [0.0] * len(rollouts)
        rewarded = list(zip(rollouts, rewards, costs, strict=True))
        each = self._settings.per_prompt
        return [rewarded[start : start + each] for start in range(0, len(rewarded), each)]

    def _controlled(self, replies: Sequence[Reply]) -> dict[str, float]:
        """The controls of this phase and what they follow; they take their step to the next."""
        now, found = self._controls, {}
        if self._constraint is not None and now.multiplier is not None:
            cost = sum(reply.cost for reply in replies) / len(replies)
            found = {"cost": cost, "lambda": now.multiplier}
            moved = self._constraint.after(now.multiplier, cost, now.cost)
            self._controls = replace(self._controls, multiplier=moved, cost=cost)
        if self._kl_control is not None and now.kl_coef is not None:
            found["kl_coef"] = now.kl_coef
            moved = self._kl_control.after(now.kl_coef, self._metrics["kl"], len(replies))
            self._controls = replace(self._controls, kl_coef=moved)
        return found

    def _scored(self, replies: list[Reply], phase: int) -> list[Reply]:
        """The replies with the trainer's scores, computed in the batches of the first pass.

        Of several processes the one that trains on a batch in that pass scores it.
        """
        segments = [reply.segment() for reply in replies]
        scored = list(replies)
        for window in self._plan(self._grouped(segments), phase, 0):
            found = ranks.shared_out(window, partial(self._scores, segments))
            for units, scores in zip(window, found, strict=True):
                group = list(chain.from_iterable(units))
                lengths = [len(replies[i].tokens) for i in group]
                split = {name: values.split(lengths) for name, values in scores.items()}
                for row, i in enumerate(group):
                    own = {name: parts[row] for name, parts in split.items()}
                    scored[i] = replace(replies[i], scores=own)
        return scored

    def _scores(
        self, segments: Sequence[Segment], window: Sequence[Sequence[Unit]]
    ) -> list[dict[str, Tensor]]:
        """For each micro-batch its scores, ``[N]`` each on the CPU."""
        device = self._model.get_input_embeddings().weight.device
        batches = (
            pack([[segments[i] for i in unit] for unit in units], device) for units in window
        )
        return [
            {name: values.detach().float().cpu() for name, values in self._score(batch).items()}
            for batch in batches
        ]


def _units(segments: Sequence[Segment], replies: Sequence[int], limit: int) -> Group:
    """The replies to one prompt in as few parts of at most ``limit`` tokens as their order allows,
    and the tokens of each."""
    units: Group = []
    for reply in replies:
        wider = [*units[-1][0], reply] if units else [reply]
        tokens = size([segments[i] for i in wider])
        if units and tokens <= limit:
            units[-1] = (wider, tokens)
        else:
            units.append(([reply], len(segments[reply].tokens)))
    return units
