"""The benchmark of experts: nothing held out is trained on; what its numbers are made of."""

from __future__ import annotations

import numpy as np
from benchmarks.experts import ARMS, KINDS, divided, joined, stages, texts
from benchmarks.selection import averaged

from burnish.evals.perplexity import DocumentLosses


def test_both_kinds_have_as_many_documents_and_none_is_on_both_sides() -> None:
    found = texts()
    assert set(found) == set(KINDS)
    assert len({len(documents) for documents in found.values()}) == 1
    for documents in found.values():
        train, heldout = divided(documents)
        assert len(heldout) >= 50
        assert not {d.id for d in train} & {d.id for d in heldout}
        assert len({d.id for d in documents}) == len(documents)
    assert [d.id for d in texts()["code"]] == [d.id for d in found["code"]]


def test_every_arm_is_made() -> None:
    made = stages(dict.fromkeys(KINDS, "x.jsonl"))
    assert set(ARMS) - {"base"} == set(made)
    assert made["routed"]["model"] == made["routed_all"]["model"] == "@begun"


def test_losses_are_averaged_over_seeds_and_joined_over_kinds() -> None:
    one = DocumentLosses(np.array([2.0, 4.0]), np.array([1.0, 2.0]))
    two = DocumentLosses(np.array([4.0, 4.0]), np.array([1.0, 2.0]))
    assert averaged([one, two]).nats.tolist() == [3, 4]
    both = joined([one, two])
    assert both.nats.tolist() == [2, 4, 4, 4]
    assert both.tokens.tolist() == [1, 2, 1, 2]
