"""The calls below `/v1`, and one shape for whatever goes wrong there. Imports web.people,
web.allowances, the engine's interface, errors and the modules beside it.
"""

from __future__ import annotations

import time
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from llava_chat.engine.base import ChatEngine
from llava_chat.errors import LlavaChatError
from llava_chat.settings import Settings
from llava_chat.web.allowances import Allowances
from llava_chat.web.openai.answers import model_card
from llava_chat.web.openai.asking import Asker, chosen_adapter
from llava_chat.web.openai.callers import Callers
from llava_chat.web.openai.errors import CallError, Refusal, refusal
from llava_chat.web.openai.fetching import PictureFetcher
from llava_chat.web.people import People

_NOT_HERE = "There is no {} here; /v1/models and /v1/chat/completions are."


def openai_routes(
    engine: ChatEngine,
    settings: Settings,
    people: People,
    allowances: Allowances,
    fetcher: PictureFetcher | None = None,
) -> list[BaseRoute]:
    """`/v1/models`, `/v1/models/ID` and `/v1/chat/completions`, and an error for all else there.

    fetcher: for pictures at addresses, by default of the hosts that the settings list.
    """
    callers = Callers(people, keys_wanted=bool(settings.api_keys))
    asker = Asker(engine, settings, allowances, fetcher)
    started_s = int(time.time())

    async def models(request: Request) -> Response:
        callers.person(request)
        model, adapters = asker.model, await asker.adapters()
        cards = [model_card(model, started_s, adapter) for adapter in (None, *adapters)]
        return JSONResponse({"object": "list", "data": cards})

    async def one_model(request: Request) -> Response:
        callers.person(request)
        model = asker.model
        adapter = chosen_adapter(request.path_params["name"], model, await asker.adapters())
        return JSONResponse(model_card(model, started_s, adapter))

    async def chat_completions(request: Request) -> Response:
        person = callers.person(request)
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise CallError("Send the call as application/json.", status=415)
        return await asker.reply(request, person)

    calls = Starlette(
        routes=[
            Route("/models", models),
            Route("/models/{name:path}", one_model),
            Route("/chat/completions", chat_completions, methods=["POST"]),
        ],
        exception_handlers={
            LlavaChatError: _told,
            HTTPException: _told_http,
            ClientDisconnect: _unheard,
            Exception: _told,  # and raised again, for the server's log
        },
    )
    return [Mount("/v1", app=calls)]


async def _told(request: Request, error: Exception) -> Response:
    return refusal(error).response()


async def _told_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # as registered
    if error.status_code == HTTPStatus.NOT_FOUND:
        return Refusal(404, _NOT_HERE.format(request.url.path), code="unknown_url").response()
    headers = dict(error.headers or {})
    sentence = f"{request.method} is not what {request.url.path} answers."
    return Refusal(error.status_code, sentence, headers=headers).response()


async def _unheard(request: Request, error: Exception) -> Response:
    return Response(status_code=499)  # as nginx logs it: the caller left
