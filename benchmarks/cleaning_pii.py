"""Made-up personal data of the right form, and numbers that only look like some."""

from __future__ import annotations

import random
from collections.abc import Callable

from burnish.cleaning.pii import iban_valid, luhn, resident_id_valid
from burnish.records import Language

Texts = dict[tuple[Language, str], list[str]]
Make = Callable[[random.Random], str]
EN = ("Write to {} before Friday.", "My details ({}) are on file.", "It says: {}", "{} is the one.")
ZH = ("请在周五之前联系{}。", "我的资料（{}）已登记。", "上面写着：{}", "就是{}这个。")
BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
ALNUM = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def digits(source: random.Random, count: int) -> str:
    """Random digits, the first not 0."""
    return str(source.randrange(10 ** (count - 1), 10**count))


def some(source: random.Random, alphabet: str, count: int) -> str:
    """Random characters."""
    return "".join(source.choices(alphabet, k=count))


def checked(make: Callable[[], str], valid: Callable[[str], bool], wanted: bool) -> str:
    """The first value made whose check is right (or wrong)."""
    while valid(value := make()) != wanted:
        pass
    return value


def email(source: random.Random) -> str:
    """``li.wei7@mail.example.org``"""
    name = source.choice(["li.wei", "j_smith", "maria+news", "zhang-san", "o.brien", "kim"])
    host = source.choice(["example.org", "mail.example.co.uk", "firma.example", "univ.edu.cn"])
    return f"{name}{source.randrange(99)}@{host}"


def phone_us(source: random.Random) -> str:
    """A number of the United States in a usual notation."""
    area = source.choice(["212", "415", "617", "303", "206"])
    rest = f"{source.randrange(200, 999)}", f"{source.randrange(10000):04d}"
    form = source.choice(["({}) {}-{}", "{}-{}-{}", "+1 {} {} {}", "{}.{}.{}"])
    return form.format(area, *rest)


def phone_cn(source: random.Random) -> str:
    """A mobile or fixed number of China."""
    mobile = source.choice(["138", "139", "150", "186", "177"]) + f"{source.randrange(10**8):08d}"
    spaced = f"{mobile[:3]} {mobile[3:7]} {mobile[7:]}"
    fixed = f"010-6{source.randrange(10**7):07d}"
    return source.choice([mobile, f"+86 {mobile}", spaced, fixed])


def card(source: random.Random, right: bool = True) -> str:
    """A card number with the right (or a wrong) check digit."""
    number = checked(lambda: "4" + digits(source, 15), luhn, right)
    return source.choice([number, " ".join(number[i : i + 4] for i in range(0, 16, 4))])


def iban(source: random.Random, right: bool = True) -> str:
    """A German account number."""
    number = checked(lambda: "DE" + digits(source, 20), iban_valid, right)
    return source.choice([number, " ".join(number[i : i + 4] for i in range(0, 22, 4))])


def resident_id(source: random.Random, right: bool = True) -> str:
    """An identity number of the People's Republic of China."""

    def make() -> str:
        born = f"{source.randrange(1950, 2010)}{source.randrange(1, 13):02d}"
        tail = f"{source.randrange(1, 29):02d}{source.randrange(1000):03d}"
        return f"110105{born}{tail}{source.choice('0123456789X')}"

    return checked(make, resident_id_valid, right)


def ip(source: random.Random) -> str:
    """A public address."""
    first = source.choice([8, 23, 52, 104, 151, 185])
    return f"{first}.{source.randrange(256)}.{source.randrange(256)}.{source.randrange(1, 255)}"


def aws_key(source: random.Random) -> str:
    """An access key id."""
    return "AKIA" + some(source, BASE32, 16)


def token(source: random.Random) -> str:
    """A token of a service whose tokens have a known beginning."""
    kinds = {"ghp_": 36, "hf_": 34, "npm_": 36, "AIza": 35, "sk_live_": 24}
    start = source.choice(sorted(kinds))
    return start + some(source, ALNUM, kinds[start])


PLANTED: dict[Language, dict[str, Make]] = {
    "en": {"email": email, "phone": phone_us, "credit_card": card, "iban": iban, "ip": ip,
           "aws_key": aws_key, "token": token},
    "zh": {"email": email, "phone": phone_cn, "credit_card": card, "resident_id": resident_id,
           "ip": ip},
}  # fmt: skip
LOOKALIKES: dict[Language, dict[str, Make]] = {
    "en": {
        "card number, wrong check digit": lambda s: card(s, False),
        "IBAN, wrong check digits": lambda s: iban(s, False),
        "ISBN": lambda s: f"ISBN 978-0-{digits(s, 2)}-{digits(s, 6)}-{s.randrange(10)}",
        "years and dates": lambda s: (
            f"{s.randrange(1900, 2020)}-{s.randrange(1900, 2020)}, "
            f"{s.randrange(1990, 2025)}-{s.randrange(10, 13)}-{s.randrange(10, 29)} 12:30:45"
        ),
        "version": lambda s: f"version {s.randrange(9)}.{s.randrange(20)}.{s.randrange(99)}.1",
        "private address": lambda s: f"192.168.{s.randrange(256)}.{s.randrange(1, 255)}",
        "decimal": lambda s: f"{digits(s, 3)}.{digits(s, 9)}",
        "order number, 10 digits": lambda s: f"order {digits(s, 10)}",
        "grouped number": lambda s: f"{s.randrange(1, 999)},{digits(s, 3)},{digits(s, 3)}",
        "commit": lambda s: some(s, "0123456789abcdef", 40),
    },
    "zh": {
        "resident id, wrong check": lambda s: resident_id(s, False),
        "日期": lambda s: (
            f"{s.randrange(1950, 2025)}年{s.randrange(1, 13)}月{s.randrange(1, 29)}日"
        ),
        "订单号, 14 digits": lambda s: f"订单号2023{digits(s, 10)}",
        "金额": lambda s: f"{digits(s, 7)}.{digits(s, 2)}元",
        "QQ, 9 digits": lambda s: f"QQ {digits(s, 9)}",
    },
}


def planted_and_lookalikes(source: random.Random, count: int) -> tuple[Texts, Texts]:
    """``count`` sentences for each kind, with one item in each."""
    both: list[Texts] = []
    for makers in (PLANTED, LOOKALIKES):
        texts: Texts = {}
        for lang, kinds in makers.items():
            frames = EN if lang == "en" else ZH
            for kind, make in kinds.items():
                texts[lang, kind] = [
                    source.choice(frames).format(make(source)) for _ in range(count)
                ]
        both.append(texts)
    return both[0], both[1]
