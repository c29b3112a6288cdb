"""Which picture is asked about for which type, and in which order.

Imports errors and the modules beside it.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llava_chat.errors import UsageError
from llava_chat.training.generation.kinds import KINDS, Kind
from llava_chat.training.generation.pictures import DescribedPicture

Counts = Mapping[Kind, int]


@dataclass(frozen=True)
class Task:
    """One row to be made."""

    kind: Kind
    picture: DescribedPicture

    @property
    def key(self) -> tuple[str, str]:
        """What it is known by in a journal."""
        return self.kind, self.picture.id


def parsed_types(text: str) -> dict[Kind, float]:
    """`conversation=58,detail=23` as numbers by type. Raises UsageError.

    >>> parsed_types("conversation=58, detail=2.5")
    {'conversation': 58.0, 'detail': 2.5}
    """
    found: dict[Kind, float] = {}
    for part in text.split(","):
        name, equals, number = part.strip().partition("=")
        kind = next((kind for kind in KINDS if kind == name.strip()), None)
        try:
            value = float(number)
        except ValueError:
            value = -1.0
        if kind is None or not equals or not 0 <= value < 1e9:
            raise UsageError(
                f"--types must be like conversation=58,detail=23,reasoning=77 or brief=100, and "
                f"{part.strip()!r} is not; there are {', '.join(KINDS)}"
            )
        if kind in found:
            raise UsageError(f"--types names {kind} twice")
        found[kind] = value
    if not any(found.values()):
        raise UsageError("--types asks for nothing: every number in it is 0")
    return found


def as_counts(types: Mapping[Kind, float], count: int | None) -> dict[Kind, int]:
    """How many of each: the numbers themselves, or `count` rows in those shares.

    What is left over by rounding goes to the largest remainders. Raises UsageError for a number
    that is no whole one where it counts.

    >>> as_counts({"conversation": 58, "detail": 23, "reasoning": 77}, 10)
    {'conversation': 4, 'detail': 1, 'reasoning': 5}
    """
    if count is None:
        if any(number % 1 for number in types.values()):
            raise UsageError("--types must hold whole numbers, or shares together with --count")
        return {kind: int(number) for kind, number in types.items()}
    whole = sum(types.values())
    exact = {kind: count * number / whole for kind, number in types.items()}
    counts = {kind: int(share) for kind, share in exact.items()}
    largest = sorted(exact, key=lambda kind: counts[kind] - exact[kind])
    for kind in largest[: count - sum(counts.values())]:
        counts[kind] += 1
    return counts


def planned(pictures: Sequence[DescribedPicture], counts: Counts, seed: int) -> list[Task]:
    """The tasks, in an order in which every beginning holds the types in their shares.

    Each picture is used at most once for a type. With larger counts the same tasks come again, and
    more. Raises UsageError where there are too few pictures.
    """
    placed: list[tuple[float, int, Task]] = []
    for rank, (kind, number) in enumerate(counts.items()):
        if number > len(pictures):
            raise UsageError(
                f"{number} rows of {kind} are wanted and there are {len(pictures)} pictures; each "
                "is asked about once for a type"
            )
        shuffled = list(pictures)
        random.Random(f"{seed} {kind}").shuffle(shuffled)
        placed += [
            ((place + 0.5) / number, rank, Task(kind, picture))
            for place, picture in enumerate(shuffled[:number])
        ]
    return [task for _, _, task in sorted(placed, key=lambda each: each[:2])]
