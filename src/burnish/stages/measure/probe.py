"""A fixed probe set answered by every version, and how far each has drifted from earlier ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from burnish.config import EvaluationRef, PromptRef, SamplerRef, Settings, is_served
from burnish.evals import consistency, tasks
from burnish.evals.consistency import DRIFT, Version
from burnish.evals.tasks import GREEDY, Response, Task, TaskSettings
from burnish.models.load import Loaded
from burnish.records import Message
from burnish.rewards.likelihood import reply_logprobs
from burnish.sampling import address
from burnish.sampling.generate import BATCH_ROWS
from burnish.stages.base import Context, Inputs, Outcome
from burnish.stages.replying import journal_of, journalled, weigher

Pairs = list[tuple[list[Message], str]]


class Config(Settings):
    """Ask ``model`` the items of ``probes``, taking the likeliest token each time.

    ``last`` names this stage itself: what it wrote in the round before, with all earlier versions.
    A ``champion`` that is not among them is asked as well, so that the first round has something
    to compare with; it may also be a fixed model, of another run or a folder. Prompts may have a
    ``verify`` specification; see ``evals.consistency`` for when two versions agree.
    """

    model: SamplerRef
    probes: list[PromptRef]
    last: EvaluationRef | None = None
    champion: SamplerRef | None = None
    max_new_tokens: int = 48


def run(config: Config, inputs: Inputs, context: Context) -> Outcome:
    """Write every version's answers, this one's with them."""
    settings = TaskSettings(name="probe", data=config.probes, metric="refused")
    task = tasks.load_task(settings, *inputs.paths("probes"))
    folder = next(iter(inputs.paths("last")), None)
    versions = consistency.read(folder) if folder is not None else []
    champion = inputs.optional_model("champion")
    known = {version.name for version in versions}
    if champion is not None and _name(champion, context) not in known:
        versions.append(_answered(config, task, champion, versions, context))
    versions.append(_answered(config, task, inputs.model("model"), versions, context))
    consistency.write(context.output, versions)
    return _outcome(versions)


def _answered(
    config: Config, task: Task, ref: str, earlier: Sequence[Version], context: Context
) -> Version:
    journal = journal_of(ref, context)
    model = journalled(ref, journal, context.endpoint, context.device, BATCH_ROWS)
    sampling = GREEDY.model_copy(update={"max_new_tokens": config.max_new_tokens})
    with context.progress.task(f"{context.name} {model.name}", None) as bar:
        responses = tasks.answer(
            model.sampler, [task], sampling, progress=bar.advance, weigh=weigher(model, journal)
        )
    name = _name(ref, context)
    if model.loaded is None:
        unknown: dict[str, float | None] = {version.name: None for version in earlier}
        return Version(name, consistency.answers(responses, None), unknown)
    own = _logprobs(model.loaded, [(one.messages, one.reply) for one in responses])
    found = {version.name: _divergence(model.loaded, version, responses) for version in earlier}
    return Version(name, consistency.answers(responses, own), found)


def _name(ref: str, context: Context) -> str:
    """What a version is called: ``sft@2``; one of another run with that before it, ``old/sft@2``,
    so that it is not taken for this run's own."""
    if is_served(ref):
        return address.parse(ref).model
    path = Path(ref)
    elsewhere = "@" in path.name and path.parent != context.output.parent
    return f"{path.parent.parent.name}/{path.name}" if elsewhere else path.name


def _divergence(loaded: Loaded, earlier: Version, responses: Sequence[Response]) -> float | None:
    """How much less likely the earlier version's replies are under this model."""
    asked = {one.item_id: one.messages for one in responses if one.item_id in earlier.answers}
    pairs: Pairs = [(messages, earlier.answers[item].reply) for item, messages in asked.items()]
    under = dict(zip(asked, _logprobs(loaded, pairs), strict=True))
    return consistency.divergence({item: earlier.answers[item] for item in asked}, under)


def _logprobs(loaded: Loaded, pairs: Pairs) -> list[tuple[float, int]]:
    return reply_logprobs(loaded.model, loaded.tokenizer, pairs)


def _outcome(versions: Sequence[Version]) -> Outcome:
    """``drift``: from the version that is furthest away; ``drift_last``: from the one before."""
    last, far = versions[-1], consistency.furthest(versions)
    figures = {}
    if far is not None:
        figures = {
            DRIFT: consistency.drift(far, last),
            f"{DRIFT}_last": consistency.drift(versions[-2], last),
        }
    details = {
        "versions": [version.name for version in versions],
        "furthest": far.name if far is not None else None,
        "agreement": consistency.matrix(versions),
        "same_words": consistency.matrix(versions, same_words=True),
        "divergence": [version.divergence for version in versions],
    }
    return Outcome("report", figures, details)
