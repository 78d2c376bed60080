"""`vacuole bucket put` and `fetch` while the network or the server misbehaves: the right bytes, or one error in time; no part of
an object and no part of a file is seen, and no upload is left that the same command does not go on with.

`test_bucket_resume.py` has transfers that are killed.
"""

import json
import os
import time

import pytest
from fault_proxy import FaultProxy
from seaweed import ADMIN, BUCKET, SECOND

MIB = 1 << 20
# One request, and parts, the last of which is smaller.
SIZES = {"whole": MIB, "parts": 18 * MIB}


@pytest.fixture(scope="module")
def proxy(s3):
    with FaultProxy(s3.endpoint) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def client(s3):
    return s3.client()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for name, size in SIZES.items():
        (folder / name).write_bytes(os.urandom(size))
    return folder


@pytest.fixture(scope="module")
def stored(data, vacuole, s3):
    """The same as objects, with their checksums."""
    vacuole.within(s3.environment())("bucket", "put", data, f"s3://{BUCKET}/bf/stored/")
    return f"s3://{BUCKET}/bf/stored"


class Faulty:
    """The program by way of the proxy, with a cache folder of its own."""

    def __init__(self, vacuole, s3, proxy, folder):
        self.vacuole, self.s3, self.proxy = vacuole, s3, proxy
        self.variables = {"AWS_ENDPOINT_URL_S3": proxy.endpoint, "XDG_CACHE_HOME": str(folder / "cache")}
        self.notes = folder / "cache/vacuole/transfers"

    def run(self, *arguments, seconds=20, tries=4, identity=ADMIN, **variables):
        program = self.vacuole.within(self.s3.environment(identity, **self.variables, **variables))
        # A second of silence is enough here.
        settings = ("vfs.s3.request_timeout_ms=1000", f"vfs.s3.connect_max_tries={tries}")
        impatient = [part for setting in settings for part in ("--config", setting)]
        begun = time.monotonic()
        done = program.run("bucket", *arguments, *impatient, "--json", timeout=90)
        elapsed = time.monotonic() - begun
        assert "panicked" not in done.stderr, done.stderr
        assert elapsed < seconds, f"{elapsed:.1f} s: {arguments}"
        done.error = None
        if done.returncode:
            done.error = json.loads(done.stdout.splitlines()[-1])["error"]
            assert done.error["message"] and done.error["remedy"]
        return done

    def left(self):
        return list(self.notes.iterdir()) if self.notes.exists() else []


@pytest.fixture
def faulty(vacuole, s3, proxy, tmp_path):
    proxy.clear()
    yield Faulty(vacuole, s3, proxy, tmp_path)
    proxy.clear()


def same_object(client, key, path):
    assert client.get_object(Bucket=BUCKET, Key=key)["Body"].read() == path.read_bytes()


def hidden(folder):
    return list(folder.glob(".vacuole-*"))


SENT = ["500", "503", "refuse", "silent", "lost", "lost-close", "corrupt-upload", "break-upload", "choke"]
ANSWERED = ["500", "503", "refuse", "silent", "lost", "lost-close", "cut", "stall"]
PUTS = [
    *[("whole", fault, {"method": "PUT"}) for fault in SENT],
    *[("parts", fault, {"method": "PUT", "contains": "partNumber=2"}) for fault in SENT],
    *[("parts", fault, {"method": "POST", "contains": "?uploads"}) for fault in ANSWERED],
    *[("parts", fault, {"method": "POST", "contains": "uploadId="}) for fault in ANSWERED],
]
# A change that is the first request of all, and is not answered, is not sent again: see `test_a_put_ends`.
FIRST = [("whole", "silent"), ("whole", "choke"), ("parts", "silent")]
PUTS = [(name, fault, rule) for name, fault, rule in PUTS if (name, fault) not in FIRST or "=" in rule.get("contains", "")]


def ids(part):
    return part if isinstance(part, str) else part.get("contains", "").strip("?=") or part["method"]


@pytest.mark.parametrize("name, fault, rule", PUTS, ids=ids)
def test_a_put_goes_on(name, fault, rule, faulty, data, client, s3):
    key = f"bf/up/{name}-{fault}-{ids(rule)}"
    rule = faulty.proxy.add(fault, **rule)
    done = faulty.run("put", data / name, f"s3://{BUCKET}/{key}")
    assert rule.hit == 1
    assert done.returncode == 0, done.error
    same_object(client, key, data / name)
    assert s3.uploads(key) == [] and faulty.left() == []


@pytest.mark.parametrize("fault", ["503", "refuse", "silent", "corrupt-upload", "choke"])
@pytest.mark.parametrize("name", SIZES)
def test_a_put_ends(name, fault, faulty, data, client, s3):
    """What does not pass is an error, and nothing is seen; without the fault the same command goes on."""
    key = f"bf/ends/{name}-{fault}"
    contains = {"contains": "partNumber=2"} if name == "parts" else {}
    faulty.proxy.add(fault, method="PUT", times=None, **contains)
    done = faulty.run("put", data / name, f"s3://{BUCKET}/{key}", seconds=40, tries=2)
    assert done.returncode == 1 and done.error["kind"] == "io", done.error
    assert s3.keys(key) == {} and len(s3.uploads(key)) == len(faulty.left()) == (name == "parts")
    faulty.proxy.clear()
    assert faulty.run("put", data / name, f"s3://{BUCKET}/{key}").returncode == 0
    same_object(client, key, data / name)
    assert s3.uploads(key) == [] and faulty.left() == []


READ = ["500", "503", "refuse", "silent", "lost", "lost-close", "reset", "cut", "stall", "short", "slow"]
FETCHES = [
    *[(name, fault, {"method": "GET", "first": first}) for name, first in (("whole", 1), ("parts", 2)) for fault in READ],
    *[("parts", fault, {"method": "HEAD"}) for fault in ("503", "lost", "silent")],
]


@pytest.mark.parametrize("name, fault, rule", FETCHES, ids=ids)
def test_a_fetch_goes_on(name, fault, rule, faulty, stored, data, tmp_path):
    rule = faulty.proxy.add(fault, **rule)
    done = faulty.run("fetch", f"{stored}/{name}", tmp_path / "out")
    assert rule.hit == 1
    assert done.returncode == 0, done.error
    assert (tmp_path / "out").read_bytes() == (data / name).read_bytes()
    assert hidden(tmp_path) == [] and faulty.left() == []


@pytest.mark.parametrize("fault", ["503", "reset", "cut", "silent"])
@pytest.mark.parametrize("name", SIZES)
def test_a_fetch_ends(name, fault, faulty, stored, data, tmp_path):
    """What does not pass is an error, and there is no file; without the fault the same command goes on."""
    out = tmp_path / "folder"
    # Where half of what is left comes each time, it may come to an end.
    faulty.proxy.add(fault, method="GET", first=1 if name == "whole" else 3, times=None)
    done = faulty.run("fetch", f"{stored}/{name}", out / "x", seconds=40, tries=2)
    if fault in ("503", "silent"):
        assert done.returncode == 1 and done.error["kind"] == "io", done.error
    if done.returncode:
        assert not (out / "x").exists()
        # What is kept is what the next run goes on with.
        assert len(hidden(out)) == len(faulty.left()) <= (name == "parts")
    else:
        assert (out / "x").read_bytes() == (data / name).read_bytes()
    faulty.proxy.clear()
    assert faulty.run("fetch", f"{stored}/{name}", out / "x").returncode == 0
    assert (out / "x").read_bytes() == (data / name).read_bytes()
    assert hidden(out) == [] and faulty.left() == []


@pytest.mark.parametrize("name", SIZES)
def test_altered_bytes_are_no_file(name, faulty, stored, data, tmp_path):
    rule = faulty.proxy.add("corrupt", method="GET")
    done = faulty.run("fetch", f"{stored}/{name}", tmp_path / "x")
    assert rule.hit == 1 and done.error["kind"] in ("corrupt", "checksum"), done.error
    assert not (tmp_path / "x").exists() and hidden(tmp_path) == [] and faulty.left() == []


@pytest.fixture
def renewing(tmp_path):
    """Variables of a profile whose process gives one key at first, and another from the second time on."""
    (tmp_path / ".aws").mkdir()
    script = tmp_path / "credentials.py"
    script.write_text(
        "import json, pathlib\n"
        f"seen = pathlib.Path({str(tmp_path / 'seen')!r})\n"
        f"key = {SECOND!r} if seen.exists() else {ADMIN!r}\n"
        "seen.touch()\n"
        "print(json.dumps({'Version': 1, 'AccessKeyId': key[0], 'SecretAccessKey': key[1]}))\n"
    )
    (tmp_path / ".aws/config").write_text(f"[default]\ncredential_process = python3 {script}\n")
    return {"HOME": str(tmp_path), "identity": None}


@pytest.mark.parametrize("command", ["put", "fetch"])
def test_credentials_that_end_half_way(command, renewing, faulty, stored, data, client, s3, tmp_path):
    """Others are asked for. Where there are none it is an error at once; with others the same command goes on."""
    out, there = tmp_path / "out.bin", f"s3://{BUCKET}/bf/renewed"
    transfer = (data / "parts", there) if command == "put" else (f"{stored}/parts", out)

    def check():
        if command == "put":
            same_object(client, "bf/renewed", data / "parts")
        else:
            assert out.read_bytes() == (data / "parts").read_bytes()
        assert s3.uploads("bf/renewed") == [] and faulty.left() == [] and hidden(tmp_path) == []

    faulty.proxy.add("expired", header=f"Credential={ADMIN[0]}/", first=3, times=None)
    done = faulty.run(command, *transfer, **renewing)
    assert done.returncode == 0, done.error
    check()
    client.delete_object(Bucket=BUCKET, Key="bf/renewed")
    out.unlink(missing_ok=True)
    faulty.proxy.clear()
    rule = faulty.proxy.add("expired", first=3, times=None)
    done = faulty.run(command, *transfer, seconds=10)
    assert rule.hit and done.error["kind"] == "permission_denied" and "log in again" in done.error["remedy"], done.error
    assert s3.keys("bf/renewed") == {} and not out.exists()
    assert len(s3.uploads("bf/renewed")) == (len(faulty.left()) if command == "put" else 0)
    faulty.proxy.clear()
    assert faulty.run(command, *transfer).returncode == 0
    check()
