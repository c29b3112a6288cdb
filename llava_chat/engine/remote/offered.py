"""Which model the servers offer, asked once at the start, so that what is wrong is told then.

Imports the HTTP client, errors and the modules beside it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import httpx2

from llava_chat.engine.remote.exchange import Answer, exchange, headers, key_refused
from llava_chat.engine.remote.servers import Timeouts
from llava_chat.errors import RemoteEngineError, SettingError

MAX_LIST_BYTES = 2**20
_MOST_NAMED = 8  # of the models of a server that offers many


@dataclass(frozen=True)
class Served:
    """A model by the name that the servers know. context_tokens: 0 where they do not tell."""

    id: str
    context_tokens: int = 0


def served_model(
    urls: Sequence[str],
    *,
    key: str | None = None,
    wanted: str | None = None,
    timeouts: Timeouts | None = None,
) -> Served:
    """The model `wanted`, or the only one there is; every server has to offer it.

    A server that lists none, as `transformers serve FOLDER` does, is taken at its word when a model
    is named. Raises RemoteEngineError for a server that cannot be used, SettingError when another
    model has to be named.
    """
    timeouts = timeouts or Timeouts()
    lists = {url: _listed(url, key, timeouts.connect_s) for url in urls}
    first, models = next(iter(lists.items()))
    name = wanted if wanted is not None else _only(first, models)
    found = [_named(name, url, offered) for url, offered in lists.items()]
    known = [model.context_tokens for model in found if model.context_tokens]
    return Served(name, min(known, default=0))


def _only(url: str, models: Sequence[Served]) -> str:
    if not models:
        raise SettingError("model", f"must name the model of {url}, which lists none")
    if len(models) > 1:
        raise SettingError("model", f"must name one of those that {url} offers: {_names(models)}")
    return models[0].id


def _named(name: str, url: str, models: Sequence[Served]) -> Served:
    found = next((model for model in models if model.id == name), None)
    if found is None and models:
        raise SettingError(
            "model", f"must name what every server offers, and {url} offers {_names(models)}"
        )
    return found or Served(name)


def _names(models: Sequence[Served]) -> str:
    names = [model.id for model in models[:_MOST_NAMED]]
    return ", ".join([*names, "…"] if len(models) > _MOST_NAMED else names)


def _listed(url: str, key: str | None, timeout_s: float) -> list[Served]:
    try:
        answer = _list_at(url, key, timeout_s)
    except (httpx2.TransportError, httpx2.InvalidURL) as error:
        raise RemoteEngineError(
            f"{url} cannot be reached ({_reason(error)}). Start the server there, or name another "
            "one with --engine-url."
        ) from None
    if answer.status in (401, 403):
        raise key_refused(url, key)
    models = _models(answer.body) if answer.status == 200 else None
    if models is None:
        nor = "" if answer.status != 200 else " and no list of models"
        raise RemoteEngineError(
            f"{url} is no OpenAI-compatible server: {url}/models answered with {answer.status}"
            f"{nor}. An address mostly ends in /v1."
        )
    return models


def _list_at(url: str, key: str | None, timeout_s: float) -> Answer:
    with httpx2.Client(timeout=timeout_s, headers=headers(key)) as client:
        return exchange(
            client, "GET", f"{url}/models", timeout_s=timeout_s, most_bytes=MAX_LIST_BYTES
        )


def _reason(error: Exception) -> str:
    return "no answer in time" if isinstance(error, httpx2.TimeoutException) else str(error)[:100]


def _models(answer: bytes) -> list[Served] | None:
    """
    >>> _models(b'{"data": [{"id": "llava", "max_model_len": 4096}]}')
    [Served(id='llava', context_tokens=4096)]
    """
    try:
        listed = json.loads(answer)["data"]
        return [Served(str(each["id"]), _context(each)) for each in listed]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _context(model: dict[str, object]) -> int:
    length = model.get("max_model_len")  # vLLM and SGLang
    return length if isinstance(length, int) and 0 < length < 2**31 else 0
