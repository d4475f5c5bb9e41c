"""``GET /dashboard``: a page that shows what ``/admin`` tells, from files of this package alone."""

import mimetypes
from pathlib import Path

from flask import Blueprint, Response, abort, request
from werkzeug.security import safe_join

PREFIX = "/dashboard"
FOLDER = Path(__file__).parent / "dashboard"
PAGE = "index.html"
HEADERS = {
    # No script and no style but those of these files: what is stored is shown and never run.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # After an update the browser asks again, and is told in a few bytes where nothing changed.
    "Cache-Control": "no-cache",
}


def blueprint() -> Blueprint:
    """Return the routes of the page and its files; they want no key, the data that they show does."""
    routes = Blueprint("dashboard", __name__)

    @routes.get(PREFIX)
    def page() -> Response:
        return _file(PAGE)

    @routes.get(f"{PREFIX}/<path:name>")
    def file(name: str) -> Response:
        return _file(name)

    return routes


def _file(name: str) -> Response:
    found = safe_join(str(FOLDER), name)
    if found is None or not Path(found).is_file():
        abort(404)
    kind = mimetypes.guess_type(name)[0] or "text/plain"
    response = Response(Path(found).read_bytes(), headers=HEADERS, mimetype=kind)
    response.add_etag()
    response.make_conditional(request)
    return response
