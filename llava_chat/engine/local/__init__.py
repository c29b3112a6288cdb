"""The engine that runs a model in this process.

    asking (conversation -> request) -> line of jobs -> writer (read, then token by token) -> stream
                                                 |  kv_cache, prefix_cache, feature_cache
                                                 |  sampling, detokenizer

Of the engines, only this one imports torch.
"""

from llava_chat.engine.local.engine import DEFAULT_CACHE_BYTES, LocalEngine, open_engine
from llava_chat.engine.local.stream import ReplyStream

__all__ = ["DEFAULT_CACHE_BYTES", "LocalEngine", "ReplyStream", "open_engine"]
