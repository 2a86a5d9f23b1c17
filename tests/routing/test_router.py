"""A router between models: what it learns, how it trades quality for cost, how it is kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from burnish.config import InputError
from burnish.evals import tasks
from burnish.evals.tasks import Response
from burnish.routing import measure, router
from burnish.routing.evidence import Evidence, divided, gather
from burnish.routing.router import Router, RouterSettings
from burnish.store import atomic, manifest
from burnish.store.errors import CorruptError


def response(item: str, text: str, outcome: str, tokens: int, metric: str = "right") -> Response:
    return Response(
        task="t", metric=metric, dimension="capability",  # type: ignore[arg-type]
        higher_is_better=metric != "wrong", item_id=item, group="", lang="en", source="",
        category="", messages=[{"role": "user", "content": text}], verify=None, reply="x",
        finish="stop", tokens=tokens, outcome=outcome,
    )  # fmt: skip


def asked(count: int) -> list[tuple[str, bool]]:
    """Prompts, and whether they are hard."""
    return [
        (f"prove the theorem {n}" if n % 2 else f"greet the visitor {n}", bool(n % 2))
        for n in range(count)
    ]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A small model that fails at hard prompts, and a large one that answers all at length."""
    folder = tmp_path_factory.mktemp("results")
    small = [response(text, text, "wrong" if hard else "right", 10) for text, hard in asked(120)]
    large = [response(text, text, "right", 20) for text, _ in asked(120)]
    for name, found in (("small", small), ("large", large)):
        tasks.write(folder / name / "responses.jsonl", found)
    return [folder / "small", folder / "large"]


@pytest.fixture(scope="module")
def evidence(results: list[Path]) -> Evidence:
    return gather(["small", "large"], results, [1.0, 3.0])


def test_scores_and_costs_are_read(evidence: Evidence, results: list[Path]) -> None:
    assert evidence.scores[:2].tolist() == [[1, 1], [0, 1]]
    assert evidence.costs[0].tolist() == [10, 60]
    again = gather(["small", "large"], [path / "responses.jsonl" for path in results], [1.0, 3.0])
    assert again.texts == evidence.texts
    counted = [response("a", "a", "wrong", 1, "wrong"), response("b", "b", "right", 1, "wrong")]
    for path in results:
        tasks.write(path / "downward.jsonl", counted)
    downward = gather(["small", "large"], [path / "downward.jsonl" for path in results], [1, 1])
    assert downward.scores[:, 0].tolist() == [0, 1]  # lower is better there


def test_a_router_learns_which_prompts_need_the_large_model(evidence: Evidence) -> None:
    kept, heldout = divided(evidence, 0.3, seed=0)
    assert not set(kept.texts) & set(heldout.texts)
    assert len(kept.texts) + len(heldout.texts) == 120
    made = router.train(kept, RouterSettings(margin=0.3))
    assert made("prove the theorem of tomorrow") == "large"
    assert made("greet the visitor from afar") == "small"
    report = measure.measure(made, heldout)
    ways = report.ways
    assert report.accuracy.value == 1
    assert ways["router"].quality.value == ways["oracle"].quality.value == 1
    hard = float(np.mean([text.startswith("prove") for text in heldout.texts]))
    assert ways["smallest"].quality.value == pytest.approx(1 - hard)
    assert ways["random"].quality.value == pytest.approx(1 - hard / 2)
    assert ways["random"].cost.value == pytest.approx(35)
    assert ways["router"].cost.value == pytest.approx(60 * hard + 10 * (1 - hard))
    assert ways["router"].saved.value == pytest.approx(50 * (1 - hard) / 60)
    assert ways["shuffled"].quality.value == pytest.approx(1 - hard * (1 - hard))
    assert ways["largest"].difference.value == 0
    assert report.shares == pytest.approx({"small": 1 - hard, "large": hard})


def by_hand(margin: float = 0.0) -> Router:
    """Three models; nothing is read of a prompt."""
    return Router(
        ("cheap", "middle", "dear"), np.array([1.0, 2.0, 5.0]), np.zeros((3, 4)), np.zeros(3),
        np.zeros(0, np.int64), 0, RouterSettings(margin=margin),
    )  # fmt: skip


def test_the_margin_trades_quality_for_cost() -> None:
    foretold = np.array([[0.5, 0.6, 0.9], [0.8, 0.7, 0.2], [0.1, 0.45, 0.5]])
    made = by_hand()
    assert made.choose(foretold) == [2, 0, 2]
    assert made.choose(foretold, 0.06) == [2, 0, 1]
    assert made.choose(foretold, 0.31) == [1, 0, 1]
    assert made.choose(foretold, 1.0) == [0, 0, 0]
    assert by_hand(0.06).choose(foretold) == [2, 0, 1]
    same = replace(made, costs=np.ones(3))
    assert same.choose(foretold, 1.0) == [2, 0, 2]  # of equal prices the better


def test_the_curve_goes_from_the_best_foretold_to_the_cheapest(evidence: Evidence) -> None:
    made = router.train(evidence, RouterSettings())
    curve = measure.measure(made, evidence).curve
    margins, costs, qualities = zip(*curve, strict=True)
    assert list(margins) == sorted(margins)
    assert list(costs) == sorted(costs, reverse=True)
    assert (costs[-1], qualities[-1]) == (10, 0.5)
    assert max(qualities) == 1
    drawn = measure.page(measure.measure(made, evidence), "mine")
    assert "<svg" in drawn
    assert "oracle" in drawn


def test_a_model_with_one_outcome_is_not_certain(evidence: Evidence) -> None:
    made = router.train(evidence, RouterSettings())
    foretold = made.foretell(["anything"])[0, 1]
    assert foretold == pytest.approx(120.5 / 121)


def test_a_router_is_kept_whole(evidence: Evidence, tmp_path: Path) -> None:
    made = router.train(evidence, RouterSettings(margin=0.2))
    with atomic.new_folder(tmp_path / "router") as folder:
        router.write(made, folder)
        manifest.seal(folder)
    again = router.read(tmp_path / "router")
    assert again("") in made.models  # a prompt without words has an answer too
    assert again.foretell(evidence.texts).tolist() == made.foretell(evidence.texts).tolist()
    assert (again.models, again.settings) == (made.models, made.settings)
    data = bytearray((tmp_path / "router" / router.WEIGHTS).read_bytes())
    data[-1] ^= 1
    (tmp_path / "router" / router.WEIGHTS).write_bytes(data)
    with pytest.raises(CorruptError, match="sha256"):
        router.read(tmp_path / "router")
    with pytest.raises(InputError, match="is no router"):
        router.read(tmp_path)


def test_a_router_of_another_make_is_refused(evidence: Evidence, tmp_path: Path) -> None:
    made = router.train(evidence, RouterSettings())
    with atomic.new_folder(tmp_path / "router") as folder:
        router.write(made, folder)
        stored = json.loads((folder / router.SETTINGS).read_text())
        stored["models"].append("third")
        atomic.write_json(folder / router.SETTINGS, stored)
        manifest.seal(folder)
    with pytest.raises(CorruptError, match="one of each"):
        router.read(tmp_path / "router")


def test_evidence_that_does_not_fit(results: list[Path], tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    tasks.write(other, [response("new", "new", "right", 1)])
    names = ["small", "large"]
    for models, folders, prices, found in (
        (["small"], results[:1], [1.0], "two different models"),
        (["a", "a"], results, [1.0, 1.0], "two different models"),
        (names, results[:1], [1.0, 1.0], "1 for 2 models"),
        (names, results, [1.0], "price: 1 for 2 models"),
        (names, results, [1.0, 0.0], "numbers above 0"),
        (names, [results[0], other], [1.0, 1.0], "121 items that one of small and large has not"),
        (names, [results[0], tmp_path / "none"], [1.0, 1.0], "none"),
    ):
        with pytest.raises(InputError, match=found):
            gather(models, folders, prices)
    with pytest.raises(InputError, match="leaves one side empty"):
        divided(gather(names, results, [1.0, 1.0]).only([0]), 0.3, seed=0)
