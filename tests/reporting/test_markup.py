from __future__ import annotations

from burnish.reporting.markup import el, join, raw


def test_text_and_attributes_are_escaped() -> None:
    element = el("a", "<b>&", href='"><script>')
    assert element == '<a href="&quot;&gt;&lt;script&gt;">&lt;b&gt;&amp;</a>'


def test_elements_nest_without_double_escaping() -> None:
    assert el("p", el("b", "1 < 2"), [raw("<i></i>"), None, 3]) == "<p><b>1 &lt; 2</b><i></i>3</p>"


def test_attribute_names_and_numbers() -> None:
    line = el("line", x1=1.0, x2=2.346, stroke_width=2, class_="c", title=None)
    assert line == '<line x1="1" x2="2.35" stroke-width="2" class="c"/>'


def test_formatting_markup_gives_plain_text_that_is_escaped_again() -> None:
    assert join(f"{el('b', 'x')}") == "&lt;b&gt;x&lt;/b&gt;"
