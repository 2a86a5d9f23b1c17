from __future__ import annotations

import time

import pytest
from tests import tiny

from burnish.config import InputError
from burnish.text.sandbox import render, vet
from burnish.text.templates import encode

MESSAGES = [{"role": "user", "content": "a"}]

ESCAPES = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ lipsum.__globals__['os'].system('id') }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ messages.append(1) }}",
    "{{ '{0.__class__.__base__}'.format(messages) }}",
    "{% set n = namespace() %}{% set n.__class__ = 1 %}",
    "{% set n = namespace(__init__=1) %}",
]

BOMBS = [
    "{{ 'a' * 10**8 }}",
    "{{ 10**10**8 }}",
    "{{ [0] * 10**9 }}",
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "{% for a in range(99999) %}{{ 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaa' }}{% endfor %}",
    "{% set n = namespace(s='a') %}{% for i in range(60) %}{% set n.s = n.s ~ n.s %}{% endfor %}"
    "{{ n.s | length }}",
    "{{ 'a' | center(9999999999) }}",
    "{{ '%9999999999d' | format(1) }}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
]


@pytest.mark.parametrize("template", ESCAPES)
def test_a_template_that_reaches_out_is_refused(template: str) -> None:
    """S-04: a sandbox violation is an input error that names the template."""
    with pytest.raises(InputError, match="chat template is refused"):
        encode(tiny.tokenizer(template), MESSAGES)


@pytest.mark.parametrize("path", ["messages.__class__", "raise_exception.__globals__"])
def test_private_attributes_are_seen_as_nothing(path: str) -> None:
    """S-04: reading one without using it yields no text."""
    assert render("[{{ " + path + " }}]", MESSAGES, {}) == "[]"


@pytest.mark.parametrize("template", BOMBS)
def test_a_template_that_eats_time_or_memory_is_refused(template: str) -> None:
    """S-05: refused in the child process, within seconds."""
    start = time.monotonic()
    with pytest.raises(InputError, match="chat template is refused"):
        encode(tiny.tokenizer(template), MESSAGES)
    assert time.monotonic() - start < 15


@pytest.mark.parametrize("template", ["{% for %}", "{{ 'a", "{% endif %}"])
def test_a_template_that_is_no_jinja_is_refused(template: str) -> None:
    with pytest.raises(InputError, match="TemplateSyntaxError"):
        encode(tiny.tokenizer(template), MESSAGES)


def test_a_bomb_hidden_from_the_trial_is_bounded_in_process() -> None:
    """S-05: what only certain messages set off still meets the limits on size."""
    template = "{% if messages[0].content == 'go' %}{{ 'a' * 10**8 }}{% endif %}<|user|>"
    assert vet(template, ()) is None
    with pytest.raises(InputError, match="repetition too long"):
        encode(tiny.tokenizer(template), [{"role": "user", "content": "go"}])


def test_ordinary_helpers_work() -> None:
    template = (
        "{%- set n = namespace(c=0) -%}{%- for m in messages -%}{%- set n.c = n.c + 1 -%}"
        "{%- if n.c > 1 %}{% break %}{% endif -%}{{ m | tojson }}{{ 2 ** 3 }}{{ '-' * 3 }}"
        "{%- endfor -%}{{ strftime_now('%Y') | length }}"
    )
    assert render(template, MESSAGES * 2, {}) == '{"role": "user", "content": "a"}8---4'
    assert vet(template, ()) is None
