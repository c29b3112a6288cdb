"""Whatever a model writes is inert: on the page as HTML, in a file as Markdown."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings, strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from llava_chat.web.markdown import literal, safe_markdown
from llava_chat.web.prose import prose

EVIL = "http://evil.test/x.png"
HOSTILE = {
    "inline picture": f"![a chart]({EVIL})",
    "picture with title": f'![a]({EVIL} "t")',
    "picture in a link": f"[![a]({EVIL})]({EVIL})",
    "picture by reference": f"![a][b]\n\n[b]: {EVIL}",
    "picture by collapsed reference": f"![b][]\n\n[b]: {EVIL}",
    "picture by short reference": f"![b]\n\n[b]: {EVIL}",
    "picture across lines": f"![a\nb](\n{EVIL}\n)",
    "picture in a table": f"| a |\n|---|\n| ![a]({EVIL}) |",
    "picture between code spans": f"`a` ![a]({EVIL}) `b`",
    "picture after an escaped backtick": f"\\`![a]({EVIL})\\`",
    "picture behind half a code span": f"`` ![a]({EVIL}) `",
    "picture over two cells": f"| a | b |\n|---|---|\n| ` | <img src={EVIL}> ` |",
    "picture in two paragraphs of backticks": f"`\n\n![a]({EVIL})\n\n`",
    "picture in a list": f"- ![a]({EVIL})\n  1. ![a]({EVIL})",
    "picture in a quote": f"> ![a]({EVIL})",
    "picture behind a fence that ended": f"```\ncode\n```\n![a]({EVIL})",
    "img": f"<img src={EVIL}>",
    "img in prose": f'see <IMG SRC="{EVIL}" onerror=alert(1)> there',
    "img in an HTML block": f"<div>\n\n```\n<img src={EVIL}>\n```\n</div>",
    "img behind a comment": f"<!-- --><img src={EVIL}>",
    "img without an end": f"<img src={EVIL}",
    "svg": f'<svg><image href="{EVIL}"/><script>alert(1)</script></svg>',
    "style": f"<style>body{{background:url({EVIL})}}</style><p style='background:url({EVIL})'>",
    "script": "<script>alert(1)</script>",
    "script in a fence": "```html\n<script>alert(1)</script>\n```",
    "iframe": "<iframe src='http://evil.test'></iframe>",
    "javascript link": "[go](javascript:alert(1))",
    "javascript link in capitals": "[go](JaVaScRiPt:alert(1))",
    "javascript link in entities": "[go](&#106;avascript&colon;alert(1))",
    "javascript link with a tab": "[go](<java\tscript:alert(1)>)",
    "javascript link by reference": "[go][x]\n\n[x]: javascript:alert(1)",
    "javascript autolink": "<javascript:alert(1)>",
    "data link": "[go](data:text/html,<script>alert(1)</script>)",
    "file link": "[go](file:///etc/passwd)",
    "link to this server": "[go](/logout) [go](//evil.test) [go](\\\\evil.test)",
    "mermaid": f"```mermaid\ngraph TD; A[<img src='{EVIL}'>]\n```",
    "mermaid in a list": f"- ~~~ MERMAID\n  A@{{ img: '{EVIL}' }}\n  ~~~",
    "broken KaTeX": "$$\\frac{1}{ \\href{javascript:alert(1)}{x} \\includegraphics{http://evil.test}$$",
    "nested brackets": "![" * 200 + f"]({EVIL})" * 200,
    "nested quotes": ">" * 500 + f"![a]({EVIL})",
    "surrogates and controls": f"\ud800\x00\x1b[31m![a]({EVIL})\udfff",
    "zalgo and right-to-left": "Z\u0351\u036b\u0343a\u0349\u0319l\u034dgo \u202egnp.exe\u202c",
}
LOADING = {"img", "script", "style", "iframe", "object", "embed", "svg", "link", "video", "audio",
           "image", "source", "base", "meta", "form", "input", "button"}  # fmt: skip


class Tags(HTMLParser):
    """What a browser would find in a piece of HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes += [(name, value or "") for name, value in attributes]


def assert_inert(html: str) -> None:
    found = Tags(html)
    assert not found.names & LOADING
    for name, value in found.attributes:
        assert not name.startswith("on") and name not in ("src", "srcset", "style")
        if name == "href":
            assert re.match(r"https?://|mailto:", value), value


def as_somebody_renders(markdown: str) -> str:
    """Another renderer's view: HTML allowed, tables, bare links, no judgement of addresses."""
    parser = MarkdownIt("gfm-like", {"html": True, "linkify": False})
    parser.validateLink = lambda url: True  # type: ignore[method-assign]
    return str(parser.render(markdown))


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_reply_is_inert_on_the_page(text: str) -> None:
    assert_inert(prose(text))


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_reply_is_inert_in_a_file(text: str) -> None:
    safe = safe_markdown(text)
    assert_inert(as_somebody_renders(safe))
    assert not re.search(r"^\W*mermaid", safe, re.IGNORECASE | re.MULTILINE)
    safe.encode()  # no lone surrogate is left


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_every_beginning_of_a_hostile_reply_is_inert(text: str) -> None:
    for end in range(0, min(len(text), 300), 7):
        assert_inert(prose(text[:end]))
        assert_inert(as_somebody_renders(safe_markdown(text[:end])))


pieces = st.sampled_from(
    ["!", "[", "]", "(", ")", "`", "``", "```", "\n", "\n\n", "    ", "- ", "> ", "|", "|-|", "\\",
     "<", ">", "<img src=x>", EVIL, "javascript:x", "[b]: ", "&lt;", "a", "~~~", "*", "<!--", "-->"]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(pieces, max_size=25).map("".join))
def test_any_mixture_of_markup_is_inert(text: str) -> None:
    assert_inert(prose(text))
    assert_inert(as_somebody_renders(safe_markdown(text)))


HARMLESS = (
    "A **large** *red* circle, `a < b`.\n\n"
    "- one\n- two\n  - three\n\n1. first\n\n"
    "| shape | colour |\n|---|---|\n| star | `a < b` |\n\n"
    "```python\nif a < b and ![x](y):\n    print('<b>')\n```\n\n"
    "> quoted\n\n# Title\n\n[page](https://example.org/) ~~no~~ 2 > 1 & more"
)


def test_a_harmless_reply_stays_as_it_was_written() -> None:
    assert safe_markdown(HARMLESS) == HARMLESS


def test_a_harmless_reply_keeps_its_form_on_the_page() -> None:
    names = Tags(prose(HARMLESS)).names
    assert names >= {"strong", "em", "code", "pre", "ul", "ol", "table", "blockquote", "h1", "a"}


TYPED = [
    "<image>",
    "**bold** _it_ snake_case 2 * 3 * 4",
    "# no heading",
    "- no list\n+ none",
    "1. none",
    "2) none",
    "=====",
    "a\n---",
    "    no code",
    "\ttab",
    "`code` ``x``",
    "```\nfence\n```",
    "a & b",
    "[x](http://a.b) ![y](z)",
    "http://a_b_c.test/x*y",
    "www.example.org",
    "me@example.org",
    "~~no~~",
    "| a | b |\n|---|---|",
    "\\* back\\slash",
    "</s> USER: ASSISTANT: ### [INST] <|im_end|>",
    "$$x$$",
    "&lt;b&gt; &amp;",
    "> quote",
    "<script>alert(1)</script>",
    "a\nb\n\nc",
    "שלום *עולם*",
    "*",
    "",
]


@pytest.mark.parametrize("text", TYPED)
def test_a_message_is_shown_as_it_was_typed(text: str) -> None:
    assert shown(literal(text)) == [line.strip() for line in text.split("\n") if line.strip()]


@settings(max_examples=300, deadline=None)
@given(st.lists(pieces, max_size=20).map("".join))
def test_any_message_is_shown_as_it_was_typed(text: str) -> None:
    assert shown(literal(text)) == [line.strip() for line in text.split("\n") if line.strip()]


def shown(markdown: str) -> list[str]:
    """The lines that a renderer shows; anything but paragraphs of text would be markup."""
    tokens = MarkdownIt("gfm-like", {"html": True, "linkify": False, "breaks": True}).parse(
        markdown
    )
    assert {token.type for token in tokens} <= {"paragraph_open", "inline", "paragraph_close"}
    lines: list[str] = []
    for token in tokens:
        if token.type == "inline":
            lines += "".join(_text(child) for child in token.children or []).split("\n")
    return [line.strip() for line in lines if line.strip()]


def _text(token: Token) -> str:
    assert token.type in ("text", "softbreak", "hardbreak", "text_special"), token
    return "\n" if token.type.endswith("break") else token.content
