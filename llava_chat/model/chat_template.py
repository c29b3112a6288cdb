r"""A conversation template as Jinja, so that transformers and other servers write the same prompt.

`llava_chat.conversation` stays the one that this project uses; tests hold the two together.
Imports `templates` only.
"""

from __future__ import annotations

import json

from llava_chat.templates import PICTURE, Template

# How a message's words are found: content is text, or a list of parts as transformers has them.
_TEXT_OF = """\
{%- macro text_of(message) -%}
{%- if message['content'] is string -%}{{ message['content'] }}
{%- else -%}
{%- for part in message['content'] if part['type'] == 'text' -%}{{ part['text'] }}{%- endfor -%}
{%- endif -%}
{%- endmacro -%}
"""


def jinja_chat_template(template: Template) -> str:
    """The chat_template.jinja of a template.

    It begins with the BOS token where the model was trained with one, because servers tokenise a
    rendered conversation without adding any.
    """
    bos = "{{- bos_token -}}" if template.bos and not template.open else ""
    system = _system(template)
    before, inside = ("", system) if template.system_inside else (system, "")
    return "".join(
        [
            _TEXT_OF,
            "{%- set own_system = messages[0]['role'] == 'system' -%}\n",
            "{%- set turns = messages[1:] if own_system else messages -%}\n",
            bos + _says(template.open) + before,
            "{%- for message in turns -%}\n",
            "{%- if message['role'] == 'user' -%}\n",
            f"{{%- if not loop.first -%}}{_says(template.again)}{{%- endif -%}}\n",
            _says(template.user_open),
            f"{{%- if loop.first -%}}{inside}{{%- endif -%}}\n" if inside else "",
            _pictures(template),
            _words(template) if template.user_text else "",
            _says(template.user_close),
            "{%- else -%}\n",
            _says(template.assistant_open) + _words(template),
            _says(template.end) + _says(template.assistant_close),
            "{%- endif -%}\n{%- endfor -%}\n",
            f"{{%- if add_generation_prompt -%}}{_says(template.cue)}{{%- endif -%}}\n",
        ]
    )


def _says(text: str) -> str:
    return f"{{{{- {json.dumps(text)} -}}}}\n" if text else ""


def _words(template: Template) -> str:
    return "{{- text_of(message)%s -}}\n" % (" | trim" if template.trim else "")


def _system(template: Template) -> str:
    if not template.user_text:
        return ""
    trim = " | trim" if template.trim else ""
    own = json.dumps(template.system)
    return (
        f"{{%- set system = text_of(messages[0]){trim} if own_system else {own} -%}}\n"
        "{%- if system -%}\n"
        f"{_says(template.system_open)}{{{{- system -}}}}\n{_says(template.system_close)}"
        "{%- endif -%}\n"
    )


def _pictures(template: Template) -> str:
    close = _says(template.picture_close)
    if template.trim:
        close = f"{{%- if not loop.last or text_of(message) | trim -%}}\n{close}{{%- endif -%}}\n"
    counted = (
        "{%- set seen = namespace(pictures=0) -%}\n"
        "{%- if message['content'] is not string -%}\n"
        "{%- for part in message['content'] if part['type'] == 'image' -%}\n"
        "{%- set seen.pictures = seen.pictures + 1 -%}\n"
        f"{_says(template.picture_open + PICTURE)}{close}"
        "{%- endfor -%}\n{%- endif -%}\n"
    )
    if not template.acknowledged:
        return counted
    exchange = (
        f"{template.user_close}{template.assistant_open}{template.acknowledged}"
        f"{template.end}{template.user_open}"
    )
    return f"{counted}{{%- if seen.pictures -%}}{_says(exchange)}{{%- endif -%}}\n"
