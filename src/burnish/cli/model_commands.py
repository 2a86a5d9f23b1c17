"""``generate`` and ``chat``: talk to a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from burnish.cli.models_of import resolve_model
from burnish.cli.shared import DEFAULT_RUNS, AsJson, Runs, example, out, print_json, progress, say
from burnish.config import InputError, Problem, is_served

if TYPE_CHECKING:
    from collections.abc import Sequence

    from burnish.models.load import Loaded
    from burnish.records import Message, Prompt
    from burnish.sampling import Sampler, Sampling

Model = Annotated[str, typer.Argument(help="A folder, a run, a shipped name or a hub id.")]
Temperature = Annotated[float, typer.Option("--temperature", min=0.0, help="0: the likeliest.")]
TopP = Annotated[float, typer.Option("--top-p", min=0.0, max=1.0, help="Nucleus; 1: all tokens.")]
MaxTokens = Annotated[int, typer.Option("--max-tokens", min=1, help="Longest reply in tokens.")]
Turns = Annotated[
    int | None,
    typer.Option(
        "--turns", min=0, help="Earlier turns that the model is shown; all that fit by default."
    ),
]
DraftModel = Annotated[
    str | None,
    typer.Option("--draft", help="A smaller model of the same vocabulary that goes ahead."),
]
Ahead = Annotated[int, typer.Option("--ahead", min=1, help="Tokens that it goes ahead.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Same seed, same replies.")]


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command(
        epilog=example(
            "burnish generate --model burnish-tiny --prompt 'What is the capital of Peru?'",
            "burnish generate --model quickstart --prompts prompts.jsonl --out replies.jsonl",
            "burnish generate --model quickstart --draft models/small --prompt 'Hello'",
            "burnish generate --model http://127.0.0.1:8000/v1#name-there --prompt 'Hello'",
        )
    )(generate)
    app.command(epilog=example("burnish chat quickstart --turns 0"))(chat)


def generate(
    model: Annotated[str, typer.Option("--model", help="As for chat, or the address of one.")],
    prompt: Annotated[str | None, typer.Option("--prompt", help="One prompt.")] = None,
    prompts: Annotated[Path | None, typer.Option("--prompts", help="A file of prompts.")] = None,
    out_: Annotated[Path | None, typer.Option("--out", help="JSONL file for the replies.")] = None,
    temperature: Temperature = 0.0,
    top_p: TopP = 1.0,
    max_tokens: MaxTokens = 64,
    seed: Seed = 0,
    concurrency: Annotated[
        int, typer.Option("--concurrency", min=1, help="Requests at a time to a served model.")
    ] = 8,
    draft: DraftModel = None,
    ahead: Ahead = 4,
    runs: Runs = DEFAULT_RUNS,
    json_: AsJson = False,
) -> None:
    """Answer prompts with a model.

    With --out, replies of a served model that came are kept when the command is stopped; the same
    command asks for the rest.
    """
    from burnish.sampling import EndpointSettings, LocalSampler, Sampling, ServedSampler, draft_of
    from burnish.sampling.usage import counted
    from burnish.store.atomic import write_text
    from burnish.store.lines import as_lines

    asked = _asked(prompt, prompts)
    sampling = Sampling(temperature=temperature, top_p=top_p, max_new_tokens=max_tokens)
    journal = None if out_ is None else out_.with_name(f".{out_.name}.replies")
    sampler: Sampler
    if is_served(model):
        if draft is not None:
            raise InputError(Problem("", None, "--draft", "the model is served elsewhere"))
        sampler = ServedSampler(model, EndpointSettings(concurrency=concurrency), journal)
    else:
        loaded = _load(resolve_model(model, runs))
        helper = None
        if draft is not None:
            helper = draft_of(loaded, _load(resolve_model(draft, runs)), ahead)
        sampler = LocalSampler(loaded.model, loaded.tokenizer, helper)
    with counted() as used:
        rows = answer(sampler, asked, sampling, seed, quiet=json_ or len(asked) == 1)
    if out_ is not None and journal is not None:
        write_text(out_, as_lines(rows))
        journal.unlink(missing_ok=True)
        say(f"wrote {len(rows)} replies to {out_}")
    elif json_:
        proposals = {"proposed": used.proposed, "accepted": used.accepted}
        print_json({"replies": rows} | ({"draft": proposals} if draft else {}))
    else:
        for row in rows:
            if len(rows) > 1:
                say(f"› {row['prompt'][-1]['content']}", style="bold")
            say(row["reply"])
    if draft is not None and not json_:
        share = used.accepted / max(used.proposed, 1)
        say(f"draft: {share:.0%} of {used.proposed} proposed tokens stayed", style="dim")


def _asked(prompt: str | None, prompts: Path | None) -> list[Prompt]:
    from burnish.records import Prompt
    from burnish.store import tables

    if (prompt is None) == (prompts is None):
        found = "neither" if prompt is None else "both"
        expected = "expected one of --prompt and --prompts"
        raise InputError(Problem("", None, "--prompt", f"{found} given", expected))
    if prompts is not None:
        return tables.read(prompts, Prompt)
    return [Prompt(id="prompt", messages=[{"role": "user", "content": prompt or ""}])]


def _load(ref: str) -> Loaded:
    from transformers.utils import logging

    from burnish.models.load import load_model

    logging.disable_progress_bar()
    return load_model(ref)


def answer(
    sampler: Sampler, prompts: Sequence[Prompt], sampling: Sampling, seed: int, quiet: bool
) -> list[dict[str, Any]]:
    """``{"id", "prompt", "reply", "finish"}`` for each prompt; the n-th has seed ``seed + n``."""
    from burnish.sampling import Request

    requests = [Request(p.messages, seed + index, p.id) for index, p in enumerate(prompts)]
    with progress(quiet).task("generate", len(prompts)) as bar:
        done = sampler.complete(requests, sampling, bar.advance)
    return [
        {"id": p.id, "prompt": p.messages, "reply": c.text, "finish": c.finish}
        for p, c in zip(prompts, done, strict=True)
    ]


def chat(
    model: Model,
    temperature: Temperature = 0.3,
    top_p: TopP = 0.9,
    max_tokens: MaxTokens = 128,
    turns: Turns = None,
    seed: Seed = 0,
    runs: Runs = DEFAULT_RUNS,
) -> None:
    """Chat with a model in the terminal. /reset forgets, /quit or Ctrl-D leaves.

    A model that was only taught single questions, as the quickstart's, wants --turns 0.
    """
    from burnish.records import Prompt
    from burnish.sampling import LocalSampler, Sampling

    place = resolve_model(model, runs)
    loaded = _load(place)
    sampler = LocalSampler(loaded.model, loaded.tokenizer)
    sampling = Sampling(temperature=temperature, top_p=top_p, max_new_tokens=max_tokens)
    say(f"{place} · /reset forgets, /quit leaves", style="dim")
    history: list[Message] = []
    turn = seed
    while (said := _ask()) is not None:
        if said == "/reset":
            history = []
            continue
        if not said:
            continue
        if turns is not None:
            history = history[max(0, len(history) - 2 * turns) :]
        history.append({"role": "user", "content": said})
        history = _fitting(loaded, history, max_tokens)
        prompt = Prompt(id=f"turn{turn}", messages=history)
        reply = answer(sampler, [prompt], sampling, turn, quiet=True)[0]["reply"]
        history.append({"role": "assistant", "content": reply})
        say(reply)
        turn += 1


def _ask() -> str | None:
    """What the person types, or None when they leave."""
    try:
        said = out.input("[bold]› [/bold]").strip()
    except EOFError:
        return None
    return None if said in ("/quit", "/exit") else said


def _fitting(loaded: Loaded, history: list[Message], reply: int) -> list[Message]:
    """The latest turns that leave room for the reply in the model's context."""
    from burnish.sampling.cache import context_length
    from burnish.text.templates import encode_prompt

    room = context_length(loaded.model) - reply
    while len(history) > 1 and len(encode_prompt(loaded.tokenizer, history)) > room:
        history = history[2:]
    return history
