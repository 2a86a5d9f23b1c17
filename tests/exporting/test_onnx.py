"""ONNX graphs against onnxruntime itself, and edge folders in a process without torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from tests.exporting import models
from transformers.exporters import OnnxExporter

from burnish.config import InputError
from burnish.exporting import edge, onnx_file, write
from burnish.exporting.forms import parse
from burnish.exporting.onnx_model import load_onnx
from burnish.exporting.process import RuntimeProcess
from burnish.sampling import LocalSampler, Request, Sampling, generate
from burnish.store import manifest
from burnish.text.templates import encode_prompt

BLOCKED = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "transformers", "burnish"):
            raise ImportError(name + " is not to be imported here")
sys.meta_path.insert(0, Blocker())
"""
QUESTION = "hello an"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> write.Source:
    return models.source("llama", tmp_path_factory.mktemp("onnx"))


@pytest.mark.parametrize(("precision", "off"), [("fp32", 1e-4), ("int8", 0.1), ("int4", 1.0)])
def test_onnxruntime_computes_the_same_function(
    source: write.Source, precision: str, off: float, tmp_path: Path
) -> None:
    write.write(source, parse(f"onnx:{precision}"), tmp_path / "out")
    manifest.verify(tmp_path / "out")
    tokens = [1, *source.encode("hello the an 中文 x 12")]
    with RuntimeProcess("onnx", tmp_path / "out" / "model.onnx", 256, 1) as runtime:
        told = runtime.score(tokens)
        reply = runtime.generate(tokens, 6, [])
        whole = runtime.generate([*tokens, *reply[:3]], 3, [])
    wanted = np.array(models.expected(source.folder, tokens))
    assert np.abs(np.array(told.logprobs) - wanted).mean() < off
    assert whole == reply[3:]  # the cache says what a fresh pass says
    graph = onnx.load(tmp_path / "out" / "model.onnx", load_external_data=False).graph
    kinds = [node.op_type for node in graph.node]
    assert kinds.count("GroupQueryAttention") == 2
    assert kinds.count("MatMulNBits") == (0 if precision == "fp32" else 9)
    bits = [a.i for node in graph.node for a in node.attribute if a.name == "bits"]
    assert bits == {"fp32": [], "int8": [8] * 9, "int4": [4] * 8 + [8]}[precision]
    weights = {one.name for one in graph.initializer}
    assert ("embedding.half" in weights) == (precision != "fp32")


def test_our_decoding_runs_on_a_graph(source: write.Source, tmp_path: Path) -> None:
    """Ragged prompts, rows that end and others that join: token for token as on the model."""
    write.write(source, parse("onnx:fp32"), tmp_path / "out")
    graph = load_onnx(tmp_path / "out")
    texts = ["a", "hello the an", "a", "x 12 中文", "the", "the hello the hello"]
    prompts = [[1, *source.encode(text)] for text in texts]
    chosen = Sampling(temperature=1.0, top_p=0.9, max_new_tokens=12)
    replies = [
        generate(one.model, one.tokenizer, prompts, chosen, seeds=range(6), batch_size=2)
        for one in (source.loaded, graph)
    ]
    assert [reply.tokens for reply in replies[1]] == [reply.tokens for reply in replies[0]]
    for there, here in zip(*replies, strict=True):
        assert there.logprobs == pytest.approx(here.logprobs, abs=1e-4)
    ids = encode_prompt(source.loaded.tokenizer, [{"role": "user", "content": QUESTION}])
    assert encode_prompt(graph.tokenizer, [{"role": "user", "content": QUESTION}]) == ids


def blocked(folder: Path, *words: str, told: str = "") -> str:
    """What ``chat.py`` says where neither torch nor burnish can be imported."""
    place = folder.parent / "blocked"
    place.mkdir(exist_ok=True)
    (place / "sitecustomize.py").write_text(BLOCKED)
    done = subprocess.run(
        [sys.executable, folder / edge.RUNNER, *words], input=told, text=True, check=False,
        capture_output=True, env={**os.environ, "PYTHONPATH": str(place)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("form", ["onnx:fp32", "gguf:f16"])
def test_an_edge_folder_replies_as_burnish_does(
    source: write.Source, form: str, tmp_path: Path
) -> None:
    target = tmp_path / "edge"
    write.write(source, parse(form), target)
    edge.write_edge(parse(form), target)
    manifest.verify(target)
    assert (target / "requirements.txt").read_text().split() == edge.NEEDS[
        parse(form).format
    ].split()
    sampler = LocalSampler(source.loaded.model, source.loaded.tokenizer)
    request = Request([{"role": "user", "content": QUESTION}], 0, "q")
    limit = source.context - 20
    (wanted,) = sampler.complete([request], Sampling(temperature=0.0, max_new_tokens=limit))
    # A random model rambles, so that float16 and another order of sums show after a while.
    assert blocked(target, QUESTION).strip()[:8] == wanted.text.strip()[:8]
    assert len(blocked(target, told=f"{QUESTION}\nthe\n").splitlines()) >= 2


def test_runners_are_short() -> None:
    runners = Path(edge.__file__).parent / "runners"
    lengths = [len(path.read_text().splitlines()) for path in runners.glob("[!_]*.py")]
    assert len(lengths) == 2
    assert max(lengths) <= 66


def test_a_model_that_cannot_be_traced_is_an_input_error(
    source: write.Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise NotImplementedError("no such operator\nand more")

    monkeypatch.setattr(OnnxExporter, "export", refuse)
    with pytest.raises(InputError, match=r"cannot be traced: no such operator$"):
        onnx_file.traced(source.folder)


def test_children_do_not_import_torch(source: write.Source, tmp_path: Path) -> None:
    write.write(source, parse("onnx:int4"), tmp_path / "out")
    code = BLOCKED.replace('"transformers", "burnish"', '"transformers"') + (
        "from burnish.exporting import child, runtimes\n"
        "from pathlib import Path\n"
        f"runtime = runtimes.Onnx(Path({str(tmp_path / 'out' / 'model.onnx')!r}), 64, 1)\n"
        "import json\n"
        "print(json.dumps(child.answered(runtime, 'generate',"
        " {'prompt': [1, 5], 'limit': 3, 'ends': []})))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert len(json.loads(done.stdout)["value"]) == 3
    assert np.isfinite(json.loads(done.stdout)["peak"])
