"""Chat with the model in this folder through onnxruntime: ``python chat.py [QUESTION]``."""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

FOLDER = Path(__file__).parent
TOLD = json.loads((FOLDER / "burnish.json").read_text(encoding="utf-8"))
TOKENIZER = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
SESSION = onnxruntime.InferenceSession(FOLDER / "model.onnx", providers=["CPUExecutionProvider"])
TEMPLATE = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(
    (FOLDER / "chat_template.jinja").read_text(encoding="utf-8")
)


def reply(messages: list[dict[str, str]]) -> str:
    """The next message, greedily."""
    names = {name: TOLD[name] for name in ("bos_token", "eos_token")}
    text = TEMPLATE.render(messages=messages, add_generation_prompt=True, **names)
    step = TOKENIZER.encode(text, add_special_tokens=False).ids
    inputs = {one.name: one.shape for one in SESSION.get_inputs()}
    caches = [name for name in inputs if name.startswith("past_key_values")]
    shape = [int(size) if str(size).isdigit() else 0 for size in inputs[caches[0]]]
    cache = [np.zeros(shape, np.float32)] * len(caches)
    tokens: list[int] = []
    seen = 0
    while seen + len(step) < TOLD["context"]:
        seen += len(step)
        feed = dict(zip(caches, cache, strict=True)) | {
            "input_ids": np.array([step]),
            "position_ids": np.arange(seen - len(step), seen)[None],
            "attention_mask": np.ones((1, seen), np.int64),
        }
        logits, *cache = SESSION.run(None, {n: v for n, v in feed.items() if n in inputs})
        step = [int(logits[0, -1].argmax())]
        if step[0] in TOLD["ends"]:
            break
        tokens += step
    return str(TOKENIZER.decode(tokens))


def main() -> None:
    """One question from the command line, or a chat line by line."""
    if len(sys.argv) > 1:
        print(reply([{"role": "user", "content": " ".join(sys.argv[1:])}]))
        return
    messages: list[dict[str, str]] = []
    for line in sys.stdin:
        messages.append({"role": "user", "content": line.rstrip("\n")})
        messages.append({"role": "assistant", "content": reply(messages)})
        print(messages[-1]["content"], flush=True)


if __name__ == "__main__":
    main()
