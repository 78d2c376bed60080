"""Every command while the network or the server misbehaves: the right result, or one error in time; no wrong bytes, nothing
half-written, and no upload left behind.

`fault_proxy.py` does the misbehaving, in front of the real server.
"""

import json
import signal
import subprocess
import time
import zlib

import anndata as ad
import corpus
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata_equal import same_anndata
from fault_proxy import FaultProxy
from seaweed import ADMIN, BUCKET, SECOND
from soma_equal import differences

# A second of silence is enough here, and three attempts.
IMPATIENT = ("--config", "vfs.s3.request_timeout_ms=1000", "--config", "vfs.s3.connect_max_tries=4")
ROOT = f"s3://{BUCKET}/faults"
SMALL = "uns_nested"


@pytest.fixture(scope="module")
def proxy(s3):
    with FaultProxy(s3.endpoint) as proxy:
        yield proxy


@pytest.fixture
def faulty(proxy, vacuole, s3):
    """The command line, by way of the proxy; and the proxy, without rules."""
    proxy.clear()
    yield vacuole.within(s3.environment(AWS_ENDPOINT_URL_S3=proxy.endpoint)), proxy
    proxy.clear()


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """An input with an array, and an output, of more than one part."""
    rng = np.random.default_rng(3)
    cells = 3000
    x = sp.random(cells, 40, 0.2, "csr", dtype="float32", random_state=rng)
    obs = pd.DataFrame({"score": rng.normal(size=cells)}, index=corpus.names("cell", cells))
    adata = ad.AnnData(x, obs=obs, var=pd.DataFrame(index=corpus.names("gene", 40)))
    adata.obsm["X_noise"] = rng.normal(size=(cells, 900)).astype("float32")
    path = tmp_path_factory.mktemp("faults") / "noise.h5ad"
    corpus.write(adata, path)
    return path


@pytest.fixture(scope="module")
def clean(inputs, noise, vacuole, s3):
    """What is read through faults, put without any."""
    here = vacuole.within(s3.environment())
    here.ingest(f"{ROOT}/small", inputs.h5ad(SMALL))
    here.ingest(f"{ROOT}/noise", noise)
    s3.client().upload_file(str(noise), BUCKET, "faults/noise.h5ad")
    return here


def run(vacuole, *arguments, seconds=20):
    """A command that ends in time, and if it fails says why in one JSON error."""
    begun = time.monotonic()
    done = vacuole.run(*IMPATIENT, *arguments, "--json", timeout=90)
    elapsed = time.monotonic() - begun
    assert "panicked" not in done.stderr, done.stderr
    assert elapsed < seconds, f"{elapsed:.1f} s: {arguments}"
    if done.returncode:
        done.error = json.loads(done.stdout.splitlines()[-1])["error"]
        assert done.error["message"] and done.error["remedy"]
        done.says = f"{done.error['kind']}: {done.error['message']}; {done.error['remedy']}"
    return done


def readings(tmp_path):
    """The commands that read, each with what it has to give."""
    out = tmp_path / "out.h5ad"
    small, noise = f"{ROOT}/small", f"{ROOT}/noise"
    return {
        "show": (("show", small), None),
        "count": (("count", small, "--obs", "soma_joinid >= 3"), None),
        "query": (("query", noise, "--obs", "soma_joinid >= 3", "-o", out), out),
        "export": (("export", noise, out), out),
        "verify": (("verify", small), None),
        "ingest": (("ingest", tmp_path / "store", f"{ROOT}/noise.h5ad", "--measurement", "RNA"), tmp_path / "store"),
    }


@pytest.fixture(scope="module")
def expected(clean, inputs, tmp_path_factory):
    """What these give where nothing is wrong."""
    found = {}
    for name, (arguments, _) in readings(folder := tmp_path_factory.mktemp("expected")).items():
        done = run(clean, *arguments)
        assert done.returncode == 0, done.says
        if name in ("query", "export"):
            (folder / "out.h5ad").rename(folder / f"{name}.h5ad")
        found[name] = done.stdout
    return found, folder


def same(name, done, written, expected):
    found, folder = expected
    if name in ("query", "export"):
        same_anndata(folder / f"{name}.h5ad", written)
    elif name == "ingest":
        assert differences(str(folder / "store"), str(written), slices=0) == []
    else:
        assert json.loads(done.stdout) == json.loads(found[name])


PASSING = ["500", "503", "refuse", "silent", "lost", "lost-close", "reset", "cut", "stall", "short", "slow"]


@pytest.mark.parametrize("fault", PASSING)
def test_reading_goes_on(fault, faulty, expected, tmp_path):
    """What passes does no harm: the same results."""
    vacuole, proxy = faulty
    for i, (name, (arguments, written)) in enumerate(readings(tmp_path).items()):
        proxy.clear()
        # Only of a range it is known how long it has to be.
        header, first = ("Range:", 1) if fault == "short" else ("", 1 + i % 2)
        rule = proxy.add(fault, method="GET", header=header, first=first, times=2)
        if fault in ("silent", "stall"):
            if name in ("show", "count", "export"):
                continue
            rule.first, rule.times = 2, 1
        done = run(vacuole, *arguments)
        assert rule.hit > 0 or (fault == "short" and name in ("show", "count")), name
        assert done.returncode == 0, f"{name}: {done.says}"
        same(name, done, written, expected)


def test_a_first_request_that_is_lost(faulty, expected, tmp_path):
    """Where nobody has answered yet, one request without an answer is not the end."""
    vacuole, proxy = faulty
    arguments, written = readings(tmp_path)["count"]
    rule = proxy.add("silent")
    done = run(vacuole, *arguments, seconds=8)
    assert rule.hit and done.returncode == 0, done.says
    same("count", done, written, expected)


@pytest.mark.parametrize("name", ["query", "export", "verify"])
def test_corrupt_bytes_are_no_result(name, faulty, expected, inputs, tmp_path):
    """Each object that a command reads, damaged on its way: found by its checksums, or it did not count."""
    vacuole, proxy = faulty
    arguments, written = readings(tmp_path)[name]
    assert run(vacuole, *arguments).returncode == 0
    objects = [i for i, r in enumerate(proxy.log(method="GET"), 1) if "list-type" not in r.target]
    chosen = np.random.default_rng(len(name)).choice(objects, min(len(objects), 12), replace=False)
    failed = 0
    for number in sorted(chosen):
        proxy.clear()
        rule = proxy.add("corrupt", method="GET", first=int(number))
        done = run(vacuole, *arguments)
        if done.returncode:
            failed += 1
        elif rule.hit:
            same(name, done, written, expected)
    assert failed > 0


@pytest.mark.parametrize("fault", ["503", "reset", "cut", "short", "silent", "stall"])
def test_reading_ends(fault, faulty, expected, tmp_path):
    """What does not pass is an error, soon."""
    vacuole, proxy = faulty
    for name, (arguments, written) in readings(tmp_path).items():
        if name in ("show", "export") or (fault in ("silent", "stall") and name != "query"):
            continue
        proxy.clear()
        proxy.add(fault, method="GET", contains="faults/", first=2, times=None)
        done = run(vacuole, *arguments, seconds=30)
        assert done.returncode == 1, (name, done.stdout)
        assert "s3://" in done.error["object"] and done.error["kind"] == "io", done.says
        assert not written or not written.exists() or name == "ingest"


WRITES = [
    *[(fault, {"method": "PUT", "first": 3, "times": 2}) for fault in ("500", "503", "refuse", "lost", "lost-close")],
    ("silent", {"method": "PUT", "first": 4}),
    ("corrupt-upload", {"method": "PUT", "body": True, "first": 2, "times": 2}),
    ("lost", {"method": "PUT", "contains": "plan.json"}),
    ("lost-close", {"method": "PUT", "contains": "plan.json"}),
    ("500", {"method": "PUT", "contains": "plan.json"}),
    ("silent", {"method": "PUT", "contains": "plan.json"}),
    *[(fault, {"method": "POST", "contains": "?uploads"}) for fault in ("500", "lost", "lost-close", "cut", "silent")],
    *[(fault, {"method": "PUT", "contains": "partNumber=1"}) for fault in ("503", "lost", "corrupt-upload")],
    *[(fault, {"method": "POST", "contains": "uploadId="}) for fault in ("500", "lost", "lost-close", "cut", "stall")],
    *[(fault, {"method": "POST", "contains": "delete"}) for fault in ("500", "lost", "lost-close", "cut")],
    *[(fault, {"method": "HEAD"}) for fault in ("503", "lost", "silent")],
]


@pytest.mark.parametrize("fault, rule", WRITES, ids=lambda part: part if isinstance(part, str) else "-".join(map(str, part.values())))
def test_writing_goes_on(fault, rule, faulty, clean, s3, noise, request):
    """What passes leaves what is left where nothing is wrong."""
    vacuole, proxy = faulty
    name = f"faults/w/{zlib.crc32(request.node.name.encode())}"
    rule = proxy.add(fault, **rule)
    done = run(vacuole, "ingest", f"s3://{BUCKET}/{name}", noise, "--measurement", "RNA")
    assert rule.hit > 0
    assert done.returncode == 0, done.says
    assert s3.uploads(name) == []
    clean("verify", f"s3://{BUCKET}/{name}")
    assert len(s3.keys(name)) == len(s3.keys("faults/noise/"))


@pytest.mark.parametrize("fault", ["503", "lost", "lost-close", "silent", "corrupt-upload"])
@pytest.mark.parametrize("what", [("POST", "?uploads"), ("PUT", "partNumber=2"), ("POST", "uploadId=")], ids=lambda w: w[1])
def test_output_goes_on(what, fault, faulty, clean, s3, noise, tmp_path):
    vacuole, proxy = faulty
    if (fault, what[0]) == ("corrupt-upload", "POST"):
        pytest.skip("without a checksum of its own")
    key = f"faults/out/{fault}-{what[1][-2:-1]}.h5ad"
    rule = proxy.add(fault, method=what[0], contains=what[1])
    done = run(vacuole, "export", f"{ROOT}/noise", f"s3://{BUCKET}/{key}")
    assert rule.hit == 1
    assert done.returncode == 0, done.says
    assert s3.uploads("faults/out") == []
    s3.client().download_file(BUCKET, key, str(tmp_path / "out.h5ad"))
    same_anndata(noise, tmp_path / "out.h5ad", canonical=True)


@pytest.mark.parametrize(
    "what, fault",
    [
        (("POST", "?uploads"), "lost"),
        (("POST", "?uploads"), "silent"),
        (("PUT", "partNumber="), "503"),
        (("PUT", "partNumber="), "lost"),
        (("POST", "uploadId="), "503"),
        (("POST", "uploadId="), "silent"),
        (("PUT", "__fragments"), "lost"),
    ],
)
def test_writing_ends(what, fault, faulty, clean, s3, noise):
    """What does not pass is an error, soon, that leaves no object half-written and no upload."""
    vacuole, proxy = faulty
    name = f"faults/e/{fault}-{what[1].strip('/?=')}"
    proxy.add(fault, method=what[0], contains=what[1], times=None)
    done = run(vacuole, "ingest", f"s3://{BUCKET}/{name}", noise, "--measurement", "RNA", seconds=40)
    assert done.returncode == 1 and done.error["kind"] == "io", done.says
    assert s3.uploads(name) == []
    done = clean.run("count", f"s3://{BUCKET}/{name}")
    assert done.returncode == 3, done.stderr
    # Without the fault the same command goes on.
    clean("ingest", f"s3://{BUCKET}/{name}", noise, "--measurement", "RNA")
    clean("verify", f"s3://{BUCKET}/{name}")


def test_no_conditional_writes(faulty, s3, inputs):
    """A server that takes a second object where the first was to be the only one: nothing is begun there."""
    vacuole, proxy = faulty
    rule = proxy.add("200", method="PUT", contains="plan.json", header="if-none-match", first=2)
    done = run(vacuole, "ingest", f"{ROOT}/unconditional", inputs.h5ad(SMALL))
    assert rule.hit == 1
    assert done.error["kind"] == "unsupported" and "If-None-Match" in done.says, done.says
    assert s3.keys("faults/unconditional/") == {}


def test_a_plan_takes_one_more_request(faulty, s3, inputs):
    vacuole, proxy = faulty
    assert run(vacuole, "ingest", f"{ROOT}/conditional", inputs.h5ad(SMALL)).returncode == 0
    assert [r.status for r in proxy.log(method="PUT", contains="plan.json")] == [200, 412]


@pytest.fixture
def profile(s3, tmp_path):
    """A profile whose process gives one key at first, and another from the second time on."""
    home = tmp_path / "home"
    (home / ".aws").mkdir(parents=True)
    script = home / "credentials.py"
    script.write_text(
        "import json, pathlib, sys\n"
        f"times = pathlib.Path({str(home / 'times')!r})\n"
        "count = int(times.read_text()) + 1 if times.exists() else 1\n"
        "times.write_text(str(count))\n"
        f"key = {ADMIN!r} if count == 1 else {SECOND!r}\n"
        "print(json.dumps({'Version': 1, 'AccessKeyId': key[0], 'SecretAccessKey': key[1]}))\n"
    )
    (home / ".aws/config").write_text(f"[default]\ncredential_process = python3 {script}\n")
    return home


@pytest.mark.parametrize("command", ["query", "verify", "ingest"])
def test_credentials_that_end_are_renewed(command, faulty, expected, profile, s3, tmp_path):
    vacuole, proxy = faulty
    here = vacuole.within(s3.environment(None, AWS_ENDPOINT_URL_S3=proxy.endpoint, HOME=str(profile)))
    proxy.add("expired", header=f"Credential={ADMIN[0]}/", first=3, times=None)
    arguments, written = readings(tmp_path)[command]
    done = run(here, *arguments)
    assert done.returncode == 0, done.says
    same(command, done, written, expected)
    assert (profile / "times").read_text() == "2"


def test_writing_with_credentials_that_end(faulty, clean, profile, s3, noise):
    vacuole, proxy = faulty
    here = vacuole.within(s3.environment(None, AWS_ENDPOINT_URL_S3=proxy.endpoint, HOME=str(profile)))
    proxy.add("expired", header=f"Credential={ADMIN[0]}/", first=8, times=None)
    done = run(here, "ingest", f"{ROOT}/renewed", noise, "--measurement", "RNA")
    assert done.returncode == 0, done.says
    clean("verify", f"{ROOT}/renewed")
    assert s3.uploads("faults/renewed") == []


@pytest.mark.parametrize("command", ["query", "verify", "ingest"])
def test_credentials_that_end_for_good(command, faulty, expected, tmp_path):
    vacuole, proxy = faulty
    rule = proxy.add("expired", first=3, times=None)
    done = run(vacuole, *readings(tmp_path)[command][0], seconds=5)
    assert rule.hit and done.error["kind"] == "permission_denied", done.says
    assert "are no longer valid" in done.says and "log in again" in done.says


def start(vacuole, store, h5ad):
    command = [str(vacuole.path), "ingest", store, str(h5ad), "--measurement", "RNA"]
    nowhere = subprocess.DEVNULL
    return subprocess.Popen(command, env=vacuole.environment, stdin=nowhere, stdout=nowhere, stderr=nowhere)


@pytest.mark.parametrize("seed", [21, 22])
def test_killed_anywhere(seed, faulty, clean, vacuole, s3, noise, tmp_path):
    """Killed at ten moments for each seed, the same command gives what it would have given; what was recorded is not sent again, and
    no upload is left."""
    there, proxy = faulty
    # Slower than the machine is, so that moments differ.
    proxy.add("late", method="PUT", times=None)
    begun = time.monotonic()
    there.ingest(f"{ROOT}/killed/{seed}", noise)
    seconds = time.monotonic() - begun
    rng = np.random.default_rng(seed)
    killed = resumed = 0
    for i, moment in enumerate(np.sort(rng.uniform(0.05 * seconds, 0.9 * seconds, 10))):
        name = f"faults/killed/{seed}-{i}"
        store = f"s3://{BUCKET}/{name}"
        proxy.clear()
        proxy.add("late", method="PUT", times=None)
        process = start(there, store, noise)
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        recorded = [key.rsplit("/")[-1].removesuffix(".json") for key in s3.keys(f"{name}/__vacuole/done/")]
        proxy.clear()
        there.ingest(store, noise)
        again = [r.target for r in proxy.log() if r.method in ("PUT", "POST") and "/__fragments/" in r.target]
        resumed += len(recorded) > 0
        assert not [target for target in again if any(unit in target for unit in recorded)]
        clean("verify", store)
        assert s3.uploads(f"{name}/") == []
        folders = {key.split("/")[4] for key in s3.keys(f"{name}/__vacuole/")}
        assert folders == {"anndata", "digests", "ingests", "opening", "summary.json"}
        if i % 5 == 0:
            clean("export", store, tmp_path / f"{i}.h5ad")
            same_anndata(noise, tmp_path / f"{i}.h5ad", canonical=True)
    # How long an ingest takes varies with what else the machine does.
    assert killed >= 4 and resumed > 0


def test_uploads_that_a_killed_ingest_left(faulty, clean, s3, noise):
    """Removed by the next run and by `--abort`; those of others are not."""
    there, proxy = faulty
    client = s3.client()
    others = f"faults/left/a/ms/RNA/X/data/__fragments/{'0' * 32}/a0.tdb"
    other = client.create_multipart_upload(Bucket=BUCKET, Key=others)["UploadId"]
    for name, more in (("faults/left/a", ()), ("faults/left/b", ("--abort",))):
        proxy.clear()
        # The second part is never answered.
        rule = proxy.add("silent", method="PUT", contains="partNumber=2", times=None)
        process = start(there, f"s3://{BUCKET}/{name}", noise)
        while process.poll() is None and not rule.hit:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert len(set(s3.uploads(name)) - {others}) == 1
        if more:
            clean("ingest", f"s3://{BUCKET}/{name}", "--abort")
            assert s3.keys(name) == {}
        else:
            clean("ingest", f"s3://{BUCKET}/{name}", noise, "--measurement", "RNA")
            clean("verify", f"s3://{BUCKET}/{name}")
        assert set(s3.uploads(name)) - {others} == set()
    assert s3.uploads("faults/left") == [others]
    client.abort_multipart_upload(Bucket=BUCKET, Key=others, UploadId=other)
