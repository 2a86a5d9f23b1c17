"""Sampling: prompts to completions, by a model in this process or a served one."""

from burnish.sampling.batcher import Batcher, BatchLimits, QueueFull
from burnish.sampling.endpoint import EndpointError, EndpointSettings
from burnish.sampling.generate import Completion, generate
from burnish.sampling.sampler import LocalSampler, Request, Sampler
from burnish.sampling.served import ServedSampler
from burnish.sampling.settings import Sampling

__all__ = [
    "BatchLimits",
    "Batcher",
    "Completion",
    "EndpointError",
    "EndpointSettings",
    "LocalSampler",
    "QueueFull",
    "Request",
    "Sampler",
    "Sampling",
    "ServedSampler",
    "generate",
]
