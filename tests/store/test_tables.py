from __future__ import annotations

import csv
import gzip
import json
import pickle
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from burnish.config import InputError, Problem
from burnish.records import Document, Example, Feedback, Preference, Prompt, Record, Rollout
from burnish.store import tables
from burnish.store.errors import StorageError
from burnish.store.names import IMPORTED, NOT_RECORDS, REJECTED

USER = {"role": "user", "content": "Who wrote 静夜思?"}
REPLY = {"role": "assistant", "content": "Li Bai."}
WRONG = {"role": "assistant", "content": "Du Fu."}

RECORDS: list[Record] = [
    Document(id="d", text="One\nline\u2028 and 中文", tier="expert", parents=("a", "b")),
    Example(id="e", messages=[USER, REPLY], weight=0.5, synthetic=True),
    Prompt(id="p", messages=[USER], verify={"kind": "answer", "answers": ["Li Bai", "李白"]}),
    Preference(id="f", prompt=[USER], chosen=[REPLY], rejected=[WRONG], margin=1.25),
    Preference(id="o", prompt=[USER], chosen=[REPLY], rejected=[WRONG],
               objectives={"helpful": 1.0, "harmless": -0.5}),
    Feedback(id="k", prompt=[USER], completion=[WRONG], label=False, topic="poems"),
    Rollout(
        id="r", prompt_id="p", prompt=[USER], completion="Li Bai.", tokens=[5, 2],
        logprobs=[-0.1, -1e-7], finish="stop", temperature=0.7, top_p=1.0, seed=2**40,
        scores={"right": 1.0, "style": 0.25}, reward=0.625,
    ),
]  # fmt: skip


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".json", ".json.gz", ".parquet"])
@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_round_trip(tmp_path: Path, record: Record, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    tables.write(path, [record, record])
    assert tables.read(path, type(record)) == [record, record]
    before = path.read_bytes()
    tables.write(path, [record, record])
    assert path.read_bytes() == before


def test_parquet_keeps_verifiers_apart(tmp_path: Path) -> None:
    """Rows with other keys, and numbers where another row has text, stay as they are."""
    specs = [{"kind": "number", "value": 3}, {"kind": "x", "value": "3", "n": None}, None]
    prompts = [Prompt(id=str(i), messages=[USER], verify=spec) for i, spec in enumerate(specs)]
    tables.write(tmp_path / "p.parquet", prompts)
    assert [p.verify for p in tables.read(tmp_path / "p.parquet", Prompt)] == specs


def test_objectives_of_another_tools_table(tmp_path: Path) -> None:
    """A struct column, in which Arrow gives every row the keys of all rows."""
    stated = [{"helpful": 1.0}, {"harmless": -2.0}, None]
    pair = {"prompt": "Q", "chosen": "a", "rejected": "b"}
    rows = pa.Table.from_pylist([{**pair, "objectives": one} for one in stated])
    pq.write_table(rows, tmp_path / "p.parquet")
    found = [p.objectives for p in tables.read(tmp_path / "p.parquet", Preference)]
    assert found == [{"helpful": 1.0}, {"harmless": -2.0}, {}]


@pytest.mark.parametrize("suffix", tables.APPENDED)
def test_rows_written_as_they_come(tmp_path: Path, suffix: str) -> None:
    """Whole or not at all, equal to those written at once, with columns beside the record's."""
    records = [
        Example(id=str(n), messages=[{"role": "user", "content": f"{n}"},
                                     {"role": "assistant", "content": "é"}])
        for n in range(5)
    ]  # fmt: skip
    scored = [vars(one) | {"scores": {"a": n / 4}, "total": None if n == 3 else n / 2}
              for n, one in enumerate(records)]  # fmt: skip
    path = tmp_path / f"x{suffix}"
    with tables.writer(path, Example, {"scores": str, "total": float}) as write:
        write(scored[:2])
        write(scored[2:])
        assert not path.exists()
    assert tables.read(path, Example) == records
    totals = [number for _, number in tables.with_numbers(path, Example, "total")]
    assert totals == [0.0, 0.5, 1.0, None, 2.0]
    inner = [number for _, number in tables.with_numbers(path, Example, "scores.a")]
    assert inner == [0.0, 0.25, 0.5, 0.75, 1.0]
    before = path.read_bytes()
    half = tables.writer(path, Example)
    half.__enter__()([vars(records[0])])
    assert half.__exit__(KeyError, KeyError("as if killed"), None) is False
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_rows_are_written_to_three_formats_only(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ends \.jsonl, "):
        tables.writer(tmp_path / "x.csv", Example).__enter__()


def test_write_refuses(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="format that is not written"):
        tables.write(tmp_path / "x.xlsx", RECORDS[:1])
    with pytest.raises(ValueError, match="not JSON compliant"):
        tables.write(tmp_path / "x.jsonl", [Example(id="e", messages=[], weight=float("nan"))])
    assert list(tmp_path.iterdir()) == []


def test_full_disk_keeps_the_older_table(small_disk: Path) -> None:
    path = small_disk / "d.jsonl"
    tables.write(path, RECORDS[:1])
    with pytest.raises(StorageError, match=r"d\.jsonl: the disk is full"):
        tables.write(path, [Document(id="big", text="x" * 2**21)])
    assert tables.read(path, Document) == RECORDS[:1]


def test_killed_write_leaves_old_or_new(kill_everywhere) -> None:
    lengths = []

    def check(root: Path) -> None:
        lengths.append(len(tables.read(root / "d.jsonl", Document)))

    kill_everywhere(
        lambda root: tables.write(root / "d.jsonl", RECORDS[:1]),
        lambda root: tables.write(root / "d.jsonl", RECORDS[:1] * 2),
        check,
    )
    assert set(lengths) == {1, 2}


def lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_every_problem_has_file_line_and_field(tmp_path: Path) -> None:
    path = tmp_path / "sft.jsonl"
    good = json.dumps({"messages": [USER, REPLY]})
    path.write_bytes(
        b"\n".join(
            [
                good.encode(),
                b"",
                b'{"messages": ',
                b"[1]",
                b'{"text": "x"}',
                json.dumps({"messages": [USER, {"role": "robot", "content": "x"}]}).encode(),
                json.dumps({"messages": [USER, REPLY], "weight": "heavy", "lang": "fr"}).encode(),
                b'{"messages": "\xff"}',
                b'{"messages": [], "weight": NaN}',
                b'{"messages": "\\ud800"}',
                json.dumps({"messages": [USER]}).encode(),
                b"[" * 100_000,
                good.encode(),
            ]
        )
    )
    with pytest.raises(InputError) as info:
        tables.read(path, Example)
    found = [(p.line, p.field, p.found) for p in info.value.problems]
    assert {p.file for p in info.value.problems} == {str(path)}
    assert found[0][:2] == (3, "")
    assert found[0][2].startswith("not valid JSON")
    assert found[1:] == [
        (4, "", "found a list"),
        (5, "messages", "missing"),
        (6, "messages.1.role", "found 'robot'"),
        (7, "lang", "found 'fr'"),
        (7, "weight", "found 'heavy'"),
        (8, "", "not valid JSON: not UTF-8"),
        (9, "", "not valid JSON: NaN is not a JSON number"),
        (10, "", "not valid JSON: half of a surrogate pair in a string"),
        (11, "messages", "no assistant turn with text"),
        (12, "", "not valid JSON: nested too deeply"),
    ]
    assert "one of these sets of columns: messages, prompt + completion" in str(info.value)

    problems: list[Problem] = []
    assert len(tables.read(path, Example, problems=problems)) == 2
    assert len(problems) == 11


def test_first_twenty_problems_and_how_many_more(tmp_path: Path) -> None:
    path = lines(tmp_path / "x.jsonl", *[{"no": i} for i in range(312)])
    with pytest.raises(InputError, match="and 292 more problems") as info:
        tables.read(path, Document)
    assert [p.line for p in info.value.problems] == [*range(1, 21), None]


def test_torn_last_line_is_named_at_each_byte(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    first, last = b'{"text": "one"}\n', '{"text": "二"}\n'.encode()
    for cut in range(1, len(last) + 1):
        path.write_bytes(first + last[:cut])
        if cut >= len(last) - 1:
            assert [d.text for d in tables.read(path, Document)] == ["one", "二"]
            continue
        with pytest.raises(InputError, match=r"x\.jsonl:2: the file ends in the middle of this"):
            tables.read(path, Document)


def test_limit_reads_no_further(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"text": "a"}\n{"text": "b"}\nbroken\n')
    assert [d.text for d in tables.read(path, Document, limit=2)] == ["a", "b"]
    assert [d.text for d in tables.iterate(path, Document, limit=1)] == ["a"]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("x.jsonl", b"", "holds no records"),
        ("x.jsonl", b"\n\n", "holds no records"),
        ("x.json", b"[]", "holds no records"),
        ("x.json", b"", "not valid JSON"),
        ("x.json", b'{"text": "a"}', "found an object; a list of objects"),
        ("x.json", b'[{"text": "a"}, 3]', r"x.json:1:\[1\]: found a number"),
        ("x.json", b'[{"text": "a"}, {"text": 3}]', r"x.json:1:\[1\].text: found 3"),
        ("x.txt", b" \n \n", "holds no records"),
        ("x.txt", b"ok\n\xff", "x.txt:2: not UTF-8"),
        ("x.csv", b"text\n", "holds no records"),
        ("x.csv", b"text\na,b\n", "x.csv:2: too many fields"),
        ("x.csv", b"text\n\xff\n", "not UTF-8"),
        ("x.csv", b'text\n"a\n', "not valid CSV"),
        ("x.csv", b"other\na\n", "x.csv:2:text: missing"),
        ("x.parquet", b"PAR1 no PAR1", "cannot be read as .parquet"),
        ("x.parquet", b"", "cannot be read as .parquet"),
        ("x.jsonl.gz", b"plain", "cannot be read as .jsonl.gz"),
        ("x.jsonl.gz", gzip.compress(b'{"text": "a"}\n' * 99, mtime=0)[:-9], "cut short"),
        ("x.jsonl.gz", gzip.compress(b"x", mtime=0)[:10] + b"\xff" * 20, "cannot be read"),
        ("x.pkl", pickle.dumps([{"text": "a"}]), "a format that is not read; one of .jsonl"),
        ("x.jsonl", pickle.dumps([{"text": "a"}]), "not valid JSON"),
    ],
)  # fmt: skip
def test_bad_files(tmp_path: Path, name: str, data: bytes, message: str) -> None:  # S-01 partly
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=message):
        tables.read(tmp_path / name, Document)


def test_missing_file(tmp_path: Path) -> None:
    for name in ("x.jsonl", "x.txt", "x.parquet", "x.csv", "x"):
        with pytest.raises(InputError, match=f"{name}: no such file"):
            tables.read(tmp_path / name, Document)


def test_monstrous_line_stops_early(tmp_path: Path) -> None:  # S-23 partly
    path = tmp_path / "bomb.jsonl.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(65):
            file.write(b" " * 2**20)
    with pytest.raises(InputError, match=r"bomb\.jsonl\.gz:1: a line of more than 64 MiB"):
        tables.read(path, Document)


def test_a_bomb_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # S-23
    """A thousandfold; a table that honestly shrinks 20-fold is read."""
    monkeypatch.setattr("burnish.store.streams.FREE_BYTES", 2**20)
    with gzip.open(tmp_path / "bomb.jsonl.gz", "wb") as file:
        file.write(b"\n" * 2**23)
    with pytest.raises(InputError, match="unpacks to more than 200 times its size"):
        tables.read(tmp_path / "bomb.jsonl.gz", Document)
    rows = b"".join(b'{"text": "number %d of many"}\n' % n for n in range(50_000))
    (tmp_path / "x.jsonl.gz").write_bytes(gzip.compress(rows))
    assert len(tables.read(tmp_path / "x.jsonl.gz", Document)) == 50_000


def test_parquet_columns_have_one_type_whatever_they_hold(tmp_path: Path) -> None:
    """Files of one kind can be read together: no parents here, some there; verifiers or none."""
    tables.write(tmp_path / "a.parquet", [Prompt(id="a", messages=[USER])])
    spec = {"kind": "number", "answer": 1}
    tables.write(tmp_path / "b.parquet",
                 [Prompt(id="b", messages=[USER], verify=spec, parents=("x",))])  # fmt: skip
    first, second = (pq.read_schema(tmp_path / f"{name}.parquet") for name in "ab")
    assert first == second
    assert len(pq.read_table(tmp_path)) == 2
    tables.write(tmp_path / "none.parquet", [])
    assert pq.read_table(tmp_path / "none.parquet").num_rows == 0


def test_parquet_with_bytes_that_are_no_text(tmp_path: Path) -> None:
    torn = pa.array([b"\xbd\xff"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"text": torn}), tmp_path / "x.parquet")
    with pytest.raises(InputError, match=r"cannot be read as \.parquet: 'utf-8' codec"):
        tables.read(tmp_path / "x.parquet", Document)


def test_text_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfOne\r\ntwo\r\n \r\n\r\n  three\n")
    (tmp_path / "b.md").write_text("# Title\n\nBody\n")
    alone = tables.read(tmp_path / "a.txt", Document)
    assert [d.text for d in alone] == ["One\ntwo", "three"]
    assert {d.source for d in alone} == {"a"}
    assert [d.text for d in tables.read(tmp_path / "b.md", Document)] == ["# Title\n\nBody"]
    folder = tables.read(tmp_path, Document)
    assert [(d.source, d.text) for d in folder] == [
        ("a", "One\ntwo\n \n\n  three"), ("b", "# Title\n\nBody")
    ]  # fmt: skip
    with pytest.raises(InputError, match="with example records"):
        tables.read(tmp_path / "a.txt", Example)
    with pytest.raises(InputError, match="no data in this folder"):
        tables.read(tmp_path, Example)


def test_folders(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / ".hidden").mkdir()
    lines(tmp_path / "b.jsonl", {"text": "b"})
    lines(tmp_path / "sub" / "a.jsonl", {"text": "a"})
    lines(tmp_path / ".hidden" / "c.jsonl", {"text": "c"})
    (tmp_path / "manifest.json").write_text("{}")
    (tmp_path / "artifact.json").write_text("{}")
    (tmp_path / "weights.bin").write_text("")
    assert [d.text for d in tables.read(tmp_path, Document)] == ["b", "a"]


def test_csv(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file)
        writer.writerow(["prompt", "topic", "verify"])
        writer.writerow(["Who,\nwhat?", "", '{"kind": "answer"}'])
        writer.writerow(["为什么?", "t", ""])
    first, second = tables.read(path, Prompt)
    assert first.messages == [{"role": "user", "content": "Who,\nwhat?"}]
    assert (first.topic, first.verify, first.lang) == ("", {"kind": "answer"}, "en")
    assert (second.topic, second.verify, second.lang) == ("t", None, "zh")


def test_foreign_parquet(tmp_path: Path) -> None:
    """Columns as Hugging Face stores them: structs with nulls, other columns beside."""
    table = pa.table(
        {
            "messages": [[USER, REPLY], [{**USER, "name": "x"}, REPLY]],
            "id": [1, 2],
            "source": ["web", None],
            "embedding": [[0.5], [0.25]],
        }
    )
    pq.write_table(table, tmp_path / "train.parquet")
    first, second = tables.read(tmp_path / "train.parquet", Example)
    assert (first.id, first.source, second.id, second.source) == ("1", "web", "2", "train")
    assert first.messages == second.messages == [USER, REPLY]


def test_reports_beside_records_are_no_records(tmp_path: Path) -> None:
    records = [Example(id="1", messages=[{"role": "user", "content": "?"},
                                         {"role": "assistant", "content": "é"}])]  # fmt: skip
    tables.write(tmp_path / "x.jsonl", records)
    for name in NOT_RECORDS:
        (tmp_path / name).write_text('{"funnel": []}')
    assert tables.read(tmp_path, Example) == records
    # What an import did not take lies beside its report; elsewhere the name is anybody's.
    (tmp_path / REJECTED).write_text('{"file": "a.jsonl", "line": 1}')
    assert tables.read(tmp_path, Example) == records
    (tmp_path / IMPORTED).unlink()
    with pytest.raises(InputError, match=r"rejected\.jsonl"):
        tables.read(tmp_path, Example)
    (tmp_path / REJECTED).unlink()
    (tmp_path / "other.json").write_text('[{"funnel": []}]')
    with pytest.raises(InputError, match=r"other\.json"):
        tables.read(tmp_path, Example)
