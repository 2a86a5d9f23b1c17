from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from tests import tiny

from burnish.sampling import Completion, Sampling, generate
from burnish.sampling.stopping import Endings, find_stop

TOKENIZER = tiny.tokenizer()
ENDS = frozenset({2})


def ids(text: str) -> list[int]:
    return list(TOKENIZER(text, add_special_tokens=False)["input_ids"])


def ended_after(tokens: list[int], *stop: str) -> int | None:
    """How many tokens it takes until the reply ends."""
    endings = Endings(TOKENIZER, ENDS, stop)
    counts = range(1, len(tokens) + 1)
    return next((count for count in counts if endings.ended(tokens[:count])), None)


def test_find_stop_takes_the_earliest() -> None:
    assert find_stop("one, two. three", [".", ", "]) == 3
    assert find_stop("one", ["."]) is None
    assert find_stop("one", []) is None
    assert find_stop("stop", ["top", "stop"]) == 0


def test_stop_strings_over_several_tokens() -> None:
    assert len(ids("hell")) == 1  # merges: he, ll, hell
    # "a", "hell", "o": the last token of the stop string brings more than the stop string.
    assert ended_after(ids("ahello"), "ahe") == 2
    assert ended_after(ids("ahello"), "lo") == 3
    assert ended_after(ids("one\nUser: two"), "\nUser:") == len(ids("one\nUser:"))
    assert ended_after(ids("one\nUse: two"), "\nUser:") is None
    assert ended_after([*ids("ab"), 2, *ids("c")], "bc") == 3  # the end token came first


def test_control_tokens_within_are_not_text() -> None:
    # <|user|> (3) and ids above the vocabulary (a padded head) have none: "ab" still appears.
    silent = [3, 3, 3, 999, 3]
    assert ended_after([*ids("a"), *silent, *ids("b")], "ab") == 7
    assert ended_after([*ids("a"), *silent], "a<|user|>") is None


def test_chinese_characters_split_over_tokens() -> None:
    tokens = ids("你好。再见")
    assert len(tokens) == 15  # three byte tokens a character
    assert ended_after(tokens, "。") == 9
    assert ended_after(tokens, "好。") == 9
    assert ended_after(tokens, "再") == 12
    # 、 is E3 80 81 and 。 E3 80 82: two of three bytes are equal.
    assert ended_after(ids("你、好。"), "。") == 12
    assert ended_after(ids("你、好"), "。") is None
    # Long before the stop string, and half a character directly before it.
    assert ended_after(ids("再见" * 50 + "。"), "。") == 303
    assert ended_after([*ids("好")[:2], *ids("。")], "。") == 5


def test_empty_stop_strings_are_refused() -> None:
    with pytest.raises(ValidationError):
        Sampling(stop=[""])
    assert Sampling(stop=("a",)).stop == ["a"]


def chinese() -> Any:
    """A model that draws the bytes of 好 and 。, a space and "he" most of the time."""
    model = tiny.model(tie_word_embeddings=False)
    head = torch.nn.Linear(32, model.config.vocab_size)
    with torch.no_grad():
        head.weight.copy_(model.lm_head.weight / 4)
        head.bias.zero_()
        head.bias[ids("好。 he")] = 8.0
    model.lm_head = head
    return model


def sample(asked: list[list[int]], seeds: list[int], size: int = 128, **changes: Any) -> Any:
    settings = Sampling(**({"max_new_tokens": 60} | changes))
    return generate(chinese(), TOKENIZER, asked, settings, seeds=seeds, batch_size=size)


def cut(reply: Completion, stop: list[str]) -> tuple[list[int], str, str]:
    """What a reply sampled without stop strings becomes with them, by trying every length."""
    for count in range(1, len(reply.tokens) + 1):
        text = TOKENIZER.decode(reply.tokens[:count], skip_special_tokens=True)
        if any(one in text for one in stop):
            return (
                reply.tokens[:count],
                text[: min(text.find(s) for s in stop if s in text)],
                "stop",
            )
    return reply.tokens, reply.text, reply.finish


@pytest.mark.parametrize("stop", [["。"], ["好 ", "hehe"], [" he", "。。"]], ids=str)
def test_replies_end_where_the_text_says(stop: list[str]) -> None:
    asked, seeds = [[7 + i % 5] * (1 + i % 9) for i in range(40)], list(range(40))
    free = sample(asked, seeds)
    wanted = [cut(reply, stop) for reply in free]
    stopped = sample(asked, seeds, stop=stop)
    assert sum(finish == "stop" for _, _, finish in wanted) > 4
    assert len({len(tokens) for tokens, _, _ in wanted}) > 4
    # A uniform number may fall within rounding of an edge between two tokens.
    for replies in (stopped, sample(asked, seeds, size=7, stop=stop)):
        found = [(reply.tokens, reply.text, reply.finish) for reply in replies]
        assert sum(a == b for a, b in zip(found, wanted, strict=True)) >= 39
    for reply, before in zip(stopped, free, strict=True):
        assert len(reply.logprobs) == len(reply.tokens)
        if reply.tokens == before.tokens[: len(reply.tokens)]:
            assert reply.logprobs == pytest.approx(before.logprobs[: len(reply.tokens)], abs=1e-4)
