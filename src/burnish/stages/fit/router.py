"""Train the router of a mixture of experts, with its experts or without."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from pydantic import Field, PositiveInt, model_validator
from transformers import PreTrainedModel

from burnish.config import DocumentRef, ExampleRef, InputError, ModelRef, Problem, Settings
from burnish.engine import DatasetSource, TrainSettings
from burnish.models import routers
from burnish.models.forward import hidden, token_logprobs
from burnish.models.load import Loaded
from burnish.objectives import Loss, cross_entropy
from burnish.objectives.router import load_balance, router_metrics, router_z, with_auxiliary
from burnish.records import Document, Example, Figure
from burnish.reporting.alarms import sentence
from burnish.stages import language, training
from burnish.stages.base import Context, Inputs, Outcome
from burnish.text.batches import Batch, Segment

log = logging.getLogger(__name__)


class Config(Settings):
    """Train the routers of ``model``, a mixture of experts, on ``data`` and ``examples``: text of
    all the kinds that it is to be good at.

    ``parts`` says what is trained: the routers alone, their layers with the experts, or all.
    ``balance`` and ``z`` weigh the losses that keep experts in use and logits small; an expert
    with less than ``collapsed`` of an even share of the tokens in some layer raises an alarm.
    ``heldout`` of the documents and examples measures loss and load before and after. No token is
    dropped: experts have no limit to what they take.
    """

    model: ModelRef
    data: list[DocumentRef] = []
    examples: list[ExampleRef] = []
    limit: PositiveInt | None = Field(None, description="documents drawn from ``data``")
    parts: Literal["routers", "experts", "all"] = "routers"
    balance: float = Field(0.01, ge=0)
    z: float = Field(0.001, ge=0)
    collapsed: float = Field(0.1, ge=0, lt=1)
    heldout: float = Field(0.05, gt=0, lt=1)
    sequence_length: PositiveInt = 256
    train: TrainSettings = TrainSettings(learning_rate=1e-3, tokens_per_step=4096)

    @model_validator(mode="after")
    def _something(self) -> Config:
        if not self.data and not self.examples:
            raise ValueError("data: nothing to train on, expected documents or examples")
        return self


def run(config: Config, inputs: Inputs, context: Context) -> Outcome:
    """Train, measure how tokens are spread before and after, and save the model."""
    loaded = training.load_policy(inputs, context, None)
    _check(loaded, config)
    segments, heldout = _texts(config, inputs, context, loaded)
    _freeze(loaded.model, config.parts)
    loss = routed_loss(config.balance, config.z)
    result, before, after = training.fit_between(
        loaded.model, DatasetSource(segments, config.train, seed=context.seed), loss, config.train,
        context, training.measured(loaded.model, heldout, loss, config.train.tokens_per_batch),
    )  # fmt: skip
    figures, details = _found(before, after, config.collapsed)
    for alarm in details["alarms"]:
        log.warning("%s", sentence(alarm, "en"))
    details |= {"parts": config.parts, "curve": training.curve(result, ["loss", "balance"])}
    facts = {"parts": config.parts, "balance": config.balance, "z": config.z}
    training.save_policy(loaded, context, training.card("fit.router", inputs, facts))
    return Outcome("model", training.fit_figures(result) | figures, details)


def _texts(
    config: Config, inputs: Inputs, context: Context, loaded: Loaded
) -> tuple[list[Segment], list[Segment]]:
    """What is trained on, and what is held out."""
    documents = training.drawn(inputs.paths("data"), Document, config.limit, context.seed)
    examples = training.drawn(inputs.paths("examples"), Example, None, context.seed)
    told, told_aside = training.split_heldout(documents, config.heldout, context.seed)
    asked, asked_aside = training.split_heldout(examples, config.heldout, context.seed)
    if not told_aside and not asked_aside:
        found = f"{config.heldout:g} of {len(documents) + len(examples)} records is none"
        raise InputError(Problem("", None, "heldout", found, "a larger share, or more records"))
    length = config.sequence_length
    return (
        language.documents(loaded, told, length) + language.conversations(loaded, asked),
        language.documents(loaded, told_aside, length)
        + language.conversations(loaded, asked_aside),
    )


def routed_loss(balance: float, z: float) -> Callable[[PreTrainedModel, Batch], Loss]:
    """Cross-entropy of the targets, with the routers' losses so weighted."""

    def loss(model: PreTrainedModel, batch: Batch) -> Loss:
        top_k = routers.chosen_at_once(model)
        with routers.heard(model) as heard:
            states = hidden(model, batch)
        logits = torch.stack(heard)
        found = cross_entropy(token_logprobs(model, batch, states=states).logprobs)
        found = with_auxiliary(found, load_balance(logits, top_k), balance)
        found = with_auxiliary(found, router_z(logits), z)
        return Loss(found.total, found.count,
                    {**found.metrics, **router_metrics(logits, top_k)})  # fmt: skip

    return loss


def _check(loaded: Loaded, config: Config) -> None:
    model = loaded.model
    if not routers.routers(model):
        found = f"{model.config.model_type!r} has no routers"
        raise InputError(Problem(loaded.ref, None, "model", found, "a mixture of experts"))
    if config.parts == "routers" and routers.chosen_at_once(model) == 1 and (
        routers.weighs_to_one(model)
    ):  # fmt: skip
        found = "one expert a token always has the weight 1, and teaches the router nothing"
        raise InputError(Problem(loaded.ref, None, "num_experts_per_tok", found, "2 or more"))


def _freeze(model: PreTrainedModel, parts: str) -> None:
    if parts == "all":
        return
    trained = routers.belongs(model, experts=parts == "experts")
    for name, weight in model.named_parameters():
        weight.requires_grad_(trained(name))


def _found(
    before: Mapping[str, float], after: Mapping[str, float], collapsed: float
) -> tuple[dict[str, Figure], dict[str, Any]]:
    """Figures and details of two measurements of the held-out text."""
    loads = [_loads(measured) for measured in (before, after)]
    figures: dict[str, Figure] = {}
    for when, measured, table in zip(("before", "after"), (before, after), loads, strict=True):
        even = 1 / len(table[0])
        shares = [share / even for row in table for share in row]
        found = {
            "heldout_nll": measured["eval_nll"], "balance": measured["eval_balance"],
            "router_entropy": measured["eval_router_entropy"],
            "load_min": min(shares), "load_max": max(shares),
        }  # fmt: skip
        figures |= {f"{name}_{when}": Figure.exact(value) for name, value in found.items()}
    return figures, {"loads": loads[1], "loads_before": loads[0],
                     "alarms": collapses(loads[1], collapsed)}  # fmt: skip


def _loads(measured: Mapping[str, float]) -> list[list[float]]:
    """Each expert's share of a layer's choices, ``[L][E]``, from metrics ``eval_load.L.E``."""
    found: dict[int, dict[int, float]] = {}
    for name, value in measured.items():
        kind, _, place = name.partition(".")
        if kind == "eval_load":
            layer, expert = map(int, place.split("."))
            found.setdefault(layer, {})[expert] = value
    return [[row[expert] for expert in sorted(row)] for _, row in sorted(found.items())]


def collapses(loads: list[list[float]], limit: float) -> list[dict[str, Any]]:
    """An alarm for each layer whose idlest expert has less than ``limit`` of an even share."""
    alarms = []
    for layer, row in enumerate(loads):
        share = min(row) * len(row)
        if share < limit:
            alarms.append({"kind": "collapsed", "layer": layer, "expert": row.index(min(row)),
                           "value": share, "limit": limit})  # fmt: skip
    return alarms
