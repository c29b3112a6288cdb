"""Models that are opened beside the page's own, for comparisons alone.

Imports the engine that switches, what is offered and errors.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from llava_chat.assembly import OfferedModel
from llava_chat.engine.base import ChatEngine
from llava_chat.engine.switching import OpenEngine, SwitchingEngine
from llava_chat.errors import LlavaChatError
from llava_chat.progress import Report


def engines_beside(
    first: SwitchingEngine,
    models: Sequence[OfferedModel],
    open_model: OpenEngine,
    max_held: int,
) -> dict[str, SwitchingEngine]:
    """An engine for each of these models, by its label; they are opened one after the other."""
    engines: dict[str, SwitchingEngine] = {}
    before = first
    for model in models:
        needs = f", {model.needs}" if model.needs else ""
        print(f"Compare has {model.label} too{needs}.", file=sys.stderr, flush=True)
        after = partial(_after, before, open_model)
        before = engines[model.label] = SwitchingEngine(after, model.label, max_held=max_held)
    return engines


def _after(
    before: SwitchingEngine, open_model: OpenEngine, label: str, report: Report
) -> ChatEngine:
    """Open a model once the one before is there: each looks at how much memory is free."""
    with suppress(LlavaChatError):  # this one may answer all the same
        before.wait()
    return open_model(label, report)
