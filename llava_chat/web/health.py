"""What watches over a server asks it: whether it lives, whether it answers, and how it is.

Imports web.metrics, web.readiness and web.stopping.
"""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from llava_chat.web.metrics import Metrics
from llava_chat.web.readiness import Readiness
from llava_chat.web.stopping import Stopping

_UNCACHED = {"cache-control": "no-store"}


def health_routes(readiness: Readiness, metrics: Metrics, stopping: Stopping) -> list[Route]:
    """`/healthz`, `/readyz` and `/metrics`, for `launch(app_kwargs={"routes": ...})`.

    A server that is stopping is alive to the end, and ready no more: as Kubernetes has it, it gets
    no new work, and time for what it has.
    """

    async def healthz(request: Request) -> Response:
        status = "stopping" if stopping.begun else "alive"
        return JSONResponse({"status": status}, headers=_UNCACHED)

    async def readyz(request: Request) -> Response:
        verdict = await readiness.verdict()
        status = 200 if verdict.status == "ready" else 503
        return JSONResponse(readiness.told(verdict), status_code=status, headers=_UNCACHED)

    async def told(request: Request) -> Response:
        text = await run_in_threadpool(generate_latest, metrics.registry)
        return Response(text, headers=_UNCACHED | {"content-type": CONTENT_TYPE_LATEST})

    return [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", told)]
