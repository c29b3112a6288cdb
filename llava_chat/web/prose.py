"""A reply's Markdown as HTML that is safe to show, whatever the model wrote.

Two gates, one behind the other: markdown-it-py renders CommonMark with tables and leaves HTML as
the text it is, then nh3 lets through only the tags named here. No picture is ever loaded: `![](…)`
becomes its own description, because a picture on another host tells that host who reads what.
Unfinished Markdown renders as CommonMark says (a half-open code block is one to its end), so a
reply that is still being written does not flicker. Imports web.markdown.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

from llava_chat.web.markdown import printable

_TAGS = frozenset(
    {"a", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li"}
    | {"ol", "p", "pre", "s", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul"}
)
_ATTRIBUTES = {"a": {"href", "title"}, "ol": {"start"}}
_SCHEMES = {"http", "https", "mailto"}
# A reply is at most 4096 tokens; what is far longer than that is no reply of a model here.
MAX_RENDERED_CHARACTERS = 200_000


def prose(text: str) -> str:
    """HTML of a reply: no HTML of its own, no pictures, links to http, https and mailto only.

    >>> prose("A **red** circle")
    '<p>A <strong>red</strong> circle</p>\\n'
    >>> prose("<img src=http://evil.test/x.png>")
    '<p>&lt;img src=http://evil.test/x.png&gt;</p>\\n'
    >>> prose("![a chart](http://evil.test/x.png)")
    '<p>a chart</p>\\n'
    >>> prose("[go](javascript:alert(1))")
    '<p>[go](javascript:alert(1))</p>\\n'
    """
    html = _parser().render(printable(text[:MAX_RENDERED_CHARACTERS]))
    return nh3.clean(
        html,
        tags=set(_TAGS),
        attributes={tag: set(names) for tag, names in _ATTRIBUTES.items()},
        url_schemes=set(_SCHEMES),
        url_relative="deny",  # a link to this server could act for whoever clicks it
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"a": {"target": "_blank"}},
    )


@cache
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "breaks": True})
    parser.enable(["table", "strikethrough"])
    parser.add_render_rule("image", _description)
    parser.render("")  # compiles its rules, which two first threads would do at once
    return parser


def _description(
    renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType
) -> str:
    """What a picture's author wrote in place of it."""
    return renderer.renderInlineAsText(tokens[index].children or [], options, env)
