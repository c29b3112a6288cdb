"""One server: the page, what it stands on, and the routes and middleware beside it.

Gradio's own `launch` serves the page, with our routes and middleware handed to it, because a page
mounted into another app loses ZeroGPU on Spaces (gradio pull request 13316). `serving` keeps it
running until it is told to stop.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, Self

import gradio as gr
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.routing import BaseRoute
from starlette.types import Scope

from llava_chat.assembly import OfferedModel, picture_limits
from llava_chat.engine.switching import SwitchingEngine
from llava_chat.errors import LlavaChatError
from llava_chat.feedback.annotation import Leading
from llava_chat.settings import Settings, flag, on_space, prepare_libraries
from llava_chat.store import ConversationStore
from llava_chat.web import page
from llava_chat.web.allowances import Allowances
from llava_chat.web.annotating import AnnotationDesk, annotation_routes
from llava_chat.web.chat.examples import example_routes
from llava_chat.web.chat.replies import Replies
from llava_chat.web.export import export_routes
from llava_chat.web.feedback import FeedbackDesk, feedback_routes
from llava_chat.web.guard import RequestGuard
from llava_chat.web.health import health_routes
from llava_chat.web.leading import LeadDesk, lead_routes
from llava_chat.web.metrics import Metrics
from llava_chat.web.openai import openai_routes
from llava_chat.web.outside import Outside
from llava_chat.web.people import People
from llava_chat.web.readiness import Readiness
from llava_chat.web.results.desk import ResultsDesk
from llava_chat.web.results.routes import results_routes
from llava_chat.web.retaining import remove_left_behind, retaining, together
from llava_chat.web.roles import Roles, role_routes
from llava_chat.web.scripts import script_routes, script_tags
from llava_chat.web.security import SecurityHeaders
from llava_chat.web.session import SessionMiddleware, Sessions
from llava_chat.web.signing_in import ByPassword, SignInGuard, sign_in_of
from llava_chat.web.signing_key import signing_key
from llava_chat.web.stopping import Stopping, StoppingMiddleware
from llava_chat.web.thumbnails import Thumbnails, picture_routes
from llava_chat.web.uploads import sweeping

# Pages whose state Gradio keeps, 73 kB each; an older one is found again by its address.
REMEMBERED_VIEWS = 1_000
JSON_BYTES_PER_CHARACTER = 12  # of a call: \\uXXXX twice for one character outside the BMP
CALL_OVERHEAD_BYTES = 256 * 1024


@dataclass(frozen=True)
class _Site:
    """What the page and the routes of one server share."""

    engine: SwitchingEngine
    store: ConversationStore
    replies: Replies
    settings: Settings
    sessions: Sessions
    people: People
    roles: Roles
    allowances: Allowances
    thumbnails: Thumbnails
    results: ResultsDesk

    @classmethod
    def of(
        cls,
        engine: SwitchingEngine,
        store: ConversationStore,
        replies: Replies,
        settings: Settings,
    ) -> Self:
        """Raises LlavaChatError when the signing key or the file of people cannot be used."""
        sessions = Sessions(signing_key(settings).encode())
        people = People(
            sessions,
            # A Space's own proxies are not its host's to count.
            trusted_proxies=settings.trusted_proxies or (None if on_space() else 0),
            api_keys=settings.api_keys,
            sign_in=sign_in_of(settings),
        )
        roles = Roles(people, settings)
        return cls(
            engine,
            store,
            replies,
            settings,
            sessions,
            people,
            roles,
            Allowances.of(settings),
            Thumbnails(settings.data_dir / "thumbnails"),
            ResultsDesk(store, partial(roles.member_of, least="lead")),
        )


def launch(
    engine: SwitchingEngine,
    store: ConversationStore,
    replies: Replies,
    settings: Settings,
    offered: Sequence[OfferedModel] = (),
    stopping: Stopping | None = None,
    metrics: Metrics | None = None,
    beside: Mapping[str, SwitchingEngine] = MappingProxyType({}),
    outside: Outside | None = None,
) -> gr.Blocks:
    """Start the server in threads of its own and return.

    metrics: what watches the engine's replies. beside: engines for comparisons, by model. outside:
    where what people say is copied to. Raises LlavaChatError when the port, the signing key, the
    file of people or the database cannot be used.
    """
    stopping, metrics = stopping or Stopping(threading.Event()), metrics or Metrics()
    prepare_libraries(settings.uploads)  # for what Blocks and launch read
    settings.uploads.mkdir(parents=True, exist_ok=True)
    check_port(settings.host, settings.port)
    site = _Site.of(engine, store, replies, settings)
    remove_left_behind(store)
    metrics.observe(engine, site.people, site.allowances)
    blocks = page.build(
        engine, store, replies, site.thumbnails, settings, offered, site.people, site.allowances,
        site.results, beside,
    )  # fmt: skip
    blocks.queue(default_concurrency_limit=None)
    blocks.launch(
        server_name=settings.host,
        server_port=settings.port,
        auth=_password_check(site.people),
        max_file_size=settings.max_picture_bytes,
        app_kwargs={
            "routes": _routes(site, stopping, metrics, outside),
            "middleware": _middleware(site, stopping),
            "lifespan": together(
                sweeping(settings.uploads), retaining(store, site.thumbnails, settings.keep_days)
            ),
        },
        **_of_gradio(),
    )
    return blocks


def _of_gradio() -> dict[str, Any]:
    """What is the same for every server."""
    return {
        "prevent_thread_lock": True,
        "quiet": True,
        "share": False,
        "inbrowser": False,
        "ssr_mode": False,
        "run_history": False,
        "footer_links": [],
        "state_session_capacity": REMEMBERED_VIEWS,
        "favicon_path": page.FAVICON,
        "theme": page.theme(),
        "css_paths": page.STYLE_SHEETS,
        "head": script_tags(),
    }


def _password_check(people: People) -> Any:
    """Gradio awaits it, and does not say so in its types."""
    return people.sign_in.check if isinstance(people.sign_in, ByPassword) else None


def _routes(
    site: _Site, stopping: Stopping, metrics: Metrics, outside: Outside | None
) -> list[BaseRoute]:
    """All that is answered beside Gradio's own."""
    people, store, allowances = site.people, site.store, site.allowances

    def judge(request: Request) -> None:
        allowances.judge(people.of_anyone(request))

    def annotate(request: Request) -> None:
        allowances.annotate(people.of_anyone(request))

    judging = FeedbackDesk(store, site.replies, site.thumbnails, outside)
    annotating = AnnotationDesk(store, site.thumbnails)
    leading = LeadDesk(Leading.of(store), picture_limits(site.settings))
    return [
        *picture_routes(people, store, site.thumbnails),
        *export_routes(people, store),
        *role_routes(site.roles, people),
        *feedback_routes(people, judging, judge),
        *annotation_routes(site.roles, annotating, annotate),
        *lead_routes(site.roles, leading, annotate),
        *results_routes(site.results, store, site.thumbnails),
        *example_routes(),
        *script_routes(),
        *openai_routes(site.engine, site.settings, people, allowances),
        *health_routes(Readiness(site.engine, metrics, stopping), metrics, stopping),
    ]


def _middleware(site: _Site, stopping: Stopping) -> list[Middleware]:
    settings, people, sessions = site.settings, site.people, site.sessions

    def on_picture(scope: Scope) -> None:
        site.allowances.upload(people.of_anyone(Request(scope)), 1)

    embedded = on_space()
    upload_bytes = settings.max_picture_bytes * max(1, settings.max_pictures)
    options: dict[str, Any] = {
        "max_json_bytes": (
            CALL_OVERHEAD_BYTES + JSON_BYTES_PER_CHARACTER * settings.max_message_chars
        ),
        "max_upload_bytes": upload_bytes,
        "uploads": settings.uploads,
        "on_picture": on_picture,
    }
    return [
        Middleware(SecurityHeaders, on_space=embedded),
        Middleware(StoppingMiddleware, stopping=stopping),
        Middleware(SessionMiddleware, sessions=sessions, embedded=embedded),
        Middleware(RequestGuard, sessions=sessions, **options),
        Middleware(SignInGuard, address_of=lambda request: people.of_address(request).id),
    ]


def check_port(host: str, port: int) -> None:
    """Raise LlavaChatError when something else listens there, or the address is not ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise LlavaChatError(
                f"Port {port} of {host} cannot be used ({error.strerror}); "
                f"choose another one with {flag('port')}."
            ) from error
