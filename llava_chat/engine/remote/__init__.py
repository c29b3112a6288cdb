"""The engine whose replies an OpenAI-compatible server makes: vLLM, SGLang, `transformers serve`.

    messages (conversation -> JSON) -> request -> reply (one request, read piece by piece) -> stream
                                                    |  servers: which address, and since when away
                                                    |  event_stream, refusals: what comes back
    exchange: a request and its whole answer, bounded
    completions: whole replies to plain messages, for work that nobody watches

Imports neither torch nor gradio. It needs an HTTP client, which the other engine does not.
"""

from llava_chat.engine.remote.engine import RemoteEngine, open_engine
from llava_chat.engine.remote.offered import Served, served_model
from llava_chat.engine.remote.servers import Timeouts, checked_urls

__all__ = ["RemoteEngine", "Served", "Timeouts", "checked_urls", "open_engine", "served_model"]
