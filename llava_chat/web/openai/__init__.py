"""`/v1/models` and `/v1/chat/completions`: what OpenAI's clients speak, beside the page.

    routes.py     the calls, and one shape for every error
    callers.py    who may make them
    asking.py     from a call to a reply in the making
    body.py       a body of bounded size and time
    request.py    its fields, checked; what is not supported is refused by name
    messages.py   roles and order: from messages to turns
    pictures.py   data URLs; fetching.py the addresses of listed hosts; known.py spares decoding
    reading.py    the engine's events on the event loop
    responses.py  a reply whole, or as server-sent events; answers.py its JSON
    errors.py     from exceptions to OpenAI's error object

The same engine and the same limits as the page's; nothing of it is kept as a conversation.
"""

from llava_chat.web.openai.routes import openai_routes

__all__ = ["openai_routes"]
