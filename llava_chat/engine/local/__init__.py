"""The engine that runs a model in this process.

    asking (conversation -> request) -> line of jobs -> writer, round by round -> stream
                                            |  slots (whose row), rows (keys and values), sizing
                                            |  reading (a prompt, piece by piece), feature_cache
                                            |  step (a token for every reply), sampling
                                            |  adapted, written (which adapter, who beside whom)
                                            |  reply, detokenizer

Of the engines, only this one imports torch.
"""

from llava_chat.engine.local.engine import LocalEngine, open_engine
from llava_chat.engine.stream import ReplyStream

__all__ = ["LocalEngine", "ReplyStream", "open_engine"]
