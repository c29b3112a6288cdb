"""How a model does on the rows that were held out, and on what it knew before.

Imports `engine`, `model`, `evaluation` and the modules of training.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch

from llava_chat.engine.base import ChatEngine, GenerationSettings, whole_reply
from llava_chat.engine.local import LocalEngine
from llava_chat.evaluation.scenes import Tally, evaluate_scenes
from llava_chat.model.checkpoint import Checkpoint
from llava_chat.training.adapter.batches import Features
from llava_chat.training.adapter.lessons import Lesson, Preference
from llava_chat.training.adapter.old_skills import names_any, words
from llava_chat.training.adapter.training import pair_logprobs
from llava_chat.training.scenes.exchange import Exchange
from llava_chat.training.scenes.world import FURTHER

AT_ONCE = 16
_GREEDY = GenerationSettings(temperature=0, max_new_tokens=512, deadline_s=600)
_KEPT, _APART = "all that was to stay", "about what was taught"


@dataclass(frozen=True)
class LessonFigures:
    """Shares from 0 to 1 of held-out replies. overlap: F1 of their words (arXiv 1606.05250)."""

    replies: int
    exact: float
    overlap: float


@dataclass(frozen=True)
class PreferenceFigures:
    """Of held-out pairs.

    preferred: the share whose chosen reply has the higher log-probability. rewarded: the share
    whose chosen reply gained the more. margin: how much more on average, times beta (DPO's reward
    margin); both are 0 before training.
    """

    pairs: int
    preferred: float
    rewarded: float
    margin: float


def opened(checkpoint: Checkpoint) -> LocalEngine:
    """An engine around the model in memory, which has to be closed before that is trained."""
    return LocalEngine(checkpoint, max_waiting=AT_ONCE, capture="off")


def replies(engine: ChatEngine, lessons: Sequence[Lesson]) -> list[tuple[str, str]]:
    """(the model's reply, the lesson's), of every question with the lesson's replies before it.

    Raises the error of a reply that failed.
    """
    asked = [each for lesson in lessons for each in lesson.questions]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        texts = pool.map(lambda each: whole_reply(engine.stream(each[0], _GREEDY)).text, asked)
        return [(text, wanted) for text, (_, wanted) in zip(texts, asked, strict=True)]


def lesson_figures(pairs: Sequence[tuple[str, str]]) -> LessonFigures | None:
    """Of replies and what they should have been; None without any."""
    if not pairs:
        return None
    exact = sum(" ".join(reply.split()) == " ".join(wanted.split()) for reply, wanted in pairs)
    overlap = sum(word_overlap(*pair) for pair in pairs)
    return LessonFigures(len(pairs), exact / len(pairs), overlap / len(pairs))


def word_overlap(reply: str, wanted: str) -> float:
    """The harmonic mean of precision and recall of words, as SQuAD's (arXiv 1606.05250).

    >>> word_overlap("The star is red.", "the star is crimson")
    0.75
    """
    one, other = Counter(words(reply)), Counter(words(wanted))
    if not one or not other:
        return float(one == other)
    return 2 * (one & other).total() / (one.total() + other.total())


def preference_figures(
    checkpoint: Checkpoint,
    pairs: Sequence[Preference],
    reference: torch.Tensor | None,
    *,
    beta: float,
    max_tokens: int,
    features: Features | None = None,
) -> tuple[PreferenceFigures | None, torch.Tensor]:
    """The figures, and the log-probabilities (2, pairs) behind them.

    reference: those of before training, None when that is now.
    """
    policy = pair_logprobs(checkpoint, pairs, max_tokens, features)
    if not pairs:
        return None, policy
    gains = policy - (policy if reference is None else reference)
    margins = beta * (gains[0] - gains[1])
    figures = PreferenceFigures(
        len(pairs),
        preferred=float((policy[0] > policy[1]).float().mean()),
        rewarded=float((margins > 0).float().mean()),
        margin=float(margins.mean()),
    )
    return figures, policy


def old_skills(engine: ChatEngine, pictures: int, changed: Collection[str]) -> Tally:
    """The held-out questions of the scenes; those about `changed` words are counted apart."""

    def kind_of(exchange: Exchange) -> str:
        about = names_any(f"{exchange.question} {exchange.answer}", changed)
        return _APART if about else exchange.kind

    return evaluate_scenes(
        engine, pictures=pictures, world=FURTHER, kind_of=kind_of, at_once=AT_ONCE
    )


def kinds(tally: Tally) -> dict[str, tuple[int, float]]:
    """Asked, and the share of right ones, by kind; the sum of all that was to stay at the end.

    Kinds that are a mishap and not a question are left out.
    """
    found = {
        kind: (count, tally.share(kind))
        for kind, count in sorted(tally.asked.items())
        if kind not in (_APART, "taken for no scene")
    }
    asked = sum(count for count, _ in found.values())
    right = sum(count * share for count, share in found.values())
    found[_KEPT] = (asked, right / max(1, asked))
    if tally.asked[_APART]:
        found[_APART] = (tally.asked[_APART], tally.share(_APART))
    return found
