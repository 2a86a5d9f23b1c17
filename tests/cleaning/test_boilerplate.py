from __future__ import annotations

import time

import pytest

from burnish.cleaning.boilerplate import (
    BoilerplateSettings,
    SharedLines,
    line_key,
    strip_boilerplate,
)


def shared(*texts: tuple[str, str], **limits: float) -> dict[str, frozenset[int]]:
    counts = SharedLines()
    for source, text in texts:
        counts.add(source, text)
    return counts.of(BoilerplateSettings.model_validate(limits))


def test_lines_are_shared_within_a_source_by_number_and_share() -> None:
    pages = [("a", f"Our shop\n------\nText number {i}") for i in range(4)]
    found = shared(*pages, ("b", "Our shop\nother"), documents=4, share=0.5)
    assert found["a"] == {line_key("our  SHOP")}
    assert found["b"] == frozenset()
    assert shared(*pages, documents=5, share=0.5)["a"] == frozenset()
    few = [*pages, *[("a", f"Something else {i}") for i in range(5)]]
    assert shared(*few, documents=4, share=0.5)["a"] == frozenset()  # 4 of 9


def test_a_line_counts_once_a_document() -> None:
    assert shared(("a", "la\nla\nla"), documents=2, share=0.1)["a"] == frozenset()


def test_a_long_shared_line_is_text() -> None:
    for size, found in ((160, {line_key("x" * 160)}), (161, set())):
        texts = [("a", "x" * size)] * 5
        assert shared(*texts, documents=5, share=1)["a"] == found


def test_shared_lines_go_and_the_text_closes_up() -> None:
    keys = frozenset({line_key("Our shop")})
    text, count = strip_boilerplate("Head\n\nOur Shop\n\nTail", keys)  # type: ignore[arg-type]
    assert (text, count) == ("Head\n\nTail", 1)
    assert strip_boilerplate("Head\n\n\n\nTail", keys) == ("Head\n\n\n\nTail", 0)


@pytest.mark.parametrize(
    "line",
    [
        "This website uses cookies to give you the best experience.",
        "Home | About us | Contact",
        "« Previous   Home   Next »",
        "© 2021 Some Company. All rights reserved.",
        "Privacy Policy | Terms of Use",
        "Please enable JavaScript to view this page.",
        "Skip to main content",
        "Read more...",
        "首页 > 新闻 > 国内",
        "版权所有 © 2020 某某公司",
        "京ICP备12345678号",
        "上一篇：无",
        "责任编辑：王某",
        "分享到：微信 微博",
    ],
)
def test_notices_and_menus_go(line: str) -> None:
    assert strip_boilerplate(f"Text.\n{line}\nMore.") == ("Text.\nMore.", 1)
    assert strip_boilerplate(line, notices=False) == (line, 0)


@pytest.mark.parametrize(
    "line",
    [
        "Cookies are small files that a server stores in the browser; this article explains them.",
        "Previous research has shown that the next step is hard.",
        "cat log | grep error | sort",
        "| Home | About | News |",
        "The terms of use of the word changed over time.",
        "Print the result.",
        "Home is where the heart is, said the blog; the news was about search.",
        "打印机坏了，请打印文件。",
        "来源可靠的消息说，编辑已经登录。",
        "上一篇文章讨论了这个问题" + "，本文继续讨论它的各个方面以及由此得到的结论" * 8,
        "----",
    ],
)
def test_sentences_about_them_stay(line: str) -> None:
    assert strip_boilerplate(f"Text.\n{line}") == (f"Text.\n{line}", 0)


def test_no_line_takes_long() -> None:
    start = time.process_time()
    for line in ("!" * 160, "privacy policy " * 10, "© " * 80, " | ".join("ab" * 30), "隐私" * 80):
        strip_boilerplate(line * 1)
    assert time.process_time() - start < 1
