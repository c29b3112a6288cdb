"""The commands that need neither the page nor a training: one module each, imported when asked for.

They may import settings, conversation, image, tokens, model and engine. Only `__main__` runs them.
"""
