"""Export a model, ask each export by its real runtime, and keep those that are still the model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import Field, PositiveInt, model_validator

from burnish.config import DocumentRef, ModelRef, Settings
from burnish.evals import tasks
from burnish.evals.compare import RESPONSES, align, write_general
from burnish.evals.efficiency import typical
from burnish.evals.fidelity import FidelityPolicy, judge
from burnish.evals.perplexity import DocumentLosses, perplexity, perplexity_ratio
from burnish.evals.savings import savings
from burnish.evals.statistics import wilson
from burnish.evals.tasks import Response, Task, TaskSettings, Weigh
from burnish.exporting.agree import check_words
from burnish.exporting.edge import write_edge
from burnish.exporting.forms import FILES, Form, parse
from burnish.exporting.gguf_facts import check_file
from burnish.exporting.page import fetch
from burnish.exporting.process import RuntimeProcess
from burnish.exporting.write import Source, artifact, check_packages, write
from burnish.records import Document, Figure, content_id
from burnish.reporting.exports import write_pages
from burnish.sampling import Sampler, Sampling
from burnish.sampling.generate import BATCH_ROWS
from burnish.stages import exported, training
from burnish.stages.base import Context, Inputs, Outcome
from burnish.stages.replying import journal_of, journalled, weigher
from burnish.store import atomic
from burnish.store.manifest import folder_size

REPORT = "exports.json"
MEASURED = "measured"
SOURCE = "source"


class SpeedSettings(Settings):
    """One stream: a prompt of ``prompt_tokens``, a reply of ``new_tokens``, ``repeats`` times, on
    ``threads`` cores."""

    prompt_tokens: PositiveInt = 64
    new_tokens: PositiveInt = 64
    repeats: int = Field(default=5, ge=2)
    threads: PositiveInt = 1


class Config(Settings):
    """Write ``model`` in each form of ``to`` (``gguf:q8_0``), and measure it there.

    ``tasks`` are answered greedily and ``heldout`` text is scored, up to ``heldout_tokens``, by
    the runtime that the form is for, and compared with the source item by item; ``policy`` says
    how much may be lost, and what has to be saved. What is not fit is left out, unless
    ``keep_unfit``; its figures stay.
    With ``edge`` each form is made a folder that runs without PyTorch; ``page`` adds a page that
    chats in the browser, whose program is fetched by ``npm`` or read from the package's file.
    """

    model: ModelRef
    to: list[str] = Field(default=["gguf:q8_0"], min_length=1)
    tasks: list[TaskSettings] = []
    heldout: DocumentRef | None = None
    heldout_tokens: PositiveInt = 4096
    sampling: Sampling = Sampling(temperature=0.0, max_new_tokens=32)
    policy: FidelityPolicy = FidelityPolicy()
    speed: SpeedSettings = SpeedSettings()
    keep_unfit: bool = False
    edge: bool = False
    page: str | None = None

    @model_validator(mode="after")
    def _measurable(self) -> Config:
        if not self.tasks and self.heldout is None:
            raise ValueError("tasks, heldout: nothing to measure an export on; expected one")
        if self.sampling.temperature != 0:
            raise ValueError("sampling.temperature: exports are compared greedily; expected 0")
        forms = [parse(name) for name in self.to]
        if len(set(forms)) < len(forms):
            raise ValueError("to: a form is named twice")
        if self.edge and any(form.format not in FILES for form in forms):
            raise ValueError("edge: a torch form needs PyTorch; expected gguf or onnx")
        if self.page is not None and not self.edge:
            raise ValueError("page: a part of edge folders; expected edge: true")
        if self.page is not None and any(form.format != "gguf" for form in forms):
            raise ValueError(
                "page: llama.cpp is what runs in the browser; expected gguf forms only"
            )
        return self


def run(config: Config, inputs: Inputs, context: Context) -> Outcome:
    """Write, ask, compare and judge; ``exports.json`` and two pages say what came out."""
    forms = [parse(name) for name in config.to]
    check_packages(forms)
    package = fetch(config.page, context.scratch / "npm") if config.page else None
    work = _Work(config, inputs, context, package)
    before = work.measured_source()
    rows = [work.measured(form) for form in forms]
    for form, row in zip(forms, rows, strict=True):
        if row["decision"] == "fit" or config.keep_unfit:
            (context.scratch / form.folder).rename(context.output / form.folder)
    shutil.copytree(context.scratch / MEASURED, context.output / MEASURED)
    found: dict[str, Any] = {
        "model": Path(inputs.model("model")).name,
        "policy": config.policy.model_dump(mode="json"),
        "tasks": [task.name for task in config.tasks],
        "threads": config.speed.threads,
        "rows": [{"form": SOURCE, **before}, *rows],
    }
    atomic.write_json(context.output / REPORT, found)
    write_pages(context.output, found)
    figures = {
        f"{row['form'].replace(':', '_')}.{name}": Figure(**figure)
        for row in found["rows"]
        for name, figure in row["figures"].items()
    }
    return Outcome("report", figures, found)


@dataclass(frozen=True)
class _Work:
    """One model on its way into several forms. What is finished lies in the scratch folder and
    is not made again after an interruption."""

    config: Config
    inputs: Inputs
    context: Context
    package: Path | None = None

    @cached_property
    def source(self) -> Source:
        """The model itself, loaded by burnish."""
        assert self._replying.loaded is not None
        return Source(self._replying.loaded, self.context.scratch)

    @cached_property
    def _replying(self) -> Any:
        ref = self.inputs.model("model")
        journal = journal_of(ref, self.context)
        return journalled(ref, journal, self.context.endpoint, self.context.device, BATCH_ROWS)

    @cached_property
    def _sets(self) -> list[Task]:
        return [
            tasks.load_task(task, *self.inputs.paths(f"tasks.{index}.data"))
            for index, task in enumerate(self.config.tasks)
        ]

    @cached_property
    def _text(self) -> exported.Text | None:
        documents = training.read_all(self.inputs.paths("heldout"), Document)
        if not documents:
            return None
        length = self.source.context
        return exported.read(self.source.loaded, documents, length, self.config.heldout_tokens)

    def _folder(self, name: str) -> Path:
        return self.context.scratch / MEASURED / name

    def measured_source(self) -> dict[str, Any]:
        """The source's row; replies by burnish, speed and memory by transformers."""
        done = self._folder(SOURCE) / "row.json"
        if done.exists():
            return _read(done)
        journal = journal_of(self.inputs.model("model"), self.context)
        weigh = weigher(self._replying, journal)
        figures = self._answered(SOURCE, self._replying.sampler, weigh)
        if self._text is not None:
            figures |= self._general(SOURCE, self._text.losses)
        with self._opened("torch", self.source.folder) as runtime:
            costs = self._costs(runtime, self.source.folder)
        found = {"figures": _plain(figures | _typical(costs)), "costs": costs}
        atomic.write_json(done, found)
        return found

    def measured(self, form: Form) -> dict[str, Any]:
        """Write one form and measure it; its row of the table."""
        done = self._folder(form.folder) / "row.json"
        target = self.context.scratch / form.folder
        if done.exists() and target.exists():
            return _read(done)
        if target.exists():
            atomic.remove_folder(target)
        details = write(self.source, form, target)
        file = artifact(form, target)
        if form.format == "gguf":
            check_file(file)
        with self._opened(form.format, file) as runtime:
            if form.format == "gguf":
                check_words(self.source, runtime, file)
            loaded, length = self.source.loaded, self.source.context
            sampler = exported.RuntimeSampler(runtime, loaded.tokenizer, length)
            costs = self._costs(runtime, target)  # first: what scoring takes is no part of it
            figures = self._answered(form.folder, sampler, sampler.weigh)
            if self._sets:
                figures["same_answers"] = self._same(form.folder)
            if self._text is not None:
                with self.context.progress.task(
                    f"{form.folder} text", len(self._text.segments)
                ) as bar:
                    losses, apart = exported.listen(runtime, self._text, bar.advance)
                figures |= self._general(form.folder, losses) | {"kl": apart}
                figures["general_ppl_ratio"] = perplexity_ratio(losses, self._text.losses)
        sides = align(self._folder(SOURCE), self._folder(form.folder))
        policy, before = self.config.policy, self.measured_source()["costs"]
        saved = savings(
            policy.cheaper, before, costs,
            alpha=policy.alpha, draws=policy.draws, seed=policy.seed,
        )  # fmt: skip
        verdict = judge(policy, sides, saved)
        if self.config.edge:
            details |= {"edge_bytes": write_edge(form, target, self.package)}
        found = {
            "form": str(form), "details": details, "figures": _plain(figures | _typical(costs)),
            "costs": costs, **verdict.as_dict(),
        }  # fmt: skip
        atomic.write_json(done, found)
        return found

    def _opened(self, format_: str, path: Path) -> RuntimeProcess:
        return RuntimeProcess(format_, path, self.source.context, self.config.speed.threads)

    def _answered(self, name: str, sampler: Sampler, weigh: Weigh | None) -> dict[str, Figure]:
        asked = len({content_id(one.messages) for task in self._sets for one in task.items})
        with self.context.progress.task(f"{name} replies", asked) as bar:
            replies = tasks.answer(
                sampler, self._sets, self.config.sampling, self.context.seed, bar.advance, weigh
            )
        tasks.write(self._folder(name) / RESPONSES, replies)
        return tasks.figures(replies)

    def _general(self, name: str, losses: DocumentLosses) -> dict[str, Figure]:
        write_general(self._folder(name), losses)
        return {"general_ppl": perplexity(losses)}

    def _same(self, name: str) -> Figure:
        """The share of conversations to which the export replies as the source does."""
        before, after = (
            _replies(tasks.read(self._folder(one) / RESPONSES)) for one in (SOURCE, name)
        )
        return wilson(sum(before[key] == after[key] for key in before), len(before))

    def _costs(self, runtime: RuntimeProcess, folder: Path) -> dict[str, list[float]]:
        """By figure, what was measured in each repeat; memory and size once."""
        asked = self.config.speed
        longest = self.source.context - asked.new_tokens - 1
        speeds = exported.speeds(
            runtime, len(self.source.loaded.tokenizer), min(asked.prompt_tokens, longest),
            asked.new_tokens, asked.repeats,
        )  # fmt: skip
        once = {"peak_memory_bytes": runtime.peak, "size_bytes": folder_size(folder)}
        return speeds | {name: [float(value)] for name, value in once.items()}


def _replies(responses: Sequence[Response]) -> dict[str, str]:
    return {content_id(one.messages): one.reply for one in responses}


def _typical(costs: dict[str, list[float]]) -> dict[str, Figure]:
    return {
        name: typical(values) if len(values) > 1 else Figure.exact(values[0])
        for name, values in costs.items()
    }


def _plain(figures: dict[str, Figure]) -> dict[str, Any]:
    return {name: figure.as_json() for name, figure in figures.items()}


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
