from __future__ import annotations

import random

import pytest

from burnish.records import Prompt, Rollout
from burnish.selection.pairs import PairSettings, best_of, best_of_kl, make_pairs

ASK = [{"role": "user", "content": "What is the capital of France?"}]
PARIS = {"kind": "answer", "answers": ["Paris"]}


def prompt(id: str = "p", verify: dict[str, object] | None = None) -> Prompt:
    return Prompt(id=id, messages=ASK, verify=verify, topic="atlas", group="France", task="qa")  # type: ignore[arg-type]


def candidate(id: str, text: str, reward: float = 0.0, prompt_id: str = "p") -> Rollout:
    return Rollout(
        id=id, prompt_id=prompt_id, prompt=ASK, completion=text, tokens=[1], logprobs=[0.0],
        finish="stop", temperature=1.0, top_p=0.9, seed=0, scores={}, reward=reward,
    )  # type: ignore[arg-type]  # fmt: skip


def texts(pairs: list) -> list[tuple[str, str, float]]:  # type: ignore[type-arg]
    return [(p.chosen[0]["content"], p.rejected[0]["content"], p.margin) for p in pairs]


def test_right_beats_abstained_beats_wrong() -> None:
    right, unsure, wrong = "Paris.", "I don't know.", "London."
    three = [candidate("1", wrong, 0.9), candidate("2", unsure, 0.5), candidate("3", right, 0.1)]
    found, _ = make_pairs({"p": prompt(verify=PARIS)}, three, PairSettings())
    assert texts(found) == [(right, wrong, 2.0)]
    found, _ = make_pairs({"p": prompt(verify=PARIS)}, three[:2], PairSettings())
    assert texts(found) == [(unsure, wrong, 1.0)]
    assert (found[0].parents, found[0].topic, found[0].group, found[0].task) == (
        ("p", "2", "1"), "atlas", "France", "qa"
    )  # fmt: skip


def test_equal_scores_are_dropped() -> None:  # C-30
    two = [candidate("1", "London.", 0.2), candidate("2", "Rome.", 0.7)]
    found, report = make_pairs({"p": prompt(verify=PARIS)}, two, PairSettings())
    assert (found, report.dropped_equal, report.prompts_with_pair) == ([], 1, 0)
    found, _ = make_pairs({"p": prompt(verify=PARIS)}, two, PairSettings(ties="reward"))
    assert texts(found) == [("Rome.", "London.", pytest.approx(0.5))]


def test_without_a_verifier_the_reward_decides() -> None:
    three = [candidate("1", "a", 0.25), candidate("2", "b", 1.0), candidate("3", "c", 0.5)]
    found, _ = make_pairs({"p": prompt()}, three, PairSettings(pairs_per_prompt=2))
    assert texts(found) == [("b", "a", 0.75), ("b", "c", 0.5)]


def test_the_window_bounds_the_margin_and_is_seeded() -> None:
    many = [candidate(str(i), f"reply {i}", i / 8) for i in range(9)]
    settings = PairSettings(choose="window", min_margin=0.25, max_margin=0.5, pairs_per_prompt=3)
    first, _ = make_pairs({"p": prompt()}, many, settings)
    assert len(first) == 3
    assert all(0.25 <= pair.margin <= 0.5 for pair in first)
    shuffled = many.copy()
    random.Random(1).shuffle(shuffled)
    assert make_pairs({"p": prompt()}, shuffled, settings)[0] == first
    other = [
        make_pairs({"p": prompt()}, many, settings.model_copy(update={"seed": s}))[0]
        for s in (1, 2)
    ]
    assert any(pairs != first for pairs in other)


def test_the_same_text_never_forms_a_pair_and_prompts_do_not_mix() -> None:
    rollouts = [
        candidate("1", "same", 0.1),
        candidate("2", "same ", 0.9),
        candidate("3", "x", 0.5, "q"),
    ]
    found, report = make_pairs({"p": prompt(), "q": prompt("q")}, rollouts, PairSettings())
    assert (found, report.prompts) == ([], 2)


def test_length_bias_is_reported_and_ties_prefer_similar_lengths() -> None:
    rollouts = [
        candidate("1", "wrong one", 0.0), candidate("2", "right", 1.0),
        candidate("3", "right and much longer", 1.0),
        candidate("4", "bad", 0.0, "q"), candidate("5", "better", 1.0, "q"),
    ]  # fmt: skip
    found, report = make_pairs({"p": prompt(), "q": prompt("q")}, rollouts, PairSettings())
    # lengths: "right" 5 against "wrong one" 9; "better" 6 against "bad" 3
    assert [pair[:2] for pair in texts(found)] == [("right", "wrong one"), ("better", "bad")]
    assert (report.chosen_length, report.rejected_length, report.chosen_longer) == (5.5, 6.0, 0.5)
    assert (report.pairs, report.mean_margin, report.dropped_equal) == (2, 1.0, 1)


def test_the_best_is_set_against_a_random_worse_one() -> None:
    many = [candidate(str(i), f"reply {i}", i / 8) for i in range(9)]
    settings = PairSettings(choose="best_random", pairs_per_prompt=2)
    drawn = [
        make_pairs({"p": prompt()}, many, settings.model_copy(update={"seed": s}))[0]
        for s in range(20)
    ]
    assert {pair.chosen[0]["content"] for pairs in drawn for pair in pairs} == {"reply 8"}
    # every worse reply comes up sometime, not the worst alone
    rejected = [{pair.rejected[0]["content"] for pair in pairs} for pairs in drawn]
    assert set.union(*rejected) == {f"reply {i}" for i in range(8)}
    assert all(len(one) == 2 for one in rejected)
    assert make_pairs({"p": prompt()}, many[::-1], settings)[0] == drawn[0]
    # no reply is better than this pair's window allows: nothing
    none = settings.model_copy(update={"min_margin": 2.0})
    assert make_pairs({"p": prompt()}, many, none)[0] == []


def test_hard_negatives_are_wrong_and_rated_high() -> None:
    replies = [
        candidate("1", "Paris.", 0.3), candidate("2", "Lyon.", 0.9),
        candidate("3", "Nice.", 0.5), candidate("4", "I don't know.", 1.0),
    ]  # fmt: skip
    settings = PairSettings(choose="hard")
    found, _ = make_pairs({"p": prompt(verify=PARIS)}, replies, settings)
    # an abstention is not wrong, however high its reward
    assert texts(found) == [("Paris.", "Lyon.", 2.0)]
    two, _ = make_pairs(
        {"p": prompt(verify=PARIS)}, replies, PairSettings(choose="hard", pairs_per_prompt=5)
    )
    assert [pair[1] for pair in texts(two)] == ["Lyon.", "Nice."]
    # without a verifier nothing is known to be wrong
    assert make_pairs({"p": prompt()}, replies, settings)[0] == []


def test_pairs_of_matched_length() -> None:
    replies = [
        candidate("1", "x" * 40, 1.0), candidate("2", "y" * 20, 0.0), candidate("3", "z" * 41, 0.4),
    ]  # fmt: skip
    found, report = make_pairs({"p": prompt()}, replies, PairSettings(max_length_ratio=2.0))
    # 40 to 20 is just within a ratio of 2, 41 to 20 is not
    assert [(len(a), len(b)) for a, b, _ in texts(found)] == [(40, 20)]
    assert report.dropped_length == 1
    found, report = make_pairs({"p": prompt()}, replies, PairSettings(max_length_ratio=1.5))
    assert [(len(a), len(b)) for a, b, _ in texts(found)] == [(40, 41)]
    assert (report.dropped_length, report.unequal, report.chosen_longer) == (2, 1, 0.0)


def test_the_correlation_of_margin_and_length() -> None:
    # the reward is the length itself: 1
    by_length = [candidate(str(n), "x" * n, n / 10) for n in (1, 4, 9)]
    _, report = make_pairs({"p": prompt()}, by_length, PairSettings())
    assert report.length_correlation == pytest.approx(1)
    against = [candidate(str(n), "x" * n, -n / 10) for n in (1, 4, 9)]
    assert make_pairs({"p": prompt()}, against, PairSettings())[1].length_correlation == (
        pytest.approx(-1)
    )
    # margins 1, 1 with length differences +2, -2: 0
    mixed = [candidate("1", "long", 1.0), candidate("2", "xx", 0.0)]
    mixed += [candidate("3", "yy", 1.0, "q"), candidate("4", "more", 0.0, "q")]
    _, report = make_pairs({"p": prompt(), "q": prompt("q")}, mixed, PairSettings())
    assert report.length_correlation == pytest.approx(0)
    assert make_pairs({}, [], PairSettings())[1].length_correlation == 0


@pytest.mark.parametrize(
    ("n", "expected"), [(1, 0.0), (2, 0.193147), (4, 0.636294), (16, 1.835089)]
)
def test_best_of_n_divergence(n: int, expected: float) -> None:  # C-28
    assert best_of_kl(n) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("n", [1, 2, 4])
def test_best_of_n_of_uniform_draws(n: int) -> None:  # C-28
    draw = random.Random(n)
    rollouts = [
        candidate(f"{p}:{i}", "x", draw.random(), str(p)) for p in range(4000) for i in range(n)
    ]
    best = best_of(rollouts, n)
    mean = sum(rollout.reward for rollout in best) / len(best)
    # E[max of n uniforms] = n / (n + 1); standard error below 0.0046
    assert mean == pytest.approx(n / (n + 1), abs=0.02)


def test_best_of_one_changes_nothing_and_ties_are_seeded() -> None:  # C-28
    rollouts = [candidate("1", "a", 0.1), candidate("2", "b", 0.9), candidate("3", "c", 0.9)]
    assert best_of(rollouts, 1) == rollouts[:1]
    winners = [best_of(rollouts, 3, seed)[0].id for seed in range(50)]
    assert set(winners) == {"2", "3"}
    assert winners == [best_of(rollouts, 3, seed)[0].id for seed in range(50)]
