"""Does the reward model of the round before still rank the policy's replies, or is it retrained?"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from burnish.config import LastModelRef, PreferenceRef, Settings
from burnish.engine import ranks
from burnish.evals.ranking import accuracy
from burnish.records import Figure, Preference
from burnish.rewards.reward_model import RewardModel
from burnish.stages import ranking, training
from burnish.stages.base import Context, Inputs, Outcome
from burnish.store import tables
from burnish.store.names import ARTIFACT

PAIRS = "pairs.jsonl"
"""What a reward model that is refreshed was trained on, for the next refresh."""
FRESH = "fresh_accuracy"
MEASURED = (
    "members", "vary", "sets", "temperature", "by_topic", "calibration_error", "best_of_n",
)  # fmt: skip
"""Details that go along with a reward model that is kept."""


class Refresh(Settings):
    """Train only where the last reward model has fallen behind the policy.

    ``model`` is that of the round before (the stage's own name, such as ``@reward``), which is
    measured on those pairs of ``data`` that it was not trained on. With an accuracy of ``bound`` or
    more it is kept as it is. Below, and where there is none yet, a new one is trained on the
    stage's data, what the last one was trained on, and these.
    """

    model: LastModelRef
    data: list[PreferenceRef] = Field(min_length=1)
    bound: float = Field(0.75, ge=0, le=1)


@dataclass(frozen=True)
class Checked:
    """The last reward model's folder and its accuracy on fresh pairs; None without any."""

    last: Path
    bound: float
    accuracy: Figure | None

    @property
    def kept(self) -> bool:
        """Whether it goes on. Without a fresh pair nothing says that it has fallen behind."""
        return self.accuracy is None or self.accuracy.value >= self.bound

    def figures(self) -> dict[str, Figure]:
        """``fresh_accuracy``, where there is one."""
        return {} if self.accuracy is None else {FRESH: self.accuracy}

    def details(self) -> dict[str, Any]:
        """What is written down of it."""
        found = None if self.accuracy is None else asdict(self.accuracy)
        return {
            "kept": self.kept, "accuracy": found, "bound": self.bound, "model": self.last.name,
        }  # fmt: skip


def check(
    settings: Refresh, inputs: Inputs, context: Context, tokens_per_batch: int
) -> Checked | None:
    """Measure the last reward model on fresh pairs; None in the first round, which has none."""
    ref = inputs.optional_model("refresh.model")
    if ref is None:
        return None
    last = Path(ref)
    seen = {record.id for record in trained_on(last)}
    fresh = [record for record in fresh_pairs(inputs) if record.id not in seen]
    model = RewardModel.load(last, context.device)
    pairs = ranking.scored(model, fresh, tokens_per_batch).ranked
    found = accuracy(pairs.gaps, pairs.groups) if pairs.groups else None
    return Checked(last, settings.bound, ranks.from_first(found))


def fresh_pairs(inputs: Inputs) -> list[Preference]:
    """The pairs of ``refresh.data``."""
    return training.read_all(inputs.paths("refresh.data"), Preference)


def trained_on(last: Path) -> list[Preference]:
    """What a reward model was trained on, as far as it was written down."""
    path = last / PAIRS
    return tables.read(path, Preference) if path.exists() else []


def pooled(*parts: Sequence[Preference]) -> list[Preference]:
    """The pairs of all parts, each id once."""
    return list({record.id: record for part in parts for record in part}.values())


def keep(checked: Checked, context: Context) -> Outcome:
    """The last reward model once more, with what was measured of it when it was trained."""
    figures, details = checked.figures(), {"too_long": 0, "refresh": checked.details()}
    record = checked.last / ARTIFACT
    if ranks.first():
        leave = shutil.ignore_patterns(ARTIFACT)
        shutil.copytree(checked.last, context.output, dirs_exist_ok=True, ignore=leave)
    if record.exists():  # it is an artifact, not a folder from elsewhere
        made = json.loads(record.read_text(encoding="utf-8"))
        earlier = {name: Figure(**figure) for name, figure in made["figures"].items()}
        figures = {n: f for n, f in earlier.items() if "accuracy" in n and n != FRESH} | figures
        details = {n: made["details"][n] for n in MEASURED if n in made["details"]} | details
    return Outcome("reward_model", figures, details)
