from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from burnish import flow
from burnish.config import InputError
from burnish.records import Document, Example, Message
from burnish.selection import mix_parts
from burnish.selection.mix import MixSettings, draw_tasks, left_over, mix_documents, task_counts
from burnish.store import tables


def documents(count: int, size: int, source: str) -> list[Document]:
    return [
        Document(id=f"{source}{i}", text=" ".join(["w"] * size), source=source)
        for i in range(count)
    ]


def length(document: Document) -> int:
    return len(document.text.split())


def test_the_ratio_is_measured_in_tokens() -> None:
    domain, general = documents(10, 20, "d"), documents(100, 50, "g")
    mixed, report = mix_documents(domain, general, 5, length, seed=0)
    # 200 domain tokens ask for 1000 general ones: 20 documents of 50
    assert (report.domain_tokens, report.general_tokens, report.general_documents) == (
        200,
        1000,
        20,
    )
    assert report.ratio == 5.0
    assert Counter(document.source for document in mixed) == {"d": 10, "g": 20}
    again, _ = mix_documents(domain, general, 5, length, seed=0)
    assert again == mixed
    assert mix_documents(domain, general, 5, length, seed=1)[0] != mixed


def test_the_nearer_number_of_documents_is_taken() -> None:
    domain = documents(1, 10, "d")
    # 10 tokens wanted, documents of 4: 8 is nearer than 12 is not, both 2 away; the second stays
    assert mix_documents(domain, documents(9, 4, "g"), 1, length, 0)[1].general_tokens in (8, 12)
    # documents of 6: 6 is 4 away, 12 is 2 away
    assert mix_documents(domain, documents(9, 6, "g"), 1, length, 0)[1].general_tokens == 12
    # documents of 16: 0 is 10 away, 16 is 6 away
    assert mix_documents(domain, documents(9, 16, "g"), 1, length, 0)[1].general_tokens == 16
    # documents of 21: 0 is 10 away, 21 is 11 away
    assert mix_documents(domain, documents(9, 21, "g"), 1, length, 0)[1].general_tokens == 0


def test_a_shortage_shows_in_the_report_and_repeats_are_bounded() -> None:
    domain, general = documents(10, 10, "d"), documents(10, 10, "g")
    assert mix_documents(domain, general, 5, length, 0)[1].ratio == 1.0
    mixed, report = mix_documents(domain, general, 5, length, 0, max_repeats=3)
    assert (report.ratio, report.repeats) == (3.0, 3.0)
    assert max(Counter(document.id for document in mixed).values()) == 3


def test_what_a_mix_left_over_comes_least_used_first() -> None:
    general = documents(5, 10, "g")
    used = [general[0], general[1], general[1]]
    left = left_over(general, used, 2, seed=0)
    assert {document.id for document in left[:3]} == {"g2", "g3", "g4"}
    assert Counter(document.id for document in left) == {"g0": 1, "g2": 2, "g3": 2, "g4": 2}
    assert left_over(general, used, 2, seed=0) == left
    assert left_over(general, general, 1, seed=0) == []


def test_nothing_to_mix_is_an_input_error() -> None:
    with pytest.raises(InputError, match="no tokens"):
        mix_documents([], documents(1, 1, "g"), 1, length, 0)
    with pytest.raises(InputError, match="ratio 1 needs some"):
        mix_documents(documents(1, 1, "d"), [], 1, length, 0)


def test_task_counts_by_temperature() -> None:
    sizes = {"a": 90, "b": 10}
    assert task_counts(sizes, 10, 1.0) == {"a": 9, "b": 1}
    # sqrt: 9.487 : 3.162 = 3 : 1
    assert task_counts(sizes, 100, 2.0) == {"a": 75, "b": 25}
    assert task_counts(sizes, 10, 1e9) == {"a": 5, "b": 5}
    # thirds of 10: 3 each, the one left goes to the first by name
    assert task_counts({"x": 5, "y": 5, "z": 5}, 10, 1.0) == {"x": 4, "y": 3, "z": 3}


def test_every_example_of_a_task_is_used_before_any_repeats() -> None:
    tasks = {n: "a" if n < 8 else "b" for n in range(10)}
    drawn = draw_tasks(tasks, 10, 1e9, seed=3)
    counts = Counter(drawn)
    assert Counter(tasks[n] for n in drawn) == {"a": 5, "b": 5}
    assert sorted(counts[n] for n in (8, 9)) == [2, 3]
    assert max(counts[n] for n in range(8)) == 1
    assert draw_tasks(tasks, 10, 1e9, seed=3) == drawn


def test_a_cap_and_weights_of_tasks() -> None:
    # min(900, 100) : 25 = 4 : 1, and with a weight of 4 on the small one 1 : 1
    sizes = {"a": 900, "b": 25}
    assert task_counts(sizes, 50, 1.0, cap=100) == {"a": 40, "b": 10}
    assert task_counts(sizes, 50, 1.0, cap=100, weights={"b": 4}) == {"a": 25, "b": 25}
    # at T = 2 the roots of 100 and 25: 2 : 1
    assert task_counts(sizes, 60, 2.0, cap=100) == {"a": 40, "b": 20}
    assert task_counts(sizes, 60, 1.0, weights={"b": 0}) == {"a": 60, "b": 0}


def test_repeats_bound_a_task_and_the_others_take_what_it_cannot_give() -> None:
    assert task_counts({"a": 90, "b": 10}, 60, 1e9, repeats=1) == {"a": 50, "b": 10}
    assert task_counts({"a": 90, "b": 10}, 60, 1e9, repeats=2) == {"a": 40, "b": 20}
    with pytest.raises(InputError, match="can give 100 examples; 101"):
        task_counts({"a": 90, "b": 10}, 101, 1.0, repeats=1)


HELLO: list[Message] = [
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hello."},
]


def examples(**cells: int) -> list[Example]:
    """``selected_human=3``: three examples of that tier that no machine wrote, and so on."""
    made = []
    for name, count in cells.items():
        tier, kind = name.split("_")
        made += [
            Example(id=f"{name}{i}", messages=HELLO, tier=tier, synthetic=kind == "machine",
                    task="ab"[i % 2])
            for i in range(count)
        ]  # fmt: skip
    return made


def mix(
    examples: list[Example], settings: MixSettings, seed: int, means: flow.Means | None = None
) -> list[Example]:
    """Examples through files, as the command does it."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        tables.write(root / "in.jsonl", examples)
        out, work = root / "out.jsonl", root / "work"
        mixed = mix_parts.mix([root / "in.jsonl"], out, work, settings, seed, means)
        assert not work.exists()
        found = tables.read(out, Example)
    assert mixed.after.cells == Counter((one.tier, one.synthetic) for one in found)
    assert mixed.before.tasks == Counter(one.task for one in examples)
    return found


POOL = {"expert_human": 20, "selected_machine": 60, "bulk_machine": 100, "bulk_human": 100}


def test_a_mix_keeps_tiers_and_synthetic_share_and_weighs_by_quality() -> None:
    settings = MixSettings(count=100, tier_weights={"expert": 2.0})
    mixed = mix(examples(**POOL), settings, seed=0)
    assert len({one.id for one in mixed}) == 100
    assert Counter(one.tier for one in mixed) == {"expert": 5, "selected": 25, "bulk": 70}
    # as it is bulk would give 35: 60 in all; 45 of bulk bring the mix to the lower bound
    assert sum(one.synthetic for one in mixed) == 70
    assert {(one.tier, one.weight) for one in mixed} == {
        ("expert", 2.0), ("selected", 1.0), ("bulk", 1.0),
    }  # fmt: skip
    assert mix(examples(**POOL), settings, seed=0) == mixed
    assert mix(examples(**POOL), settings, seed=1) != mixed


def test_a_mix_does_not_depend_on_the_order_of_the_input() -> None:
    # C-39's rule for all that chooses: the same records, the same choice, in the same order.
    pool = examples(**POOL)
    for settings in (
        MixSettings(count=100),
        MixSettings(tiers={}, synthetic=None, count=300, temperature=2, repeats=2),
    ):
        mixed = mix(pool, settings, seed=0)
        assert mix(pool[::-1], settings, seed=0) == mixed
        assert mix(pool[137:] + pool[:137], settings, seed=0) == mixed
        assert mix(pool, settings, seed=1) != mixed


def test_tasks_are_shared_out_inside_every_tier() -> None:
    settings = MixSettings(count=100, task_weights={"b": 0})
    mixed = mix(examples(**{name: 2 * count for name, count in POOL.items()}), settings, seed=0)
    assert {one.task for one in mixed} == {"a"}
    settings = MixSettings(tiers={}, synthetic=None, count=40, task_weights={"b": 3})
    mixed = mix(examples(bulk_human=100), settings, seed=0)
    assert Counter(one.task for one in mixed) == {"a": 10, "b": 30}


def test_without_shares_of_tiers_they_stay_as_they_are() -> None:
    pool = examples(expert_human=30, bulk_machine=70)
    mixed = mix(pool, MixSettings(tiers={}, count=20), seed=0)
    assert Counter(one.tier for one in mixed) == {"expert": 6, "bulk": 14}
    with pytest.raises(InputError, match="10 synthetic records can be used; a mix of 20 takes 14"):
        mix(examples(expert_human=50, bulk_machine=50), MixSettings(tiers={}, count=20), seed=0)


def test_settings_of_a_mix_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="lower bound first"):
        MixSettings(synthetic=(0.8, 0.7))
    with pytest.raises(ValueError, match="one must be above 0"):
        MixSettings(tiers={"bulk": 0.0})


def test_what_was_drawn_before_is_drawn_still_whatever_the_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The hash is that of the draw when all was done in memory."""
    settings = MixSettings(count=100)
    whole = mix(examples(**POOL), settings, seed=0)
    said = hashlib.sha256(" ".join(one.id for one in whole).encode()).hexdigest()
    assert said[:16] == "eea137b6d64075f0"
    monkeypatch.setattr(mix_parts, "PIECE", 7)
    assert mix(examples(**POOL), settings, 0, flow.Means(part=9)) == whole


def test_a_mix_killed_anywhere_goes_on(kill_everywhere: Any, tmp_path: Path) -> None:
    pool = tmp_path / "pool.jsonl"
    tables.write(pool, examples(bulk_human=6))
    settings = MixSettings(tiers={}, synthetic=None)

    def job(root: Path) -> None:
        if not (root / "out.jsonl").exists():
            means = flow.Means(part=3)
            mix_parts.mix([pool], root / "out.jsonl", root / "work", settings, 0, means)

    job(tmp_path)
    wanted = (tmp_path / "out.jsonl").read_bytes()

    def check(root: Path) -> None:
        job(root)
        assert (root / "out.jsonl").read_bytes() == wanted

    # cut: plan, two parts, manifest; facts: plan, two folders; draw: plan, pieces; the output
    assert kill_everywhere(lambda _root: None, job, check) > 30
