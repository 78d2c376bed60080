"""The cache of what was read from buckets: few requests, the bytes that are in the bucket and no others, whatever happens to the
folder and to the processes that share it; and what was read before where the bucket cannot be reached."""

import json
import os
import random
import re
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anndata as ad
import corpus
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata_equal import same_anndata
from fault_proxy import FaultProxy
from seaweed import ADMIN, BUCKET

CELLS, GENES = 4000, 1500
FILTER = "tissue == 'lung'"
ROOT = f"s3://{BUCKET}/cached"
ATLAS, FILE = f"{ROOT}/atlas", f"{ROOT}/input.h5ad"

# Where each request is reset, two attempts are enough.
QUICK = ("--cache", "--config", "vfs.s3.connect_max_tries=2")


def make(path, seed, density=0.1):
    rng = np.random.default_rng(seed)
    obs = pd.DataFrame(index=corpus.names("cell", CELLS))
    obs["tissue"] = pd.Categorical(rng.choice(["lung", "liver", "blood"], CELLS))
    for i in range(4):
        obs[f"number{i}"] = rng.random(CELLS)
        obs[f"text{i}"] = [f"{i}-{n}" for n in rng.integers(0, CELLS, CELLS)]
    x = sp.random(CELLS, GENES, density, "csr", dtype=np.float32, random_state=seed)
    adata = ad.AnnData(x, obs, pd.DataFrame(index=corpus.names("gene", GENES)), obsm={"X_pca": rng.random((CELLS, 60))})
    corpus.write(adata, path)
    return path


@pytest.fixture(scope="module")
def h5ad(tmp_path_factory):
    return make(tmp_path_factory.mktemp("cache") / "input.h5ad", 1)


@pytest.fixture(scope="module")
def stored(s3, vacuole, h5ad):
    vacuole.within(s3.environment()).ingest(ATLAS, h5ad)
    s3.client().upload_file(str(h5ad), BUCKET, "cached/input.h5ad")


@pytest.fixture(scope="module")
def proxy(s3):
    with FaultProxy(s3.endpoint) as proxy:
        yield proxy


@pytest.fixture
def here(s3, proxy, vacuole, stored, tmp_path):
    """The command line behind the proxy, with a cache and a configuration of its own."""
    proxy.clear()
    folders = {"VACUOLE_CACHE_DIR": tmp_path / "objects", "XDG_CONFIG_HOME": tmp_path / "config"}
    folders = {name: str(path) for name, path in folders.items()}
    yield vacuole.within(s3.environment(AWS_ENDPOINT_URL_S3=proxy.endpoint, **folders))
    proxy.clear()


def of_query(uri, out):
    return ["query", uri, "--obs", FILTER, "-o", out]


COMMANDS = {
    "count": lambda out: ["count", ATLAS, "--obs", FILTER],
    "query": lambda out: of_query(ATLAS, out),
    "show": lambda out: ["show", ATLAS],
    "export": lambda out: ["export", ATLAS, out],
    "count-h5ad": lambda out: ["count", FILE, "--obs", FILTER],
    "query-h5ad": lambda out: of_query(FILE, out),
    "show-h5ad": lambda out: ["show", FILE],
    "ingest-h5ad": lambda out: ["ingest", out, FILE],
}


def run(here, proxy, name, tmp_path, *options):
    """What a command says and writes, and its requests."""
    out = tmp_path / f"out{random.getrandbits(40)}.h5ad"
    proxy.requests.clear()
    done = here(*COMMANDS[name](out), *options, "--json")
    said = json.loads(done.stdout)
    for name in ("experiment", "path", "output"):
        said.pop(name, None)
    return said, out if out.is_file() else None, [kind(request) for request in proxy.log()], done


def kind(request):
    """HEAD, LIST, or GET and the object."""
    if request.method == "GET" and "list-type=2" in request.target:
        return "LIST"
    return request.method if request.method == "HEAD" else f"{request.method} {request.target}"


def same(a, b):
    # A plan has a name of its own.
    answers = [{**done[0], "plan": None} if isinstance(done[0], dict) else done[0] for done in (a, b)]
    assert answers[0] == answers[1]
    assert (a[1] is None) == (b[1] is None)
    if a[1] is not None:
        same_anndata(a[1], b[1])


def same_slice(path, out):
    """What a query wrote is AnnData's slice of a file."""
    whole = ad.read_h5ad(path)
    expected = out.with_name("expected.h5ad")
    with ad.settings.override(remove_unused_categories=False):
        whole[whole.obs.tissue == "lung"].copy().write_h5ad(expected, convert_strings_to_categoricals=False)
    same_anndata(out, expected)


def folder_of(here):
    return Path(here.environment["VACUOLE_CACHE_DIR"])


def files(here, kind="*"):
    return [path for path in folder_of(here).glob(f"v1/{kind}/*/*") if path.is_file()]


def taken(here):
    return sum(path.stat().st_size for path in folder_of(here).rglob("*") if path.is_file())


@pytest.mark.parametrize("name", COMMANDS)
def test_the_second_run_asks_only_whether_anything_has_changed(name, here, proxy, tmp_path):
    plain = run(here, proxy, name, tmp_path)
    assert not folder_of(here).exists(), "off by default"
    first = run(here, proxy, name, tmp_path, "--cache")
    second = run(here, proxy, name, tmp_path, "--cache")
    same(plain, first)
    same(plain, second)
    assert any(request.startswith("GET") for request in plain[2])
    assert len(first[2]) <= len(plain[2])
    if name == "ingest-h5ad":
        # At its end it asks whether the file still is what it was.
        assert set(second[2]) == {"HEAD"} and len(second[2]) <= 4, second[2]
    else:
        assert second[2] == (["HEAD"] if "h5ad" in name else ["LIST"])
    assert "warning" not in second[3].stderr
    again = run(here, proxy, name, tmp_path)
    assert len(again[2]) == len(plain[2]), "without --cache nothing is read from it"


def test_what_one_command_has_read_serves_another(here, proxy, tmp_path):
    run(here, proxy, "query", tmp_path, "--cache")
    assert run(here, proxy, "count", tmp_path, "--cache")[2] == ["LIST"]


def test_an_object_that_was_replaced_is_read_anew(here, proxy, s3, tmp_path):
    uri, client = f"{ROOT}/changing.h5ad", s3.client()
    wanted = []
    for seed in (5, 6, 5):
        path = make(tmp_path / f"{seed}.h5ad", seed)
        client.upload_file(str(path), BUCKET, "cached/changing.h5ad")
        wanted.append(int((ad.read_h5ad(path).obs.tissue == "lung").sum()))
        out = tmp_path / "out.h5ad"
        here(*of_query(uri, out), "--cache")
        same_slice(path, out)
    assert wanted[0] != wanted[1]


def test_an_experiment_that_was_changed_is_read_anew(here, proxy, s3, vacuole, tmp_path):
    """One object of an array, of the same name and size, has other bytes: its checksum says so, through the cache too."""
    uri = f"{ROOT}/damaged"
    direct, client = vacuole.within(s3.environment()), s3.client()
    direct.ingest(uri, make(tmp_path / "in.h5ad", 8))
    here("query", uri, "-o", tmp_path / "a.h5ad", "--cache")
    keys = s3.keys("cached/damaged/ms/RNA/X/data/__fragments/")
    key = max(keys, key=keys.get)
    body = bytearray(client.get_object(Bucket=BUCKET, Key=key)["Body"].read())
    body[len(body) // 2] ^= 255
    client.put_object(Bucket=BUCKET, Key=key, Body=bytes(body))
    done = here.run("query", uri, "-o", tmp_path / "b.h5ad", "--cache")
    assert done.returncode == 6, done.stderr
    assert not (tmp_path / "b.h5ad").exists()


def test_an_object_that_is_replaced_while_it_is_read_is_not_kept_under_its_old_name(here, proxy, s3, tmp_path):
    """Its bytes would be believed by all that come later."""
    uri, client = f"{ROOT}/racing.h5ad", s3.client()
    # Larger than what is fetched at once.
    paths = [make(tmp_path / f"{seed}.h5ad", seed, 0.3) for seed in (11, 12)]
    client.upload_file(str(paths[0]), BUCKET, "cached/racing.h5ad")
    proxy.add("slow", method="GET", contains="racing", times=None)
    out = tmp_path / "out.h5ad"
    command = [str(here.path), *map(str, of_query(uri, out)), "--cache"]
    process = subprocess.Popen(command, env=here.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not proxy.count(method="GET", contains="racing"):
        assert process.poll() is None
        time.sleep(0.005)
    client.upload_file(str(paths[1]), BUCKET, "cached/racing.h5ad")
    said = process.communicate(timeout=60)
    assert process.returncode != 0 and "was replaced while it was read" in said[1], said
    proxy.clear()
    # The old bytes come back, and with them their ETag.
    for path in paths[::-1]:
        client.upload_file(str(path), BUCKET, "cached/racing.h5ad")
        here(*of_query(uri, out), "--cache")
        same_slice(path, out)


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "ingest-h5ad"])
def test_without_a_network_what_was_read_is_there(name, here, proxy, tmp_path):
    online = run(here, proxy, name, tmp_path, "--cache")
    proxy.add("refuse", times=None)
    offline = run(here, proxy, name, tmp_path, *QUICK)
    same(online, offline)
    warnings = [line for line in offline[3].stderr.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 1, offline[3].stderr
    pattern = rf"warning: s3://{BUCKET}/cached\S*: cannot be reached at {proxy.endpoint}: .+; reading what the cache kept on \d{{4}}-\d\d-\d\d at \d\d:\d\d UTC"
    assert re.fullmatch(pattern, warnings[0]), warnings
    quiet = here(*COMMANDS[name](tmp_path / "quiet.h5ad"), *QUICK, "--quiet")
    assert quiet.stderr == ""
    done = here.run(*COMMANDS[name](tmp_path / "none.h5ad"), *QUICK[1:], "--json")
    assert done.returncode == 1 and "cannot be reached" in done.stdout
    assert not (tmp_path / "none.h5ad").exists()
    proxy.clear()
    online = run(here, proxy, name, tmp_path, "--cache")
    assert "warning" not in online[3].stderr


@pytest.mark.parametrize("fault", ["closed", "silent"])
def test_nobody_at_the_address(fault, s3, here, tmp_path):
    """A port at which nobody listens any more, and one at which nobody answers."""
    with FaultProxy(s3.endpoint) as own:
        there = here.within(here.environment | {"AWS_ENDPOINT_URL_S3": own.endpoint})
        expected = there("count", ATLAS, "--obs", FILTER, "--cache").stdout
        if fault == "silent":
            own.add("silent", times=None)
        else:
            own.stopped.set()
            # Wakes the thread that waits for connections, after which nobody listens.
            own.listener.shutdown(2)
            own.listener.close()
        begun = time.monotonic()
        done = there("count", ATLAS, "--obs", FILTER, "--cache")
        assert time.monotonic() - begun < 20
        assert done.stdout == expected
        assert "cannot be reached" in done.stderr and "reading what the cache kept" in done.stderr


def test_what_a_server_refuses_is_no_lack_of_a_network(here, proxy, s3, tmp_path):
    """Wrong credentials, a busy server, and objects that are gone: errors as ever, though all of it is in the cache."""
    here("count", ATLAS, "--obs", FILTER, "--cache")
    stranger = here.within(here.environment | {"AWS_SECRET_ACCESS_KEY": "wrong"})
    assert stranger.run("count", ATLAS, "--cache").returncode == 9
    proxy.add("503", times=None)
    busy = here.run("--config", "vfs.s3.connect_max_tries=2", "count", ATLAS, "--cache")
    assert busy.returncode == 1 and "SlowDown" in busy.stderr
    proxy.clear()
    client = s3.client()
    client.put_object(Bucket=BUCKET, Key="cached/gone.h5ad", Body=Path(make(tmp_path / "x.h5ad", 3)).read_bytes())
    here("count", f"{ROOT}/gone.h5ad", "--cache")
    client.delete_object(Bucket=BUCKET, Key="cached/gone.h5ad")
    assert here.run("count", f"{ROOT}/gone.h5ad", "--cache").returncode == 3
    proxy.add("refuse", times=None)
    # The last that was heard of it is that it is not there.
    assert here.run("count", f"{ROOT}/gone.h5ad", *QUICK).returncode != 0


def test_credentials_that_cannot_be_had_without_a_network(here, proxy, tmp_path):
    """A role is assumed by asking a server."""
    expected = here("count", ATLAS, "--obs", FILTER, "--cache").stdout
    (tmp_path / "token").write_text("token")
    closed = "http://127.0.0.1:9"
    role = {
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"),
        "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/reader",
        "AWS_ENDPOINT_URL_STS": closed,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    kept = {name: value for name, value in here.environment.items() if "KEY" not in name}
    assumed = here.within(kept | role)
    proxy.add("refuse", times=None)
    done = assumed("count", ATLAS, "--obs", FILTER, *QUICK)
    assert done.stdout == expected and "reading what the cache kept" in done.stderr
    # Nor is this taken for a network that is down: there are none.
    done = here.within(kept | {"AWS_EC2_METADATA_DISABLED": "true"}).run("count", ATLAS, "--obs", FILTER, *QUICK)
    assert done.returncode == 9 and "found no credentials" in done.stderr


def test_without_a_network_what_was_not_read_is_missing(here, proxy, s3, tmp_path):
    # Larger than what is fetched at once.
    large = f"{ROOT}/large.h5ad"
    s3.client().upload_file(str(make(tmp_path / "large.h5ad", 9, 0.3)), BUCKET, "cached/large.h5ad")
    for uri in (ATLAS, large):
        here("count", uri, "--obs", FILTER, "--cache")
    proxy.add("refuse", times=None)
    for uri in (ATLAS, large):
        done = here.run(*of_query(uri, tmp_path / "out.h5ad"), *QUICK, "--json")
        error = json.loads(done.stdout)["error"]
        assert done.returncode == 1 and error["kind"] == "io"
        assert "cannot be reached" in error["message"], error
        assert f"not in the cache ({folder_of(here)})" in error["message"], error
        assert "check the network" in str(error), error
        assert not list(tmp_path.glob("out*"))
    done = here.run("count", f"{ROOT}/unheard-of", *QUICK, "--json")
    assert "what was listed here is not in the cache" in json.loads(done.stdout)["error"]["message"]
    # What is written is not kept for later.
    done = here.run("ingest", f"{ROOT}/new", FILE, *QUICK, "--json")
    assert done.returncode == 1 and "cannot be reached" in done.stdout


def test_an_output_in_a_bucket_is_never_taken_offline(here, proxy, tmp_path):
    run(here, proxy, "query", tmp_path, "--cache")
    proxy.add("refuse", times=None)
    done = here.run(*of_query(ATLAS, f"{ROOT}/out.h5ad"), *QUICK)
    assert done.returncode == 1 and "cannot be reached" in done.stderr.splitlines()[-1]


def test_the_size_is_kept_to(here, proxy, tmp_path):
    most = 2 << 20
    expected = run(here, proxy, "query", tmp_path)
    for name in ("query", "query-h5ad", "export", "query"):
        found = run(here, proxy, name, tmp_path, "--cache", "--cache-size", "2MiB")
        # The lock and the tag for programs that make copies are no entries.
        assert taken(here) <= most + 512, name
    same(expected, found)
    assert len(files(here, "blocks")) >= 2
    assert len(found[2]) <= len(expected[2])
    run(here, proxy, "export", tmp_path, "--cache")
    assert taken(here) > 2 * most
    # A smaller size holds from the next that is written on.
    run(here, proxy, "count", tmp_path, "--cache", "--cache-size", "2MiB")
    assert taken(here) <= most + 512
    for wrong in ("1", "2MB", "10KiB"):
        assert here.run("count", ATLAS, "--cache", "--cache-size", wrong).returncode == 2


def test_what_was_used_last_stays(here, proxy, tmp_path):
    run(here, proxy, "count", tmp_path, "--cache")
    ago = time.time() - 1000
    for path in files(here):
        os.utime(path, (ago, ago))
    used = run(here, proxy, "count", tmp_path, "--cache")
    assert used[0] and all(path.stat().st_mtime > ago + 500 for path in files(here, "answers"))
    # What did not serve this question has not been touched.
    assert any(path.stat().st_mtime > ago + 500 for path in files(here, "blocks"))


def test_killed_at_any_moment(here, proxy, tmp_path):
    """Whatever a killed process leaves, the next answers right, and the folder stays within its size."""
    random.seed(7)
    expected = run(here, proxy, "query", tmp_path)
    begun = time.monotonic()
    run(here, proxy, "query", tmp_path)
    elapsed = time.monotonic() - begun
    caught = 0
    for attempt in range(30):
        size = ["--cache-size", "3MiB"] if attempt % 2 else []
        out = tmp_path / f"killed{attempt}.h5ad"
        command = [str(here.path), *map(str, COMMANDS["query"](out)), "--cache", *size]
        process = subprocess.Popen(command, env=here.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(random.uniform(0, elapsed))
        process.send_signal(signal.SIGKILL)
        caught += process.wait() == -signal.SIGKILL
        if attempt % 4 == 3:
            same(expected, run(here, proxy, "query", tmp_path, "--cache", *size))
            assert taken(here) <= (3 << 20) + 512
    assert caught >= 15, f"only {caught} were killed"
    same(expected, run(here, proxy, "query", tmp_path, "--cache"))
    same(expected, run(here, proxy, "query", tmp_path, "--cache"))
    assert not [path for path in (folder_of(here) / "v1/tmp").iterdir() if path.stat().st_size > 1 << 20]


def test_several_at_once(here, proxy, tmp_path):
    expected = run(here, proxy, "query", tmp_path)
    for size in ("2MiB", "1GiB"):
        outs = [tmp_path / f"{size}{i}.h5ad" for i in range(4)]
        options = ["--cache", "--cache-size", size]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda out: here(*COMMANDS["query"](out), *options), outs))
        for out in outs:
            same_anndata(out, expected[1])
        assert taken(here) <= (2 << 20 if size == "2MiB" else 1 << 30) + 512
    assert run(here, proxy, "query", tmp_path, "--cache")[2] == ["LIST"]


@pytest.mark.parametrize("how", ["flipped", "cut", "emptied", "swapped"])
def test_damaged_entries_are_not_believed(how, here, proxy, tmp_path):
    expected = run(here, proxy, "query-h5ad", tmp_path, "--cache")
    blocks = files(here, "blocks")
    assert len(blocks) > 4
    for path in blocks:
        body = bytearray(path.read_bytes())
        if how == "flipped":
            body[random.randrange(len(body))] ^= 1 << random.randrange(8)
        elif how == "cut":
            del body[random.randrange(len(body)) :]
        elif how == "emptied":
            body.clear()
        path.write_bytes(body)
    if how == "swapped":
        bodies = [path.read_bytes() for path in blocks]
        for path, body in zip(blocks, bodies[1:] + bodies[:1]):
            path.write_bytes(body)
    proxy.add("refuse", times=None)
    offline = here.run(*COMMANDS["query-h5ad"](tmp_path / "offline.h5ad"), *QUICK)
    assert offline.returncode == 1 and "not in the cache" in offline.stderr
    proxy.clear()
    again = run(here, proxy, "query-h5ad", tmp_path, "--cache")
    same(expected, again)
    assert any(request.startswith("GET") for request in again[2])
    assert run(here, proxy, "query-h5ad", tmp_path, "--cache")[2] == ["HEAD"]


def test_damaged_answers_are_not_believed(here, proxy, tmp_path):
    run(here, proxy, "count", tmp_path, "--cache")
    for path in files(here, "answers"):
        path.write_bytes(path.read_bytes().replace(b"atlas", b"other").replace(b"obs", b"xbs")[:-1])
    proxy.add("refuse", times=None)
    done = here.run("count", ATLAS, "--obs", FILTER, *QUICK)
    assert done.returncode == 1 and "not in the cache" in done.stderr


def test_a_folder_that_cannot_be_used_is_a_warning(here, proxy, tmp_path):
    expected = run(here, proxy, "count", tmp_path)

    def warned(what):
        found = run(here, proxy, "count", tmp_path, "--cache")
        same(expected, found)
        warnings = [line for line in found[3].stderr.splitlines() if line.startswith("warning: ")]
        assert len(warnings) == 1 and what in warnings[0] and str(folder_of(here)) in warnings[0], found[3].stderr

    folder_of(here).write_text("a file")
    warned("the folder of the cache cannot be made")
    folder_of(here).unlink()
    run(here, proxy, "count", tmp_path, "--cache")
    inner = folder_of(here) / "v1"
    assert inner.stat().st_mode & 0o777 == 0o700
    inner.chmod(0o755)
    warned("mode 700, found 755")
    inner.chmod(0o700)
    # Where nothing can be written, as on a full disk.
    for path in files(here, "blocks"):
        path.unlink()
    for group in (inner / "blocks").iterdir():
        group.rmdir()
    (inner / "blocks").rmdir()
    (inner / "blocks").write_text("a file")
    warned("the cache cannot be written")
    done = here("count", ATLAS, "--obs", FILTER, "--cache", "--quiet")
    assert done.stderr == ""


def test_no_secrets_are_kept(here, proxy, tmp_path):
    run(here, proxy, "query", tmp_path, "--cache")
    run(here, proxy, "query-h5ad", tmp_path, "--cache")
    found = [path for path in folder_of(here).rglob("*") if path.is_file()]
    assert len(found) > 10
    for path in found:
        body = path.read_bytes()
        for secret in (*ADMIN, "Authorization", "AWS4-HMAC", "X-Amz-Signature"):
            assert secret.encode() not in body and secret not in path.name


def test_verify_and_bucket_read_the_bucket_itself(here, proxy, tmp_path):
    counts = []
    for _ in range(2):
        proxy.requests.clear()
        here("verify", ATLAS, "--cache")
        here("bucket", "fetch", FILE, tmp_path / "fetched.h5ad", "--cache")
        counts.append(proxy.count(method="GET"))
    assert counts[0] == counts[1] and not files(here)


def test_two_servers_with_a_bucket_of_one_name(here, proxy, s3, tmp_path):
    """The endpoint is part of what an entry is."""
    run(here, proxy, "count-h5ad", tmp_path, "--cache")
    with FaultProxy(s3.endpoint) as other:
        there = here.within(here.environment | {"AWS_ENDPOINT_URL_S3": other.endpoint})
        there("count", FILE, "--obs", FILTER, "--cache")
        assert other.count(method="GET") >= 1


def test_an_experiment_of_very_many_objects(here, proxy, s3, vacuole, tmp_path):
    """It is listed folder by folder, which tells of each object what it is as well."""
    uri, client = f"{ROOT}/many", s3.client()
    vacuole.within(s3.environment()).ingest(uri, make(tmp_path / "in.h5ad", 4))

    def put(i):
        client.put_object(Bucket=BUCKET, Key=f"cached/many/zz/{i // 100}/{i}", Body=b"x")

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(put, range(4000)))
    proxy.requests.clear()
    expected = here(*of_query(uri, tmp_path / "a.h5ad"), "--json").stdout
    plain = [kind(request) for request in proxy.log()]
    for name in "bc":
        proxy.requests.clear()
        assert here(*of_query(uri, tmp_path / f"{name}.h5ad"), "--json", "--cache").stdout == expected
        requests = [kind(request) for request in proxy.log()]
        assert len(requests) <= len(plain)
        same_anndata(tmp_path / "a.h5ad", tmp_path / f"{name}.h5ad")
    assert set(requests) == {"LIST"}, requests
    proxy.add("refuse", times=None)
    done = here(*of_query(uri, tmp_path / "d.h5ad"), "--json", *QUICK)
    assert done.stdout == expected and done.stderr.count("warning: ") == 1
    same_anndata(tmp_path / "a.h5ad", tmp_path / "d.h5ad")


def configure(here, text):
    folder = Path(here.environment["XDG_CONFIG_HOME"]) / "vacuole"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.toml").write_text(text)
    return folder / "config.toml"


def test_the_configuration_file(here, proxy, tmp_path):
    folder = tmp_path / "elsewhere"
    configure(here, f'[cache]\nenabled = true\nsize = "2 MiB"\nfolder = "{folder}"\n')
    named = {name: value for name, value in here.environment.items() if name != "VACUOLE_CACHE_DIR"}
    by_file = here.within(named)
    by_file(*COMMANDS["export"](tmp_path / "out.h5ad"), "--no-cache")
    assert not folder.exists()
    by_file(*COMMANDS["export"](tmp_path / "out2.h5ad"))
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert 1 << 20 < size <= (2 << 20) + 512
    # The command line and the environment go before the file.
    by_file(*COMMANDS["export"](tmp_path / "out3.h5ad"), "--cache-size", "1GiB")
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) > 3 << 20
    here("count", ATLAS)
    assert files(here)
    # The usual places.
    configure(here, "[cache]\nenabled = false\n")
    cache = tmp_path / "xdg"
    here.within(named | {"XDG_CACHE_HOME": str(cache)})("count", ATLAS)
    assert not cache.exists()
    here.within(named | {"XDG_CACHE_HOME": str(cache)})("count", ATLAS, "--no-cache", "--cache")
    assert (cache / "vacuole/objects/v1").is_dir()


@pytest.mark.parametrize(
    "text, says",
    [
        ("[cache]\nenabled = 'yes'\n", 'cache.enabled: expected true or false, found "yes"'),
        ("[cache]\nsize = '10 GB'\n", 'cache.size: expected a number of KiB, MiB or GiB, as 512MiB, found "10 GB"'),
        ("[cache]\nsizes = '10 GiB'\n", "cache: expected the keys enabled, size and folder, found cache.sizes"),
        ("[cash]\n", "cash: expected the section cache, found [cash]"),
        ("[cache]\nfolder = 'here'\n", "cache.folder: expected an absolute path"),
        ("[cache]\n\nenabled = \n", "line 3: expected TOML"),
    ],
)
def test_a_wrong_configuration_file(text, says, here):
    path = configure(here, text)
    done = here.run("count", ATLAS, "--json")
    error = json.loads(done.stdout)["error"]
    assert done.returncode == 2 and error["kind"] == "usage"
    assert error["message"].startswith(f"{path}: {says}"), error
    assert "correct it" in error["remedy"]


def test_a_configuration_file_that_cannot_be_read(here):
    path = configure(here, "")
    path.unlink()
    path.mkdir()
    done = here.run("count", ATLAS)
    assert done.returncode == 2 and str(path) in done.stderr


def test_contract_of_stores(here, s3, tmp_path):
    """The checks that `cargo test` runs on a folder, by way of a cache: what was written is seen at once."""
    program = here.path.parent / "examples" / "store_contract"
    command = [program, f"s3://{BUCKET}/cache-contract", tmp_path / "contract"]
    done = subprocess.run(command, env=s3.environment(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].endswith(" checks")
    assert list((tmp_path / "contract/v1/answers").iterdir())
