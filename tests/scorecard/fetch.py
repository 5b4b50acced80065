"""Downloads from a server on this machine that does everything wrong."""

import contextlib
import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

from jaxmeta.data import DataError, download
from tests.scorecard.score import Score, Tally, scratch

CONTENT = bytes(range(256)) * 400
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class _Server(http.server.BaseHTTPRequestHandler):
    """The path says what goes wrong: /cut/50, /status/404, /html, /long, /good."""

    cuts: dict[str, int] = {}  # noqa: RUF012 (one server, one test)

    def log_message(self, *args: object) -> None:
        """Says nothing."""

    def do_GET(self) -> None:
        _, kind, *rest = self.path.split("/")
        start = int(self.headers.get("Range", "bytes=0-")[6:-1])
        body = CONTENT[start:]
        if kind == "status":
            self.send_error(int(rest[0]))
            return
        if kind == "html":
            self._send(b"<html>not found</html>", 200, "text/html")
            return
        if kind == "long":
            body = CONTENT + b"more"
        if kind == "wrong":
            body = bytes(len(CONTENT))
        first = self.path not in self.cuts
        self.cuts[self.path] = start
        end = len(CONTENT) * int(rest[0]) // 100 if kind == "cut" and first else None
        self._send(body, 206 if start else 200, "application/zip", end)

    def _send(
        self, body: bytes, status: int, kind: str, end: int | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:end])
        self.close_connection = True


@contextlib.contextmanager
def server() -> Iterator[str]:
    """The address of a server that runs as long as the context."""
    _Server.cuts = {}
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Server) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()


def downloads() -> Score:
    """DOWNLOAD-8: cut at 0, 1, 50 and 99 %: gone on with and whole; 404, a page instead
    of the file, another length, another hash: an error with the address, no file."""
    tally = Tally()
    with server() as address, scratch() as root:
        for percent in (0, 1, 50, 99):
            path, url = root / f"cut{percent}", f"{address}/cut/{percent}"
            tally.case(
                f"cut at {percent} %", lambda url=url, path=path: _whole(url, path)
            )
        for kind, says in {
            "status/404": "404",
            "html": "page",
            "long": f"wants {len(CONTENT)}",
            "wrong": SHA256,
        }.items():
            path, url = root / kind.replace("/", "-"), f"{address}/{kind}"
            tally.add(_refused(url, path, says), kind)
    return tally.score()


def _whole(url: str, path: Path) -> bool:
    download(url, path, sha256=SHA256, size=len(CONTENT))
    resumed = "/cut/0" in url or _Server.cuts[url[url.index("/cut") :]] > 0
    return path.read_bytes() == CONTENT and resumed


def _refused(url: str, path: Path, says: str) -> bool:
    try:
        download(url, path, sha256=SHA256, size=len(CONTENT), tries=1)
    except DataError as error:
        return url in str(error) and says in str(error) and not path.exists()
    return False
