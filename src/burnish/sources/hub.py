"""Rows of Hugging Face data sets: ``hf://owner/name``, ``hf://owner/name:config#split``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from burnish.config import InputError, Problem
from burnish.store.formats import Row

SCHEME = "hf://"
_REF = re.compile(r"hf://(?P<path>[^:#]+)(?::(?P<config>[^:#]+))?(?:#(?P<split>[^:#]+))?")
_DEFAULT_SPLIT = "train"


@dataclass(frozen=True)
class HubRef:
    """A data set of the hub, or a local folder that ``datasets`` reads; ``split`` "" if not named.

    Example: ``hf://openai/gsm8k:main#test`` has path ``openai/gsm8k``, config ``main``.
    """

    path: str
    config: str | None = None
    split: str = ""

    def __str__(self) -> str:
        config = f":{self.config}" if self.config else ""
        return f"{SCHEME}{self.path}{config}" + (f"#{self.split}" if self.split else "")


def parse(text: str) -> HubRef:
    """Read a reference; raises InputError where it has another form."""
    found = _REF.fullmatch(text)
    if found is None:
        expected = "hf://owner/name, with :config and #split where needed"
        raise InputError(Problem(text, None, "", "no data set's name", expected))
    return HubRef(found["path"], found["config"], found["split"] or "")


def rows(ref: HubRef) -> Iterator[Row]:
    """The rows of one split, streamed; without a split, of ``train`` or of the only one.

    Nothing of the data set is executed: ``datasets`` reads data files only, no loading scripts.

    Raises:
        InputError: there is no such data set, config or split, or the hub cannot be reached.
    """
    for number, value in enumerate(_values(ref)):
        yield Row(value, None, f"[{number}]")


def _values(ref: HubRef) -> Iterator[dict[str, Any]]:
    import datasets

    try:
        splits = datasets.load_dataset(ref.path, ref.config, streaming=True)
        names = list(splits)
        split = ref.split or (_DEFAULT_SPLIT if _DEFAULT_SPLIT in names else names[0])
        if split not in names or not (ref.split or split == _DEFAULT_SPLIT or len(names) == 1):
            expected = f"one of #{', #'.join(names)}"
            raise _refused(
                ref, f"no split {ref.split!r}" if ref.split else "no split named", expected
            )
        yield from splits[split]
    except InputError:
        raise
    except datasets.exceptions.DatasetNotFoundError as error:
        expected = "a name on the hub, or a local folder of data files"
        raise _refused(ref, _line(error), expected) from None
    except (ConnectionError, TimeoutError) as error:
        raise _unreachable(ref, error) from None
    except Exception as error:  # noqa: BLE001 - its builders and network clients raise many kinds
        raise _refused(ref, f"cannot be loaded: {_line(error)}", "a data set that loads") from None


def _unreachable(ref: HubRef, error: Exception) -> InputError:
    expected = "a network, or a local copy: hf://path/to/folder"
    return _refused(ref, f"the hub cannot be reached: {_line(error)}", expected)


def _refused(ref: HubRef, found: str, expected: str) -> InputError:
    return InputError(Problem(str(ref), None, "", found, expected))


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
