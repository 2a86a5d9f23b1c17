"""Requests routed by what they ask: who answers, and who was named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.serve.conftest import Running, running, saved, served


@pytest.fixture(scope="module")
def routed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Two models behind a router that knows one word."""
    place = tmp_path_factory.mktemp("routed")
    models = [served("small", folder), served("large", saved(place / "two", seed=3))]
    with running(
        models, place, route=lambda text: "large" if "prove" in text else "small"
    ) as there:
        yield there


def arm(reply: object) -> str:
    found: str = reply.headers["x-burnish-arm"]  # type: ignore[attr-defined]
    return found


def test_a_request_goes_where_its_words_send_it(routed: Running) -> None:
    for _ in range(3):  # every time, and whoever asks
        assert arm(routed.chat("prove it", user="ann")) == "large"
        assert arm(routed.chat("hello", user="ann")) == "small"
    turns = [{"role": "user", "content": "prove it"}, {"role": "assistant", "content": "so"},
             {"role": "user", "content": "and?"}]  # fmt: skip
    assert arm(routed.chat("", messages=turns)) == "large"
    assert arm(routed.post("/v1/completions", model="burnish", prompt="to prove")) == "large"
    assert arm(routed.post("/v1/completions", model="burnish", prompt=[5, 6])) == "small"


def test_a_model_that_is_named_answers(routed: Running) -> None:
    assert arm(routed.chat("prove it", model="small")) == "small"
    assert routed.chat("prove it", model="other").status_code == 404


def test_streams_are_routed_too(routed: Running) -> None:
    assert arm(routed.chat("prove it", stream=True)) == "large"
