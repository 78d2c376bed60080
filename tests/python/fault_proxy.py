"""A proxy in front of a real S3 server that forwards bytes as they are, and by rule does what networks and busy servers do.

The client is given the proxy's endpoint, and signs for it; the server checks the signature against the `Host` it is
sent, which is that one. Nothing is rewritten, so whatever arrives damaged was damaged by a rule.

    with FaultProxy(s3.endpoint) as proxy:
        proxy.add("lost", method="PUT", contains="plan.json")
        ...
        assert proxy.count(method="PUT", contains="plan.json") == 2

Faults, of the n-th request and following that fit a rule:

`500`, `503`, `expired`     an answer of the proxy's own; the server is not asked
`200`                       the same, as of a server that does nothing and says it did
`refuse`                    the connection is reset before the server is asked
`silent`                    the request is taken, and never answered
`lost`, `lost-close`        the server does it; then the connection is reset, or closed, instead of an answer
`reset`, `cut`, `stall`     half of the answer's body, then a reset, an orderly close, or nothing more
`short`                     half of the answer's body, with a Content-Length that says that is all
`corrupt`                   a byte in the middle of the answer's body is another
`corrupt-upload`            a byte in the middle of the request's body is another
`break-upload`, `choke`     half of the request's body is read; then the connection is reset, or nothing more is read
`late`                      the answer comes a fiftieth of a second later
`slow`                      the answer comes in eight pieces, over half a second
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

ERROR = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>{}</Code><Message>By a rule of the test.</Message></Error>'
ANSWERS = {
    "200": (200, ""),
    "500": (500, ERROR.format("InternalError")),
    "503": (503, ERROR.format("SlowDown")),
    "expired": (400, ERROR.format("ExpiredToken")),
}
FAULTS = {*ANSWERS, *"refuse silent lost lost-close reset cut stall short corrupt slow late".split()}
FAULTS |= {"corrupt-upload", "break-upload", "choke"}


@dataclass
class Rule:
    """Every part that is given has to fit. `first` counts from 1; `times` is None for all that follow."""

    fault: str
    method: str | None = None
    contains: str = ""
    lacks: str | None = None
    header: str = ""
    body: bool = False
    first: int = 1
    times: int | None = 1
    seen: int = 0
    hit: int = 0

    def fits(self, request: Request) -> bool:
        return (
            self.method in (None, request.method)
            and self.contains in request.target
            and (self.lacks is None or self.lacks not in request.target)
            and self.header.lower() in request.head.lower()
            and (request.has_body or not self.body)
        )


@dataclass
class Request:
    method: str
    target: str
    head: str
    has_body: bool
    fault: str | None = None
    status: int | None = None


@dataclass
class Message:
    """A head up to and with its empty line, and a body as it came, chunks and all."""

    head: bytes
    body: bytes = b""

    def headers(self) -> dict[bytes, bytes]:
        lines = (line.partition(b":") for line in self.head.split(b"\r\n")[1:])
        return {name.strip().lower(): value.strip() for name, _, value in lines}

    def length(self) -> int | None:
        """That of the body; None where it comes in chunks."""
        headers = self.headers()
        if headers.get(b"transfer-encoding", b"").lower() == b"chunked":
            return None
        return int(headers.get(b"content-length", 0))


class FaultProxy:
    def __init__(self, endpoint: str):
        parts = urlsplit(endpoint)
        self.server = (parts.hostname, parts.port)
        self.rules: list[Rule] = []
        self.requests: list[Request] = []
        self.lock = threading.Lock()
        self.stopped = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.endpoint = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def __enter__(self) -> FaultProxy:
        return self

    def __exit__(self, *_) -> None:
        self.stopped.set()
        self.listener.close()

    def add(self, fault: str, **rule) -> Rule:
        assert fault in FAULTS, fault
        with self.lock:
            self.rules.append(Rule(fault, **rule))
            return self.rules[-1]

    def clear(self) -> None:
        """Forgets rules and requests."""
        with self.lock:
            self.rules.clear()
            self.requests.clear()

    def log(self, method: str | None = None, contains: str = "") -> list[Request]:
        with self.lock:
            return [r for r in self.requests if method in (None, r.method) and contains in r.target]

    def count(self, **which) -> int:
        return len(self.log(**which))

    def accept(self) -> None:
        while not self.stopped.is_set():
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client: socket.socket) -> None:
        server = None
        try:
            with client, client.makefile("rb") as reading:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while message := read_head(reading):
                    request = self.choose(message)
                    if request.fault in ("break-upload", "choke"):
                        reading.read(message.length() // 2)
                        if request.fault == "choke":
                            self.hold(None)
                        else:
                            reset(client)
                        return
                    read_body(reading, message, request=True)
                    if server is None:
                        server = socket.create_connection(self.server)
                        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                        answers = server.makefile("rb")
                    if not self.exchange(client, request, message, server, answers):
                        return
        except OSError:
            pass  # one of the two has gone
        finally:
            if server is not None:
                server.close()

    def choose(self, message: Message) -> Request:
        head = message.head.decode("latin-1")
        method, target, _ = head.split(" ", 2)
        request = Request(method, unquote(target), head, message.length() != 0)
        with self.lock:
            self.requests.append(request)
            for rule in self.rules:
                if rule.fits(request):
                    rule.seen += 1
                    if rule.seen >= rule.first and (rule.times is None or rule.hit < rule.times):
                        rule.hit += 1
                        request.fault = rule.fault
                        break
        return request

    def exchange(self, client, request: Request, message: Message, server, answers) -> bool:
        """One request and its answer. Returns whether the connection goes on."""
        fault = request.fault
        if fault in ANSWERS:
            request.status, text = ANSWERS[fault]
            body = b"" if request.method == "HEAD" else text.encode()
            head = f"HTTP/1.1 {request.status} Fault\r\nContent-Type: application/xml\r\nETag: \"0\"\r\n"
            head += f"Content-Length: {len(body)}\r\n\r\n"
            client.sendall(head.encode() + body)
            return True
        if fault == "refuse":
            return reset(client)
        if fault == "silent":
            return self.hold(client)
        body = message.body
        if fault == "corrupt-upload":
            body = corrupted(body)
        server.sendall(message.head + body)
        answer = read_head(answers)
        if answer is None:
            return False
        if request.method != "HEAD":
            read_body(answers, answer, request=False)
        request.status = int(answer.head.split(b" ", 2)[1])
        half = len(answer.body) // 2
        match fault:
            case "late":
                time.sleep(0.02)
                client.sendall(answer.head + answer.body)
            case "lost":
                return reset(client)
            case "lost-close":
                return False
            case "reset" | "cut" | "stall":
                client.sendall(answer.head + answer.body[:half])
                if fault == "stall":
                    return self.hold(client)
                return fault == "reset" and reset(client, 0.05)
            case "short":
                lines = answer.head.split(b"\r\n")
                lines = [b"Content-Length: %d" % half if is_length(line) else line for line in lines]
                client.sendall(b"\r\n".join(lines) + answer.body[:half])
            case "corrupt":
                client.sendall(answer.head + corrupted(answer.body))
            case "slow":
                step = max(len(answer.body) // 8, 1)
                client.sendall(answer.head)
                for at in range(0, len(answer.body), step):
                    time.sleep(0.06)
                    client.sendall(answer.body[at : at + step])
            case _:
                client.sendall(answer.head + answer.body)
        return b"connection: close" not in answer.head.lower()

    def hold(self, client) -> bool:
        """Says nothing until the client or the test has gone; without a client, reads nothing for a while."""
        if client is None:
            self.stopped.wait(20)
            return False
        client.settimeout(0.1)
        while not self.stopped.is_set():
            try:
                if not client.recv(1 << 16):
                    break
            except TimeoutError:
                continue
        return False


def reset(client, after: float = 0) -> bool:
    # What was sent before is to arrive before.
    time.sleep(after)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.shutdown(socket.SHUT_RD)
    return False


def corrupted(body: bytes) -> bytes:
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 0x20]) + body[middle + 1 :] if body else body


def is_length(line: bytes) -> bool:
    return line.lower().startswith(b"content-length:")


def read_head(reading) -> Message | None:
    """The head of a message, or None at the end of the connection."""
    lines = []
    while True:
        line = reading.readline()
        if not line:
            return None
        lines.append(line)
        if line == b"\r\n":
            return Message(b"".join(lines))


def read_body(reading, message: Message, *, request: bool) -> None:
    status = b"" if request else message.head.split(b" ", 2)[1]
    if status in (b"204", b"304") or status.startswith(b"1"):
        return
    length = message.length()
    if length is None:
        message.body = read_chunks(reading)
    elif length or request or b"content-length" in message.headers():
        message.body = reading.read(length)
    else:
        message.body = reading.read()


def read_chunks(reading) -> bytes:
    found = []
    while True:
        found.append(reading.readline())
        size = int(found[-1].split(b";")[0], 16)
        if size == 0:
            while found[-1] not in (b"\r\n", b""):
                found.append(reading.readline())
            return b"".join(found)
        found.append(reading.read(size + 2))
