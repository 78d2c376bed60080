"""How many requests to S3 questions take. Counts do not depend on how fast the machine is."""

import json
import os
import subprocess
import sys
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import tiledbsoma.io
from seaweed import BUCKET

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.append(str(REPOSITORY / "bench"))

from latency_proxy import LatencyProxy  # noqa: E402

CELLS, GENES = 6000, 3000
FILTER = "tissue == 'lung'"


@pytest.fixture(scope="module")
def h5ad(tmp_path_factory):
    """Twenty columns of obs, of all kinds, and matrices of several tiles."""
    rng = np.random.default_rng(1)
    obs = pd.DataFrame(index=[f"cell{i}" for i in range(CELLS)])
    obs["tissue"] = pd.Categorical(rng.choice(["lung", "liver", "blood"], CELLS))
    for i in range(7):
        obs[f"label{i}"] = pd.Categorical(rng.choice([f"of {i}: {j}" for j in range(12)], CELLS))
        obs[f"number{i}"] = rng.random(CELLS)
        obs[f"text{i}"] = [f"{i}-{n}" for n in rng.integers(0, CELLS, CELLS)]
    var = pd.DataFrame({"feature_name": [f"G{i}" for i in range(GENES)]}, index=[f"gene{i}" for i in range(GENES)])
    x = sp.random(CELLS, GENES, 0.08, "csr", dtype=np.float32, random_state=2)
    path = tmp_path_factory.mktemp("requests") / "input.h5ad"
    ad.AnnData(x, obs, var, obsm={"X_pca": rng.random((CELLS, 8))}).write_h5ad(path)
    return path


@pytest.fixture(scope="module")
def far(s3):
    with LatencyProxy(s3.endpoint, 0) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def far_vacuole(vacuole, s3, far):
    return vacuole.within(s3.environment(AWS_ENDPOINT_URL_S3=far.endpoint))


@pytest.fixture(scope="module")
def experiment(s3, vacuole, h5ad):
    vacuole.within(s3.environment()).ingest(f"s3://{BUCKET}/requests/ours", h5ad)
    return f"s3://{BUCKET}/requests/ours"


def reference(s3, far, step: str, uri: str) -> int:
    """How many requests tiledbsoma makes for a step of the benchmark."""
    config = s3.tiledb() | {"vfs.s3.endpoint_override": far.endpoint.removeprefix("http://")}
    far.reset()
    subprocess.run(
        [sys.executable, REPOSITORY / "bench/reference.py", step, uri],
        env=os.environ | {"VACUOLE_BENCH_TILEDB": json.dumps(config)},
        check=True,
        capture_output=True,
        timeout=120,
    )
    return far.count


def ours(far, run) -> int:
    far.reset()
    run()
    return far.count


def test_opening_and_a_slice_take_few_requests(experiment, s3, far, far_vacuole, h5ad, tmp_path):
    out = tmp_path / "out.h5ad"
    count = ours(far, lambda: far_vacuole.count(experiment, obs=FILTER))
    query = ours(far, lambda: far_vacuole.query(experiment, out, obs=FILTER))
    read, whole = ad.read_h5ad(out), ad.read_h5ad(h5ad)
    expected = whole[whole.obs.tissue == "lung"]
    assert (read.X != expected.X).nnz == 0
    np.testing.assert_array_equal(read.obsm["X_pca"], expected.obsm["X_pca"])
    assert count * 4 <= reference(s3, far, "count", experiment), f"count: {count}"
    assert query * 4 <= reference(s3, far, "tissue", experiment), f"query: {query}"


def test_each_object_is_asked_for_once_whoever_made_it(s3, far, far_vacuole, h5ad, tmp_path):
    """What tiledbsoma made has no file that holds the small ones together: each is fetched, and none twice."""
    uri = f"s3://{BUCKET}/requests/theirs"
    context = tiledbsoma.SOMATileDBContext(tiledb_config=s3.tiledb())
    tiledbsoma.io.from_h5ad(uri, str(h5ad), measurement_name="RNA", context=context)
    far.reset()
    far_vacuole.query(uri, tmp_path / "out.h5ad", obs=FILTER)
    assert far.kinds["LIST"] == 1
    small = [line for line in far.lines if not line.startswith("HEAD") and "/X/data/__fragments" not in line]
    assert len(small) == len(set(small)), [line for line in small if small.count(line) > 1]
    assert (ad.read_h5ad(tmp_path / "out.h5ad").obs.tissue == "lung").all()


def test_a_changed_experiment_is_seen(s3, far, far_vacuole, vacuole, h5ad):
    """What is kept together for quick opening is not believed where the listing says otherwise."""
    uri = f"s3://{BUCKET}/requests/changed"
    vacuole.within(s3.environment()).ingest(uri, h5ad)
    before = far_vacuole.count(uri, obs="tissue == 'lung'")
    context = tiledbsoma.SOMATileDBContext(tiledb_config=s3.tiledb())
    with tiledbsoma.open(f"{uri}/obs", "w", context=context) as obs:
        rows = tiledbsoma.open(f"{uri}/obs", context=context).read(coords=([0, 1],)).concat()
        obs.write(rows.set_column(rows.column_names.index("tissue"), "tissue", rows["tissue"].combine_chunks().take([1, 0])))
    with tiledbsoma.open(f"{uri}/obs", context=context) as obs:
        tissue = obs.read(column_names=["tissue"]).concat().to_pandas().tissue
    assert far_vacuole.count(uri, obs=FILTER) == (tissue == "lung").sum()
    assert before == (ad.read_h5ad(h5ad).obs.tissue == "lung").sum()
    # An object of the same name and size with other bytes: its ETag is another.
    client = s3.client()
    key = next(key for key in s3.keys("requests/changed/obs/__meta/") if s3.keys(key)[key] > 0)
    body = bytearray(client.get_object(Bucket=BUCKET, Key=key)["Body"].read())
    body[len(body) // 2] ^= 255
    client.put_object(Bucket=BUCKET, Key=key, Body=bytes(body))
    assert far_vacuole.run("count", uri, "--obs", FILTER).returncode != 0
    assert far_vacuole.run("verify", uri).returncode == 6


def test_opening_an_h5ad_and_reading_its_obs(s3, far, far_vacuole, h5ad, tmp_path):
    s3.client().upload_file(str(h5ad), BUCKET, "requests/input.h5ad")
    uri = f"s3://{BUCKET}/requests/input.h5ad"
    out = tmp_path / "out.h5ad"
    taken = ours(far, lambda: far_vacuole.query(uri, out, var="feature_name == 'none'"))
    assert taken <= 30, far.lines
    pd.testing.assert_frame_equal(ad.read_h5ad(out).obs, ad.read_h5ad(h5ad).obs)


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """Sixty columns of obs in many chunks, 45 MB of them, and a matrix that nobody asks for."""
    cells = 120_000
    rng = np.random.default_rng(5)
    obs = pd.DataFrame(index=[f"AACGTT-{i:09d}-x" for i in range(cells)])
    for i in range(25):
        obs[f"label{i}"] = pd.Categorical(rng.choice([f"of {i}: {j}" for j in range(12 + 20 * i)], cells))
    for i in range(15):
        obs[f"number{i}"] = rng.random(cells, np.float32)
    for i in range(10):
        obs[f"count{i}"] = rng.integers(0, 10**9, cells)
    for i in range(5):
        obs[f"flag{i}"] = rng.random(cells) < 0.5
        obs[f"text{i}"] = [f"t{i}-{k}" for k in rng.integers(0, cells, cells)]
    folder = tmp_path_factory.mktemp("wide")
    whole, path = folder / "whole.h5ad", folder / "wide.h5ad"
    ad.AnnData(sp.csr_matrix((cells, 50), dtype=np.float32), obs).write_h5ad(whole)
    # In chunks, as of one that was appended to, and in an order that is not that of the names.
    with h5py.File(whole) as source, h5py.File(path, "w") as target:
        target.attrs.update(source.attrs)
        for name in source:
            if name != "obs":
                source.copy(name, target)
        obs_group = target.create_group("obs")
        obs_group.attrs.update(source["obs"].attrs)
        for name in sorted(source["obs"], key=lambda name: name[::-1]):
            found = source["obs"][name]
            if isinstance(found, h5py.Group):
                group = obs_group.create_group(name)
                group.attrs.update(found.attrs)
                source.copy(found["categories"], group)
                codes = group.create_dataset("codes", data=found["codes"][:], chunks=(10_000,), compression="gzip")
                codes.attrs.update(found["codes"].attrs)
            else:
                chunked = obs_group.create_dataset(name, data=found[:], dtype=found.dtype, chunks=(10_000,))
                chunked.attrs.update(found.attrs)
    return path


def test_sixty_columns_of_obs(s3, far, far_vacuole, wide, tmp_path):
    """Of a file that takes many requests as a whole."""
    assert wide.stat().st_size > 40 << 20
    s3.client().upload_file(str(wide), BUCKET, "requests/wide.h5ad")
    uri = f"s3://{BUCKET}/requests/wide.h5ad"
    out = tmp_path / "out.h5ad"
    every = " and ".join(f"label{i} != 'none'" for i in range(25)) + " and " + " and ".join(
        [f"number{i} >= 0" for i in range(15)]
        + [f"count{i} >= 0" for i in range(10)]
        + [f"flag{i} in [True, False]" for i in range(5)]
        + [f"text{i} != ''" for i in range(5)]
    )
    found = []
    taken = ours(far, lambda: found.append(far_vacuole.count(uri, obs=every)))
    assert found == [120_000]
    assert taken <= 30, far.lines
    taken = ours(far, lambda: far_vacuole.query(uri, out, var="var_id == 'none'"))
    assert taken <= 30, far.lines
    pd.testing.assert_frame_equal(ad.read_h5ad(out).obs, ad.read_h5ad(wide).obs)
