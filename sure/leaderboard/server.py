"""A board and runs as they go, on this machine's loopback address alone; nothing can be written through it."""

import json
import secrets
import sys
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from sure.errors import SureError

ADDRESS = "127.0.0.1"

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": "application/json",
    ".csv": "text/csv; charset=utf-8",
    ".flac": "audio/flac",
    ".png": "image/png",
}
# What submitters named, whatever it is called, is no page.
_SUBMITTED = {".json": "application/json", ".flac": "audio/flac"}
_TEXT = "text/plain; charset=utf-8"

# Nothing remote. A board's pages have policies of their own, which say more.
_BOARD_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src 'self' data:; "
    "media-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_FILE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; media-src 'self'; sandbox"


def server(board: Path, runs: Callable[[], Any], port: int) -> ThreadingHTTPServer:
    """Serves a board's files and, at `/runs`, what `runs` gives, as JSON: begins with `serve_forever`.

    Raises `SureError` for a port that is taken or is none.
    """

    class Handler(_Handler):
        pass

    Handler.board, Handler.runs = Path(board).resolve(), staticmethod(runs)
    try:
        return _Server((ADDRESS, port), Handler)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or "it is no port"
        raise SureError(f"--port {port}: cannot be listened on ({reason}). Choose another, such as 8001.") from None


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        # Whoever asked is gone.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server_version = "sure"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    # Seconds in which a request is to be written.
    timeout = 30

    board: Path
    runs: Callable[[], Any]

    def do_GET(self) -> None:
        if not self._of_this_machine():
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST, "This server answers to its loopback address only")
            return
        path = urlsplit(self.path).path
        if path == "/runs":
            nonce = secrets.token_urlsafe(16)
            page = (files("sure.leaderboard") / "runs.html").read_text(encoding="utf-8").replace("{{ nonce }}", nonce)
            policy = f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; "
            policy += "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
            self._send(page.encode(), _TYPES[".html"], policy)
        elif path == "/runs.json":
            self._send(json.dumps(self.runs(), allow_nan=False).encode(), _TYPES[".json"], _FILE_POLICY)
        elif path == "/" and not (self.board / "index.html").is_file():
            self.send_response(HTTPStatus.FOUND)
            self.send_header("Location", "/runs")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif (file := self._file(unquote(path, errors="replace"))) is None:
            self.send_error(HTTPStatus.NOT_FOUND)
        else:
            submitted = file.relative_to(self.board).parts[0] == "submissions"
            kind = (_SUBMITTED if submitted else _TYPES).get(file.suffix, _TEXT)
            self._send(file.read_bytes(), kind, _BOARD_POLICY if kind == _TYPES[".html"] else _FILE_POLICY)

    do_HEAD = do_GET

    def _of_this_machine(self) -> bool:
        """A page from elsewhere whose name was made to lead here asks for that name (DNS rebinding)."""
        own = self.server.server_port
        return self.headers.get_all("Host") in [[f"{name}:{own}"] for name in (ADDRESS, "localhost")]

    def _file(self, path: str) -> Path | None:
        """A file of the board: none that is hidden, lies outside, or is reached by a link that leads there."""
        parts = path.removeprefix("/").split("/")
        if parts == [""]:
            parts = ["index.html"]
        if any(not part or part.startswith(".") or "\\" in part or not part.isprintable() for part in parts):
            return None
        # A name may be too long, a link lead to itself.
        with suppress(OSError, RuntimeError):
            file = self.board.joinpath(*parts).resolve(strict=True)
            if file.is_file() and file.is_relative_to(self.board):
                return file
        return None

    def _send(self, content: bytes, kind: str, policy: str) -> None:
        self.send_response(HTTPStatus.OK)
        for name, value in {
            "Content-Type": kind,
            "Content-Length": str(len(content)),
            "Content-Security-Policy": policy,
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-cache",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Nothing: a page that polls would fill the terminal."""
