"""fit.distill: what the student is held to, whose replies it reads, and that it learns."""

from __future__ import annotations

import functools
import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from tests import tiny
from tests.engine.fits import TIMES
from tests.stages.fits import context

from burnish.config import InputError, Interrupted
from burnish.engine import StepInfo, TrainSettings
from burnish.models.forward import hidden, likeliest_tokens, token_divergences, token_logprobs
from burnish.models.load import Loaded, save_model
from burnish.objectives import distribution_divergence
from burnish.records import Document, Example
from burnish.sampling import Sampling
from burnish.stages import teaching, training
from burnish.stages.base import Context, Inputs, Outcome
from burnish.stages.fit import distill
from burnish.store import tables
from burnish.text.batches import Segment, pack

CONFIG: dict[str, Any] = {"model": "m", "teacher": "t", "data": ["d"]}
ROWS = [
    Segment([1, *range(70, 74 + n), 20 + n, 21], [False] * (5 + n) + [True] * 2, f"{n}",
            per_segment={"weight": 1.0 + n, "general": 0.0})
    for n in range(5)
]  # fmt: skip


def teacher_model(seed: int = 1) -> Any:
    return tiny.model(seed, num_hidden_layers=3)


def examples(count: int) -> list[Example]:
    return [
        Example(
            id=f"e{n}",
            messages=[
                {"role": "user", "content": f"the {n}?"},
                {"role": "assistant", "content": "hell an " * (n % 3 + 1)},
            ],
        )
        for n in range(count)
    ]


def fitted(
    folder: Path, teacher: Any = None, tokenizer: Any = None, place: Path | None = None,
    made: Context | None = None, **settings: Any,
) -> Outcome:  # fmt: skip
    """A fit of a student of two layers on two dozen examples."""
    if not (folder / "data.jsonl").exists():
        save_model(tiny.model(), tiny.tokenizer(), folder / "student")
        save_model(teacher or teacher_model(), tokenizer or tiny.tokenizer(), folder / "teacher")
        tables.write(folder / "data.jsonl", examples(24))
        rows = [Document(id=f"d{n}", text="the hell an " * (n % 4 + 1)) for n in range(8)]
        tables.write(folder / "documents.jsonl", rows)
    texts = [str(folder / "documents.jsonl")] if "documents" in settings else []
    inputs = Inputs({
        "documents": texts,
        "model": [str(folder / "student")], "teacher": [str(folder / "teacher")],
        "data": [str(folder / "data.jsonl")],
    })  # fmt: skip
    plain = {"train": TrainSettings(max_steps=12, epochs=9, learning_rate=5e-3), "heldout": 0.3}
    config = distill.Config(**CONFIG, **(plain | settings))
    return distill.run(config, inputs, made or context(place or folder))


def test_the_loss_is_the_divergence_from_the_teacher_at_the_targets() -> None:
    student, teacher = tiny.model(), teacher_model()
    batch = pack(ROWS)
    measure = teaching.divergence("jensen_shannon", 2.0, 0.3)
    found = distill.loss(student, batch, teaching.live(teacher, measure), hard=0.25)
    total = 0.0
    for row in ROWS:
        tokens = torch.tensor([list(row.tokens)])
        own, others = (m(input_ids=tokens).logits[0, -3:-1] for m in (student, teacher))
        far = distribution_divergence(own, others, "jensen_shannon", temperature=2.0, beta=0.3)
        said = own.log_softmax(1).gather(1, tokens[0, -2:, None]).squeeze(1)
        total += row.per_segment["weight"] * (0.75 * far - 0.25 * said).sum().item()
    assert found.total.item() == pytest.approx(total, rel=1e-4)
    assert found.count.item() == 2 * (1 + 2 + 3 + 4 + 5)
    assert set(found.metrics) == {"divergence", "nll"}


def test_a_head_padded_to_another_size_does_not_matter() -> None:
    """As with two sizes of one family of models."""
    student, teacher = tiny.model(), tiny.model(1, vocab_size=len(tiny.tokenizer()) + 20)
    batch, width = pack(ROWS), len(tiny.tokenizer())
    found = token_divergences(student, teacher, batch)
    rows = [model(input_ids=torch.tensor([list(ROWS[0].tokens)])).logits[0, -3:-1, :width]
            for model in (student, teacher)]  # fmt: skip
    torch.testing.assert_close(found[:2], distribution_divergence(*rows), atol=1e-4, rtol=1e-4)


def test_what_is_kept_of_the_teacher_is_what_it_says(tmp_path: Path) -> None:
    """With all tokens but one kept nothing is lost; with a few, less than the whole is measured."""
    student, teacher = tiny.model(), teacher_model()
    rows = teaching.numbered(ROWS)
    batch = pack([rows[3], rows[0], rows[4]])  # another order than on disk
    states = hidden(student, batch)
    for kind in ("forward", "reverse", "jensen_shannon"):
        whole = teaching.live(teacher, teaching.divergence(kind, 2.0, 0.3))(student, batch, states)  # type: ignore[arg-type]
        measure = teaching.divergence(kind, 1.0, 0.3)  # type: ignore[arg-type]
        for count in (len(tiny.tokenizer()) - 1, 4):
            taught = teaching.remembered(
                teacher, student, rows, count, 2.0, measure, 20, tmp_path / "cache"
            )
            found = taught(student, batch, states)
            if count == 4:
                assert (found < whole).all()
            else:
                torch.testing.assert_close(found, whole, atol=1e-4, rtol=1e-3)
            assert (torch.autograd.grad(found.sum(), student.lm_head.weight, retain_graph=True)[0]
                    .abs().sum() > 0)  # fmt: skip


def test_the_teacher_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    student, teacher = tiny.model(), teacher_model()
    rows = teaching.numbered(ROWS)
    calls = []

    def counted(*given: Any) -> Any:
        calls.append(1)
        return likeliest_tokens(*given)

    monkeypatch.setattr(teaching, "likeliest_tokens", counted)
    measure = teaching.divergence("forward", 1.0, 0.5)

    def ask(teacher: Any, segments: list[Segment], count: int, temperature: float) -> int:
        calls.clear()
        teaching.remembered(teacher, student, segments, count, temperature, measure, 99, tmp_path)
        return len(calls)

    assert ask(teacher, rows, 4, 1.0) == 1
    assert ask(teacher, rows, 4, 1.0) == 0
    assert ask(teacher, rows, 5, 1.0) == 1
    assert ask(teacher, rows, 4, 2.0) == 1
    assert ask(teacher, rows[:4], 4, 1.0) == 1
    assert ask(teacher_model(2), rows, 4, 1.0) == 1
    with pytest.raises(InputError, match="top_k"):
        ask(teacher, rows, len(tiny.tokenizer()), 1.0)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"divergence": "reverse", "temperature": 2.0, "hard": 0.3},
        {"divergence": "jensen_shannon", "beta": 0.2, "top_k": 8, "documents": ["d"]},
        {"on_policy": 0.5, "sampling": Sampling(max_new_tokens=6)},
    ],
    ids=["forward", "reverse", "kept", "on policy"],
)
def test_a_student_comes_nearer_to_its_teacher(tmp_path: Path, settings: dict[str, Any]) -> None:
    outcome = fitted(tmp_path, **settings)
    before, after = outcome.details["before"], outcome.details["after"]
    assert after["eval_divergence"] < 0.9 * before["eval_divergence"]
    assert outcome.figures["heldout_divergence"].value == after["eval_divergence"]
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == 12
    assert ("nll" in rows[0]) == ("hard" in settings)
    if "on_policy" in settings:
        # six times through all records, about half of them with its own replies
        share = sum(row["own"] for row in rows) / (6 * outcome.details["examples"])
        assert 0.3 < share < 0.7
        assert all(1 <= row["length"] <= 6 for row in rows if row["own"])


def test_a_teacher_cut_to_its_own_depth_is_there_already(tmp_path: Path) -> None:
    """All of its layers: nothing to learn. Some of them: a student, saved with that depth."""
    for name in ("student", "teacher"):
        save_model(teacher_model(), tiny.tokenizer(), tmp_path / name)
    tables.write(tmp_path / "data.jsonl", examples(24))
    for depth in (3, 2):
        place = tmp_path / str(depth)
        place.mkdir()
        found = fitted(tmp_path, place=place, depth=depth).details
        config = json.loads((place / "output/config.json").read_text())
        assert config["num_hidden_layers"] == depth
        assert (found["before"]["eval_divergence"] < 1e-5) == (depth == 3)
        assert (found["parameters"] < found["teacher_parameters"]) == (depth == 2)


def talker() -> Any:
    """A teacher that ends most replies: the end token is likely, whatever came before."""
    model = tiny.model(1, num_hidden_layers=3, tie_word_embeddings=False)
    with torch.no_grad():
        # The first place of the residual stream is large in every token, and says "end".
        model.model.embed_tokens.weight[:, 0] = 2.0
        model.lm_head.weight[:, 0] = 0.0
        model.lm_head.weight[2, 0] = 1.5
    return model


def test_the_teachers_replies_take_the_place_of_the_datas(tmp_path: Path) -> None:
    """Each answers its prompt, is kept, and one cut off is no example of how to end."""
    teacher = Loaded(talker(), tiny.tokenizer(), "teacher", None)
    made = context(tmp_path)
    rows = [replace(one, messages=[*one.messages, *one.messages]) for one in examples(24)]
    sampling = Sampling(max_new_tokens=9)
    found = teaching.written(teacher, rows, sampling, made)
    assert 0 < len(found) < 24
    by_id = {one.id: one for one in rows}
    for one in found:
        assert one.synthetic
        assert one.messages[:3] == by_id[one.id].messages[:3]
        assert one.messages[3]["role"] == "assistant"
        assert one.messages[3]["content"].strip()
    assert "hell an" not in {one.messages[3]["content"] for one in found}
    broken = Loaded(None, tiny.tokenizer(), "teacher", None)  # type: ignore[arg-type]
    assert teaching.written(broken, rows, sampling, made) == found  # from the cache
    with pytest.raises(InputError, match="none of the teacher's 1 replies came to an end"):
        teaching.written(Loaded(teacher_model(), tiny.tokenizer(), "other", None), rows[:1],
                         Sampling(max_new_tokens=1), made)  # fmt: skip


def test_whole_replies_of_the_teacher_are_learnt(tmp_path: Path) -> None:
    found = fitted(tmp_path, talker(), replies="teacher", hard=1, sampling={"max_new_tokens": 5})
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["nll"] == rows[-1]["loss"] < rows[0]["loss"]
    assert found.details["unfinished"] > 0
    assert found.details["after"]["eval_nll"] == found.details["after"]["loss"]  # of the data


def own_replies(share: float, seed: int = 0) -> tuple[Any, teaching.OwnReplies]:
    model, data = tiny.model(), examples(8)
    student = Loaded(model, tiny.tokenizer(), "", None)
    rows = [
        Segment(
            [*ids, 40, 41], [False] * len(ids) + [True] * 2, one.id, per_segment={"weight": 2.0}
        )
        for one, ids in zip(data, teaching.prompts_of(student, data).values(), strict=True)
    ]
    prompts = list(teaching.prompts_of(student, data).values())
    settings = TrainSettings(segments_per_step=8, tokens_per_batch=40)
    return model, teaching.OwnReplies(
        student, rows, prompts, Sampling(max_new_tokens=5), share, settings, seed=seed
    )


def test_own_replies_follow_their_prompts_and_are_likely_to_the_student() -> None:
    model, source = own_replies(1.0)
    batches = source.window(0) or []
    assert sum(len(batch.ids) for batch in batches) == 8
    data = {one.id: one for one in examples(8)}
    student = Loaded(model, tiny.tokenizer(), "", None)
    for batch in batches:
        assert batch.per_segment["weight"].tolist() == [2.0] * len(batch.ids)
        for name, span in zip(batch.ids, batch.own, strict=True):
            (prompt,) = teaching.prompts_of(student, [data[name]]).values()
            tokens = batch.tokens[span.start : span.start + span.length].tolist()
            assert tokens[: len(prompt)] == prompt
            targets = batch.targets[span.start : span.start + span.length].tolist()
            assert targets == [False] * len(prompt) + [True] * (len(tokens) - len(prompt))
    logprobs = torch.cat([token_logprobs(model, batch).logprobs for batch in batches])
    assert logprobs.mean() > -torch.tensor(float(len(tiny.tokenizer()))).log()


def test_a_window_is_the_same_again_and_another_at_another_step_or_seed() -> None:
    def tokens(source: teaching.OwnReplies, step: int) -> list[list[int]]:
        return [batch.tokens.tolist() for batch in source.window(step) or []]

    first, again, other = (own_replies(0.5, seed)[1] for seed in (0, 0, 1))
    assert tokens(first, 0) == tokens(again, 0)
    assert tokens(first, 0) != tokens(other, 0)
    assert first.window(first.steps) is None
    assert 0 < first.metrics()["own"] < 8


def cutting(step: int) -> Callable[..., Any]:
    """``engine.train``, stopped by a signal after ``step``."""
    usual = training.train

    def train(*given: Any, **named: Any) -> Any:
        def watch(info: StepInfo) -> None:
            if info.step == step:
                os.kill(os.getpid(), signal.SIGTERM)

        return usual(*given, **(named | {"on_step": watch}))

    return train


@pytest.mark.parametrize(
    "settings",
    [{"on_policy": 0.5, "sampling": {"max_new_tokens": 6}, "documents": ["d"]},
     {"top_k": 8, "depth": 1},
     {"replies": "teacher", "sampling": {"max_new_tokens": 5}, "hard": 0.5}],
    ids=["on policy", "kept", "replies"],
)  # fmt: skip
def test_resumed_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    #
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for place in (whole, cut):
        place.mkdir()
    run = functools.partial(fitted, tmp_path, talker(), **settings)
    run(place=whole)
    made = context(cut)
    with monkeypatch.context() as patch:
        patch.setattr(training, "train", cutting(5))
        with pytest.raises(Interrupted, match="after step 5 of"):
            run(made=made)
    run(made=made)
    rows = [
        [{k: v for k, v in json.loads(line).items() if k not in TIMES}
         for line in (place / "metrics.jsonl").read_text().splitlines()]
        for place in (whole, cut)
    ]  # fmt: skip
    assert rows[0] == rows[1]
    weights = [load_file(place / "output/model.safetensors") for place in (whole, cut)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_teacher_of_another_vocabulary_is_refused_by_name(tmp_path: Path) -> None:
    size = len(tiny.tokenizer()) + 1
    other = tiny.model(1, vocab_size=size)
    with pytest.raises(InputError, match="teacher: another vocabulary"):
        fitted(tmp_path, other, tiny.tokenizer(extra=["<|more|>"]))


def test_a_teacher_that_cannot_read_as_much_is_refused_on_policy(tmp_path: Path) -> None:
    short = tiny.model(1, max_position_embeddings=32)
    with pytest.raises(InputError, match="context of 32 tokens, shorter than the student's 512"):
        fitted(tmp_path, short, on_policy=0.5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"on_policy": 0.5, "hard": 0.1}, "hard: 0"), ({"on_policy": 0.5, "top_k": 4}, "top_k"),
     ({"hard": 1, "top_k": 4}, "nothing of the teacher"), ({"beta": 1}, "less than 1"),
     ({"depth": 2, "lora": {"bits": 4}}, "depth does not go"), ({"divergence": "js"}, "forward")],
)  # fmt: skip
def test_settings_that_cannot_work(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        distill.Config(**CONFIG, **settings)
