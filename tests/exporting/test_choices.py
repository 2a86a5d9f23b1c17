"""Multiple choice in runtimes: the options' log-probabilities are the source's."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import pytest
from tests.exporting import models

from burnish.config import InputError
from burnish.evals import choices
from burnish.exporting import write
from burnish.exporting.forms import parse
from burnish.exporting.process import RuntimeProcess
from burnish.records import Message, Prompt
from burnish.stages.exported import RuntimeSampler


def item(name: str, question: str, options: list[str]) -> Prompt:
    verify = {"kind": "choice", "choices": options, "gold": 0}
    messages = [Message(role="user", content=question)]
    return Prompt(id=name, messages=messages, verify=verify)


ITEMS = [
    item("a", "hello an", ["the", "an hello", "中文 x"]),
    item("b", "the", ["hello", "the"]),
]


@pytest.mark.parametrize(("form", "off"), [("gguf:f16", 0.03), ("onnx:fp32", 1e-3)])
def test_options_are_weighed_as_the_source_does(form: str, off: float, tmp_path: Path) -> None:
    source = models.source("llama", tmp_path)
    loaded, parsed = source.loaded, parse(form)
    write.write(source, parsed, tmp_path / "out")
    wanted = choices.measure(loaded.model, loaded.tokenizer, ITEMS)
    file = write.artifact(parsed, tmp_path / "out")
    with RuntimeProcess(parsed.format, file, 256, 1) as runtime:
        sampler = RuntimeSampler(runtime, loaded.tokenizer, source.context)
        found = sampler.weigh(ITEMS)
        with pytest.raises(InputError, match=r"long.*at most 256"):
            sampler.weigh([item("long", "hello " * 300, ["the", "an"])])
    assert [len(options) for options in found] == [3, 2]
    for ours, theirs in zip(chain(*found), chain(*wanted), strict=True):
        assert ours["tokens"] == theirs["tokens"]
        assert ours["logprob"] == pytest.approx(theirs["logprob"], abs=off * ours["tokens"])
        assert ours["alone"] == pytest.approx(theirs["alone"], abs=off * ours["tokens"])


def test_the_last_tokens_alone_are_scored_as_among_all(tmp_path: Path) -> None:
    source = models.source("llama", tmp_path)
    tokens = [1, *source.encode("hello the an 中文")]
    with RuntimeProcess("torch", source.folder, 256, 1) as runtime:
        whole, last = runtime.score(tokens), runtime.score(tokens, len(tokens) - 2)
    assert last.logprobs == whole.logprobs[-2:]
    assert last.ids == whole.ids[-2:]
