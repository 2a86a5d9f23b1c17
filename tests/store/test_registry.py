from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from burnish.config import EXIT_INPUT, InputError
from burnish.store import atomic
from burnish.store.errors import CorruptError, StorageError
from burnish.store.registry import AliasMovedError, Registry


def add(registry: Registry, name: str = "sft", parents: tuple[str, ...] = ()) -> int:
    return registry.register(name, "model", f"/runs/{name}", "f00d", {"acc": 0.5}, parents)


def fork(work: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException as error:
            os.write(2, f"{error!r}\n".encode())
            os._exit(1)
        os._exit(0)
    return child


def integrity(path: Path) -> str:
    with closing(sqlite3.connect(path)) as db:
        return str(db.execute("PRAGMA integrity_check").fetchone()[0])


def test_versions_and_entries(tmp_path: Path) -> None:
    with Registry(tmp_path / "deep" / "r.db") as registry:
        assert [add(registry), add(registry), add(registry, "dpo"), add(registry)] == [1, 2, 1, 3]
    with Registry(tmp_path / "deep" / "r.db") as registry:
        assert [e.ref for e in registry.entries()] == ["sft@1", "sft@2", "dpo@1", "sft@3"]
        assert [e.version for e in registry.entries("sft")] == [1, 2, 3]
        found = registry.get("sft@2")
        assert (found.kind, found.path, found.fingerprint) == ("model", "/runs/sft", "f00d")
        assert found.figures == {"acc": 0.5}
        assert registry.get("sft").version == 3
        with pytest.raises(InputError, match="sft@9: not in the registry"):
            registry.get("sft@9")
        with pytest.raises(InputError, match="small letters"):
            add(registry, "../x")


def test_lineage(tmp_path: Path) -> None:
    with Registry(tmp_path / "r.db") as registry:
        add(registry, "base")
        add(registry, "facts")
        add(registry, "sft", ("base@1", "facts@1", "base@1"))
        add(registry, "pairs", ("sft@1",))
        add(registry, "dpo", ("sft@1", "pairs@1"))
        add(registry, "other")
        above = [entry.ref for entry in registry.lineage("dpo", 1)]
        assert above == ["base@1", "facts@1", "sft@1", "pairs@1"]
        assert registry.lineage("base", 1) == []
        with pytest.raises(InputError, match="ghost@1"):
            add(registry, "dpo", ("sft@1", "ghost@1"))
        assert [e.ref for e in registry.entries("dpo")] == ["dpo@1"]


def test_alias_is_compare_and_swap_with_audit(tmp_path: Path) -> None:  # R-21, R-22
    with Registry(tmp_path / "r.db") as registry:
        for _ in range(3):
            add(registry)
        assert registry.alias("champion") is None
        registry.set_alias("champion", "sft@1", expected="", reason="first")
        registry.set_alias("champion", "sft@2", expected="sft@1", reason="gate")
        with pytest.raises(AliasMovedError, match="points to sft@2, not to sft@1") as info:
            registry.set_alias("champion", "sft@3", expected="sft@1", reason="late")
        assert info.value.found == "sft@2"
        with pytest.raises(AliasMovedError, match="not to nothing"):
            registry.set_alias("champion", "sft@3", expected="")
        with pytest.raises(InputError):
            registry.set_alias("champion", "sft@9")
        registry.set_alias("champion", "sft@1", reason="roll back")
        assert registry.alias("champion") == "sft@1"
        assert [(m.before, m.after, m.done, m.reason) for m in registry.moves("champion")] == [
            (None, "sft@1", True, "first"),
            ("sft@1", "sft@2", True, "gate"),
            ("sft@2", "sft@3", False, "late"),
            ("sft@2", "sft@3", False, ""),
            ("sft@2", "sft@1", True, "roll back"),
        ]
        assert [m.sequence for m in registry.moves("champion")] == [1, 2, 3, 4, 5]
        assert registry.moves("other") == []


def test_verdicts_and_feedback(tmp_path: Path) -> None:
    with Registry(tmp_path / "r.db") as registry:
        assert registry.add_verdict(1, "dpo@1", "sft@1", "promote", "better", {"p": 0.01}) == 1
        assert registry.add_verdict(2, "dpo@2", "dpo@1", "keep", "not better") == 2
        assert [(v.round, v.decision, v.details) for v in registry.verdicts()] == [
            (1, "promote", {"p": 0.01}),
            (2, "keep", {}),
        ]
        # R-20: the same answer sent twice counts once
        assert registry.add_feedback("k1", "dpo@1", {"good": True, "note": "好"})
        assert not registry.add_feedback("k1", "dpo@1", {"good": False})
        assert registry.add_feedback("k2", "dpo@1", {"good": False})
        assert [(f.key, f.content) for f in registry.feedback()] == [
            ("k1", {"good": True, "note": "好"}),
            ("k2", {"good": False}),
        ]
        first = registry.feedback()[0].sequence
        assert [f.key for f in registry.feedback(after=first)] == ["k2"]


def test_sixteen_writers(tmp_path: Path) -> None:  # R-21
    """From an empty folder: versions 1..N without gap, and one alias at any time."""
    path, each = tmp_path / "r.db", 5

    def write() -> None:
        with Registry(path) as registry:
            for _ in range(each):
                version = add(registry)
                before = registry.alias("champion") or ""
                try:
                    registry.set_alias("champion", f"sft@{version}", expected=before)
                except AliasMovedError:
                    continue

    children = [fork(write) for _ in range(16)]
    with Registry(path) as registry:
        while not registry.alias("champion"):
            time.sleep(0.001)
        for _ in range(50):
            assert registry.alias("champion") is not None
        assert [os.waitpid(child, 0)[1] for child in children] == [0] * 16
        assert [e.version for e in registry.entries("sft")] == list(range(1, 16 * each + 1))
        moves = registry.moves("champion")
        assert len(moves) == 16 * each
        held = None
        for move in moves:
            assert move.before == held
            held = move.after if move.done else held
        assert registry.alias("champion") == held


def test_killed_alias_move_is_all_or_nothing(kill_everywhere) -> None:  # R-02, R-22
    seen = []

    def prepare(root: Path) -> None:
        with Registry(root / "r.db") as registry:
            add(registry)
            add(registry)
            registry.set_alias("champion", "sft@1")

    def move(root: Path) -> None:
        with Registry(root / "r.db") as registry:
            registry.set_alias("champion", "sft@2", expected="sft@1")

    def check(root: Path) -> None:
        with Registry(root / "r.db") as registry:
            moved = registry.alias("champion") == "sft@2"
            assert len(registry.moves("champion")) == 1 + moved
        seen.append(moved)

    assert kill_everywhere(prepare, move, check) == 5
    assert seen == [False, False, False, False, True, True]


def test_killed_register_is_all_or_nothing(kill_everywhere) -> None:  # R-02
    def prepare(root: Path) -> None:
        with Registry(root / "r.db") as registry:
            add(registry, "base")

    def register(root: Path) -> None:
        with Registry(root / "r.db") as registry:
            add(registry, "sft", ("base@1",))

    def check(root: Path) -> None:
        with Registry(root / "r.db") as registry:
            for entry in registry.entries("sft"):
                assert [e.ref for e in registry.lineage("sft", entry.version)] == ["base@1"]
            assert add(registry) == len(registry.entries("sft"))

    assert kill_everywhere(prepare, register, check) == 4


def test_killed_writers_leave_a_sound_file(tmp_path: Path) -> None:  # R-27
    path = tmp_path / "r.db"

    def write_for_ever() -> None:
        with Registry(path) as registry:
            while True:
                version = add(registry)
                registry.set_alias("champion", f"sft@{version}")

    wait = random.Random(0)
    with Registry(path) as registry:
        add(registry)
    for _ in range(20):
        child = fork(write_for_ever)
        time.sleep(wait.uniform(0.01, 0.06))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert integrity(path) == "ok"
    with Registry(path) as registry:
        versions = [entry.version for entry in registry.entries()]
        assert versions == list(range(1, len(versions) + 1))
        assert len(versions) > 20
        done = registry.moves("champion")
        assert registry.alias("champion") == done[-1].after


def test_locked_file_is_waited_for(tmp_path: Path) -> None:  # R-27
    path = tmp_path / "r.db"
    Registry(path).close()

    def hold() -> None:
        db = sqlite3.connect(path, isolation_level=None)
        db.execute("BEGIN IMMEDIATE")
        (tmp_path / "held").touch()
        time.sleep(0.4)
        db.execute("COMMIT")

    child = fork(hold)
    while not (tmp_path / "held").exists():
        time.sleep(0.01)
    with Registry(path) as registry:
        assert add(registry) == 1
    assert os.waitpid(child, 0)[1] == 0


def test_damaged_file_is_named(tmp_path: Path) -> None:  # R-27
    path = tmp_path / "r.db"
    with Registry(path) as registry:
        for _ in range(200):
            add(registry)
        registry.backup(tmp_path / "backup")
    data = bytearray(path.read_bytes())
    for bad in (b"not a database, just text" * 50, bytes(data[:100]) + b"\xff" * (len(data) - 100)):
        path.write_bytes(bad)
        with pytest.raises(CorruptError, match=r"r\.db: the registry is damaged; move it") as info:
            Registry(path)
        assert info.value.exit_code == EXIT_INPUT
    with Registry(tmp_path / "backup" / "r.db") as registry:
        assert len(registry.entries()) == 200


def test_newer_and_foreign_files(tmp_path: Path) -> None:
    Registry(tmp_path / "r.db").close()
    db = sqlite3.connect(tmp_path / "r.db")
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StorageError, match="newer burnish"):
        Registry(tmp_path / "r.db")
    with pytest.raises(StorageError, match="cannot be used"):
        Registry(tmp_path)


def test_full_disk(small_disk: Path) -> None:  # R-13
    with Registry(small_disk / "r.db") as registry:
        add(registry)
        free = os.statvfs(small_disk).f_bavail * 4096
        (small_disk / "filler").write_bytes(bytes(free))
        with pytest.raises(StorageError, match=r"r\.db: the disk is full"):
            registry.register("sft", "model", "/x", "f", {"big": "x" * 200_000})
        (small_disk / "filler").unlink()
        assert add(registry) == 2
    assert integrity(small_disk / "r.db") == "ok"


def test_killed_backup_keeps_the_older_one(kill_everywhere) -> None:
    def prepare(root: Path) -> None:
        with Registry(root / "r.db") as registry:
            add(registry)
            registry.backup(root / "backup")
            add(registry)

    def backup(root: Path) -> None:
        with Registry(root / "r.db") as registry:
            registry.backup(root / "backup")

    def check(root: Path) -> None:
        atomic.sweep(root)
        with Registry(root / "backup" / "r.db") as registry:
            assert len(registry.entries()) in (1, 2)

    assert kill_everywhere(prepare, backup, check) >= 5
