"""Sampling: prompts to completions, by a model in this process or a served one."""

from burnish.sampling.batcher import Batcher, BatchLimits, QueueFull
from burnish.sampling.endpoint import EndpointError, EndpointSettings
from burnish.sampling.generate import Completion, generate
from burnish.sampling.sampler import LocalSampler, Request, Sampler
from burnish.sampling.served import ServedSampler
from burnish.sampling.settings import Sampling
from burnish.sampling.speculative import Draft, draft_of

__all__ = [
    "BatchLimits",
    "Batcher",
    "Completion",
    "Draft",
    "EndpointError",
    "EndpointSettings",
    "LocalSampler",
    "QueueFull",
    "Request",
    "Sampler",
    "Sampling",
    "ServedSampler",
    "draft_of",
    "generate",
]
