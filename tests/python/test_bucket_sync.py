"""`vacuole bucket sync`: both ways, with what is new, changed and gone."""

import json
import os
import random
import signal
import subprocess
import time

import pytest
from seaweed import BUCKET


@pytest.fixture(scope="module")
def bucket(vacuole, s3):
    return vacuole.within(s3.environment())


@pytest.fixture(scope="module")
def client(s3):
    return s3.client()


def sync(bucket, *arguments):
    return json.loads(bucket("bucket", "sync", *arguments, "--json").stdout)


def tree(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def keys(client, prefix):
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
    return {item["Key"].removeprefix(prefix) for page in pages for item in page.get("Contents", [])}


def fill(folder):
    for name in ("a", "b/c", "b/d"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def test_up(bucket, client, tmp_path):
    fill(tmp_path)
    there = f"s3://{BUCKET}/sync/up"
    assert sync(bucket, tmp_path, there, "--dry-run")["copied"] == ["a", "b/c", "b/d"]
    assert keys(client, "sync/up/") == set()
    assert sync(bucket, tmp_path, there)["bytes"] == 7
    again = sync(bucket, tmp_path, there)
    assert again["copied"] == [] and again["unchanged"] == 3
    (tmp_path / "a").write_text("other size")
    (tmp_path / "b/c").write_text("C/B")
    os.utime(tmp_path / "b/c", (time.time() + 5, time.time() + 5))
    (tmp_path / "b/d").unlink()
    done = sync(bucket, tmp_path, there)
    assert done["copied"] == ["a", "b/c"] and done["removed"] == []
    assert keys(client, "sync/up/") == {"a", "b/c", "b/d"}
    os.utime(tmp_path / "b/c", (1, 1))
    assert sync(bucket, tmp_path, there, "--delete", "--dry-run")["removed"] == ["b/d"]
    assert sync(bucket, tmp_path, there, "--delete")["removed"] == ["b/d"]
    assert keys(client, "sync/up/") == {"a", "b/c"}


def test_by_content(bucket, client, tmp_path):
    fill(tmp_path)
    there = f"s3://{BUCKET}/sync/content/"
    sync(bucket, tmp_path, there)
    (tmp_path / "a").write_text("A")
    os.utime(tmp_path / "a", (1, 1))
    os.utime(tmp_path / "b/c", (time.time() + 99, time.time() + 99))
    assert sync(bucket, tmp_path, there, "--dry-run")["copied"] == ["b/c"]
    assert sync(bucket, tmp_path, there, "--checksum")["copied"] == ["a"]
    assert client.get_object(Bucket=BUCKET, Key="sync/content/a")["Body"].read() == b"A"


def test_down(bucket, client, tmp_path):
    source, out = tmp_path / "in", tmp_path / "out"
    fill(source)
    there = f"s3://{BUCKET}/sync/down/"
    sync(bucket, source, there)
    assert sync(bucket, there, out)["copied"] == ["a", "b/c", "b/d"]
    assert tree(out) == tree(source)
    assert sync(bucket, there, f"file://{out}")["unchanged"] == 3
    (out / "extra").write_text("extra")
    (out / "a").write_text("longer")
    done = sync(bucket, there, out, "--delete")
    assert done["copied"] == ["a"] and done["removed"] == ["extra"]
    assert tree(out) == tree(source)
    client.put_object(Bucket=BUCKET, Key="sync/down/nul", Body=b"x")
    done = bucket.run("bucket", "sync", there, out, "--json")
    assert done.returncode == 5 and "nul" in done.stdout


def test_wrong_pairs(bucket, tmp_path):
    assert bucket.run("bucket", "sync", tmp_path, tmp_path).returncode == 2
    assert bucket.run("bucket", "sync", f"s3://{BUCKET}/a", f"s3://{BUCKET}/b").returncode == 2
    assert bucket.run("bucket", "sync", f"s3://{BUCKET}/nothing-here", tmp_path).returncode == 3


def test_killed_and_again(bucket, client, tmp_path):
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for number in range(60):
        (source / f"{number:02}").write_bytes(os.urandom(200_000))
    there = f"s3://{BUCKET}/sync/killed/"
    for pair in ((source, there), (there, out)):
        for seed in range(20):
            process = subprocess.Popen(
                [bucket.path, "bucket", "sync", *map(str, pair), "-q"],
                env=bucket.environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            try:
                process.wait(random.Random(seed).uniform(0.01, 0.25))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
            # What has its name is whole.
            for name, data in tree(out).items():
                assert name.startswith(".vacuole-") or data == (source / name).read_bytes()
        sync(bucket, *pair)
    assert tree(out) == tree(source)
