"""Counting what an upload brings while it comes in: every part of a multipart body is told of.

It is read by the parser that Gradio reads it with, so that both see the same parts in whatever
somebody sends. Imports nothing of this project.
"""

from __future__ import annotations

from collections.abc import Callable

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header


class PartCounter:
    """Calls `told` at the beginning of each part. content_type: the header of the body.

    Where the body is none, there is nothing to count: Gradio stops at the same place and refuses
    it.

    >>> count = []
    >>> counter = PartCounter("multipart/form-data; boundary=x", lambda: count.append(1))
    >>> counter.read(b"--x\\r\\nA: b\\r\\n\\r\\nwords\\r\\n--x\\r\\n\\r\\n\\r\\n--x--")
    >>> len(count)
    2
    """

    def __init__(self, content_type: str, told: Callable[[], None]) -> None:
        boundary = parse_options_header(content_type)[1].get(b"boundary")
        self._parser = MultipartParser(boundary, {"on_part_begin": told}) if boundary else None

    def read(self, piece: bytes) -> None:
        """The next bytes. Raises what `told` raises."""
        if self._parser is None:
            return
        try:
            self._parser.write(piece)
        except MultipartParseError:
            self._parser = None
