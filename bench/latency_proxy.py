"""A server that lies between a client and an S3 server on loopback, far away: every request waits before it is passed
on, and is counted.

    with LatencyProxy("http://127.0.0.1:8333", seconds=0.02) as proxy:
        ...  # clients take proxy.endpoint for that of the server
        print(proxy.count)

Requests on one connection follow each other; on many connections they wait side by side, as with a real network. Bytes
are passed on as they come. Clients sign the address that they see, which is passed on as it is.
"""

from __future__ import annotations

import asyncio
import threading
import time
import urllib.parse
from collections import Counter
from contextlib import suppress

BUFFER = 1 << 20


class LatencyProxy:
    def __init__(self, endpoint: str, seconds: float):
        found = urllib.parse.urlsplit(endpoint)
        self.host, self.port = found.hostname, found.port
        self.seconds = seconds
        self.lines: list[str] = []
        self.ready = threading.Event()
        self.connections: set[asyncio.Task] = set()

    def __enter__(self) -> LatencyProxy:
        self.thread = threading.Thread(target=lambda: asyncio.run(self.serve()), daemon=True)
        self.thread.start()
        if not self.ready.wait(10):
            raise TimeoutError("the proxy does not start")
        return self

    def __exit__(self, *_) -> None:
        self.loop.call_soon_threadsafe(self.end.set)
        self.thread.join(10)

    @property
    def count(self) -> int:
        return len(self.lines)

    @property
    def kinds(self) -> Counter[str]:
        """How many requests there were of each kind: listings, and otherwise the method."""
        return Counter("LIST" if "list-type=" in line else line.split(" ", 1)[0] for line in self.lines)

    def reset(self) -> None:
        self.lines.clear()

    async def serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.end = asyncio.Event()
        server = await asyncio.start_server(self.connection, "127.0.0.1", 0, limit=BUFFER, backlog=1024)
        self.endpoint = "http://127.0.0.1:%d" % server.sockets[0].getsockname()[1]
        self.ready.set()
        await self.end.wait()
        server.close()
        for task in self.connections:
            task.cancel()

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self.connections.add(task)
        try:
            behind = await asyncio.open_connection(self.host, self.port, limit=BUFFER)
            try:
                with suppress(asyncio.IncompleteReadError, ConnectionError):
                    while await self.exchange(reader, writer, *behind):
                        pass
            finally:
                behind[1].close()
        except asyncio.CancelledError:
            pass
        finally:
            self.connections.discard(task)
            writer.close()

    async def exchange(self, client_in, client_out, server_in, server_out) -> bool:
        """Passes on a request and its answer; says whether the connection stays open."""
        head = await client_in.readuntil(b"\r\n\r\n")
        line, fields = parse(head)
        self.lines.append(line)
        await asyncio.sleep(self.seconds)
        server_out.write(head)
        method = line.split(" ", 1)[0]
        if fields.get("expect", "").lower() == "100-continue":
            await server_out.drain()
            first = await server_in.readuntil(b"\r\n\r\n")
            client_out.write(first)
            await client_out.drain()
            if not first.startswith(b"HTTP/1.1 100"):
                return False
        await body(client_in, server_out, fields, False)
        answer = await server_in.readuntil(b"\r\n\r\n")
        status, answered = parse(answer)
        client_out.write(answer)
        code = status.split(" ")[1]
        empty = method == "HEAD" or code in ("204", "304")
        if not empty:
            await body(server_in, client_out, answered, True)
        await client_out.drain()
        return "close" not in (fields.get("connection", "").lower(), answered.get("connection", "").lower())


def parse(head: bytes) -> tuple[str, dict[str, str]]:
    first, *rest = head.decode("latin-1").split("\r\n")
    pairs = (line.split(":", 1) for line in rest if ":" in line)
    return first, {name.strip().lower(): value.strip() for name, value in pairs}


async def body(source, target, fields: dict[str, str], until_end: bool) -> None:
    if "chunked" in fields.get("transfer-encoding", "").lower():
        while True:
            line = await source.readuntil(b"\r\n")
            size = int(line.split(b";")[0], 16)
            target.write(line)
            await copy(source, target, size + 2)
            if size == 0:
                break
    elif "content-length" in fields:
        await copy(source, target, int(fields["content-length"]))
    elif until_end:
        while piece := await source.read(BUFFER):
            target.write(piece)
            await target.drain()
    await target.drain()


async def copy(source, target, size: int) -> None:
    while size:
        piece = await source.read(min(size, BUFFER))
        if not piece:
            raise asyncio.IncompleteReadError(b"", size)
        target.write(piece)
        size -= len(piece)
        await target.drain()


if __name__ == "__main__":
    import sys

    with LatencyProxy(sys.argv[1], float(sys.argv[2])) as running:
        print(running.endpoint, flush=True)
        with suppress(KeyboardInterrupt):
            while True:
                time.sleep(3600)
