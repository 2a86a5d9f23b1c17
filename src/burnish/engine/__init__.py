"""The one training loop: windows of batches in, a fitted model out; the only place that divides."""

from burnish.config.progress import Handle, Progress, RichProgress, SilentProgress
from burnish.engine.actions import Action, Change, StepInfo
from burnish.engine.guard import TrainingDiverged
from burnish.engine.optim import named_trainable
from burnish.engine.replay import ReplaySource
from burnish.engine.settings import TrainSettings
from burnish.engine.source import DatasetSource, Source
from burnish.engine.train import FitResult, train
from burnish.engine.window import LossFunction

__all__ = [
    "Action",
    "Change",
    "DatasetSource",
    "FitResult",
    "Handle",
    "LossFunction",
    "Progress",
    "ReplaySource",
    "RichProgress",
    "SilentProgress",
    "Source",
    "StepInfo",
    "TrainSettings",
    "TrainingDiverged",
    "named_trainable",
    "train",
]
