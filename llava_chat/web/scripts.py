"""The page's scripts, as the browser's own modules: no bundler, each loaded from its file.

Imports nothing of this project but where its assets are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from llava_chat import ASSETS

FOLDER = ASSETS / "js"


def script_tags() -> str:
    """What the page's head says: page.js begins, and the modules that it imports come with it.

    The addresses are relative to the page, as everything that it loads. Folders hold what a tab
    loads when it is opened, its style sheet as well.
    """
    names = sorted(path.name for path in FOLDER.glob("*.js"))
    links = "".join(f'<link rel="modulepreload" href="js/{name}">' for name in names)
    return f'{links}<script type="module" src="js/page.js"></script>'


class _Assets(StaticFiles):
    """Files that are asked for anew after every update of the server, and named as what they are.

    Without the first header a browser guesses for how long to keep them; the type that the system
    knows for .js may be one that a module is refused for.
    """

    def __init__(self, directory: Path, content_type: str) -> None:
        super().__init__(directory=directory)
        self._content_type = content_type

    def file_response(self, *args: Any, **options: Any) -> Response:
        """As starlette's, with both headers."""
        response = super().file_response(*args, **options)
        response.headers["cache-control"] = "no-cache"
        if response.status_code == 200:
            response.headers["content-type"] = self._content_type
        return response


def script_routes() -> list[Mount]:
    """`/js/NAME` and `/css/NAME`, for `launch(app_kwargs={"routes": ...})`."""
    styles = _Assets(ASSETS / "css", "text/css; charset=utf-8")
    return [Mount("/js", _Assets(FOLDER, "text/javascript; charset=utf-8")), Mount("/css", styles)]
