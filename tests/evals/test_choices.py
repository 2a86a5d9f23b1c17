"""C-43: multiple choice by likelihood, against hand-made numbers and a plain forward pass."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests import tiny
from tests.stages.fits import context

from burnish.config import InputError
from burnish.evals import choices, tasks
from burnish.evals.choices import OPTION_SCORES, Option
from burnish.evals.statistics import clustered_bootstrap
from burnish.evals.tasks import Task, TaskSettings
from burnish.models.forward import token_logprobs
from burnish.models.load import save_model
from burnish.records import Language, Message, Prompt
from burnish.rewards.likelihood import reply_segments
from burnish.rewards.verifiers import validate, verify
from burnish.sampling import LocalSampler, Sampling
from burnish.stages.base import Inputs
from burnish.stages.measure import evaluate
from burnish.store import tables
from burnish.text.batches import pack
from burnish.text.templates import encode, encode_prompt

torch.set_num_threads(1)
TOKENIZER = tiny.tokenizer()
BOS, END = 1, 2


def item(
    id: str, text: str, options: Sequence[str], gold: int = 0, lang: Language = "en"
) -> Prompt:
    spec = {"kind": "choice", "choices": list(options), "gold": gold}
    return Prompt(id=id, lang=lang, messages=[{"role": "user", "content": text}], verify=spec)


ITEMS = [
    item("en", "Which city is the capital of Peru?", ["Lima", "La Paz", "the city of Quito"]),
    item("zh", "秘鲁的首都是哪里？", ["基多", "利马"], gold=1, lang="zh"),
]


def option(logprob: float, alone: float, tokens: int) -> Option:
    return Option(logprob=logprob, alone=alone, tokens=tokens)


# Six characters and bytes; two characters and six bytes.
TEXTS = ["abcdef", "巴黎"]
OPTIONS = [option(-6.0, -7.0, 2), option(-4.0, -4.5, 1)]


@pytest.mark.parametrize(
    ("kind", "expected", "place"),
    [
        ("sum", [-6.0, -4.0], 1),
        ("per_token", [-3.0, -4.0], 0),
        ("per_character", [-1.0, -2.0], 0),
        ("per_byte", [-1.0, -4 / 6], 1),
        ("unconditional", [1.0, 0.5], 0),
    ],
)
def test_scores_by_hand(kind: choices.OptionScore, expected: list[float], place: int) -> None:
    assert choices.scores(TEXTS, OPTIONS, kind) == pytest.approx(expected)
    assert choices.chosen(TEXTS, OPTIONS, kind) == place
    assert choices.chosen(TEXTS[::-1], OPTIONS[::-1], kind) == 1 - place


def test_the_first_of_equal_options_is_chosen() -> None:
    equal = [option(-3.0, -1.0, 1)] * 3
    assert [choices.chosen(["aa", "bb", "cc"], equal, kind) for kind in OPTION_SCORES] == [0] * 5


def test_scores_are_lm_evals() -> None:
    """argmax of lls, of lls / len(choice), of lls / bytes, of lls - unconditional lls: acc,
    acc_norm, acc_bytes and acc_mutual_info of lm-eval 0.4.13, api/task.py, on random numbers."""
    random = np.random.default_rng(0)
    texts = ["a", "abcdefgh", "巴黎", "é" * 5]
    seen = set()
    for _ in range(200):
        lls, alone = -random.gamma(2.0, 4.0, 4), -random.gamma(2.0, 4.0, 4)
        options = [option(float(a), float(b), 1) for a, b in zip(lls, alone, strict=True)]
        characters = np.array([float(len(text)) for text in texts])
        size = np.array([float(len(text.encode("utf-8"))) for text in texts])
        expected = [np.argmax(x) for x in (lls, lls / characters, lls / size, lls - alone)]
        kinds: list[choices.OptionScore] = ["sum", "per_character", "per_byte", "unconditional"]
        assert [choices.chosen(texts, options, kind) for kind in kinds] == expected
        seen.add(tuple(expected))
    assert len(seen) > 30


@torch.no_grad()
def by_hand(model: Any, messages: list[Message], text: str) -> tuple[float, int]:
    """Sum and number of an option's own tokens, from a forward pass of it alone."""
    prompt = encode_prompt(TOKENIZER, messages)
    ids = TOKENIZER(text, add_special_tokens=False)["input_ids"]
    logits = model(input_ids=torch.tensor([[*prompt, *ids]]), use_cache=False).logits[0]
    rows = logits[len(prompt) - 1 : -1].log_softmax(-1)
    return float(rows[range(len(ids)), ids].sum()), len(ids)


@pytest.mark.parametrize("tokens_per_batch", [40, 4096])
def test_options_are_those_of_a_plain_forward_pass(tokens_per_batch: int) -> None:
    model = tiny.model()
    found = choices.measure(model, TOKENIZER, ITEMS, tokens_per_batch)
    for one, options in zip(ITEMS, found, strict=True):
        assert one.verify is not None
        for text, measured in zip(one.verify["choices"], options, strict=True):
            total, count = by_hand(model, one.messages, text)
            assert measured["logprob"] == pytest.approx(total, abs=1e-3)
            assert measured["tokens"] == count
            alone, _ = by_hand(model, [{"role": "user", "content": ""}], text)
            assert measured["alone"] == pytest.approx(alone, abs=1e-3)


def test_ids_are_those_of_training_with_one_bos() -> None:
    # C-43, C-03
    for one in ITEMS:
        assert one.verify is not None
        for text in one.verify["choices"]:
            (segment,) = reply_segments(TOKENIZER, [(one.messages, text)], end=False)
            reply: Message = {"role": "assistant", "content": text}
            trained = encode(TOKENIZER, [*one.messages, reply])
            assert list(segment.tokens) == trained.tokens
            assert trained.tokens.count(BOS) == 1
            assert trained.tokens[-1] == END
            # Training learns the end of the reply too; an option's score leaves it out.
            assert list(segment.mask) == [*trained.mask[:-1], False]
            assert trained.mask[-1]


def test_a_question_that_does_not_fit_is_named() -> None:
    long = item("long", "a" * 600, ["x", "y"])
    with pytest.raises(InputError, match="long: 606 tokens; at most 512"):
        choices.measure(tiny.model(), TOKENIZER, [ITEMS[0], long])


@pytest.fixture(scope="module")
def taught() -> Any:
    """A tiny model that has learnt the right options in both languages."""
    model = tiny.model(seed=2)
    pairs = [(ITEMS[0].messages, "Lima"), (ITEMS[1].messages, "利马")]
    batch = pack(reply_segments(TOKENIZER, pairs))
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(40):
        optimiser.zero_grad()
        (-token_logprobs(model, batch).logprobs.mean()).backward()
        optimiser.step()
    return model.eval()


def written(folder: Path, items: Sequence[Prompt]) -> Path:
    path = folder / "items.jsonl"
    tables.write(path, items)
    return path


def test_a_taught_model_chooses_right_in_both_languages(taught: Any, tmp_path: Path) -> None:
    folder = save_model(taught, TOKENIZER, tmp_path / "model")
    spoken = Prompt(
        id="spoken", messages=ITEMS[0].messages, verify={"kind": "answer", "answers": ["Lima"]}
    )
    wrong = [item(one.id, one.messages[0]["content"], one.verify["choices"], 0 if one.id == "zh"
                  else 2) for one in ITEMS if one.verify]  # fmt: skip
    paths = {"mixed": [*ITEMS, spoken], "wrong": wrong}
    resolved = {"model": [str(folder)]}
    for place, (name, items) in enumerate(paths.items()):
        (tmp_path / name).mkdir()
        resolved[f"tasks.{place}.data.0"] = [str(written(tmp_path / name, items))]
    config = evaluate.Config(model="m", tasks=[{"name": name, "data": "x"} for name in paths])
    outcome = evaluate.run(config, Inputs(resolved), context(tmp_path))
    assert outcome.figures["mixed"].value == 1.0
    assert outcome.figures["wrong"].value == 0.0
    assert set(outcome.details["by_option_score"]) == set(OPTION_SCORES)
    assert outcome.details["by_option_score"]["sum"]["mixed"]["n"] == 2
    assert outcome.details["by_language"]["zh"]["mixed"]["value"] == 1.0
    rows = tasks.read(tmp_path / "output" / "responses.jsonl")
    assert [row.reply for row in rows] == ["Lima", "利马", "Lima", "Lima", "利马"]
    assert [bool(row.options) for row in rows] == [True, True, False, True, True]
    assert rows[0].reason == "option 1 has the highest per_character"


def asked(
    kinds: Sequence[choices.OptionScore], told: dict[str, list[Option]]
) -> tuple[list[tasks.Response], int]:
    calls: list[int] = []

    def weigh(items: Sequence[Prompt]) -> list[list[Option]]:
        calls.append(len(items))
        return [told[one.id] for one in items]

    items = [item("a", "?", TEXTS, 0), item("b", "??", TEXTS, 1)]
    sets = [Task(TaskSettings(name=k, data="x", option_score=k), items) for k in kinds]
    sampler = LocalSampler(None, None)  # nothing is asked of it
    found = tasks.answer(sampler, sets, Sampling(temperature=0), weigh=weigh)
    assert len(calls) == 1
    return found, calls[0]


def test_tasks_share_the_options_and_choose_by_their_own_score(tmp_path: Path) -> None:
    responses, count = asked(OPTION_SCORES, {"a": OPTIONS, "b": OPTIONS})
    assert count == 2  # not ten
    # By hand above: sum and per_byte choose the second, the others the first option.
    assert [one.reply for one in responses if one.item_id == "a"] == [
        "巴黎", "abcdef", "abcdef", "巴黎", "abcdef"
    ]  # fmt: skip
    assert [one.tokens for one in responses if one.item_id == "a"] == [1, 2, 2, 1, 2]
    assert {one.outcome for one in responses if one.item_id == "a" and one.reply == "巴黎"} == {
        "wrong"
    }
    first = tasks.figures(responses)
    assert {figure.value for figure in first.values()} == {0.5}
    tasks.write(tmp_path / "r.jsonl", responses)
    assert tasks.read(tmp_path / "r.jsonl") == responses
    # What is stored of outcome and reply is not believed.
    rows = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    spoilt = [row | {"outcome": "right", "reply": "abcdef"} for row in rows]
    (tmp_path / "r.jsonl").write_text("\n".join(json.dumps(row) for row in spoilt))
    assert tasks.recompute(tmp_path / "r.jsonl") == first
    values, _ = tasks.gate_values(responses)
    assert values["sum"] == {"a": 0.0, "b": 1.0}


def test_intervals_are_seeded() -> None:
    # C-43
    responses, _ = asked(["sum"], {"a": OPTIONS, "b": OPTIONS})
    many = [one for one in responses for _ in range(20)]
    assert tasks.figures(many, seed=3) == tasks.figures(many, seed=3)
    values = [tasks.counts(one, "right") for one in many]
    groups = [str(index // 3) for index in range(len(many))]
    first, again, other = (clustered_bootstrap(values, groups, seed=s) for s in (3, 3, 4))
    assert first == again != other


def test_a_served_model_is_refused_before_it_is_asked() -> None:
    sets = [Task(TaskSettings(name="t", data="x"), ITEMS)]
    with pytest.raises(InputError, match=r"2 items of kind 'choice', such as .*a served one"):
        tasks.answer(LocalSampler(None, None), sets)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"choices": ["a"]}, "at least two texts"),
        ({"choices": "ab"}, "at least two texts"),
        ({"choices": ["a", " "]}, "' ' is not a text"),
        ({"choices": ["a", 1]}, "1 is not a text"),
        ({"choices": ["a", "a"]}, "a text twice"),
        ({"gold": 2}, "from 0 to 1, found 2"),
        ({"gold": -1}, "from 0 to 1, found -1"),
        ({"gold": True}, "found True"),
        ({"gold": "a"}, "found 'a'"),
    ],
)
def test_bad_items_are_named(changes: dict[str, Any], said: str) -> None:
    plain = {"kind": "choice", "choices": ["a", "b"], "gold": 0}
    assert validate(plain) == []
    (problem,) = validate(plain | changes)
    assert said in problem


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        ("Lima", "right"),
        ("The capital of Peru is Lima.", "right"),
        ("La Paz", "wrong"),
        ("Lima or La Paz", "wrong"),
        ("I don't know.", "abstained"),
    ],
)
def test_a_written_reply_is_verified_too(reply: str, outcome: str) -> None:
    assert ITEMS[0].verify is not None
    question = "What is the capital of Peru?"
    assert verify(ITEMS[0].verify, reply, question).outcome == outcome
    unsure = {"kind": "choice", "choices": ["Lima", "I don't know."], "gold": 1}
    expected = "right" if reply == "I don't know." else "wrong"
    assert verify(unsure, reply, question).outcome == expected
