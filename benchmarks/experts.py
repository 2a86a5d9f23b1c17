"""A mixture of two experts against each expert, their mean and one model of all the text.

    python -m benchmarks.experts --work runs/experts

The page benchmarks/RESULTS-experts.md says what is done; it is written by this program.
"""

from __future__ import annotations

import argparse
import ast
import platform
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.selection import SHIPPED, averaged, made, shown
from burnish.cli.one_stage import Made
from burnish.evals.perplexity import (
    DocumentLosses,
    document_losses,
    perplexity,
    perplexity_ratio,
)
from burnish.models import routers
from burnish.models.forward import hidden
from burnish.models.load import load_model
from burnish.records import Document
from burnish.store import atomic, tables
from burnish.text.batches import batches
from burnish.text.documents import document_segments

PAGE = Path(__file__).with_name("RESULTS-experts.md")
MODULES = ("ast", "argparse", "asyncio/base_events", "calendar", "configparser", "csv", "datetime",
           "difflib", "doctest", "email/message", "ftplib", "heapq", "http/client", "imaplib",
           "inspect", "ipaddress", "json/decoder", "logging/handlers", "mailbox", "optparse",
           "pathlib", "pickle", "pydoc", "shutil", "smtplib", "socketserver", "statistics",
           "string", "subprocess", "tarfile", "textwrap", "threading", "typing", "unittest/case",
           "urllib/request", "uuid", "weakref", "xmlrpc/client", "zipfile")  # fmt: skip
"""Of Python's standard library, where a version has them."""
LENGTH = 400
"""Characters of a piece of code at most."""
KINDS = ("atlas", "code")
TRAIN = {"learning_rate": 1.0e-3, "tokens_per_step": 1024, "epochs": 3}
ROUTER = {"learning_rate": 1.0e-2, "tokens_per_step": 1024, "epochs": 1}
ARMS = {
    "base": "burnish-tiny, where all begin",
    "expert_atlas": "expert in the atlas",
    "expert_code": "expert in code",
    "mean": "the experts' mean (`fit.merge`, linear)",
    "uniform": "mixture, both experts alike (gate `zero`)",
    "begun": "mixture, router begun from texts (gate `hidden`)",
    "routed": "mixture, **router trained** (`fit.router`)",
    "routed_all": "mixture, all of it trained as long",
    "both": "one dense model of both texts",
}


def texts() -> dict[str, list[Document]]:
    """The documents of each kind, in a fixed shuffled order."""
    atlas = tables.read(SHIPPED / "atlas_docs.jsonl.gz", Document)
    found = {"atlas": list(atlas), "code": _code(Path(ast.__file__).parent)}
    for documents in found.values():
        random.Random(0).shuffle(documents)
    size = min(map(len, found.values()))
    return {kind: documents[:size] for kind, documents in found.items()}


def _code(library: Path) -> list[Document]:
    """Functions of the standard library as they are written, the longest cut."""
    found = []
    for name in MODULES:
        path = library / f"{name}.py"
        source = path.read_text(encoding="utf-8") if path.is_file() else ""
        rows = source.splitlines()
        for node in ast.walk(ast.parse(source)):
            if not isinstance(node, ast.FunctionDef):
                continue
            text = "\n".join(rows[node.lineno - 1 : node.end_lineno])
            if len(text) >= LENGTH // 2:
                found.append(Document(id=f"{name}:{node.name}:{node.lineno}", text=text[:LENGTH]))
    return found


def divided(documents: Sequence[Document]) -> tuple[list[Document], list[Document]]:
    """Four fifths to train on, and the rest."""
    cut = len(documents) * 4 // 5
    return list(documents[:cut]), list(documents[cut:])


def stages(files: Mapping[str, str]) -> dict[str, Any]:
    """Every model of one seed."""
    fit = {"run": "fit.pretrain", "model": "@base", "ratio": 0, "domain_heldout": 0,
           "train": dict(TRAIN)}  # fmt: skip
    parents = [f"@expert_{kind}" for kind in KINDS]
    router = {"run": "fit.router", "data": [files[kind] for kind in KINDS], "train": dict(ROUTER)}
    return {
        **{f"expert_{kind}": {**fit, "domain": [files[kind]]} for kind in KINDS},
        "both": {**fit, "domain": [files[kind] for kind in KINDS]},
        "mean": {"run": "fit.merge", "parents": parents},
        "uniform": {"run": "fit.experts", "parents": parents, "experts": {"gate": "zero"}},
        "begun": {"run": "fit.experts", "parents": parents,
                  "prompts": [files[kind] for kind in KINDS]},
        "routed": {**router, "model": "@begun"},
        "routed_all": {**router, "model": "@begun", "parts": "all",
                       "train": {**ROUTER, "learning_rate": TRAIN["learning_rate"]}},
    }  # fmt: skip


def run_seed(work: Path, seed: int) -> Made:
    """Write the data and make every model."""
    files = {}
    for kind, documents in texts().items():
        files[kind] = str((work / f"{kind}.jsonl").resolve())
        tables.write(Path(files[kind]), divided(documents)[0])
    return made(stages(files), "burnish-tiny", work.resolve(), seed)


Losses = dict[str, dict[str, DocumentLosses]]
"""By arm and kind of text."""


def measure(run: Made, heldout: Mapping[str, Sequence[Document]]) -> Losses:
    """What every arm makes of the held-out documents."""
    found: Losses = {}
    for arm in ARMS:
        loaded = load_model(run.folders.get(arm, "burnish-tiny"))
        found[arm] = {kind: document_losses(loaded.model, loaded.tokenizer, documents)
                      for kind, documents in heldout.items()}  # fmt: skip
    return found


def joined(parts: Sequence[DocumentLosses]) -> DocumentLosses:
    """The documents of all kinds."""
    return DocumentLosses(np.concatenate([part.nats for part in parts]),
                          np.concatenate([part.tokens for part in parts]))  # fmt: skip


def weights(run: Made, documents: Sequence[Document]) -> list[list[float]]:
    """The mean weight of each expert in each layer of the routed mixture, ``[L][E]``."""
    loaded = load_model(run.folders["routed"])
    segments = list(document_segments(loaded.tokenizer, documents, 512))
    sums: list[Any] = []
    with torch.no_grad():
        for _, batch in batches(segments, 4096):
            with routers.heard(loaded.model) as heard:
                hidden(loaded.model, batch)
            sums.append(torch.stack(heard).softmax(dim=-1).sum(dim=1))
    total = torch.stack(sums).sum(dim=0)
    found: list[list[float]] = (total / total.sum(dim=-1, keepdim=True)).tolist()
    return found


def page(seeds: Sequence[int], runs: Sequence[Losses], shares: Mapping[str, list[list[float]]],
         counts: Mapping[str, int]) -> str:  # fmt: skip
    """The results as Markdown."""
    means: Losses = {
        arm: {kind: averaged([run[arm][kind] for run in runs]) for kind in runs[0][arm]}
        for arm in ARMS
    }
    lines = [INTRODUCTION.format(
        seeds=", ".join(map(str, seeds)), python=platform.python_version(), **counts)]  # fmt: skip
    lines += ["| | atlas | code | mixed | mixed, against the routed mixture |",
              "| --- | ---: | ---: | ---: | ---: |"]  # fmt: skip
    routed = joined([means["routed"][kind] for kind in KINDS])
    for arm, about in ARMS.items():
        mixed = joined([means[arm][kind] for kind in KINDS])
        cells = [shown(perplexity(one)) for one in (*(means[arm][k] for k in KINDS), mixed)]
        ratio = "" if arm == "routed" else shown(perplexity_ratio(mixed, routed), 3)
        lines.append(f"| {about} | {' | '.join(cells)} | {ratio} |")
    lines += ["", "The mean weight of the atlas expert (the code expert has the rest) in each",
              f"layer of the routed mixture, seed {seeds[0]}:", "", "| held-out text | "
              + " | ".join(f"layer {layer}" for layer in range(len(shares["atlas"]))) + " |",
              "| --- |" + " ---: |" * len(shares["atlas"])]  # fmt: skip
    lines += [f"| {kind} | {' | '.join(f'{row[0]:.2f}' for row in rows)} |"
              for kind, rows in shares.items()]  # fmt: skip
    return "\n".join(lines) + "\n"


INTRODUCTION = """# A mixture of two experts

Made by `python -m benchmarks.experts`. Two experts are fitted from `burnish-tiny`: one on documents
of the quickstart's atlas, one on functions of Python {python}'s standard library, {train} documents
each, three passes. `fit.experts` puts them together (top 2 of 2: every token goes through both, and
the router weighs them), and `fit.router` trains nothing but the routers, one pass over the same
documents of both. The dense model of both texts sees as many tokens as the two experts in sum.

Perplexity of {heldout} held-out documents of each kind, with 95 % intervals over documents. Seeds:
{seeds}; of several, each document's loss is the mean over them. The last column is a ratio on the
same documents: above 1, the routed mixture is better. Atlas documents are made of few templates, so
that held-out ones are much like those trained on. Nothing was tuned.
"""


def main() -> None:
    """Run all seeds, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--work", type=Path, required=True, help="kept, so that it can continue")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args()
    parts = {kind: divided(documents) for kind, documents in texts().items()}
    heldout = {kind: aside for kind, (_, aside) in parts.items()}
    done = [run_seed(given.work / f"seed{seed}", seed) for seed in given.seeds]
    runs = [measure(run, heldout) for run in done]
    shares = {kind: weights(done[0], documents) for kind, documents in heldout.items()}
    counts = {"train": len(parts["atlas"][0]), "heldout": len(heldout["atlas"])}
    text = page(given.seeds, runs, shares, counts)
    print(text)
    atomic.write_text(PAGE, text)


if __name__ == "__main__":
    main()
