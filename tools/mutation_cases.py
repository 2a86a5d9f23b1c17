"""The mistakes that ``mutations.py`` makes, each seen in training code.

``file`` is below the package, ``tests`` are below ``tests``.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """One mistake: in ``file`` (below the package) ``old``, found exactly once, becomes ``new``.

    ``tests`` are the files, below ``tests``, one of which must notice.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


MUTATIONS = (
    Mutation(
        "policy loss with the wrong sign",
        "objectives/policy.py",
        "return -surrogate",
        "return surrogate",
        ("objectives/test_policy.py",),
    ),
    Mutation(
        "no clip of the ratio",
        "objectives/policy.py",
        "ratio.clamp(1 - low, 1 + high) * gain",
        "ratio * gain",
        ("objectives/test_policy.py",),
    ),
    Mutation(
        "dual clip off",
        "objectives/policy.py",
        "if dual is not None:",
        "if False:",
        ("objectives/test_policy.py",),
    ),
    Mutation(
        "value clip takes the smaller error",
        "objectives/policy.py",
        "0.5 * torch.maximum(error,",
        "0.5 * torch.minimum(error,",
        ("objectives/test_policy.py",),
    ),
    Mutation(
        "GAE without lambda",
        "objectives/advantage.py",
        "delta + gamma * lam * next_advantage",
        "delta + gamma * next_advantage",
        ("objectives/test_advantage.py",),
    ),
    Mutation(
        "whitening biased for unbiased",
        "objectives/advantage.py",
        '(count - 1 if kind == "unbiased" else count)',
        "count",
        ("objectives/test_advantage.py",),
    ),
    Mutation(
        "group standard deviation biased for unbiased",
        "objectives/advantage.py",
        "(n - 1 if unbiased else n)",
        "n",
        ("objectives/test_advantage.py",),
    ),
    Mutation(
        "lambda falls where the cost is above its budget",
        "rollouts/constraint.py",
        "multiplier, cost - own.budget,",
        "multiplier, own.budget - cost,",
        ("stages/test_constraint.py",),
    ),
    Mutation(
        "pairs beside a policy's loss divided by its tokens",
        "stages/hybrid.py",
        "(weight * count / pairs, 0.0)",
        "(weight, 0.0)",
        ("stages/test_hybrid.py",),
    ),
    Mutation(
        "each look at a policy is tested as if it were the only one",
        "evals/overoptimisation.py",
        "level / (looks * (looks + 1) / 2)",
        "level",
        ("evals/test_overoptimisation.py",),
    ),
    Mutation(
        "gradient flows into KTO's baseline",
        "objectives/unpaired.py",
        "baseline.detach()",
        "baseline",
        ("objectives/test_preference.py",),
    ),
    Mutation(
        "preference reward without the reference",
        "objectives/preference.py",
        "else policy - ref",
        "else policy",
        ("objectives/test_preference.py",),
    ),
    Mutation(
        "soft label the wrong way round",
        "objectives/preference.py",
        "(1 - widened(probability))",
        "widened(probability)",
        ("objectives/test_preference.py",),
    ),
    Mutation(
        "second order of a label not turned round",
        "rewards/labels.py",
        "else 1 - second",
        "else second",
        ("rewards/test_labels.py",),
    ),
    Mutation(
        "objective divides although the engine does",
        "objectives/preference.py",
        "return Loss(weighted_sum(losses, weights), metric(weights)[0],",
        "return Loss(weighted_sum(losses, weights) / metric(weights)[0], metric(weights)[0],",
        ("objectives/test_preference.py",),
    ),
    Mutation(
        "gradients averaged over processes",
        "models/divided.py",
        "set_gradient_divide_factor(1.0)",
        "set_gradient_divide_factor(2.0)",
        ("engine/test_ranks.py",),
    ),
    Mutation(
        "a head's gradient not shared by the processes",
        "engine/shards.py",
        "ranks.summed(torch.cat([gradient.flatten() for gradient in gradients]))",
        "torch.cat([gradient.flatten() for gradient in gradients])",
        ("engine/test_ranks.py",),
    ),
    Mutation(
        "a micro-batch counted by two processes",
        "engine/window.py",
        "if not counted:",
        "if False:",
        ("engine/test_ranks.py",),
    ),
    Mutation(
        "every process resumes with the first one's random state",
        "engine/state.py",
        'own = "random" if ranks.first() else _of("random", ranks.index())',
        'own = "random"',
        ("engine/test_ranks.py",),
    ),
    Mutation(
        "every process works on the first one's items",
        "engine/ranks.py",
        "items[index() :: count()]",
        "items[:: count()]",
        ("stages/test_several.py",),
    ),
    Mutation(
        "KTO's reference point is that of a process's own replies",
        "stages/fit/kto.py",
        "ranks.shared_out(window, scored)",
        "scored(window[ranks.index() :: ranks.count()] or window)",
        ("stages/test_several.py",),
    ),
    Mutation(
        "an option's length in characters taken for bytes",
        "evals/choices.py",
        "[len(text.encode()) for text in texts]",
        "[len(text) for text in texts]",
        ("evals/test_choices.py",),
    ),
    Mutation(
        "engine divides twice",
        "engine/optim.py",
        "optimizer.grad_scale = count *",
        "optimizer.grad_scale = count**2 *",
        ("objectives/test_division.py",),
    ),
    Mutation(
        "chosen and rejected swapped in the reward model's loss",
        "objectives/reward.py",
        "gap = chosen - rejected",
        "gap = rejected - chosen",
        ("objectives/test_reward.py",),
    ),
    Mutation(
        "prompt tokens trained in fine-tuning",
        "text/templates.py",
        "[reply >= first and reply >= 0] * len(ids)",
        "[True] * len(ids)",
        ("text/test_templates.py",),
    ),
    Mutation(
        "prompt tokens trained in reinforcement learning",
        "rollouts/credit.py",
        "[False] * before + [True]",
        "[True] * before + [True]",
        ("rollouts/test_credit.py",),
    ),
    Mutation(
        "first token of a document trained",
        "text/batches.py",
        "targets[starts[begins == 0]] = False",
        "pass",
        ("text/test_batches.py",),
    ),
    Mutation(
        "a reply predicted from the reply before it",
        "text/batches.py",
        "before[[span.start for span in going_on]] = [s.past_start + s.past - 1 for s in going_on]",
        "before[[span.start for span in going_on]] = [s.start - 1 for s in going_on]",
        ("text/test_batches.py",),
    ),
    Mutation(
        "a shared prompt not seen whole",
        "models/packing.py",
        "(column >= first)",
        "(column > first)",
        ("models/test_forward.py",),
    ),
    Mutation(
        "a shared prompt learns from its last reply alone",
        "models/attention.py",
        'sums = F.embedding_bag(copies.cells, grads[0].flatten(1), copies.offsets, mode="sum")',
        'sums = F.embedding_bag(copies.cells, grads[0].flatten(1), copies.offsets, mode="max")',
        ("models/test_forward.py",),
    ),
    Mutation(
        "targets shifted by one",
        "models/forward.py",
        "states.index_select(0, batch.predictors()), batch.tokens[index]",
        "states.index_select(0, index), batch.tokens[index]",
        ("models/test_forward.py",),
    ),
    Mutation(
        "temperature not divided in the trainer",
        "models/forward.py",
        "scores[part] if temperature == 1.0 else scores[part] / temperature",
        "scores[part]",
        ("models/test_forward.py",),
    ),
    Mutation(
        "reward read at the first token",
        "models/heads.py",
        "batch.last_index()",
        "batch.last_index() - torch.tensor(batch.lengths) + 1",
        ("models/test_heads.py",),
    ),
    Mutation(
        "no KL term in PPO's reward",
        "rollouts/credit.py",
        "rewards = -settings.kl_coef * divergence",
        "rewards = 0 * divergence",
        ("rollouts/test_credit.py",),
    ),
    Mutation(
        "PPO's score at the first token",
        "rollouts/credit.py",
        "rewards[-1] += outcome",
        "rewards[0] += outcome",
        ("rollouts/test_credit.py",),
    ),
    Mutation(
        "no KL term in GRPO's loss",
        "stages/fit/grpo.py",
        "per_token + config.kl_coef * divergence",
        "per_token",
        ("rollouts/test_losses.py",),
    ),
    Mutation(
        "reference with dropout in reinforcement learning",
        "stages/policy.py",
        "frozen = deepcopy(loaded.model).eval()",
        "frozen = deepcopy(loaded.model).train()",
        ("rollouts/test_losses.py",),
    ),
    Mutation(
        "importance weights without their cap",
        "objectives/importance.py",
        "return ratio.clamp(max=cap), {",
        "return ratio, {",
        ("objectives/test_importance.py",),
    ),
    Mutation(
        "importance weights that weigh nothing",
        "stages/policy.py",
        'return per_token * batch.at_targets("importance")',
        "return per_token",
        ("rollouts/test_losses.py",),
    ),
    Mutation(
        "top_p forgotten in the sampler's probability",
        "rollouts/phase.py",
        "sampler = sampler - torch.cat(",
        "sampler = sampler - 0 * torch.cat(",
        ("rollouts/test_online.py",),
    ),
    Mutation(
        "tokens of the format left in DPO's preference",
        "stages/fit/dpo.py",
        "segment_sums(logprobs * content, batch)",
        "segment_sums(logprobs, batch)",
        ("stages/test_dpo.py",),
    ),
    Mutation(
        "chosen and rejected swapped in DPO",
        "stages/fit/dpo.py",
        "sums[0::2],\n        sums[1::2],",
        "sums[1::2],\n        sums[0::2],",
        ("stages/test_dpo.py",),
    ),
    Mutation(
        "dropout of a loaded model left on",
        "models/load.py",
        "        _without_dropout(config)\n        if bits",
        "        if bits",
        ("models/test_load.py",),
    ),
    Mutation(
        "semantic duplicates above the threshold only",
        "selection/clusters.py",
        "cosines[nearest] >= threshold - ROUNDING",
        "cosines[nearest] > threshold + ROUNDING",
        ("selection/test_clusters.py",),
    ),
    Mutation(
        "a tier that is short is not noticed",
        "selection/pyramid.py",
        "if counts[tier] > sum(there[tier])",
        "if False",
        ("selection/test_pyramid.py",),
    ),
    Mutation(
        "a norm's gradient without the part of its scale",
        "models/fused.py",
        "(slope * weight).addcmul_(normal, mean).mul_(scale)",
        "(slope * weight).mul_(scale)",
        ("models/test_fused.py",),
    ),
    Mutation(
        "a rotation's gradient turned the same way",
        "models/fused.py",
        "_turn(grads[0], cos, sin, back=True)",
        "_turn(grads[0], cos, sin)",
        ("models/test_fused.py",),
    ),
    Mutation(
        "clipped to the square of the limit",
        "engine/optim.py",
        "(norm / limit).clamp(min=1.0)",
        "(norm / limit**2).clamp(min=1.0)",
        ("objectives/test_division.py", "engine/test_train.py"),
    ),
    Mutation(
        "going back keeps the momentum that led away",
        "engine/train.py",
        "            optim.forget_momentum(self.optimizer)\n",
        "",
        ("engine/test_replay.py",),
    ),
    Mutation(
        "a resumed fit forgets that its rate was lowered",
        "engine/train.py",
        '        self.rate = progress["rate"]\n',
        "",
        ("engine/test_replay.py",),
    ),
    Mutation(
        "the guard ends past its bound",
        "stages/forgetting.py",
        "if gone >= 1:",
        "if False:",
        ("stages/test_pretrain.py",),
    ),
    Mutation(
        "every expert is the first",
        "merging/experts.py",
        "copied(name, [model])",
        "copied(name, [experts.models[0]])",
        ("merging/test_experts.py",),
    ),
    Mutation(
        "the load balance pays for a collapse",
        "objectives/router.py",
        "(shares * chances.mean(dim=1))",
        "(shares * (1 - chances.mean(dim=1)))",
        ("objectives/test_router.py",),
    ),
)
