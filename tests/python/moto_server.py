"""moto's S3 server on loopback, for what SeaweedFS does not have: keys with empty parts, archives, and roles (STS).

It takes any secret and any checksum: nothing here tells whether signatures and checksums are right.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import boto3
import botocore.config
from seaweed import CLEAN

BUCKET = "cells"
REGION = "us-east-1"
KEYS = {"AWS_ACCESS_KEY_ID": "any-key", "AWS_SECRET_ACCESS_KEY": "any-secret"}


@dataclass
class Server:
    endpoint: str
    folder: Path
    process: subprocess.Popen

    def environment(self, **more: str) -> dict[str, str]:
        """Variables under which programs reach the server; credentials are for the caller to add."""
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(CLEAN)}
        return kept | {"HOME": str(home), "AWS_ENDPOINT_URL": self.endpoint, "AWS_REGION": REGION} | more

    def client(self):
        config = botocore.config.Config(s3={"addressing_style": "path"})
        keys = dict(aws_access_key_id="any-key", aws_secret_access_key="any-secret")
        return boto3.client("s3", endpoint_url=self.endpoint, region_name=REGION, config=config, **keys)

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def start(folder: Path) -> Server:
    repository = Path(__file__).resolve().parents[2]
    make = [sys.executable, repository / ".ci/python_env.py", repository / "tests/python/requirements-moto.txt"]
    python = Path(subprocess.run(make, capture_output=True, text=True, check=True).stdout.strip())
    # The system chooses the port.
    command = [python.parent / "moto_server", "-H", "127.0.0.1", "-p", "0"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(CLEAN)}
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    server = Server("", folder, process)
    try:
        for _ in range(480):
            if process.poll() is not None:
                raise RuntimeError(f"moto ended: {server.log()[-2000:]}")
            if found := re.search(r"Running on (http://[\d.]+:\d+)", server.log()):
                server.endpoint = found[1]
                urllib.request.urlopen(f"{server.endpoint}/moto-api/data.json", timeout=60).close()
                server.client().create_bucket(Bucket=BUCKET)
                return server
            time.sleep(0.125)
        raise RuntimeError(f"moto does not say where it is: {server.log()[-2000:]}")
    except BaseException:
        server.stop()
        raise
