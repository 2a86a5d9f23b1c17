from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from burnish.store.registry import Registry
from burnish.web.site import Site

from .conftest import OWN
from .world import make_models


@pytest.fixture
def refs(site: Site) -> list[str]:
    return make_models(site.runs, count=3)


def champion(site: Site) -> str | None:
    with Registry(site.registry) as registry:
        return registry.alias("champion")


def test_reading_makes_no_registry(person: TestClient, site: Site) -> None:
    assert "No models yet" in person.get("/models").text
    assert person.get("/models/tuned@1").status_code == 404
    assert not site.registry.exists()


def test_the_list_and_one_model(person: TestClient, refs: list[str]) -> None:
    page = person.get("/models").text
    assert page.index("tuned@3</a>") < page.index("tuned@1</a>")
    assert "The champion is tuned@1" in page
    assert "because better" in page
    one = person.get("/models/tuned@3").text
    for part in ("since better", "+0.1", "0.5 <small>[0.4, 0.6]", "Lineage of tuned@3", "license"):
        assert (part in one) == (part != "license"), part
    assert "因为 better" in person.get("/models/tuned@3", headers={"accept-language": "zh"}).text
    assert person.get("/models/tuned@9").status_code == 400
    card = person.get("/models/tuned@3/card")
    assert card.headers["content-disposition"].startswith("attachment")
    assert card.text.startswith("---\n")


def test_what_a_verdict_found_cheaper_is_shown(
    person: TestClient, site: Site, refs: list[str]
) -> None:
    with Registry(site.registry) as registry:
        saved = {"figure": "size_bytes", "factor": 3.972, "low": 3.9, "high": 4.0, "asked": 2.0,
                 "state": "shown"}  # fmt: skip
        row = {"metric": "exact", "role": "guard", "comparison": {}, "state": "noise"}
        details = {"comparisons": [row], "saved": [saved], "reason_zh": "更小"}
        registry.add_verdict(2, "tuned@3", "tuned@1", "promoted", "smaller", details)
    page = person.get("/models/tuned@3", headers={"accept-language": "zh"}).text
    assert "磁盘大小（字节）</td><td>须改善至 ×2</td>" in page
    assert "×3.97 <small>[3.9, 4]</small></td><td>通过</td>" in page


def test_what_differs(person: TestClient, refs: list[str]) -> None:
    page = person.get("/models/diff?a=tuned@1&b=tuned@2").text
    assert "better 1" in page
    assert "better 2" in page
    assert "+0" in page
    same = person.get("/models/diff?a=tuned@1&b=tuned@1").text
    assert "Made from the same settings and data." in same


def test_promotion_needs_a_reason_and_what_was_seen(
    person: TestClient, site: Site, refs: list[str]
) -> None:
    path = "/models/tuned@2/promote"
    for reason in ("", "  ", "x" * 1001):
        given = {"reason": reason, "seen": "tuned@1"}
        assert person.post(path, data=given, headers=OWN).status_code == 400
    done = person.post(path, data={"reason": "by eye", "seen": "tuned@1"}, headers=OWN)
    assert (done.status_code, done.headers["location"]) == (303, "/models/tuned@2")
    assert champion(site) == "tuned@2"
    # A page from before that: the champion it shows is no longer the champion.
    late = person.post(
        "/models/tuned@3/promote", data={"reason": "too", "seen": "tuned@1"}, headers=OWN
    )
    assert late.status_code == 409
    assert "champion points to tuned@2, not to tuned@1" in late.text
    assert champion(site) == "tuned@2"


def test_a_damaged_model_is_not_promoted(person: TestClient, site: Site, refs: list[str]) -> None:
    (site.runs / "demo/artifacts/tuned@2/config.json").write_text("X")
    answer = person.post(
        "/models/tuned@2/promote", data={"reason": "r", "seen": "tuned@1"}, headers=OWN
    )
    assert answer.status_code == 400
    assert "sha256 differs" in answer.text
    assert champion(site) == "tuned@1"


def test_rolling_back(person: TestClient, site: Site, refs: list[str]) -> None:
    assert "Roll back" not in person.get("/models").text  # there is nothing before it
    given = {"reason": "r", "seen": "tuned@1"}
    assert person.post("/rollback", data=given, headers=OWN).status_code == 400
    person.post("/models/tuned@2/promote", data=given, headers=OWN)
    assert "Roll back to tuned@1" in person.get("/models").text
    assert person.post("/rollback", data=given, headers=OWN).status_code == 409
    assert champion(site) == "tuned@2"
    given = {"reason": "got worse", "seen": "tuned@2"}
    assert person.post("/rollback", data=given, headers=OWN).status_code == 303
    assert champion(site) == "tuned@1"
    assert "got worse" in person.get("/models").text
