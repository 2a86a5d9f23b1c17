"""Chat with the model in this folder through llama.cpp: ``python chat.py [QUESTION]``."""

import json
import sys
from pathlib import Path

import xllamacpp

FOLDER = Path(__file__).parent


def load(context: int) -> xllamacpp.Server:
    """The model in this process; nothing is served to others."""
    params = xllamacpp.CommonParams()
    params.model.path = str(FOLDER / "model.gguf")
    params.n_ctx = context
    params.n_parallel = 1
    params.n_gpu_layers = 0
    params.verbosity = 0
    params.ui = False
    return xllamacpp.Server(params)


def reply(server: xllamacpp.Server, messages: list[dict[str, str]]) -> str:
    """The next message, by the chat template inside the file."""
    asked = {"messages": messages, "temperature": 0, "max_tokens": 256, "cache_prompt": False}
    answer = server.handle_chat_completions(asked)
    if "choices" not in answer:
        raise SystemExit(f"llama.cpp: {json.dumps(answer)}")
    return str(answer["choices"][0]["message"]["content"])


def main() -> None:
    """One question from the command line, or a chat line by line."""
    told = json.loads((FOLDER / "burnish.json").read_text(encoding="utf-8"))
    server = load(told["context"])
    if len(sys.argv) > 1:
        print(reply(server, [{"role": "user", "content": " ".join(sys.argv[1:])}]))
        return
    messages: list[dict[str, str]] = []
    for line in sys.stdin:
        messages.append({"role": "user", "content": line.rstrip("\n")})
        messages.append({"role": "assistant", "content": reply(server, messages)})
        print(messages[-1]["content"], flush=True)


if __name__ == "__main__":
    main()
