"""Transfers that are killed or lied to: the same command again gives the right bytes, and what the server has said it
has is not sent again."""

import json
import os
import random
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
from seaweed import BUCKET

MIB = 1 << 20
SIZE = 72 * MIB
MOMENTS = 20


class Counter:
    """A TCP proxy before a server, which counts bytes, lets them through at a rate, and can alter them."""

    def __init__(self, endpoint: str, rate: float | None = None):
        host, port = endpoint.removeprefix("http://").split(":")
        self.target, self.rate, self.alter = (host, int(port)), rate, None
        # Whether of the connections that send much only the first goes on.
        self.only_first, self.first = False, None
        self.up = self.down = 0
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.endpoint = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(self.target)
            threading.Thread(target=self.pipe, args=(client, server, "up"), daemon=True).start()
            threading.Thread(target=self.pipe, args=(server, client, "down"), daemon=True).start()

    def pipe(self, source, target, name):
        sent = 0
        try:
            while data := source.recv(1 << 18):
                with self.lock:
                    setattr(self, name, getattr(self, name) + len(data))
                if self.rate:
                    time.sleep(len(data) / self.rate)
                sent += len(data)
                if name == "up" and sent > MIB:
                    self.first = self.first or source
                while self.only_first and name == "up" and sent > MIB and self.first is not source:
                    time.sleep(0.01)
                if self.alter:
                    data = self.alter(name, data)
                target.sendall(data)
        except OSError:
            pass
        for each in (source, target):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.listener.close()


@pytest.fixture(scope="module")
def client(s3):
    return s3.client()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("resume") / "in.bin"
    path.write_bytes(os.urandom(SIZE))
    return path


@pytest.fixture
def proxy(s3):
    made = []

    def make(rate=None):
        made.append(Counter(s3.endpoint, rate))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def through(vacuole, s3, tmp_path):
    """The program through a proxy, with a cache folder of its own."""
    return lambda proxy: vacuole.within(
        s3.environment(AWS_ENDPOINT_URL_S3=proxy.endpoint, XDG_CACHE_HOME=str(tmp_path / "cache"))
    )


def start(program, *arguments):
    command = [str(program.path), "bucket", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=program.environment)


def kill_after(process, seconds) -> bool:
    """Whether it was caught at work."""
    try:
        process.wait(seconds)
        return False
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return True


def notes(tmp_path) -> list[Path]:
    folder = tmp_path / "cache/vacuole/transfers"
    return list(folder.iterdir()) if folder.exists() else []


def uploads(client, prefix):
    return client.list_multipart_uploads(Bucket=BUCKET, Prefix=prefix).get("Uploads", [])


def confirmed(client, prefix) -> int:
    """The bytes of the parts that the server has; SeaweedFS may list one that came twice two times."""
    total = 0
    for upload in uploads(client, prefix):
        parts = client.list_parts(Bucket=BUCKET, Key=upload["Key"], UploadId=upload["UploadId"])
        total += sum({part["PartNumber"]: part["Size"] for part in parts.get("Parts", [])}.values())
    return total


def settled(client, prefix) -> int:
    """As `confirmed`, when no more arrives of what killed programs have sent."""
    last, now = -1, confirmed(client, prefix)
    while last != now:
        time.sleep(1)
        last, now = now, confirmed(client, prefix)
    return now


def test_a_killed_put_goes_on(client, data, proxy, through, tmp_path):
    slow = proxy(rate=12 * MIB)
    target, caught = f"s3://{BUCKET}/killed/put.bin", 0
    program = through(slow)
    for seed in range(MOMENTS):
        caught += kill_after(start(program, "put", data, target), random.Random(seed).uniform(0.02, 0.5))
    assert caught >= MOMENTS // 2
    assert len(uploads(client, "killed/put.bin")) <= 2
    slow.rate = None
    has = settled(client, "killed/put.bin")
    before = slow.up
    done = json.loads(program("bucket", "put", data, target, "--json").stdout)["objects"][0]
    assert done["resumed_bytes"] == has
    # Headers take some bytes as well.
    assert slow.up - before < SIZE - has + MIB
    assert client.get_object(Bucket=BUCKET, Key="killed/put.bin")["Body"].read() == data.read_bytes()
    assert notes(tmp_path) == []


def test_some_parts_are_confirmed_by_the_server(client, data, proxy, through):
    """Killed once, late: there is something to go on with. Parts travel side by side and would arrive at once, so that
    all connections but one are held."""
    slow = proxy()
    program, target = through(slow), f"s3://{BUCKET}/killed/late.bin"
    slow.only_first = True
    process = start(program, "put", data, target)
    deadline = time.monotonic() + 30
    while confirmed(client, "killed/late.bin") < 8 * MIB and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    has = settled(client, "killed/late.bin")
    slow.only_first = False
    assert 8 * MIB <= has < SIZE
    done = json.loads(program("bucket", "put", data, target, "--json").stdout)["objects"][0]
    assert done["resumed_bytes"] >= has
    assert uploads(client, "killed/late.bin") == []


def test_another_file_begins_anew(client, data, proxy, through, tmp_path):
    slow = proxy(rate=24 * MIB)
    program, target = through(slow), f"s3://{BUCKET}/killed/changed.bin"
    source = tmp_path / "source.bin"
    source.write_bytes(data.read_bytes())
    process = start(program, "put", source, target)
    while process.poll() is None and not any(note.read_text() for note in notes(tmp_path)):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL and len(notes(tmp_path)) == 1
    source.write_bytes(data.read_bytes()[::-1])
    slow.rate = None
    done = json.loads(program("bucket", "put", source, target, "--json").stdout)["objects"][0]
    assert done["resumed_bytes"] == 0 and uploads(client, "killed/changed.bin") == []
    assert client.get_object(Bucket=BUCKET, Key="killed/changed.bin")["Body"].read() == source.read_bytes()


def test_a_killed_fetch_goes_on(client, data, proxy, through, tmp_path):
    client.upload_file(str(data), BUCKET, "killed/fetch.bin")
    slow = proxy(rate=12 * MIB)
    program, source, target = through(slow), f"s3://{BUCKET}/killed/fetch.bin", tmp_path / "out.bin"
    caught = 0
    for seed in range(MOMENTS):
        caught += kill_after(start(program, "fetch", source, target), random.Random(seed).uniform(0.02, 0.6))
        assert not target.exists() or target.read_bytes() == data.read_bytes()
    assert caught >= MOMENTS // 2
    before = slow.down
    slow.rate = None
    done = json.loads(program("bucket", "fetch", source, target, "--json").stdout)["objects"][0]
    assert slow.down - before < SIZE - done["resumed_bytes"] + MIB
    assert target.read_bytes() == data.read_bytes()
    assert notes(tmp_path) == [] and not list(tmp_path.glob(".vacuole-*"))


def test_a_killed_fetch_keeps_ranges_and_checks_them(client, data, proxy, through, tmp_path):
    client.upload_file(str(data), BUCKET, "killed/kept.bin")
    slow = proxy(rate=24 * MIB)
    program, source, target = through(slow), f"s3://{BUCKET}/killed/kept.bin", tmp_path / "out.bin"
    process = start(program, "fetch", source, target)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not any(note.read_text().count("checksum") > 2 for note in notes(tmp_path)):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    # Something else writes into what is there: that range is fetched again.
    (partial,) = tmp_path.glob(".vacuole-*.partial")
    first = json.loads(notes(tmp_path)[0].read_text().splitlines()[1])["number"]
    with open(partial, "r+b") as file:
        file.seek(first * 8 * MIB + 17)
        file.write(b"altered")
    slow.rate = None
    done = json.loads(program("bucket", "fetch", source, target, "--json").stdout)["objects"][0]
    assert 8 * MIB <= done["resumed_bytes"] < SIZE
    assert target.read_bytes() == data.read_bytes()


def test_a_replaced_object_is_fetched_anew(client, data, proxy, through, tmp_path):
    client.upload_file(str(data), BUCKET, "killed/replaced.bin")
    slow = proxy(rate=24 * MIB)
    program, source, target = through(slow), f"s3://{BUCKET}/killed/replaced.bin", tmp_path / "out.bin"
    kill_after(start(program, "fetch", source, target), 1.0)
    other = os.urandom(SIZE)
    client.put_object(Bucket=BUCKET, Key="killed/replaced.bin", Body=other)
    slow.rate = None
    done = json.loads(program("bucket", "fetch", source, target, "--json").stdout)["objects"][0]
    assert done["resumed_bytes"] == 0 and target.read_bytes() == other


def test_an_object_replaced_meanwhile_is_an_error(client, data, proxy, through, tmp_path):
    client.upload_file(str(data), BUCKET, "killed/race.bin")
    slow = proxy(rate=16 * MIB)
    program, target = through(slow), tmp_path / "out.bin"
    process = start(program, "fetch", f"s3://{BUCKET}/killed/race.bin", target)
    while not list(tmp_path.glob(".vacuole-*.partial")):
        time.sleep(0.01)
    time.sleep(0.3)
    client.put_object(Bucket=BUCKET, Key="killed/race.bin", Body=b"short")
    assert process.wait(60) == 8
    assert not target.exists() and not list(tmp_path.glob(".vacuole-*"))


def test_bytes_altered_on_their_way_down_are_refused(client, proxy, through, tmp_path):
    mark = b"MARK" * 4
    client.put_object(Bucket=BUCKET, Key="altered", Body=b"x" * 1000 + mark + b"y" * 1000)
    liar = proxy()
    liar.alter = lambda name, data: data.replace(mark, b"FAKE" * 4) if name == "down" else data
    done = through(liar).run("bucket", "fetch", f"s3://{BUCKET}/altered", tmp_path / "x", "--json")
    assert done.returncode == 6, done.stdout + done.stderr
    assert "bucket says" in json.loads(done.stdout)["error"]["message"]
    assert not (tmp_path / "x").exists() and not list(tmp_path.glob(".vacuole-*"))
    assert through(liar).run("bucket", "cat", f"s3://{BUCKET}/altered").returncode == 6


def test_bytes_altered_on_their_way_up_are_refused(client, proxy, through, tmp_path):
    mark = b"MARK" * 4
    liar = proxy()
    liar.alter = lambda name, data: data.replace(mark, b"FAKE" * 4) if name == "up" else data
    (tmp_path / "x").write_bytes(os.urandom(1000) + mark)
    done = through(liar).run("bucket", "put", tmp_path / "x", f"s3://{BUCKET}/altered-up")
    assert done.returncode != 0
    assert client.list_objects_v2(Bucket=BUCKET, Prefix="altered-up")["KeyCount"] == 0


def test_two_at_once_are_told(client, data, proxy, through, tmp_path):
    slow = proxy(rate=12 * MIB)
    program, target = through(slow), f"s3://{BUCKET}/twice.bin"
    process = start(program, "put", data, target)
    while not notes(tmp_path):
        time.sleep(0.01)
    done = program.run("bucket", "put", data, target, "--json")
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert done.returncode == 8 and "another process" in done.stdout


def test_memory(vacuole, s3, data, tmp_path):
    """Both ways, of a file that is larger than what may be taken."""
    big = tmp_path / "big.bin"
    with open(big, "wb") as file:
        for _ in range(5):
            file.write(data.read_bytes())
    script = (
        "import json, resource, subprocess, sys\n"
        "done = subprocess.run(sys.argv[1:])\n"
        "print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    import sys

    for arguments in (("put", big, f"s3://{BUCKET}/big.bin"), ("fetch", f"s3://{BUCKET}/big.bin", tmp_path / "back.bin")):
        command = [sys.executable, "-c", script, str(vacuole.path), "bucket", *map(str, arguments), "-q"]
        done = subprocess.run(command, capture_output=True, text=True, env=s3.environment(), timeout=120)
        code, peak = done.stdout.split()[-2:]
        assert code == "0", done.stdout + done.stderr
        assert int(peak) < 256 * 1024, f"{int(peak) >> 10} MiB"
    assert subprocess.run(["cmp", big, tmp_path / "back.bin"]).returncode == 0
    s3.client().delete_object(Bucket=BUCKET, Key="big.bin")


def test_metadata_set_by_two_is_told(client, proxy, through):
    """The object is replaced between being seen and being copied."""
    client.put_object(Bucket=BUCKET, Key="raced", Body=b"seen")
    between = proxy()

    def replace(name, data):
        if name == "up" and b"x-amz-copy-source" in data:
            client.put_object(Bucket=BUCKET, Key="raced", Body=b"newer", Metadata={"by": "another"})
        return data

    between.alter = replace
    done = through(between).run("bucket", "meta", f"s3://{BUCKET}/raced", "--set", "a=b", "--json")
    assert done.returncode == 8 and "replaced by somebody else" in done.stdout, done.stdout
    found = client.get_object(Bucket=BUCKET, Key="raced")
    assert found["Body"].read() == b"newer" and found["Metadata"] == {"by": "another"}
