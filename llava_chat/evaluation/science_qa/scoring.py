"""Which choice an answer means, and how many are right by ScienceQA's own groups.

Imports `problems` only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from llava_chat.evaluation.science_qa.problems import LETTERS, Problem

# haotian-liu/LLaVA, llava/eval/eval_science_qa.py: the last point stands for any letter but the end
# of a line, so that "The answer is A, ..." counts and a reply that stops behind the A does not.
_STATED = re.compile(r"The answer is ([A-Z]).")

_GRADES_1_TO_6 = frozenset(f"grade{number}" for number in range(1, 7))
_GRADES_7_TO_12 = frozenset(f"grade{number}" for number in range(7, 13))

GROUPS: Mapping[str, Callable[[Problem], bool]] = {
    "NAT": lambda problem: problem.subject == "natural science",
    "SOC": lambda problem: problem.subject == "social science",
    "LAN": lambda problem: problem.subject == "language science",
    "TXT": lambda problem: bool(problem.hint),
    "IMG": lambda problem: problem.image is not None,
    "NO": lambda problem: not problem.hint and problem.image is None,
    "G1-6": lambda problem: problem.grade in _GRADES_1_TO_6,
    "G7-12": lambda problem: problem.grade in _GRADES_7_TO_12,
    "Average": lambda problem: True,
}
"""lupantech/ScienceQA, tools/evaluate_acc.py. A problem with a text and a picture is in both."""


def stated_letter(text: str) -> str | None:
    """The letter of "The answer is X.", said exactly once.

    >>> stated_letter("It is hot. The answer is B."), stated_letter("The answer is B")
    ('B', None)
    >>> stated_letter("The answer is A. No! The answer is B.")
    """
    found = _STATED.findall(text)
    return found[0] if len(found) == 1 else None


def letter_of(text: str) -> str | None:
    """The letter that an answer gives: alone, before everything else, or stated once.

    >>> letter_of("B"), letter_of("B. Because of it."), letter_of("The answer is B.")
    ('B', 'B', 'B')
    >>> letter_of("b"), letter_of("B."), letter_of(" B"), letter_of("(B)")
    (None, None, None, None)
    """
    if len(text) == 1 and text in LETTERS:
        return text
    if text[:1] in LETTERS and text[1:3] == ". ":
        return text[0]
    return stated_letter(text)


def choice_of(letter: str | None, problem: Problem) -> int | None:
    """The choice's place, from 0; None for no letter, and for one that no choice has."""
    letters = LETTERS[: len(problem.choices)]
    return letters.index(letter) if letter and letter in letters else None


@dataclass(frozen=True)
class Share:
    """So many right of so many asked."""

    right: int
    asked: int

    @property
    def percent(self) -> float | None:
        """None where nothing was asked."""
        return 100 * self.right / self.asked if self.asked else None


def shares(problems: Sequence[Problem], chosen: Mapping[str, int | None]) -> dict[str, Share]:
    """Right answers by group. A problem without a choice, or not in `chosen`, is a wrong one."""
    right = [chosen.get(problem.id) == problem.answer for problem in problems]
    return {
        name: Share(
            sum(hit for hit, problem in zip(right, problems, strict=True) if belongs(problem)),
            sum(belongs(problem) for problem in problems),
        )
        for name, belongs in GROUPS.items()
    }


def complemented(
    problems: Sequence[Problem], first: Mapping[str, str], second: Mapping[str, str]
) -> dict[str, int | None]:
    """The choice that the first answer states, or the second's where it states none.

    With GPT-4's answers first this is the paper's complement; with those that GPT-4 gave after it
    had seen both, where they differed, it is the paper's judge (eval_science_qa_gpt4_requery.py).
    """
    return {
        problem.id: choice_of(
            stated_letter(first.get(problem.id, "")) or stated_letter(second.get(problem.id, "")),
            problem,
        )
        for problem in problems
    }


def table(
    rows: Mapping[str, Mapping[str, Share]], published: Mapping[str, Mapping[str, float]]
) -> str:
    """A Markdown table in the papers' order: ours, how many were asked, what others reached."""
    lines = [
        f"| percent right | {' | '.join(GROUPS)} |",
        f"|---|{'---:|' * len(GROUPS)}",
    ]
    for name, found in rows.items():
        lines.append(_line(name, {group: share.percent for group, share in found.items()}))
    asked = next(iter(rows.values()))
    lines.append(f"| questions | {' | '.join(f'{asked[group].asked:,}' for group in GROUPS)} |")
    lines += [_line(name, found) for name, found in published.items()]
    return "\n".join(lines)


def _line(name: str, percents: Mapping[str, float | None]) -> str:
    """One row of the table; nothing where nothing is known.

    >>> _line("a | b", {"NAT": 90.363, "IMG": None})
    '| a / b | 90.36 |  |  |  |  |  |  |  |  |'
    """
    found = [percents.get(group) for group in GROUPS]
    shown = ["" if percent is None else f"{percent:.2f}" for percent in found]
    return f"| {name.replace('|', '/')} | {' | '.join(shown)} |"
