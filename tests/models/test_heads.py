from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests import tiny

from burnish.config import InputError
from burnish.models.forward import hidden
from burnish.models.heads import ScalarHead, score_segments, token_values
from burnish.text.batches import Segment, pack

EOS = 2


def row(tokens: list[int]) -> Segment:
    return Segment(tokens, [False] * len(tokens))


@pytest.mark.parametrize("pad", [0, EOS])
@pytest.mark.parametrize(
    "tokens", [[1, 70, EOS], [1, EOS, 70, EOS], [1, 70, 71], [1, 70, EOS, EOS]],
    ids=["ends in eos", "eos inside the prompt", "cut off", "two eos"],
)  # fmt: skip
def test_the_score_is_taken_at_the_last_token(pad: int, tokens: list[int]) -> None:
    """C-13: whatever pad is, wherever eos stands, and whatever lies beside it in the batch."""
    model = tiny.model(pad_token_id=pad)
    head = ScalarHead(32, std=1.0)
    expected = head(model.model(torch.tensor([tokens])).last_hidden_state)[0, -1, 0]
    for order in ([0, 1, 2], [1, 0, 2], [2, 1, 0]):
        rows = [row(tokens), row([1, 90, 91, 92, 93, EOS]), row([1, 5])]
        scores = score_segments(model, head, pack([rows[i] for i in order]))
        assert scores.shape == (3,)
        torch.testing.assert_close(scores[order.index(0)], expected, atol=1e-5, rtol=0)


def test_values_stand_at_the_position_that_predicts() -> None:
    model, head = tiny.model(), ScalarHead(32, std=1.0)
    batch = pack([Segment([1, 70, 71], [False, True, True]), Segment([1, 80], [False, True])])
    states = hidden(model, batch)
    expected = head(states[torch.tensor([0, 1, 3])]).squeeze(1)
    torch.testing.assert_close(token_values(states, head, batch), expected)


def test_a_fresh_head_scores_zero_and_several_outputs_are_columns() -> None:
    model = tiny.model()
    batch = pack([row([1, 2]), row([3])])
    assert score_segments(model, ScalarHead(32), batch).tolist() == [0.0, 0.0]
    assert score_segments(model, ScalarHead(32, ["help", "harm"]), batch).shape == (2, 2)


def test_likelihood_adds_the_mean_logprob_of_the_targets() -> None:
    """SimPO eq. 4 beside the head; a segment without a target owes nothing to it."""
    model, head = tiny.model(), ScalarHead(32, std=1.0)
    rows = [Segment([1, 70, 71, 72], [False, False, True, True]), Segment([1, 80], [False, False])]
    batch = pack(rows)
    plain = score_segments(model, head, batch)
    head.likelihood = 2.0
    logprobs = model(torch.tensor([[1, 70, 71, 72]])).logits[0].log_softmax(-1)
    mean = (logprobs[1, 71] + logprobs[2, 72]) / 2
    expected = plain + torch.stack([2.0 * mean, torch.zeros(())])
    torch.testing.assert_close(score_segments(model, head, batch), expected, atol=1e-4, rtol=0)


def test_a_head_survives_its_folder(tmp_path: Path) -> None:
    head = ScalarHead(32, ["help", "harm"], std=1.0, likelihood=0.5)
    head.save(tmp_path)
    again = ScalarHead.load(tmp_path)
    assert (again.names, again.likelihood) == (head.names, 0.5)
    assert torch.equal(again.linear.weight, head.linear.weight)
    (tmp_path / "head.safetensors").write_bytes(b"broken")
    with pytest.raises(InputError, match="cannot be loaded"):
        ScalarHead.load(tmp_path)
    with pytest.raises(InputError, match="no scalar head"):
        ScalarHead.load(tmp_path / "missing")
