"""What the work takes in tokens and money: estimated before, counted while it runs.

Imports nothing of this project.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

# Words of up to six letters are mostly one token, and so are up to three digits and each mark.
_PIECE = re.compile(r"[^\W\d_]{1,6}|\d{1,3}|[^\w\s]|_+")
_TOKENS_A_MESSAGE = 4  # role and separators, as OpenAI counts them for its chat models


def estimated_tokens(text: str) -> int:
    """About how many tokens a tokenizer of today makes of an English text. No tokenizer is asked.

    >>> estimated_tokens("A cat on a mat: [0.25, 0.1]")
    15
    """
    return sum(1 for _ in _PIECE.finditer(text))


def estimated_prompt_tokens(messages: Iterable[Mapping[str, str]]) -> int:
    """The same for a chat's messages."""
    return sum(estimated_tokens(each["content"]) + _TOKENS_A_MESSAGE for each in messages)


@dataclass(frozen=True)
class Tokens:
    """estimated: how many of them no server has counted."""

    prompt: int = 0
    completion: int = 0
    estimated: int = 0

    def __add__(self, other: Self) -> Tokens:
        return Tokens(
            self.prompt + other.prompt,
            self.completion + other.completion,
            self.estimated + other.estimated,
        )


@dataclass(frozen=True)
class Prices:
    """In the currency of whoever gave them, a million tokens."""

    a_million_in: float
    a_million_out: float

    def of(self, tokens: Tokens) -> float:
        """
        >>> Prices(10, 30).of(Tokens(200_000, 100_000))
        5.0
        """
        return (
            tokens.prompt * self.a_million_in + tokens.completion * self.a_million_out
        ) / 1_000_000
