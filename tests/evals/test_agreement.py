from __future__ import annotations

import math
import random

import pytest

from burnish.evals.agreement import agreement, krippendorff_alpha
from burnish.evals.statistics import cohen_kappa

# The example of Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", section D.
OBSERVERS = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
    [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
]


@pytest.mark.parametrize(
    ("level", "expected"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)]
)
def test_alpha_of_the_published_example(level: str, expected: float) -> None:  # C-34
    assert krippendorff_alpha(OBSERVERS, level) == pytest.approx(expected, abs=5e-4)  # type: ignore[arg-type]


def test_alpha_by_hand() -> None:
    # Two raters, four items, labels aa ab bb bb: coincidences aa 2, ab 1, ba 1, bb 4; n = 8.
    # D_o = 2/8, D_e = 2 * 3 * 5 / (8 * 7), alpha = 1 - (1/4) / (30/56) = 8/15.
    assert krippendorff_alpha([list("aabb"), list("abbb")]) == pytest.approx(8 / 15)
    assert math.isnan(krippendorff_alpha([["a", "a"], ["a", "a"]]))
    assert krippendorff_alpha([["a", "b", None], ["a", "b", "b"]]) == 1.0


def test_kappas_of_pairs() -> None:
    ann, bob, model = list("aabbab"), list("abbbab"), list("aabbaa")
    found = agreement({"ann": ann, "bob": bob}, ("model", model))
    assert set(found.pairs) == {"ann / bob", "ann / model", "bob / model"}
    expected = {"ann / model": cohen_kappa(ann, model), "bob / model": cohen_kappa(bob, model)}
    for name, value in expected.items():
        assert found.pairs[name].value == pytest.approx(value)
    assert found.judge.value == pytest.approx(sum(expected.values()) / 2)
    assert found.judge.low < found.judge.value < found.judge.high
    # Quadratic weights: 1 2 3 against 1 3 2. Observed squares 0 + 1 + 1 over 3; expected, all
    # nine combinations, (1 + 4 + 1 + 1 + 4 + 1) / 9 = 12 / 9. Kappa = 1 - (2/3) / (12/9) = 1/2.
    graded = agreement({"ann": [1, 2, 3]}, ("model", [1, 3, 2]), "interval")
    assert graded.judge.value == pytest.approx(0.5)
    nominal = agreement({"ann": [1, 2, 3]}, ("model", [1, 3, 2]))
    assert nominal.judge.value == pytest.approx(0.0)


def raters(noise: float, count: int, columns: int, seed: int) -> list[list[str]]:
    draw = random.Random(seed)
    truth = [draw.choice("yn") for _ in range(count)]
    return [
        [draw.choice("yn") if draw.random() < noise else label for label in truth]
        for _ in range(columns)
    ]


def test_the_decision_needs_people_the_judge_and_enough_items() -> None:
    close = raters(0.1, 200, 3, 0)
    good = agreement({"a": close[0], "b": close[1]}, ("m", close[2]))
    assert good.usable
    assert good.reasons == []
    guessing = raters(1.0, 200, 1, 1)[0]
    bad = agreement({"a": close[0], "b": close[1]}, ("m", guessing))
    assert not bad.usable
    assert "the judge may agree" in bad.reasons[0]
    assert abs(bad.judge.value) < 0.2
    apart = agreement({"a": close[0], "b": guessing}, ("m", close[0]))
    assert not apart.usable
    assert "people may agree" in apart.reasons[0]
    few = agreement({"a": close[0][:8], "b": close[0][:8]}, ("m", [*close[0][:7], None]))
    assert few.judge.value == 1.0
    assert few.missing == 1
    alone = agreement({"a": close[0]}, ("m", close[2]))
    assert alone.usable
    assert "one annotator" in alone.reasons[0]


def test_a_few_items_that_vary_do_not_decide() -> None:
    ann, model = list("yyyynnnn"), list("yyyynnny")
    found = agreement({"a": ann}, ("m", model))
    assert found.judge.value == pytest.approx(0.75)
    assert not found.usable


def test_what_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="one length"):
        agreement({"a": ["y"]}, ("m", ["y", "n"]))
    with pytest.raises(ValueError, match="expected numbers"):
        agreement({"a": ["y", "n"]}, ("m", ["y", "n"]), "ordinal")
    with pytest.raises(ValueError, match="at most 50"):
        agreement({"a": list(range(60))}, ("m", list(range(60))))
