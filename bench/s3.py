"""The steps of the benchmark over S3: a real server on loopback, behind a proxy that lets every request wait and counts it."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from latency_proxy import LatencyProxy

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "tests/python"))

import seaweed  # noqa: E402

# What each request waits.
LATENCY = 0.02
# What opening an H5AD and reading its obs may take.
MOST_OF_OBS = 30
TISSUE = "tissue == 'lung'"
# As the step `narrow` of reference.py.
NARROW = ("--obs", "tissue == 'lung' and sex == 'female'", "--var", "feature_name in ['GENE17', 'GENE1234', 'GENE9876']")
# Names every column of `obs` that make_h5ad.py writes, so that all of them are read.
ALL_OF_OBS = (
    "obs_id != '' and cell_type != '' and tissue != '' and donor_id != '' and sex != '' "
    "and is_primary_data == True and total_counts > 0 and n_genes > 0 and pct_counts_mt > 0"
)


@dataclass
class Asked:
    """What a step took: seconds without imports, and requests."""

    seconds: float
    requests: int
    # With the imports of Python, where there are any.
    whole: float | None = None

    def __str__(self) -> str:
        return f"{self.seconds:.2f} s, {self.requests} requests"


class Bucket:
    """A bucket that is as far away as `LATENCY` says."""

    def __init__(self, server: seaweed.Server, proxy: LatencyProxy):
        self.server, self.proxy = server, proxy

    def uri(self, name: str) -> str:
        return f"s3://{seaweed.BUCKET}/{name}"

    def copy(self, path: Path, name: str) -> str:
        """Copies a file or folder into the bucket, past the proxy."""
        client = self.server.client()
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        for file in files:
            key = name if file == path else f"{name}/{file.relative_to(path)}"
            client.upload_file(str(file), seaweed.BUCKET, key)
        return self.uri(name)

    def environment(self) -> dict[str, str]:
        """Under which `vacuole`, and `reference.py`, go by way of the proxy."""
        tiledb = self.server.tiledb() | {"vfs.s3.endpoint_override": self.proxy.endpoint.removeprefix("http://")}
        return os.environ | self.server.environment(
            AWS_ENDPOINT_URL_S3=self.proxy.endpoint, VACUOLE_BENCH_TILEDB=json.dumps(tiledb), HOME=os.environ["HOME"]
        )


@contextlib.contextmanager
def bucket(folder: Path):
    server = seaweed.start(folder)
    try:
        with LatencyProxy(server.endpoint, LATENCY) as proxy:
            yield Bucket(server, proxy)
    finally:
        server.stop()
