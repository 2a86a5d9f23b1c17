from __future__ import annotations

import time

import pytest

from burnish.cleaning.boilerplate import (
    line_key,
    line_keys,
    strip_boilerplate,
)


def test_the_lines_of_a_document_count_once_and_long_ones_are_text() -> None:
    assert line_keys("la\nla\n---\nLA") == {line_key("la")}
    assert line_keys("x" * 160) == {line_key("x" * 160)}
    assert line_keys("x" * 161) == set()


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
