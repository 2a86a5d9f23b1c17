"""A model as lm-evaluation-harness sees one, on burnish's own scoring and sampling."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch

from burnish.models.forward import hidden, in_pieces, logits, segment_sums, token_logprobs
from burnish.models.load import Loaded
from burnish.sampling.cache import context_length
from burnish.sampling.generate import generate
from burnish.sampling.settings import Sampling
from burnish.text.batches import Segment, batches
from burnish.text.templates import leading

MOST_TOKENS = 256
"""Of a reply where the task does not say."""
TOKENS_PER_BATCH = 4096
LONGEST = 4096
"""Of a context, where the model's own length is longer or unknown."""


def harness_model(loaded: Loaded, seed: int = 0) -> Any:
    """An ``lm_eval.api.model.LM``; lm-eval must be installed, and is imported only here."""
    from lm_eval.api.model import TemplateLM

    return type("HarnessModel", (Scoring, TemplateLM), {})(loaded, seed)


class Scoring:
    """What lm-eval's ``TemplateLM`` leaves open: ids of a text, log-probabilities, replies."""

    def __init__(self, loaded: Loaded, seed: int = 0) -> None:
        super().__init__()
        self.model, self.tokenizer, self.name = loaded.model, loaded.tokenizer, loaded.identity
        self.max_length = min(context_length(loaded.model), LONGEST)
        self._leading = leading(loaded.tokenizer)
        self._seed = seed

    @property
    def eot_token_id(self) -> int:
        """What stands before a text without a context, as in lm-eval: bos, else eos."""
        first = self.tokenizer.bos_token_id
        return int(self.tokenizer.eos_token_id if first is None else first)

    @property
    def tokenizer_name(self) -> str:
        """Identifies the chat template in lm-eval's own cache of requests."""
        return self.name.replace("/", "__")

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """The conversation as text, by the model's own template."""
        text: str = self.tokenizer.apply_chat_template(
            chat_history, tokenize=False, add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt,
        )  # fmt: skip
        return text

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **_: Any
    ) -> list[int]:
        """Ids of a text, with what the tokenizer puts before any unless it is there already."""
        tokens = list(self.tokenizer(string, add_special_tokens=False)["input_ids"])
        begun = tokens[: len(self._leading)] == self._leading
        if add_special_tokens is False or (add_special_tokens is None and begun):
            return tokens
        return [*self._leading, *tokens]

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[tuple[str, str], list[int], list[int]]], **_: Any
    ) -> list[tuple[float, bool]]:
        return self._weighed([(context, tail) for _, context, tail in requests])

    @torch.no_grad()
    def _weighed(self, pairs: Sequence[tuple[list[int], list[int]]]) -> list[tuple[float, bool]]:
        """Each continuation's log-probability (nats), and whether each token is the likeliest.

        A context that leaves no room is cut at its beginning.
        """
        segments = []
        for context, tail in pairs:
            tokens = [*context, *tail][-self.max_length :]
            given = max(1, len(tokens) - len(tail))
            segments.append(Segment(tokens, [at >= given for at in range(len(tokens))]))
        found = [(0.0, True)] * len(segments)
        for chosen, batch in batches(segments, TOKENS_PER_BATCH, self.model.device):
            states = hidden(self.model, batch)
            rows = states.index_select(0, batch.predictors())
            best = torch.cat(in_pieces(self._likeliest, self.model, rows))
            missed = (best != batch.tokens[batch.target_index()]).float()
            sums = segment_sums(token_logprobs(self.model, batch, states=states).logprobs, batch)
            wrong = segment_sums(missed, batch).tolist()
            for at, total, errors in zip(chosen, sums.tolist(), wrong, strict=True):
                found[at] = (float(total), errors == 0)
        return found

    def _likeliest(self, states: torch.Tensor) -> torch.Tensor:
        return logits(self.model, states).argmax(1)

    def loglikelihood_rolling(self, requests: Sequence[Any], **_: Any) -> list[float]:
        """The log-probability of whole texts, each token with as much context as fits."""
        from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

        pairs, owners = [], []
        for place, request in enumerate(requests):
            windows = get_rolling_token_windows(
                token_list=self.tok_encode(request.args[0], add_special_tokens=False),
                prefix_token=self.eot_token_id,
                max_seq_len=self.max_length - 1,
                context_len=1,
            )
            for window in map(make_disjoint_window, windows):
                pairs.append(window)
                owners.append(place)
        totals = [0.0] * len(requests)
        for owner, (total, _greedy) in zip(owners, self._weighed(pairs), strict=True):
            totals[owner] += total
        return totals

    def generate_until(self, requests: Sequence[Any], **_: Any) -> list[str]:
        """Replies up to the first of the task's stop strings, greedy where it says no other."""
        alike: dict[str, list[int]] = defaultdict(list)
        drawn = [_sampling(request.args[1]) for request in requests]
        for place, sampling in enumerate(drawn):
            alike[sampling.model_dump_json()].append(place)
        replies = [""] * len(requests)
        for places in alike.values():
            sampling = drawn[places[0]]
            room = self.max_length - sampling.max_new_tokens
            prompts = [self.tok_encode(requests[at].args[0])[-max(1, room) :] for at in places]
            made = generate(
                self.model, self.tokenizer, prompts, sampling,
                seeds=[self._seed + at for at in places],
            )  # fmt: skip
            for at, completion in zip(places, made, strict=True):
                replies[at] = completion.text
        return replies


def _sampling(given: dict[str, Any]) -> Sampling:
    """lm-eval's ``generation_kwargs``; without ``do_sample`` the likeliest token is taken."""
    stop = given.get("until") or []
    stop = [stop] if isinstance(stop, str) else stop
    sampled = bool(given.get("do_sample", False))
    length = next((given[key] for key in _LENGTHS if given.get(key)), MOST_TOKENS)
    return Sampling(
        temperature=float(given.get("temperature", 1.0)) if sampled else 0.0,
        top_p=float(given.get("top_p", 1.0)) if sampled else 1.0,
        max_new_tokens=int(length),
        stop=[text for text in stop if text],
    )


_LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens")
