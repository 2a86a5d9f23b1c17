from __future__ import annotations

import time
from collections import Counter

import pytest

from burnish.cleaning.pii import PiiSettings, iban_valid, luhn, resident_id_valid, scrub
from burnish.records import Language

PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIBOgIBAAJBAK\nabc=\n-----END RSA PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("text", "lang", "clean"),
    [
        ("Ask a.b+c@mail.example.org.", "en", "Ask <EMAIL>."),
        ("请联系zhang@example.cn谢谢", "zh", "请联系<EMAIL>谢谢"),
        ("Call (212) 736-5000 now", "en", "Call <PHONE> now"),
        ("Call +44 20 7946 0958", "en", "Call <PHONE>"),
        ("电话13812345678，或010-62345678。", "zh", "电话<PHONE>，或<PHONE>。"),
        ("Server 8.8.8.8:53", "en", "Server <IP>:53"),
        ("服务器8.8.8.8上", "zh", "服务器<IP>上"),
        ("at 2001:4860:4860::8888.", "en", "at <IP>."),
        ("card 4111 1111 1111 1111", "en", "card <CREDIT_CARD>"),
        ("card 378282246310005!", "en", "card <CREDIT_CARD>!"),
        ("to GB82 WEST 1234 5698 7654 32 IS", "en", "to <IBAN> IS"),
        ("身份证11010519491231002X。", "zh", "身份证<RESIDENT_ID>。"),
        ("id = AKIAIOSFODNN7EXAMPLE", "en", "id = <AWS_KEY>"),
        (f"aws_secret_access_key = {'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY'}", "en",
         "aws_secret_access_key = <AWS_KEY>"),
        (f"use ghp_{'a1B2' * 9} here", "en", "use <TOKEN> here"),
        (f"key:\n{PEM}\nend", "en", "key:\n<PRIVATE_KEY>\nend"),
    ],
)  # fmt: skip
def test_personal_data_becomes_what_it_is(text: str, lang: Language, clean: str) -> None:
    found, counts = scrub(text, lang)
    assert found == clean
    assert sum(counts.values()) == clean.count("<")
    assert scrub(found, lang) == (found, Counter())


@pytest.mark.parametrize(
    "text",
    [
        "card 4111 1111 1111 1112",
        "IBAN GB82 WEST 1234 5698 7654 33",
        "身份证110105194912310021，日期110105194913310024",
        "ISBN 978-0-19-853453-2, from 1990-2000 and 2021-03-04 12:30:45",
        "hosts 192.168.0.1, 127.0.0.1, 224.0.0.251 and 999.8.8.8",
        "version 4.10.2.1, 版本 8.8.8.8, part 1.2.3.4.5",
        "std::vector a::b 00:1a:2b:3c:4d:5e",
        "order 2127365000, pi 3.14159265358979",
        "@handle, a @ b, x@localhost",
        "sk-learn-compatible-estimators-are-a-thing-to-know-about",
        "-----BEGIN PUBLIC KEY----- x -----END PUBLIC KEY-----",
        "订单号20231234567890，金额1234567.00元，QQ 123456789",
    ],
)
def test_what_only_looks_like_it_stays(text: str) -> None:
    for lang in ("en", "zh"):
        assert scrub(text, lang) == (text, Counter())  # type: ignore[arg-type]


def test_kinds_and_regions_can_be_chosen() -> None:
    text = "a@b.org 212-736-5000"
    assert scrub(text, "en", PiiSettings(kinds=["email"]))[0] == "<EMAIL> 212-736-5000"
    assert scrub(text, "en", PiiSettings(regions={}))[0] == "<EMAIL> 212-736-5000"
    foreign = "tel +49 30 901820, 030 901820"
    none = PiiSettings(regions={})
    assert scrub(foreign, "en", none)[0] == "tel <PHONE>, 030 901820"
    assert scrub(foreign, "en", PiiSettings(regions={"en": ["DE"]}))[1] == {"phone": 2}


def test_check_digits() -> None:
    """Luhn: 7992739871 takes 3 (ISO/IEC 7812's usual example); GB 11643's own example."""
    assert [d for d in range(10) if luhn(f"7992739871{d}")] == [3]
    assert iban_valid("DE89370400440532013000")
    assert not iban_valid("DE98370400440532013000")  # two digits changed places
    assert not iban_valid("DE8937040044053201300")
    assert not iban_valid("QQ89370400440532013000")
    assert resident_id_valid("11010519491231002X")
    assert not resident_id_valid("110105194912310021")
    assert not resident_id_valid("11010519490231002X")  # 31 February


def test_no_text_takes_long() -> None:
    start = time.process_time()
    for piece in (
        "a@",
        "a.",
        "1 ",
        "1.",
        "A1 ",
        "f:",
        "-----BEGIN PRIVATE KEY-----\n",
        "eyJ.",
        "DE89",
    ):
        scrub(piece * (20_000 // len(piece)), "en", PiiSettings(kinds=[
            "private_key", "aws_key", "token", "email", "iban", "resident_id", "credit_card", "ip"
        ]))  # fmt: skip
    assert time.process_time() - start < 5
