"""The page's scripts, as the browser's own modules: no bundler, each loaded from its file.

Imports nothing of this project but where its assets are.
"""

from __future__ import annotations

from typing import Any

from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from llava_chat import ASSETS

FOLDER = ASSETS / "js"


def script_tags() -> str:
    """What the page's head says: page.js begins, and the modules that it imports come with it.

    The addresses are relative to the page, as everything that it loads.
    """
    names = sorted(path.name for path in FOLDER.glob("*.js"))
    links = "".join(f'<link rel="modulepreload" href="js/{name}">' for name in names)
    return f'{links}<script type="module" src="js/page.js"></script>'


class _Scripts(StaticFiles):
    """Files that are asked for anew after every update of the server, and named as what they are.

    Without the first header a browser guesses for how long to keep them; the type that the system
    knows for .js may be one that a module is refused for.
    """

    def file_response(self, *args: Any, **options: Any) -> Response:
        """As starlette's, with both headers."""
        response = super().file_response(*args, **options)
        response.headers["cache-control"] = "no-cache"
        if response.status_code == 200:
            response.headers["content-type"] = "text/javascript; charset=utf-8"
        return response


def script_routes() -> list[Mount]:
    """`/js/NAME`, for `launch(app_kwargs={"routes": ...})`."""
    return [Mount("/js", _Scripts(directory=FOLDER))]
