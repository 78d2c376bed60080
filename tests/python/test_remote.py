"""H5AD files of web servers, and what is in Google Cloud Storage, read where they are."""

import json
import os
import subprocess
import sys
from pathlib import Path

import anndata as ad
import gcs
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata_equal import same_anndata
from web_server import WebServer

HERE = Path(__file__).resolve().parent
FILTER = "n_genes > 500"


@pytest.fixture(scope="module")
def python():
    """The Python of the servers' environment."""
    make = [sys.executable, HERE.parents[1] / ".ci/python_env.py", HERE / "requirements-remote.txt"]
    return Path(subprocess.run(make, capture_output=True, text=True, check=True).stdout.strip())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A file of 30 MB, of which a question about obs is a small part."""
    folder = tmp_path_factory.mktemp("web")
    rng = np.random.default_rng(3)
    names = [f"cell{i}" for i in range(3000)]
    obs = pd.DataFrame({"n_genes": rng.integers(0, 1000, 3000), "kind": pd.Categorical(rng.choice(["a", "b"], 3000))}, names)
    x = sp.random(3000, 2000, 0.6, "csr", dtype=np.float32, random_state=1)
    adata = ad.AnnData(x, obs, obsm={"X_pca": rng.random((3000, 50))})
    adata.write_h5ad(folder / "a b+c.h5ad")
    assert (folder / "a b+c.h5ad").stat().st_size > 25 << 20
    return folder


@pytest.fixture(scope="module")
def near(folder, vacuole, tmp_path_factory):
    out = tmp_path_factory.mktemp("near") / "slice.h5ad"
    vacuole.query(folder / "a b+c.h5ad", out, obs=FILTER)
    return out


@pytest.fixture
def web(folder):
    with WebServer(folder) as server:
        yield server


def failed(vacuole, *arguments, code: int) -> str:
    done = vacuole.run(*arguments, timeout=30)
    assert done.returncode == code, done.stderr
    return done.stderr


@pytest.mark.parametrize("how", ["files", "dated", "moved", "busy", "cut", "signed"])
def test_a_slice_over_http(how, web, near, vacuole, tmp_path):
    url = web.url("a b+c.h5ad", how) + ("?key=secret" if how == "signed" else "")
    vacuole.query(url, tmp_path / "slice.h5ad", obs=FILTER)
    same_anndata(near, tmp_path / "slice.h5ad")
    assert web.statuses[206] > 1 and not web.statuses[200], web.statuses


def test_only_ranges_are_read(web, folder, vacuole):
    url = web.url("a b+c.h5ad")
    count = vacuole.count(url, obs=FILTER)
    assert count == (ad.read_h5ad(folder / "a b+c.h5ad").obs.n_genes > 500).sum()
    assert sum(end - start for start, end in web.ranges) < (folder / "a b+c.h5ad").stat().st_size / 2
    assert web.requests <= 30
    shown = json.loads(vacuole("show", url + "?key=secret", "--json").stdout)
    assert shown["name"] == url
    assert shown | {"name": ""} == json.loads(vacuole("show", folder / "a b+c.h5ad", "--json").stdout) | {"name": ""}


def test_an_ingest_over_http(web, folder, vacuole, tmp_path):
    vacuole.ingest(tmp_path / "exp", web.url("a b+c.h5ad", "signed") + "?key=secret")
    vacuole("verify", tmp_path / "exp")
    vacuole("export", tmp_path / "exp", tmp_path / "back.h5ad")
    same_anndata(folder / "a b+c.h5ad", tmp_path / "back.h5ad")
    kept = [path for path in (tmp_path / "exp").rglob("*") if path.is_file() and b"secret" in path.read_bytes()]
    assert not kept, "the experiment holds what may be a key"
    assert "nothing was changed" in vacuole.ingest(tmp_path / "exp", web.url("a b+c.h5ad", "signed") + "?key=secret").stdout


@pytest.mark.parametrize("how", ["files", "dated"])
def test_a_file_that_is_replaced_meanwhile(how, folder, vacuole, tmp_path):
    """Another of the same size, after the third answer."""
    data = (folder / "a b+c.h5ad").read_bytes()
    (tmp_path / "x.h5ad").write_bytes(data)

    def replace(number):
        if number == 3:
            (tmp_path / "x.h5ad").write_bytes(data[:-1] + b"x")
            os.utime(tmp_path / "x.h5ad", (1_000_000_000, 1_000_000_000))

    for command in (["query", "-o", tmp_path / "o.h5ad"], ["ingest", tmp_path / "exp"]):
        (tmp_path / "x.h5ad").write_bytes(data)
        with WebServer(tmp_path) as web:
            web.before = replace
            done = vacuole.run(*command, web.url("x.h5ad", how))
        assert done.returncode != 0 and "was replaced while it was read" in done.stderr, done.stderr
        assert not (tmp_path / "o.h5ad").exists()


def test_what_a_web_server_cannot_do(web, vacuole, tmp_path, folder):
    url = web.url
    error = failed(vacuole, "count", url("a b+c.h5ad", "plain"), code=7)
    assert "expected status 206" in error and "found status 200" in error and "download the file" in error
    assert "404 Not Found" in failed(vacuole, "count", url("absent.h5ad"), code=3)
    assert "403 Forbidden" in failed(vacuole, "count", url("a b+c.h5ad", "denied"), code=9)
    signed = failed(vacuole, "count", url("a b+c.h5ad", "signed") + "?key=wrong", code=9)
    assert "wrong" not in signed, "a key is told"
    assert "too many redirects" in failed(vacuole, "count", url("a b+c.h5ad", "loop"), code=1)
    assert "an experiment is not" in failed(vacuole, "verify", url("a b+c.h5ad"), code=7)
    for place in (url("out.h5ad"), "gs://b/out.h5ad", "az://b/out.h5ad"):
        scheme = place.split("://")[0] + "://"
        for command in (
            ["query", folder / "a b+c.h5ad", "-o", place],
            ["export", folder, place],
            ["ingest", place, folder / "a b+c.h5ad"],
            ["ingest", place, folder / "a b+c.h5ad", "--dry-run"],
            ["ingest", place, "--abort"],
        ):
            error = failed(vacuole, *command, code=7)
            assert f"{scheme} is for reading only" in error and "s3://" in error, error


def test_nobody_answers(vacuole):
    assert "Connection refused" in failed(vacuole, "count", "https://127.0.0.1:1/x.h5ad", code=1)
    assert "expected a host and a path" in failed(vacuole, "count", "https://host", code=5)


def test_https_with_an_authority_of_our_own(folder, python, near, vacuole, tmp_path):
    make = [python, "-m", "trustme", "-q", "-d", tmp_path, "-i", "127.0.0.1"]
    subprocess.run(make, check=True)
    with WebServer(folder, (tmp_path / "server.pem", tmp_path / "server.key")) as web:
        url = web.url("a b+c.h5ad", "moved")
        assert "certificate" in failed(vacuole, "count", url, code=1)
        trusting = vacuole.within(os.environ | {"SSL_CERT_FILE": str(tmp_path / "client.pem")})
        trusting.query(url, tmp_path / "slice.h5ad", obs=FILTER)
    same_anndata(near, tmp_path / "slice.h5ad")


@pytest.fixture(scope="module")
def google(python):
    with gcs.Gcs(python) as server:
        yield server


def test_google_cloud_storage(google, folder, near, vacuole, tmp_path):
    far = vacuole.within(google.environment())
    uri = google.copy(folder / "a b+c.h5ad", "in/a b+c.h5ad")
    far.query(uri, tmp_path / "slice.h5ad", obs=FILTER)
    same_anndata(near, tmp_path / "slice.h5ad")
    far.ingest(tmp_path / "exp", uri)
    experiment = google.copy(tmp_path / "exp", "exp")
    assert far.count(experiment, obs=FILTER) == vacuole.count(tmp_path / "exp", obs=FILTER) > 0
    far.query(experiment, tmp_path / "far.h5ad", obs=FILTER)
    vacuole.query(tmp_path / "exp", tmp_path / "here.h5ad", obs=FILTER)
    same_anndata(tmp_path / "here.h5ad", tmp_path / "far.h5ad")
    far("verify", experiment)
    far("export", experiment, tmp_path / "back.h5ad")
    same_anndata(folder / "a b+c.h5ad", tmp_path / "back.h5ad")
    assert json.loads(far("show", f"{experiment}/obs", "--json").stdout)["name"] == f"{experiment}/obs"
    for absent in (f"gs://{gcs.BUCKET}/none.h5ad", f"gs://{gcs.BUCKET}/none"):
        assert absent in failed(far, "count", absent, code=3)


def test_credentials_of_google_and_azure_are_told(tmp_path):
    """Where there are none, or wrong ones, it is said where they are looked for."""
    from conftest import Vacuole, find_binary

    clean = {k: v for k, v in os.environ.items() if not k.startswith(("GOOGLE_", "AZURE_", "STORAGE_"))}
    clean |= {"HOME": str(tmp_path)}
    vacuole = Vacuole(find_binary(), clean)
    assert "AZURE_STORAGE_ACCOUNT_NAME" in failed(vacuole, "count", "az://b/x.h5ad", code=5)
    (tmp_path / "key.json").write_text("{}")
    wrong = vacuole.within(clean | {"GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "key.json")})
    assert "cannot be opened" in failed(wrong, "count", "gs://b/x.h5ad", code=5)
