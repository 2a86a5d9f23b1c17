from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from burnish.config import InputError
from burnish.records import Figure
from burnish.store import atomic, manifest
from burnish.store.artifacts import (
    ArtifactStore,
    Input,
    Origin,
    code_version,
    content_fingerprint,
    difference,
    fingerprint,
)
from burnish.store.errors import CorruptError, StorageError

ORIGIN = Origin(
    stage="fit.sft",
    config={"train": {"lr": 0.1, "betas": (0.9, 0.95)}, "name": "中"},
    inputs={"data": Input("pairs@1", "f1"), "model": Input("base", "f2")},
)


def make(store: ArtifactStore, name: str = "sft", text: Any = "weights") -> str:
    with store.create(name, ORIGIN, parents=("pairs@1",), round=2) as draft:
        (draft.path / "half").write_text("x")
        (draft.path / "weights.txt").write_text(text)
        draft.kind = "model"
        draft.figures = {"accuracy": Figure(0.5, 0.4, 0.6, 90)}
        draft.details = {"funnel": [9, 4], "note": "中"}
    assert draft.artifact is not None
    return draft.artifact.ref


def test_round_trip(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / "run")
    assert store.list() == []
    assert [make(store), make(store, "reward"), make(store)] == ["sft@1", "reward@1", "sft@2"]
    made = store.get("sft")
    assert made.path == tmp_path / "run" / "artifacts" / "sft@2"
    assert (made.path / "weights.txt").read_text() == "weights"
    assert (made.name, made.version, made.kind, made.stage) == ("sft", 2, "model", "fit.sft")
    assert made.config == {"train": {"lr": 0.1, "betas": [0.9, 0.95]}, "name": "中"}
    assert made.inputs == ORIGIN.inputs
    assert made.figures == {"accuracy": Figure(0.5, 0.4, 0.6, 90)}
    assert made.details == {"funnel": [9, 4], "note": "中"}
    assert made.round == 2
    assert made.parents == ("pairs@1",)
    assert made.code_version == code_version()
    assert 0 < made.wall_seconds < 60
    assert 2**20 < made.peak_rss_bytes < 2**40
    assert made.fingerprint == fingerprint(ORIGIN) == fingerprint(made)
    assert difference(made, ORIGIN) == []
    assert [(a.ref, a.sequence) for a in store.list()] == [
        ("sft@1", 1), ("reward@1", 2), ("sft@2", 3)
    ]  # fmt: skip
    assert store.get("sft", 1).sequence == 1


def test_killed_create_makes_all_or_nothing(kill_everywhere) -> None:
    seen = []

    def check(root: Path) -> None:
        store = ArtifactStore(root)
        refs = [artifact.ref for artifact in store.list()]
        assert refs in (["sft@1"], ["sft@1", "sft@2"])
        assert (store.get("sft").path / "weights.txt").read_text() == f"v{len(refs)}"
        seen.append(len(refs))
        assert make(store) == f"sft@{len(refs) + 1}"
        assert all(not name.startswith(".") for name in os.listdir(store.folder))

    kills = kill_everywhere(
        lambda root: make(ArtifactStore(root), text="v1"),
        lambda root: make(ArtifactStore(root), text="v2"),
        check,
    )
    assert kills >= 13
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (1, 2)


def test_killed_swap_inside_a_draft_leaves_nothing(kill_everywhere) -> None:
    """A stage may replace the draft's whole folder, as saving a model into it does."""

    def work(root: Path) -> None:
        with ArtifactStore(root).create("sft", ORIGIN) as draft:
            with atomic.new_folder(draft.path, replace=True) as fresh:
                (fresh / "weights.txt").write_text("w")
                manifest.seal(fresh)
            draft.kind = "model"

    def check(root: Path) -> None:
        store = ArtifactStore(root)
        atomic.sweep(store.folder)
        names = os.listdir(store.folder) if store.folder.exists() else []
        assert names in ([], ["sft@1"])
        if names:
            assert (store.get("sft").path / "weights.txt").read_text() == "w"

    assert kill_everywhere(lambda _root: None, work, check) >= 18


def test_failed_stage_leaves_nothing(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    with pytest.raises(TypeError):
        make(store, text=7)
    with pytest.raises(ValueError, match="kind was not set"), store.create("sft", ORIGIN):
        pass
    assert os.listdir(store.folder) == []


def test_damage_is_found_before_use(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """R-06: the latest is damaged, and no older one is passed off as it."""
    store = ArtifactStore(tmp_path)
    make(store)
    make(store)
    (store.folder / "sft@2" / "weights.txt").write_text("weighty")
    assert store.get("sft", deep=False).version == 2
    with pytest.raises(CorruptError, match=r"sft@2: weights\.txt has other content"):
        store.get("sft")
    assert store.get("sft", 1).version == 1
    (store.folder / "sft@2" / "artifact.json").write_text("{}")
    with caplog.at_level(logging.WARNING):
        assert [artifact.ref for artifact in store.list()] == ["sft@1"]
    assert "sft@2" in caplog.text


@pytest.mark.parametrize(
    ("key", "value"),
    [("name", "../x"), ("version", 7), ("kind", "virus"), ("inputs", []), ("figures", {"a": 1}),
     ("surprise", 1)],
)  # fmt: skip
def test_foreign_record_is_refused(tmp_path: Path, key: str, value: object) -> None:
    store = ArtifactStore(tmp_path)
    make(store)
    path = store.folder / "sft@1"
    content = json.loads((path / "artifact.json").read_text())
    (path / "artifact.json").write_text(json.dumps(content | {key: value}))
    manifest.seal(path)
    with pytest.raises(CorruptError, match=r"artifact\.json is missing or damaged"):
        store.get("sft")


def test_unknown_artifact_names_the_known(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    with pytest.raises(InputError, match="none yet"):
        store.get("sft")
    make(store)
    with pytest.raises(InputError, match=r"sft@4: no such artifact; sft@1"):
        store.get("sft", 4)


def test_two_writers_of_one_version(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)

    def race() -> None:
        with store.create("sft", ORIGIN) as draft:
            draft.kind = "data"
            make(ArtifactStore(tmp_path), text="other")

    with pytest.raises(StorageError, match="sft@1"):
        race()
    assert (store.get("sft").path / "weights.txt").read_text() == "other"


def test_fingerprint_is_of_contents() -> None:
    def change(**changes: object) -> Origin:
        return Origin(**({"stage": "s", "config": {"a": 1}, "inputs": {}} | changes))

    base = change(inputs={"data": Input("x@1", "f1")})
    assert fingerprint(base) == fingerprint(change(inputs={"data": Input("y@9", "f1")}))
    others = [
        change(inputs={"data": Input("x@1", "f2")}),
        change(inputs={"more": Input("x@1", "f1")}),
        change(inputs=base.inputs, config={"a": 2}),
        change(inputs=base.inputs, config={"b": 1}),
        change(inputs=base.inputs, stage="t"),
    ]
    assert len({fingerprint(origin) for origin in [base, *others]}) == 6
    assert fingerprint(change(config={"a": 1, "b": 2})) == fingerprint(
        change(config={"b": 2, "a": 1})
    )


def test_difference_in_words() -> None:
    old = Origin(
        stage="fit.sft",
        config={"train": {"lr": 0.001, "steps": 5}, "names": ("a",), "gone": True, "e": {}},
        inputs={"data": Input("d@1", "f1"), "model": Input("base", "f2"), "x": Input("x", "f")},
    )
    new = Origin(
        stage="fit.dpo",
        config={"train": {"lr": 0.002, "steps": 5}, "names": ["a"], "e": {"new": "中"}},
        inputs={"data": Input("d@2", "f3"), "model": Input("base", "f4"), "y": Input("y", "f")},
    )
    assert difference(old, new) == [
        "stage: fit.sft → fit.dpo",
        "e: removed, was {}",
        'e.new: added, "中"',
        "gone: removed, was true",
        "train.lr: 0.001 → 0.002",
        "input data: content changed (d@1 → d@2)",
        "input model: content changed (base)",
        "input x: removed",
        "input y: added",
    ]


def test_content_fingerprint_leaves_out_when_it_was_made(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    make(store)
    make(store)
    make(store, text="other")
    one, two, three = (content_fingerprint(store.get("sft", v).path) for v in (1, 2, 3))
    assert one == two != three


def test_copied_folder_under_another_name_is_refused(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    make(store)
    shutil.copytree(store.folder / "sft@1", store.folder / "sft@2")
    with pytest.raises(CorruptError, match=r"artifact\.json"):
        store.get("sft")


def test_disk_full(small_disk: Path) -> None:
    store = ArtifactStore(small_disk)
    make(store)
    with (
        pytest.raises(StorageError, match="sft@2/big: the disk is full"),
        store.create("sft", ORIGIN) as draft,
    ):
        atomic.write_bytes(draft.path / "big", bytes(2**21))
    assert os.listdir(store.folder) == ["sft@1"]
