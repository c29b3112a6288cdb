"""Which captions are kept, so that every phrase stays covered and none drowns the others.

Imports numpy and the module beside it.
"""

from __future__ import annotations

import numpy as np

from llava_chat.training.captions.phrases import Phrases

LEAST = 3
"""A rarer phrase is mostly a mixture of others that are covered (arXiv 2304.08485, section 4.1)."""

MOST = 100
"""Of the captions of a phrase that is more frequent, so many are drawn (there as well)."""


def chosen_captions(
    phrases: Phrases, *, least: int = LEAST, most: int = MOST, seed: int = 0
) -> np.ndarray:
    """True for each caption that is kept, (captions,).

    From the rarest phrase up, from `least` on: all captions that hold it, or `most` of them, drawn
    from all that do. Phrases that are equally frequent come in alphabetical order. A seed draws the
    same of the same rows again.

    >>> from llava_chat.training.captions.phrases import gathered
    >>> each = gathered([["cat"], ["cat"], ["cat"], ["dog"], ["cat", "dog"], []])
    >>> chosen_captions(each, least=2).tolist()
    [True, True, True, True, True, False]
    >>> int(chosen_captions(each, least=3, most=2).sum())
    2
    """
    frequency = phrases.frequency
    few = (frequency >= least) & (frequency <= most)
    kept = np.zeros(len(phrases.starts) - 1, bool)
    captions = phrases.captions
    kept[captions[few[phrases.held]]] = True
    by_phrase = captions[np.argsort(phrases.held, kind="stable")]
    ends = np.cumsum(frequency)
    many = np.flatnonzero((frequency >= least) & (frequency > most))
    draw = np.random.default_rng(seed)
    for phrase in sorted(many, key=lambda each: (frequency[each], phrases.names[each])):
        holding = by_phrase[ends[phrase] - frequency[phrase] : ends[phrase]]
        kept[draw.choice(holding, most, replace=False)] = True
    return kept
