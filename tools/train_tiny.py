"""Train burnish-tiny: a byte-level BPE tokenizer, then a small Llama base model.

The model reads plain text only: no instruction, no question-answer format, no chat token. The
learning rate falls to zero with the planned steps or with the time limit, whichever comes first,
so the last checkpoint is always annealed.

Example:
    python tools/train_tiny.py --corpus corpus --out src/burnish/assets/tiny --steps 9000
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

VOCABULARY = 4096
SPECIAL = ("<|pad|>", "<|bos|>", "<|eos|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
PAD, BOS, EOS, END = 0, 1, 2, 6
ROW = 256
ROLE_SCALE = 0.5
CHINESE_WEIGHT = 2  # how often Chinese text is counted when the vocabulary is made
WORDS = (
    r"'(?:s|t|re|ve|m|ll|d)|\p{Lu}\p{L}*| ?(?=\P{Lu})\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
)
CHAT_TEMPLATE = (
    "{{- bos_token -}}"
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'assistant' -%}"
    "{{- '<|assistant|>' -}}{% generation %}{{- message['content'] + '<|end|>' -}}"
    "{% endgeneration %}"
    "{%- else -%}"
    "{{- '<|' + message['role'] + '|>' + message['content'] + '<|end|>' -}}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)


def read_texts(path: Path) -> list[dict[str, str]]:
    """Read the documents of one part of the corpus."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def train_tokenizer(documents: list[dict[str, str]]) -> PreTrainedTokenizerFast:
    """Learn the vocabulary.

    Digits stand alone, and a capitalised word never carries the space before it, so that a name
    has the same tokens at the start of a reply, after a space and inside quotes.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = (
        d["text"] for d in documents for _ in range(CHINESE_WEIGHT if d["lang"] == "zh" else 1)
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|bos|>",
        eos_token="<|end|>",
        pad_token="<|pad|>",
        additional_special_tokens=["<|eos|>", "<|system|>", "<|user|>", "<|assistant|>"],
        chat_template=CHAT_TEMPLATE,
        model_max_length=512,
        clean_up_tokenization_spaces=False,
        padding_side="left",
    )


def encode(tokenizer: PreTrainedTokenizerFast, documents: list[dict[str, str]]) -> np.ndarray:
    """Encode documents as one stream, each between its begin and end tokens."""
    texts = [d["text"] for d in documents]
    batches = tokenizer.backend_tokenizer.encode_batch(texts, add_special_tokens=False)
    parts = [np.array([BOS, *b.ids, EOS], dtype=np.int64) for b in batches]
    return np.concatenate(parts)


def build_model(width: int, layers: int, hidden: int, heads: int) -> LlamaForCausalLM:
    """Make the untrained model."""
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        num_hidden_layers=layers,
        intermediate_size=hidden,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=512,
        rope_theta=10000.0,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        initializer_range=0.03,
        pad_token_id=PAD,
        bos_token_id=BOS,
        eos_token_id=END,
    )
    return LlamaForCausalLM(config)


def optimizer_of(model: LlamaForCausalLM, rate: float) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices only."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.95), fused=True)


def rate_at(done: float, peak: float) -> float:
    """Warm up over 2 %, hold, then fall linearly to zero over the last 60 % of the run."""
    if done < 0.02:
        return peak * (done + 1e-4) / 0.02
    return peak * min(1.0, max(0.0, (1.0 - done) / 0.6))


def batches(tokens: np.ndarray, rows: int, seed: int) -> Any:
    """Yield batches of rows for ever: each pass cuts the stream at a new offset and shuffles."""
    rng = np.random.default_rng(seed)
    while True:
        offset = int(rng.integers(0, ROW))
        count = (len(tokens) - offset) // ROW
        table = tokens[offset : offset + count * ROW].reshape(count, ROW)
        order = rng.permutation(count)
        for start in range(0, count - rows + 1, rows):
            yield torch.from_numpy(table[order[start : start + rows]])


def loss_of(model: LlamaForCausalLM, rows: torch.Tensor) -> torch.Tensor:
    """Next-token cross-entropy of whole rows."""
    logits = model(input_ids=rows, use_cache=False).logits
    return torch.nn.functional.cross_entropy(
        logits[:, :-1].reshape(-1, VOCABULARY), rows[:, 1:].reshape(-1)
    )


@torch.no_grad()
def perplexity(model: LlamaForCausalLM, tokens: np.ndarray) -> float:
    """Perplexity of a held-out stream, read in rows."""
    model.eval()
    table = torch.from_numpy(tokens[: len(tokens) // ROW * ROW].reshape(-1, ROW))
    losses = [
        loss_of(model, table[i : i + 16]).item() * len(table[i : i + 16])
        for i in range(0, len(table), 16)
    ]
    model.train()
    return math.exp(sum(losses) / len(table))


def seat_role_tokens(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """Give the role tokens, which no text contains, a place near the marks they stand for.

    A role token's vector is half the vector of the newline, or of the colon before a reply. Its
    direction is then familiar to the first layer, while as an output it stays less likely than the
    mark itself; the first fine-tuning steps need not be spent on finding it a place.
    """
    vectors = model.get_input_embeddings().weight.data
    newline, colon = (tokenizer.encode(mark, add_special_tokens=False)[0] for mark in ("\n", ":"))
    for name in ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>"):
        mark = colon if name == "<|assistant|>" else newline
        vectors[tokenizer.convert_tokens_to_ids(name)] = ROLE_SCALE * vectors[mark]


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Write a complete model folder beside the old one and swap; other files are carried over."""
    model = copy.deepcopy(model)
    seat_role_tokens(model, tokenizer)
    fresh = out.with_name(out.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    model.save_pretrained(fresh)
    tokenizer.save_pretrained(fresh)
    generation = GenerationConfig(
        bos_token_id=BOS, eos_token_id=[END, EOS], pad_token_id=PAD, max_new_tokens=32
    )
    generation.save_pretrained(fresh)
    old = out.with_name(out.name + ".old")
    if out.exists():
        for name in ("README.md", "LICENSES.md"):
            if (out / name).exists():
                shutil.copy2(out / name, fresh / name)
        shutil.rmtree(old, ignore_errors=True)
        os.rename(out, old)
    os.rename(fresh, out)
    shutil.rmtree(old, ignore_errors=True)


def train(options: argparse.Namespace) -> None:
    """Run the whole training and keep the model folder current."""
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    documents = read_texts(options.corpus / "train.jsonl")
    heldout = read_texts(options.corpus / "heldout.jsonl")
    tokenizer = train_tokenizer(documents)
    tokens = encode(tokenizer, documents)
    tests = {
        lang: encode(tokenizer, [d for d in heldout if d["lang"] == lang]) for lang in ("en", "zh")
    }
    model = build_model(options.width, options.layers, options.hidden, options.heads)
    optimizer = optimizer_of(model, options.rate)
    size = sum(p.numel() for p in model.parameters())
    print(
        f"parameters {size:,} train tokens {len(tokens):,} held-out "
        f"{ {k: len(v) for k, v in tests.items()} }",
        flush=True,
    )
    started = saved = time.time()
    stream = batches(tokens, options.rows, options.seed)
    step, done = 0, 0.0
    while done < 1.0:
        rate = rate_at(done, options.rate)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = loss_of(model, next(stream))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        elapsed = time.time() - started
        done = max(step / options.steps, elapsed / (60 * options.max_minutes))
        if step % 50 == 0:
            speed = step * options.rows * ROW / elapsed
            print(
                f"step {step} done {done:.3f} loss {loss.item():.3f} rate {rate:.2e} "
                f"{speed:,.0f} tokens/s {elapsed:.0f}s",
                flush=True,
            )
        if time.time() - saved > 60 * options.save_minutes or done >= 1.0:
            report = {lang: round(perplexity(model, t), 2) for lang, t in tests.items()}
            save(model, tokenizer, options.out)
            saved = time.time()
            print(
                f"saved at step {step}, {step * options.rows * ROW:,} tokens, "
                f"held-out perplexity {report}",
                flush=True,
            )


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--corpus", type=Path, required=True, help="folder of build_tiny_corpus.py")
    parser.add_argument("--out", type=Path, required=True, help="model folder to write")
    parser.add_argument("--steps", type=int, default=9000)
    parser.add_argument("--max-minutes", type=float, default=60.0)
    parser.add_argument("--save-minutes", type=float, default=8.0)
    parser.add_argument("--rows", type=int, default=16, help=f"rows of {ROW} tokens a step")
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--hidden", type=int, default=384)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
