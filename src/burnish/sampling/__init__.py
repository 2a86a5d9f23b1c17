"""Sampling: prompts to completions, by a model in this process or a served one."""

from burnish.sampling.endpoint import EndpointError, EndpointSettings
from burnish.sampling.generate import Completion, generate
from burnish.sampling.sampler import LocalSampler, Request, Sampler
from burnish.sampling.served import ServedSampler
from burnish.sampling.settings import Sampling

__all__ = [
    "Completion",
    "EndpointError",
    "EndpointSettings",
    "LocalSampler",
    "Request",
    "Sampler",
    "Sampling",
    "ServedSampler",
    "generate",
]
