"""llava_chat: a chatbot that sees, for LLaVA and its line of models."""

__version__ = "0.1.0"
