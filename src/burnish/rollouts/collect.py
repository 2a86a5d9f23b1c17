"""Prompts to rollouts: several replies each, at one or more temperatures."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from burnish.records import Prompt, Rollout, content_id
from burnish.sampling import Completion, Request, Sampler, Sampling


def collect(
    sampler: Sampler,
    prompts: Sequence[Prompt],
    samplings: Sampling | Sequence[Sampling],
    *,
    per_prompt: int,
    seed: int,
    progress: Callable[[int], object] | None = None,
) -> list[Rollout]:
    """Sample ``per_prompt`` replies to each prompt with each of ``samplings``.

    A reply depends on the model, its prompt and a seed made of ``seed``, the prompt's id and
    its number among the prompt's replies: not on the other prompts or their order.

    Args:
        progress: called with the number of replies that ended, as they end.

    Returns:
        ``len(prompts) * len(samplings) * per_prompt`` rollouts without scores, prompt by prompt.

    Raises:
        InputError: a prompt is longer than the model's context, or the model has no template.
        EndpointError: a served model did not reply to all.
    """
    wanted = [samplings] if isinstance(samplings, Sampling) else list(samplings)
    found: list[list[Rollout]] = [[] for _ in prompts]
    for number, sampling in enumerate(wanted):
        rows = [row for row in range(len(prompts)) for _ in range(per_prompt)]
        requests = [
            Request(
                prompt.messages, reply_seed(seed, prompt.id, number * per_prompt + index), prompt.id
            )
            for prompt in prompts
            for index in range(per_prompt)
        ]
        replies = sampler.complete(requests, sampling, progress)
        for row, reply, request in zip(rows, replies, requests, strict=True):
            found[row].append(_rollout(prompts[row], reply, sampling, request.seed))
    return [rollout for rollouts in found for rollout in rollouts]


def reply_seed(seed: int, prompt_id: str, index: int) -> int:
    """The 63-bit seed of one reply."""
    text = f"{seed}\x1f{prompt_id}\x1f{index}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def _rollout(prompt: Prompt, reply: Completion, sampling: Sampling, seed: int) -> Rollout:
    said = reply.tokens or reply.text  # a served model gives no tokens
    return Rollout(
        id=content_id("rollout", prompt.id, seed, sampling.model_dump(), said),
        source="rollouts",
        lang=prompt.lang,
        synthetic=True,
        parents=(prompt.id,),
        prompt_id=prompt.id,
        prompt=prompt.messages,
        completion=reply.text,
        tokens=reply.tokens,
        logprobs=reply.logprobs,
        finish=reply.finish,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        seed=seed,
        scores={},
        topic=prompt.topic,
        task=prompt.task,
        group=prompt.group,
    )
