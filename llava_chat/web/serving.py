"""A server's life: the model behind the page, and an orderly way out.

Imports launch, the engine that switches, the image decoders, the store and the modules beside it.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType

from llava_chat.assembly import (
    OfferedModel,
    check_model,
    compared_models,
    for_model,
    offered_models,
    open_engine,
)
from llava_chat.engine.base import ChatEngine
from llava_chat.engine.measured import MeasuredEngine, ReplyWatch
from llava_chat.engine.states import Ready
from llava_chat.engine.switching import OpenEngine, SwitchingEngine
from llava_chat.image import close_decoders, warm_up
from llava_chat.imported import kept_for_good
from llava_chat.progress import Progress, ProgressLine, Report
from llava_chat.settings import Settings, on_zero_gpu
from llava_chat.store import ConversationStore
from llava_chat.web.announcing import Announced
from llava_chat.web.chat.replies import Replies
from llava_chat.web.compare.beside import engines_beside
from llava_chat.web.ending import ending_within, leave
from llava_chat.web.launch import check_port, launch
from llava_chat.web.metrics import Metrics
from llava_chat.web.outside import Outside
from llava_chat.web.stopping import Stopping

# Within the 10 s that container hosts give: replies may end by themselves, the rest is kept as
# stopped, and the engine and the server close.
REPLIES_GRACE_S = 3.0
ENGINE_GRACE_S = 1.0
ANSWERS_GRACE_S = 1.0  # for the last words to reach those who listen
# On a machine that is busy each of these may take longer, and the host then kills what is left.
END_LIMIT_S = 9.0
PUSHED_WITHIN_S = 8.0  # all that was said, so that a second is left


def serve(settings: Settings, open_model: OpenEngine | None = None) -> None:
    """Serve the page until Ctrl-C or SIGTERM, the model being loaded behind it.

    open_model: opens a model by its label, by default as the settings say. Raises LlavaChatError
    when the server cannot start, or the model cannot be loaded.
    """
    told_to_stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told_to_stop.set())
    os.umask(0o077)  # chats, pictures and their originals are for this user of the machine alone
    check_port(settings.host, settings.port)  # what is wrong is told before anything is loaded
    warm_up()  # the same of a machine that cannot decode pictures
    with kept_for_good():  # torch and transformers
        check_model(settings)
    offered, compared = offered_models(settings), compared_models(settings)
    for model in compared:
        check_model(for_model(settings, model.name))
    if told_to_stop.is_set():
        return
    # Everybody reads which model is being opened, and nobody in which folder it lies.
    names = {model.label: model.name for model in (*compared, *offered)}
    metrics = Metrics()
    open_model = partial(_measured, open_model or partial(_opened, settings, names), metrics)
    engine = SwitchingEngine(open_model, offered[0].label, max_held=settings.max_waiting)
    beside = engines_beside(engine, compared, open_model, settings.max_waiting)
    every = (engine, *beside.values())
    with ending_within(END_LIMIT_S, told_to_stop):
        try:
            if on_zero_gpu():
                engine.wait()  # what is on the GPU there has to be there before the page
            ended = run(engine, settings, offered, told_to_stop, metrics, beside)
        finally:
            for one in every:
                one.close(ENGINE_GRACE_S)
    # Deep in a library: Python would end under its feet, with an abort, or wait for the Hub.
    if not ended or any(one.still_opening for one in every):
        leave()


def _measured(open_model: OpenEngine, watch: ReplyWatch, label: str, report: Report) -> ChatEngine:
    return MeasuredEngine(open_model(label, report), watch)


def _opened(settings: Settings, names: Mapping[str, str], label: str, report: Report) -> ChatEngine:
    """Load the model of that label, and show how far it is in the terminal too."""
    with ProgressLine(label, sys.stderr) as line:

        def both(progress: Progress) -> None:
            report(progress)
            line(progress)

        wanted = for_model(settings, names[label])
        if wanted is not settings:  # what the server was started with has been looked at
            check_model(wanted)
        return open_engine(wanted, both)


def run(
    engine: SwitchingEngine,
    settings: Settings,
    offered: Sequence[OfferedModel],
    told_to_stop: threading.Event,
    metrics: Metrics | None = None,
    beside: Mapping[str, SwitchingEngine] = MappingProxyType({}),
) -> bool:
    """Serve `engine` until told to stop; then replies end or are kept as stopped.

    beside: engines for comparisons, by model. Returns whether nothing is still going on.

    Raises LlavaChatError when the port, the signing key or the database cannot be used, and what
    kept the first model from being loaded.
    """
    store = ConversationStore.open(settings.database, settings.data_dir)
    replies, stopping, outside = Replies(), Stopping(told_to_stop), Outside.of(settings, store)
    ended = False
    try:
        blocks = launch(
            engine, store, replies, settings, offered, stopping, metrics, beside, outside
        )
        address = f"http://{_shown_host(settings.host)}:{settings.port}"
        first = Announced(engine, address, told_to_stop)
        told_to_stop.wait()
        until_s = time.monotonic() + PUSHED_WITHIN_S
        if first.problem is None:
            print("Stopping: replies that are being written are kept.", file=sys.stderr, flush=True)
        _end_replies(engine, replies)
        stopping.wait_for_answers(ANSWERS_GRACE_S)
        close_decoders()  # or a question whose picture takes long would hold the exit up
        if blocks.server is not None:
            blocks.server.force_exit = True  # open pages hold connections that never end
            # uvicorn logs the connections and the lifespan that are cut off here as errors.
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        ended = outside.close(until_s - time.monotonic())
        blocks.close(verbose=False)
    finally:
        ended = ended or outside.close(0)
        store.close()
    if first.problem is not None:
        raise first.problem
    return ended


def _end_replies(engine: SwitchingEngine, replies: Replies) -> None:
    """Those that are kept first; then those of whom only a caller of the API knows."""
    grace_s = REPLIES_GRACE_S if isinstance(engine.state, Ready) else 0
    until_s = time.monotonic() + grace_s
    replies.close(grace_s)
    engine.close(max(ENGINE_GRACE_S, until_s - time.monotonic()) if grace_s else 0)


def _shown_host(host: str) -> str:
    return "127.0.0.1" if host in ("0.0.0.0", "::", "") else host
