"""Personal data and secrets of a fixed form: found, checked, replaced by what they are.

Numbers with a check digit are replaced only where it is right, addresses only where they are public
ones. Names of persons and postal addresses have no fixed form and are not found.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date
from typing import Literal, get_args

from burnish.config import Settings
from burnish.config.optional import needed
from burnish.records import Language

Kind = Literal[
    "private_key", "aws_key", "token", "email", "iban", "resident_id", "credit_card", "ip", "phone"
]
KINDS: tuple[Kind, ...] = get_args(Kind)
Span = tuple[int, int]

_PRIVATE_KEY = re.compile(
    r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----[^<>]{1,20000}?"
    r"-----END (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----"
)
_AWS_KEY = re.compile(
    r"(?<![A-Za-z0-9])(?:AKIA|ASIA)[A-Z2-7]{16}(?![A-Za-z0-9])"
    r"|(?i:\baws_?secret_?(?:access_?)?key\b)[\"']?\s*[=:]\s*[\"']?(?P<secret>[A-Za-z0-9/+]{40})(?![A-Za-z0-9/+])"
)
_TOKEN = re.compile(
    r"(?<![A-Za-z0-9_-])(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{22,255}"
    r"|glpat-[A-Za-z0-9_-]{20,64}|xox[abeoprs]-[A-Za-z0-9-]{10,255}|AIza[A-Za-z0-9_-]{35}"
    r"|sk-(?=[A-Za-z_-]*\d)[A-Za-z0-9_-]{32,255}|[sr]k_live_[A-Za-z0-9]{16,255}|hf_[A-Za-z0-9]{34}"
    r"|npm_[A-Za-z0-9]{36}|eyJ[A-Za-z0-9_-]{10,2000}\.eyJ[A-Za-z0-9_-]{10,2000}\.[A-Za-z0-9_-]{10,2000})"
    r"(?![A-Za-z0-9_-])"
)
_EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![A-Za-z0-9-])"
)
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}")
# How long an IBAN is in each country, as its registry says (ISO 13616).
_REGISTRY = """
AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DK18 DO28 EE20 EG29
ES24 FI18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20
LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MR27 MT31 MU30 NL18 NO15 PK24 PL28 PS29 PT25
QA29 RO24 RS22 SA24 SC31 SE24 SI19 SK24 SM27 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20
"""
_IBAN_LENGTHS = {item[:2]: int(item[2:]) for item in _REGISTRY.split()}
_RESIDENT_ID = re.compile(r"(?<![A-Za-z0-9])[1-9]\d{16}[\dXx](?![A-Za-z0-9])")
_CARD = re.compile(r"(?<![A-Za-z0-9.,/-])\d(?:[ -]?\d){12,18}(?![A-Za-z0-9]|[.,/-]\d)")
# Issuers by first digits, and how many digits their numbers have (ISO/IEC 7812).
_ISSUERS = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|(?:5[1-5]|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12,14}"
    r"|3[47]\d{13}|(?:6011|65\d\d|35(?:2[89]|[3-8]\d))\d{12}|3(?:0[0-5]|[68]\d)\d{11}|62\d{14,17}"
)
_IPV4 = re.compile(
    r"(?<![A-Za-z0-9_.-])(?<!\bversion )(?<!版本 )(?<!版本)"
    r"(?:\d{1,3}\.){3}\d{1,3}(?![A-Za-z0-9_-]|\.\d)",
    re.I,
)
_IPV6 = re.compile(
    r"(?<![A-Za-z0-9_:.])[0-9A-Fa-f]{1,4}(?::{1,2}[0-9A-Fa-f]{1,4}){2,7}(?:::)?(?![A-Za-z0-9_:])"
)
_MOBILE_CN = re.compile(r"1[3-9]\d{9}")
_DIGITS = re.compile(r"(?:\d\D{0,3}){7}")


class PiiSettings(Settings):
    """Which ``kinds`` are replaced, by ``<EMAIL>`` and so on. Phone numbers without a country code
    are read as those of the ``regions`` of a document's language (ISO 3166 codes)."""

    kinds: list[Kind] = list(KINDS)
    regions: dict[Language, list[str]] = {"en": ["US", "GB"], "zh": ["CN"]}


def scrub(
    text: str, lang: Language = "en", settings: PiiSettings | None = None
) -> tuple[str, Counter[str]]:
    """The text with placeholders, and how many of each kind were replaced.

    Raises:
        InputError: ``phone`` is asked for and phonenumbers is not installed.
    """
    settings = settings or PiiSettings()
    counts: Counter[str] = Counter()
    for kind in KINDS:  # in this order: a card's digits are no phone number
        if kind not in settings.kinds:
            continue
        if kind == "phone":
            spans = list(_phones(text, settings.regions.get(lang, [])))
        else:
            spans = list(_FINDERS[kind](text))
        for start, end in reversed(spans):
            text = f"{text[:start]}<{kind.upper()}>{text[end:]}"
        counts[kind] += len(spans)
    return text, +counts


def luhn(digits: str) -> bool:
    """Whether the last digit checks the others (ISO/IEC 7812-1, annex B)."""
    total = 0
    for place, digit in enumerate(map(int, reversed(digits))):
        total += digit if place % 2 == 0 else sum(divmod(2 * digit, 10))
    return total % 10 == 0


def iban_valid(code: str) -> bool:
    """Length of its country, and remainder 1 of 97 with the first four moved last (ISO 13616)."""
    if len(code) != _IBAN_LENGTHS.get(code[:2]):
        return False
    return int("".join(str(int(c, 36)) for c in code[4:] + code[:4])) % 97 == 1


def resident_id_valid(code: str) -> bool:
    """A date of birth that can be, and the check character of GB 11643 (ISO 7064, MOD 11-2)."""
    try:
        born = date(int(code[6:10]), int(code[10:12]), int(code[12:14]))
    except ValueError:
        return False
    total = sum(int(digit) * pow(2, 17 - place, 11) for place, digit in enumerate(code[:17]))
    right = "10X98765432"[total % 11]
    return 1880 <= born.year <= 2099 and code[17].upper() == right


def _plain(pattern: re.Pattern[str]) -> Callable[[str], Iterator[Span]]:
    return lambda text: (match.span() for match in pattern.finditer(text))


def _aws_keys(text: str) -> Iterator[Span]:
    return (match.span("secret" if match["secret"] else 0) for match in _AWS_KEY.finditer(text))


def _ibans(text: str) -> Iterator[Span]:
    for match in _IBAN.finditer(text):
        length = _IBAN_LENGTHS.get(match[0][:2], 0)
        # What follows may look like more of it: the country says where it ends.
        places = [i for i, character in enumerate(match[0]) if character != " "][:length]
        if places and iban_valid("".join(match[0][i] for i in places)):
            end = match.start() + places[-1] + 1
            if not text[end : end + 1].isalnum():
                yield match.start(), end


def _resident_ids(text: str) -> Iterator[Span]:
    return (m.span() for m in _RESIDENT_ID.finditer(text) if resident_id_valid(m[0]))


def _cards(text: str) -> Iterator[Span]:
    for match in _CARD.finditer(text):
        digits = re.sub(r"\D", "", match[0])
        if _ISSUERS.fullmatch(digits) and luhn(digits) and len(set(digits)) > 1:
            yield match.span()


def _ips(text: str) -> Iterator[Span]:
    for pattern in (_IPV4, _IPV6):
        for match in pattern.finditer(text):
            try:
                address = ipaddress.ip_address(match[0])
            except ValueError:
                continue
            if address.is_global and not address.is_multicast:
                yield match.span()


def _phones(text: str, regions: list[str]) -> Iterator[Span]:
    if not _DIGITS.search(text):
        return
    needed("data", "phonenumbers", at="pii.kinds")
    import phonenumbers

    at = end = 0
    for line in text.splitlines(keepends=True):
        if _DIGITS.search(line):
            found = sorted(
                (match.start, match.end)
                for region in regions or (None,)
                for match in phonenumbers.PhoneNumberMatcher(line, region)
                # Bare digits could be any number, but for the mobile ones of China.
                if not match.raw_string.isdigit() or _MOBILE_CN.fullmatch(match.raw_string)
            )
            for start, stop in found:
                if at + start >= end:
                    end = at + stop
                    yield at + start, end
        at += len(line)


_FINDERS: dict[Kind, Callable[[str], Iterator[Span]]] = {
    "private_key": _plain(_PRIVATE_KEY),
    "aws_key": _aws_keys,
    "token": _plain(_TOKEN),
    "email": _plain(_EMAIL),
    "iban": _ibans,
    "resident_id": _resident_ids,
    "credit_card": _cards,
    "ip": _ips,
}
