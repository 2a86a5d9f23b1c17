from __future__ import annotations

import json
from pathlib import Path

import pytest

from burnish.config import InputError
from burnish.sources.encodings import encoding_of, open_utf8, repaired

ZH = "人工智能是计算机科学的一个分支，它企图了解智能的实质。"
TW = "人工智慧是電腦科學的一個分支，它企圖瞭解智慧的實質。"
FR = "Le café est fermé : « revenez demain », dit l’écriteau."
KO = "그 사람은 매일 아침 일찍 일어나 신문을 읽고 커피를 마신 다음 회사에 간다."
JA = "こんにちは、世界。これは日本語の文章です。"
RU = "Искусственный интеллект выполняет творческие функции."
TOLD = [
    (ZH, "gb18030", "gb18030"),
    ("你好", "gb18030", "gb18030"),
    ("姓名,城市\n张伟,北京\n李娜,上海\n", "gb18030", "gb18030"),
    ("The word 谢谢 means thanks, 你好 means hello.", "gb18030", "gb18030"),
    (TW, "big5", "big5hkscs"),
    ("床前明月光，疑是地上霜。舉頭望明月，低頭思故鄉。", "big5", "big5hkscs"),
    (FR, "cp1252", "cp1252"),
    ("He said “yes” — it’s fine.", "cp1252", "cp1252"),
    (json.dumps({"text": ZH}, ensure_ascii=False), "utf-16", "utf-16"),
    (json.dumps({"text": ZH}, ensure_ascii=False), "utf-16-le", "utf-16-le"),
    ('{"text": "plain"}', "utf-16-be", "utf-16-be"),
    (ZH, "utf-8-sig", "utf-8-sig"),
    (ZH, "utf-8", "utf-8"),
    (FR, "utf-8", "utf-8"),
    ("", "utf-8", "utf-8"),
]


@pytest.mark.parametrize(("text", "written", "told"), TOLD)
def test_encodings_that_are_told(tmp_path: Path, text: str, written: str, told: str) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(text.encode(written))
    assert encoding_of(path) == told
    with open_utf8(path, told) as file:
        assert file.read().decode("utf-8-sig") == text


@pytest.mark.parametrize(
    ("text", "written"),
    [
        (KO, "euc_kr"),
        (JA, "shift_jis"),
        (JA, "euc_jp"),
        (RU, "cp1251"),
        (RU, "koi8-r"),
        ("Да, да.", "cp1251"),  # "Äà, äà." in cp1252, letters that single would be fine
        ("常", "gb18030"),  # 都 in Big5, as frequent
    ],
)
def test_others_are_refused_by_name(tmp_path: Path, text: str, written: str) -> None:
    """Korean in EUC-KR is valid GB18030, character by character; it must not be taken for it."""
    (tmp_path / "x.txt").write_bytes(text.encode(written))
    with pytest.raises(InputError, match=r"cannot be told.*tried utf-8, utf-16, gb18030, big5hk"):
        encoding_of(tmp_path / "x.txt")


def test_the_decisive_bytes_may_come_late(tmp_path: Path) -> None:
    """A mebibyte and more of ASCII first, and a two-byte character across the chunks' border."""
    for lead in (2**20 + 2**16 - 1, 2**20 + 2**16, 3 * 2**20):
        path = tmp_path / "x.txt"
        path.write_bytes(b"a" * (lead - 1) + b"\n" + ZH.encode("gb18030"))
        assert encoding_of(path) == "gb18030"
        path.write_bytes(b"a" * (lead - 1) + b"\n" + ZH.encode())
        assert encoding_of(path) == "utf-8"


def test_long_text_is_recoded_across_chunks(tmp_path: Path) -> None:
    text = "好a" * (2**20) + "\n"
    (tmp_path / "x.txt").write_bytes(text.encode("gb18030"))
    with open_utf8(tmp_path / "x.txt", "gb18030") as file:
        assert file.read().decode() == text


def test_utf8_with_a_few_bad_bytes_stays_utf8(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(ZH.encode() + b"\xff\n" + ZH.encode()[:-1])
    assert encoding_of(path) == "utf-8"


def test_bytes_that_are_no_text_are_none_in_utf8_either(tmp_path: Path) -> None:
    """So that only their own row is lost; half a character at the end of UTF-16 is one such."""
    path = tmp_path / "x.txt"
    path.write_bytes("one\n".encode("utf-16-le") + b"\x42")
    with open_utf8(path, "utf-16-le") as file:
        assert file.read() == b"one\n\xff"
    path.write_bytes((ZH + "\n").encode("gb18030") * 9 + b"\xff\n")
    assert encoding_of(path) == "gb18030"
    with open_utf8(path, "gb18030") as file:
        assert file.read() == (ZH + "\n").encode() * 9 + b"\xff\n"


def test_binary_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_bytes(bytes(range(256)) * 8 + b"\0" * 99)
    with pytest.raises(InputError, match="holds NUL bytes"):
        encoding_of(tmp_path / "x.txt")


@pytest.mark.parametrize(("declared", "told"), [("gb2312", "gb18030"), ("ISO-8859-1", "cp1252")])
def test_a_page_says_its_encoding(tmp_path: Path, declared: str, told: str) -> None:
    """ "Pokorný" in Latin-1 alone would not be told; a page that is not what it says is refused."""
    text = {"gb18030": "饕餮", "cp1252": "Pokorný"}[told]
    page = f'<html><head><meta charset="{declared}"></head><p>{text}'
    (tmp_path / "x.html").write_bytes(page.encode(told))
    assert encoding_of(tmp_path / "x.html") == told
    (tmp_path / "x.txt").write_bytes("Pokorný".encode("cp1252"))
    with pytest.raises(InputError):
        encoding_of(tmp_path / "x.txt")


@pytest.mark.parametrize("wrong", ["latin-1", "cp1252"])
@pytest.mark.parametrize("text", ["你好，世界。人工智能", "Été à la plage", "“quoted” it’s"])
def test_mojibake_is_repaired(text: str, wrong: str) -> None:
    data = text.encode()
    garbled = "".join(
        bytes([byte]).decode("latin-1" if byte in b"\x81\x8d\x8f\x90\x9d" else wrong)
        for byte in data
    )
    assert garbled != text
    assert repaired(garbled) == text


@pytest.mark.parametrize("text", [ZH, TW, FR, KO, JA, RU, "plain", "A—B × 5 µm ≈ ½ £3 ©2020 Ã"])
def test_good_text_is_left_alone(text: str) -> None:
    assert repaired(text) == text
