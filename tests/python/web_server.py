"""A web server on loopback that serves the files of a folder by byte ranges, and misbehaves where a path says so.

    with WebServer(folder) as server:
        ...  # server.url("x.h5ad"), server.url("x.h5ad", "moved")

The first part of a path says how: `files` serves ranges with ETags, `dated` without ETags, `signed` only with `?key=secret`,
`moved` redirects to `files`, `plain` knows no ranges, `busy` fails every second request, `cut` ends every second answer
half way, `denied` refuses, and `loop` redirects to itself. HEAD is refused, as by URLs that are signed for GET.
"""

from __future__ import annotations

import http.server
import re
import ssl
import threading
import urllib.parse
from collections import Counter
from email.utils import formatdate
from pathlib import Path


class WebServer:
    def __init__(self, folder: Path, certificate: tuple[Path, Path] | None = None):
        self.folder = folder
        # Of answers, and the ranges asked for.
        self.statuses: Counter[int] = Counter()
        self.ranges: list[tuple[int, int]] = []
        # Called with the number of each request, before it is answered.
        self.before = lambda _: None
        self.requests = 0
        self.lock = threading.Lock()
        self.httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler(self))
        self.scheme = "https" if certificate else "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.httpd.socket = context.wrap_socket(self.httpd.socket, server_side=True)

    def __enter__(self) -> WebServer:
        self.thread = threading.Thread(target=self.httpd.serve_forever, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.httpd.shutdown()
        self.httpd.server_close()
        self.thread.join(10)

    def reset(self) -> None:
        self.statuses.clear()
        self.ranges.clear()
        self.requests = 0

    def url(self, name: str, how: str = "files") -> str:
        return f"{self.scheme}://127.0.0.1:{self.httpd.server_address[1]}/{how}/{urllib.parse.quote(name)}"


def handler(server: WebServer):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self):
            self.answer(403, b"")

        def do_GET(self):
            with server.lock:
                server.requests += 1
                number = server.requests
            server.before(number)
            parts = urllib.parse.urlsplit(self.path)
            _, how, name = parts.path.split("/", 2)
            path = server.folder / urllib.parse.unquote(name)
            if how == "denied" or (how == "signed" and parts.query != "key=secret"):
                return self.answer(403, b"<html>Forbidden</html>")
            if how in ("moved", "loop"):
                target = "files" if how == "moved" else "loop"
                return self.answer(302, b"", Location=f"/{target}/{name}")
            if how == "busy" and number % 2:
                return self.answer(503, b"later")
            if not path.is_file():
                return self.answer(404, b"<html>Not here</html>")
            size = path.stat().st_size
            more = {"Last-Modified": formatdate(path.stat().st_mtime, usegmt=True)}
            if how != "dated":
                more["ETag"] = f'"{path.stat().st_mtime_ns:x}-{size:x}"'
            asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            if how == "plain" or not asked:
                return self.answer(200, path.read_bytes(), **more)
            first, last = int(asked[1]), min(int(asked[2] or size), size - 1)
            if first >= size:
                return self.answer(416, b"", **{"Content-Range": f"bytes */{size}"})
            with server.lock:
                server.ranges.append((first, last + 1))
            more["Content-Range"] = f"bytes {first}-{last}/{size}"
            with open(path, "rb") as file:
                file.seek(first)
                data = file.read(last + 1 - first)
            self.answer(206, data, cut=how == "cut" and number % 2 == 0, **more)

        def answer(self, status: int, body: bytes, cut: bool = False, **headers: str) -> None:
            with server.lock:
                server.statuses[status] += 1
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            try:
                if self.command != "HEAD":
                    self.wfile.write(body[: len(body) // 2] if cut else body)
            except ConnectionError:
                cut = True
            self.close_connection = cut

        def log_message(self, *_):
            pass

    return Handler
