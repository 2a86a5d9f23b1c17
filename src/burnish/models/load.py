"""Loading models by reference, without ever running code that comes with them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from burnish.config import InputError, Problem, is_served
from burnish.models import divided, quantised
from burnish.models.forward import logits
from burnish.models.fused import fuse
from burnish.models.gguf import smollm2_folder
from burnish.models.save import save_model
from burnish.store import manifest
from burnish.text.templates import TEMPLATE_TOKENS, default_template

__all__ = [
    "Loaded", "load_empty", "load_model", "load_tokenizer", "locate", "pick_device", "save_model",
]  # fmt: skip

_LOAD_FAULTS = (
    OSError, ValueError, KeyError, TypeError, RuntimeError, AttributeError, ImportError,
    SafetensorError,
)  # fmt: skip
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class Loaded:
    """A causal language model and its tokenizer.

    ``ref`` is what was asked for; ``path`` the folder it came from, None for a hub id.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    ref: str
    path: Path | None

    @property
    def identity(self) -> str:
        """What says which weights these are: a hash of the folder's content, or the hub id."""
        return self.ref if self.path is None else manifest.content_fingerprint(self.path)


def pick_device(device: str = "auto") -> torch.device:
    """``"auto"`` is CUDA where there is one, else the CPU; anything else as torch names it."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        picked = torch.device(device)
    except RuntimeError as error:
        raise InputError(f"no device is called {device!r}; use auto, cpu or cuda") from error
    if picked.type == "cuda" and not torch.cuda.is_available():
        raise InputError("no CUDA device here; use device: auto or cpu")
    return picked


def pick_dtype(device: torch.device) -> torch.dtype:
    """float32 on the CPU; bfloat16 on CUDA devices that have it."""
    fast = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return torch.bfloat16 if fast else torch.float32


def load_model(
    ref: str | Path,
    device: str = "auto",
    dtype: torch.dtype | None = None,
    template: str | None = None,
    bits: Literal[4] | None = None,
    divide: bool = False,
) -> Loaded:
    """Load a model in eval mode, with every dropout rate set to 0.

    Args:
        ref: ``burnish-tiny`` (shipped), ``smollm2`` (see ``gguf``), a model folder, or a hub id.
        dtype: None for ``pick_dtype``.
        template: name of a fallback chat template, used when the model has none; control tokens it
            needs are added to the vocabulary.
        bits: 4 for linear layers rounded to 4 bits, to be frozen under an adapter.
        divide: of several processes each is to hold and read some rows of the weights, see
            ``divided``. Whole all the same: a model of the hub, one whose tokenizer has more
            tokens than it has embeddings, and one whose weights transformers renames or converts.

    Raises:
        InputError: nothing there, a broken folder, an unknown architecture, weights that are not
            safetensors, a model whose logits burnish cannot reproduce, or no 4-bit weights here.
        CorruptError: the folder differs from its manifest, or the index of a divided one lies.
    """
    place = locate(ref)
    tokenizer = _load_tokenizer(ref, place)
    target = pick_device(device)
    dtype = dtype or pick_dtype(target)
    if bits is not None and (found := quantised.problems(str(target))):
        raise InputError(found)
    try:
        config = AutoConfig.from_pretrained(place, trust_remote_code=False)
        _without_dropout(config)
        if bits is not None and hasattr(config, "quantization_config"):
            raise ValueError("its weights are quantised already")
        fresh = template if tokenizer.chat_template is None else None
        if fresh is not None:
            _use_template(tokenizer, fresh)
        fits = len(tokenizer) <= config.get_text_config().vocab_size
        model = _read(config, place, target, dtype, bits, divide and fits)
    except _LOAD_FAULTS as error:
        raise _cannot(ref, place, error) from error
    if fresh is not None and len(tokenizer) > model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(len(tokenizer))
    quantised.keep_differentiable(model)
    _check_tokenizer(model, tokenizer, str(ref))
    model.eval()
    expected = divided.compute(model, _own_logits)
    fuse(model)
    divided.compute(model, _check_logits, expected, str(ref))
    return Loaded(model, tokenizer, str(ref), place if isinstance(place, Path) else None)


def load_empty(ref: str | Path, dtype: torch.dtype) -> PreTrainedModel:
    """A model's shapes without its weights, on torch's meta device, from its config.json alone.

    Raises:
        InputError: nothing there, or an unknown architecture.
    """
    place = locate(ref)
    try:
        config = AutoConfig.from_pretrained(place, trust_remote_code=False)
        _without_dropout(config)
        model = _outline(config, dtype)
    except _LOAD_FAULTS as error:
        raise _cannot(ref, place, error) from error
    fuse(model)
    return model.eval()


def _outline(config: Any, dtype: torch.dtype) -> PreTrainedModel:
    with torch.device("meta"):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(
            config, dtype=dtype, trust_remote_code=False, **_attention(config)
        )
    return model


def _read(
    config: Any,
    place: Path | str,
    device: torch.device,
    dtype: torch.dtype,
    bits: Literal[4] | None,
    divide: bool,
) -> Any:
    """The model with its weights, divided where it is asked for and can be."""
    plain = bits is None and not hasattr(config, "quantization_config")
    if divide and divided.several() and isinstance(place, Path) and plain:
        model = _outline(config, dtype)
        if divided.loadable(model, place):
            divided.load(model, place, device)
            return model
    return AutoModelForCausalLM.from_pretrained(
        place,
        config=config,
        dtype=dtype,
        trust_remote_code=False,
        use_safetensors=True,
        **_attention(config),
        **(quantised.loading(device, dtype) if bits is not None else {}),
    ).to(device)


def load_tokenizer(ref: str | Path) -> PreTrainedTokenizerBase:
    """Only the tokenizer of a model; errors as in ``load_model``."""
    return _load_tokenizer(ref, locate(ref))


def _load_tokenizer(ref: str | Path, place: Path | str) -> PreTrainedTokenizerBase:
    try:
        return AutoTokenizer.from_pretrained(place, trust_remote_code=False)
    except _LOAD_FAULTS as error:
        raise _cannot(ref, place, error) from error


def locate(ref: str | Path) -> Path | str:
    """The folder of a reference, checked; the text itself for a hub id.

    Raises:
        InputError: neither a model folder nor a name that a hub could know.
    """
    text = str(ref)
    if is_served(text):  # not repeated: an address may hold a secret
        raise InputError("a served model has no weights to load: expected a folder or a name")
    if text == "burnish-tiny":
        return _checked(Path(str(files("burnish") / "assets" / "tiny")))
    if text == "smollm2":
        return smollm2_folder()
    folder = Path(text).expanduser()
    if folder.is_dir():
        return _checked(folder)
    if isinstance(ref, Path) or not _HUB_ID.fullmatch(text) or text.startswith("."):
        expected = "burnish-tiny, smollm2, a model folder or a hub id (owner/name)"
        raise InputError(Problem(text, None, "", "no such model folder", expected))
    return text


def _checked(folder: Path) -> Path:
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(Problem(str(folder), None, "", "not a model: no config.json")) from None
    except (OSError, ValueError) as error:
        raise InputError(Problem(str(path), None, "", f"cannot be read: {error}")) from None
    if not isinstance(config, dict) or not config.get("model_type"):
        raise InputError(Problem(str(path), None, "model_type", "missing"))
    if (folder / manifest.MANIFEST).is_file():
        manifest.verify(folder)
    return folder


def _cannot(ref: str | Path, place: Path | str, error: Exception) -> InputError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if isinstance(place, Path):
        found = f"the model cannot be loaded: {reason}"
    else:
        found = f"no such folder, and the model cannot be fetched from the hub: {reason}"
    expected = "burnish runs no code from model folders and reads only safetensors"
    return InputError(Problem(str(ref), None, "", found, expected))


def _without_dropout(config: Any) -> None:
    """burnish uses no dropout: training, scoring and sampling must see the same function."""
    for part in {
        id(config): config,
        id(config.get_text_config()): config.get_text_config(),
    }.values():
        for name, value in list(vars(part).items()):
            if isinstance(value, float) and ("dropout" in name or name.endswith("_pdrop")):
                setattr(part, name, 0.0)


def _attention(config: Any) -> dict[str, str]:
    """Soft-capped attention scores exist only in transformers' eager attention."""
    capped = getattr(config.get_text_config(), "attn_logit_softcapping", None) is not None
    return {"attn_implementation": "eager"} if capped else {}


def _use_template(tokenizer: PreTrainedTokenizerBase, template: str) -> None:
    tokenizer.chat_template = default_template(template)
    tokens = [t for t in TEMPLATE_TOKENS[template] if t not in tokenizer.get_vocab()]
    if tokens:
        tokenizer.add_special_tokens({"additional_special_tokens": tokens})


def _check_tokenizer(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, ref: str) -> None:
    """Every token that text can become must have an embedding.

    Added tokens may have none: some models carry tokens of a sibling that sees pictures.
    """
    rows = model.get_input_embeddings().num_embeddings
    if tokenizer.vocab_size > rows:
        found = f"the tokenizer has {tokenizer.vocab_size} tokens, the model {rows} embeddings"
        raise InputError(Problem(ref, None, "tokenizer", found, "the model's own tokenizer"))


@torch.no_grad()
def _own_logits(model: PreTrainedModel) -> torch.Tensor:
    """What transformers itself says of a few tokens, ``[1, 4, V]``."""
    expected: torch.Tensor = model(input_ids=_probe(model), use_cache=False).logits.float()
    return expected


@torch.no_grad()
def _check_logits(model: PreTrainedModel, expected: torch.Tensor, ref: str) -> None:
    """Compare ``forward.logits`` of the fused model with what was expected of the probe, once."""
    output = model.base_model(input_ids=_probe(model), use_cache=False)
    own = logits(model, output.last_hidden_state)
    tolerance = 0.02 * expected.abs().max().item()
    if own.shape != expected.shape or (own - expected).abs().max().item() > tolerance:
        kind = model.config.model_type
        raise InputError(
            Problem(ref, None, "model_type", f"found {kind!r}", "a model with plain scaled logits")
        )


def _probe(model: PreTrainedModel) -> torch.Tensor:
    vocabulary = model.config.get_text_config().vocab_size
    return torch.arange(1, 5, device=model.device)[None].remainder(vocabulary)
