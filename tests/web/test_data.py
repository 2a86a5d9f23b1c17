from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from urllib.parse import quote

import pyarrow.parquet as pq
import pytest
from starlette.testclient import TestClient

from burnish.config import InputError
from burnish.records import Preference, Rollout
from burnish.store import tables
from burnish.store.sheets import neutral
from burnish.web import records
from burnish.web.records import Filters, listing, matching, sources_of
from burnish.web.site import Site

from .conftest import OWN
from .world import make_data, make_run


@pytest.fixture
def folder(site: Site) -> Path:
    make_run(site.runs, "demo")
    return make_data(site.runs)


def found(folder: Path, **asked: str) -> list[str]:
    return [one.record.id for _, one in matching(sources_of(folder), Filters(**asked))]


@pytest.mark.parametrize(
    ("asked", "ids"),
    [
        ({"kind": "preference"}, ["p0", "p1", "p2", "p3", "p4"]),
        ({"source": "book"}, ["r0", "r2", "r4"]),
        ({"tier": "selected", "text": "REPLY 3"}, ["r3"]),
        ({"topic": "food", "text": "p2"}, ["p2"]),
        ({"lang": "zh"}, []),
        ({"score": "fluency", "low": "0.3"}, ["r3", "r4", "r5"]),
        ({"score": "fluency", "high": "0.1"}, ["r0", "r1"]),
        ({"score": "margin", "low": "0.5", "high": "0.5"}, ["p0", "p1", "p2", "p3", "p4"]),
        ({"file": "generate@1/rollouts.parquet", "text": "fox"}, ["r0", "r1"]),
    ],
)
def test_filters(folder: Path, asked: dict[str, str], ids: list[str]) -> None:
    assert found(folder, **asked) == ids


def test_pages_of_a_listing_hold_every_record_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "ROWS", 4)
    sources, seen, at = sources_of(folder), list[str](), ""
    while True:
        page = listing(sources, Filters(), at)
        assert len(page.rows) <= 4
        seen += [one.record.id for _, one in page.rows]
        at = page.next
        if not at:
            break
    assert seen == found(folder)
    # A filter that fits nothing stops after so many records, and says where to go on.
    monkeypatch.setattr(records, "MOST_LOOKED", 3)
    page = listing(sources, Filters(text="nowhere"))
    assert (list(page.rows), page.looked, page.next) == ([], 3, "0.3")


def test_parquet_is_read_as_it_is_needed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    whole = pq.ParquetFile.iter_batches

    def counted(self: pq.ParquetFile, *args: object, **more: object) -> object:
        for batch in whole(self, *args, **more):
            read.append(batch.num_rows)
            yield batch

    rows = list(tables.read(folder / "artifacts/generate@1/rollouts.parquet", Rollout))
    big = folder / "artifacts/generate@1/rollouts.parquet"
    with tables.writer(big, Rollout) as add:
        for _ in range(2):
            add([vars(row) for row in rows] * 400)
    sources = [one for one in sources_of(folder) if one.kind is Rollout]
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", counted)
    assert len(listing(sources, Filters()).rows) == 50
    assert sum(read) < 2 * 400 * len(rows)


def test_the_pages_of_a_run(person: TestClient, folder: Path) -> None:
    assert '<a href="/data/demo">demo</a>' in person.get("/data").text
    page = person.get("/data/demo").text
    assert "generate@1/rollouts.parquet" in page
    assert "−3" in page  # the funnel: nine entered, six were left
    page = person.get("/data/demo/records?score=fluency&low=0.4").text
    assert "reply 4 of Hello" in page
    assert "reply 3 of Hello" not in page
    chinese = person.get("/data/demo/records", headers={"accept-language": "zh"}).text
    assert "文本或 id" in chinese
    page = person.get("/data/demo/profile").text
    assert "Map of topics" in page
    assert "style=" not in page


def test_one_record_with_where_it_comes_from(person: TestClient, folder: Path) -> None:
    page = person.get("/data/demo/record?id=p0").text
    for part in ("good Hello", "=bad Hello", "margin <b>0.5", 'record?id=r0"', "page Hello:0"):
        assert part in page, part
    page = person.get("/data/demo/record?id=r0").text
    assert 'record?id=p0"' in page  # what was made from it
    assert "1 records descend" in page


def test_near_duplicates_of_a_record(person: TestClient, folder: Path) -> None:
    page = person.get("/data/demo/record?id=r0&alike=1").text
    assert 'record?id=r1"' in page.partition('id="alike"')[2]
    assert 'record?id=r4"' not in page.partition('id="alike"')[2]
    page = person.get("/data/demo/record?id=p0&alike=1").text
    assert 'record?id=p1"' in page.partition('id="alike"')[2]  # the same texts


def test_what_is_not_there(person: TestClient, site: Site, folder: Path) -> None:
    make_run(site.runs, "empty")
    assert "no records yet" in person.get("/data/empty").text
    for path, status in (
        ("/data/nothing", 404), ("/data/demo/record?id=p99", 404), ("/data/demo/record", 404),
        ("/data/demo/records?low=much", 400), ("/data/demo/records?at=1.x", 400),
        ("/data/demo/quarantine?target=nobody", 400), ("/data/%2e%2e/records", 404),
    ):  # fmt: skip
        assert person.get(path).status_code == status, path
    assert "p4" in person.get("/data/demo/quarantine?target=p99").text  # ids that look like it
    with pytest.raises(InputError, match="low"):
        Filters.of({"low": "much"})


def test_quarantine_is_shown_and_then_done(person: TestClient, folder: Path) -> None:
    before = (folder / "artifacts/generate@1/preferences.jsonl").read_bytes()
    page = person.get("/data/demo/quarantine?target=r0").text
    # The rollout itself and the preference that was made from it.
    assert "2 records would go, 9 would stay." in page
    assert not (folder / "quarantine").exists()
    asked = {"target": "r0"}
    assert person.post("/data/demo/quarantine", data=asked, headers=OWN).status_code == 303
    left = tables.read(folder / "quarantine/001/generate@1/preferences.jsonl", Preference)
    assert [one.id for one in left] == ["p1", "p2", "p3", "p4"]
    listed = (folder / "quarantine/001.quarantine.jsonl").read_text().splitlines()
    assert {json.loads(line)["id"] for line in listed} == {"r0", "p0"}
    assert (folder / "artifacts/generate@1/preferences.jsonl").read_bytes() == before
    page = person.get("/data/demo").text
    assert "quarantine/001" in page
    # One that was interrupted left a folder; the next one gets a number of its own.
    (folder / "quarantine/002").mkdir()
    person.post("/data/demo/quarantine", data={"target": "book"}, headers=OWN)
    assert (folder / "quarantine/003.json").is_file()
    refused = person.post("/data/demo/quarantine", data={"target": "nobody"}, headers=OWN)
    assert refused.status_code == 400


def test_new_data_is_seen(person: TestClient, site: Site, folder: Path) -> None:
    assert person.get("/data/demo/record?id=p0").status_code == 200
    make_data(site.runs, said="later", count=9)
    assert "reply 8 of later" in person.get("/data/demo/record?id=r8").text


def test_csv_is_no_program(person: TestClient, site: Site, folder: Path) -> None:  # S-25
    answer = person.get("/data/demo/records.csv?kind=preference")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert "attachment" in answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.text.lstrip("\ufeff"))))
    assert [row["id"] for row in rows] == ["p0", "p1", "p2", "p3", "p4"]
    assert rows[0]["margin"] == "0.5"
    formulas = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "\n=1"]
    assert [neutral(cell) for cell in formulas] == [f"'{cell}" for cell in formulas]
    harmless: list[str | float | None] = ["a=b", "", "'x", -1.5, None]
    assert [neutral(cell) for cell in harmless] == harmless
    make_run(site.runs, "=cmd")
    make_data(site.runs, "=cmd", said="x")
    path = folder.parent / "=cmd/artifacts/generate@1/preferences.jsonl"
    path.write_text(path.read_text().replace("Say x", "=HYPERLINK(0)").replace("pairs", "@pairs"))
    told = person.get(f"/data/{quote('=cmd')}/records.csv?kind=preference").text
    rows = list(csv.DictReader(io.StringIO(told.lstrip("\ufeff"))))
    assert rows[0]["text"].startswith("'=HYPERLINK(0)")
    assert rows[0]["source"] == "'@pairs"
