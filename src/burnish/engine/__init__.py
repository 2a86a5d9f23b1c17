"""The one training loop: windows of batches in, a fitted model out; the only place that divides."""

from burnish.config.progress import Handle, Progress, RichProgress, SilentProgress
from burnish.engine.guard import TrainingDiverged
from burnish.engine.optim import named_trainable
from burnish.engine.settings import TrainSettings
from burnish.engine.source import DatasetSource, Source
from burnish.engine.train import Action, FitResult, StepInfo, train
from burnish.engine.window import LossFunction

__all__ = [
    "Action",
    "DatasetSource",
    "FitResult",
    "Handle",
    "LossFunction",
    "Progress",
    "RichProgress",
    "SilentProgress",
    "Source",
    "StepInfo",
    "TrainSettings",
    "TrainingDiverged",
    "named_trainable",
    "train",
]
