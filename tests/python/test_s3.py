"""Everything over S3: the same results as on disk, from and to a real server, and errors that come soon.

`test_s3_errors.py` has what can go wrong with keys, buckets and endpoints.
"""

import json
import signal
import subprocess
import time
from pathlib import Path

import anndata as ad
import corpus
import many
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import tiledbsoma
import tiledbsoma.io
from anndata_equal import same_anndata
from seaweed import BUCKET
from soma_equal import differences
from test_append import sound
from test_consolidate import small_files
from test_many import ingest

NAMES = ["pbmc68k_reduced", "many_tiles_csc", "uns_nested"]


@pytest.fixture(scope="module")
def s3_vacuole(vacuole, s3):
    return vacuole.within(s3.environment())


@pytest.fixture(scope="module")
def context(s3):
    return tiledbsoma.SOMATileDBContext(tiledb_config=s3.tiledb())


@pytest.fixture(scope="module")
def ours(inputs, s3_vacuole):
    """Experiments in the bucket, each ingested once."""
    made = {}

    def make(name):
        if name not in made:
            s3_vacuole.ingest(f"s3://{BUCKET}/ours/{name}", inputs.h5ad(name))
            made[name] = f"s3://{BUCKET}/ours/{name}"
        return made[name]

    return make


def test_contract_of_stores(vacuole, s3):
    """The checks that `cargo test` runs on a folder."""
    program = vacuole.path.parent / "examples" / "store_contract"
    done = subprocess.run(
        [program, f"s3://{BUCKET}/contract"], env=s3.environment(), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].endswith(" checks")
    assert s3.keys("contract") == {}
    assert s3.uploads("contract") == []


@pytest.mark.parametrize("name", NAMES)
def test_tiledbsoma_reads_what_we_wrote(name, inputs, ours, context):
    assert differences(inputs.reference(name), ours(name), slices=2, context=context) == []


@pytest.mark.parametrize("per", ["gene", "cell", "layer"])
def test_statistics_as_on_disk(per, inputs, ours, vacuole, s3_vacuole):
    here, there = inputs.ours("many_tiles_csc", vacuole), ours("many_tiles_csc")
    assert s3_vacuole("stats", there, "--per", per).stdout == vacuole("stats", here, "--per", per).stdout


@pytest.mark.parametrize("name", NAMES)
def test_same_answers_as_on_disk(name, inputs, ours, vacuole, s3_vacuole, tmp_path):
    here, there = inputs.ours(name, vacuole), ours(name)
    trees = [json.loads(s3_vacuole("show", store, "--json").stdout) for store in (here, there)]
    for tree in trees:
        # The plan's name of the input is in it, and with it its length.
        tree.pop("bytes", None)
        tree["name"] = ""
    assert trees[0] == trees[1]
    assert s3_vacuole.count(there) == s3_vacuole.count(here)
    s3_vacuole("verify", there)
    for store in (here, there):
        s3_vacuole("export", store, tmp_path / "out.h5ad")
        same_anndata(inputs.h5ad(name), tmp_path / "out.h5ad", canonical=True)


def test_query(inputs, ours, vacuole, s3_vacuole, tmp_path):
    filters = {"obs": "bulk_labels == 'CD19+ B' and n_genes > 1200", "var": "highly_variable == True"}
    here, there = inputs.ours("pbmc68k_reduced", vacuole), ours("pbmc68k_reduced")
    vacuole.query(here, tmp_path / "here.h5ad", **filters)
    s3_vacuole.query(there, tmp_path / "there.h5ad", **filters)
    assert ad.read_h5ad(tmp_path / "here.h5ad").n_obs > 10
    same_anndata(tmp_path / "here.h5ad", tmp_path / "there.h5ad")


def test_a_repeated_ingest_changes_nothing(inputs, ours, s3, s3_vacuole):
    there = ours("pbmc68k_reduced")
    before = s3.keys("ours/pbmc68k_reduced/")
    done = s3_vacuole.ingest(there, inputs.h5ad("pbmc68k_reduced"), "--json")
    assert json.loads(done.stdout)["unchanged"]
    assert s3.keys("ours/pbmc68k_reduced/") == before
    assert not any("/__vacuole/done/" in key or key.endswith("plan.json") for key in before)


def test_input_and_output_in_the_bucket(inputs, s3, s3_vacuole, context, tmp_path):
    for name in ("pbmc68k_reduced", "many_tiles_csc"):
        key, store = f"in/{name}.h5ad", f"s3://{BUCKET}/from-s3/{name}"
        s3.client().upload_file(str(inputs.h5ad(name)), BUCKET, key)
        s3_vacuole.ingest(store, f"s3://{BUCKET}/{key}")
        assert differences(inputs.reference(name), store, slices=0, context=context) == []
        again = s3_vacuole.ingest(store, f"s3://{BUCKET}/{key}", "--json")
        assert json.loads(again.stdout)["unchanged"]
    out = f"s3://{BUCKET}/out/whole.h5ad"
    s3_vacuole("export", f"s3://{BUCKET}/from-s3/pbmc68k_reduced", out)
    s3.client().download_file(BUCKET, "out/whole.h5ad", str(tmp_path / "whole.h5ad"))
    same_anndata(inputs.h5ad("pbmc68k_reduced"), tmp_path / "whole.h5ad", canonical=True)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    here = s3_vacuole.within(s3.environment(TMPDIR=str(temporary)))
    done = here("query", f"s3://{BUCKET}/from-s3/pbmc68k_reduced", "-o", f"s3://{BUCKET}/out/slice.h5ad")
    assert f"s3://{BUCKET}/out/slice.h5ad: 700 cells" in done.stdout
    assert s3.keys("out/slice.h5ad")["out/slice.h5ad"] > 10_000
    assert list(temporary.iterdir()) == []


def test_files_of_the_bucket_and_of_the_disk_become_one(s3, vacuole, s3_vacuole, tmp_path):
    files = []
    for number in range(5):
        cells = pd.DataFrame({"n": np.arange(40)}, index=[f"{number}-{cell}" for cell in range(40)])
        genes = pd.DataFrame(index=[f"G{gene}" for gene in range(number, number + 30)])
        values = sp.random(40, 30, 0.2, format="csr", dtype=np.float32, random_state=number)
        path = tmp_path / f"{number}.h5ad"
        ad.AnnData(values, cells, genes).write_h5ad(path)
        files.append(str(path))
        if number % 2:
            s3.client().upload_file(str(path), BUCKET, f"several/in/{number}.h5ad")
            files[number] = f"s3://{BUCKET}/several/in/{number}.h5ad"
    (tmp_path / "list").write_text("\n".join(files))
    s3_vacuole("ingest", f"s3://{BUCKET}/several/atlas", "--in-list", tmp_path / "list")
    vacuole("ingest", tmp_path / "atlas", *(tmp_path / f"{number}.h5ad" for number in range(5)))
    s3_vacuole("export", f"s3://{BUCKET}/several/atlas", tmp_path / "far.h5ad")
    vacuole("export", tmp_path / "atlas", tmp_path / "near.h5ad")
    same_anndata(tmp_path / "far.h5ad", tmp_path / "near.h5ad")
    s3_vacuole("verify", f"s3://{BUCKET}/several/atlas")


def test_another_input_is_refused(inputs, s3, s3_vacuole):
    """Another object under the same name: by its ETag it is not the one that was ingested."""
    client, key, store = s3.client(), "in/changes.h5ad", f"s3://{BUCKET}/changes"
    client.upload_file(str(inputs.h5ad("uns_nested")), BUCKET, key)
    s3_vacuole.ingest(store, f"s3://{BUCKET}/{key}")
    client.upload_file(str(inputs.h5ad("layers")), BUCKET, key)
    done = s3_vacuole.run("ingest", store, f"s3://{BUCKET}/{key}", "--json")
    # Its cells are there.
    assert done.returncode == 5
    assert json.loads(done.stdout)["error"]["kind"] == "invalid_input"


def test_we_read_what_tiledbsoma_wrote(inputs, s3_vacuole, context, tmp_path):
    store = f"s3://{BUCKET}/reference/pbmc68k_reduced"
    path = str(inputs.h5ad("pbmc68k_reduced"))
    tiledbsoma.io.from_h5ad(store, path, measurement_name="RNA", context=context)
    chosen = {"obs": "louvain in ['1', '2']", "var": "n_counts > 100"}
    here = inputs.reference("pbmc68k_reduced")
    assert s3_vacuole.count(store) == 700
    assert s3_vacuole.count(store, obs=chosen["obs"]) == s3_vacuole.count(here, obs=chosen["obs"]) > 0
    s3_vacuole.query(store, tmp_path / "there.h5ad", **chosen)
    s3_vacuole.query(here, tmp_path / "here.h5ad", **chosen)
    same_anndata(tmp_path / "here.h5ad", tmp_path / "there.h5ad")
    shown = []
    for tree in (json.loads(s3_vacuole("show", s, "--json").stdout) for s in (store, here)):
        shown.append(next(member["columns"] for member in tree["members"] if member["name"] == "obs"))
    assert shown[0] == shown[1] != []
    assert s3_vacuole.run("verify", store).returncode == 11


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Some seconds of work, with an array of more than one part of an upload."""
    rng = np.random.default_rng(12)
    cells, genes = 4000, 3000
    x = sp.random(cells, genes, 0.12, "csr", dtype="float32", random_state=rng)
    obs = pd.DataFrame({"score": rng.normal(size=cells)}, index=corpus.names("cell", cells))
    adata = ad.AnnData(x, obs=obs, var=pd.DataFrame(index=corpus.names("gene", genes)))
    adata.obsm["X_pca"] = rng.normal(size=(cells, 20))
    path = tmp_path_factory.mktemp("s3") / "large.h5ad"
    corpus.write(adata, path, compression="lzf")
    return path


def test_killed_and_repeated(large, s3, vacuole, s3_vacuole, context, tmp_path):
    vacuole.ingest(tmp_path / "here", large)
    rng = np.random.default_rng(7)
    begun = time.monotonic()
    s3_vacuole.ingest(f"s3://{BUCKET}/crash/whole", large)
    seconds = time.monotonic() - begun
    killed = 0
    for i, moment in enumerate([*rng.uniform(0.1, 0.7 * seconds, 4), 0.95 * seconds]):
        store = f"s3://{BUCKET}/crash/{i}"
        command = [str(vacuole.path), "ingest", store, str(large)]
        process = subprocess.Popen(
            command, env=s3.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        process.stderr.close()
        if tiledbsoma.Experiment.exists(store, context=context):
            assert differences(tmp_path / "here", store, slices=0, context=context) == []
        s3_vacuole.ingest(store, large)
        s3_vacuole("verify", store)
        assert differences(tmp_path / "here", store, slices=1 if i == 2 else 0, context=context) == []
        folders = {key.split("/")[3] for key in s3.keys(f"crash/{i}/__vacuole/")}
        assert folders == {"anndata", "digests", "ingests", "opening", "summary.json"}
    # How long an ingest takes varies with what else the machine does.
    assert killed >= 2


def test_abort(large, s3, vacuole, s3_vacuole):
    store = f"s3://{BUCKET}/abort"
    process = subprocess.Popen(
        [str(vacuole.path), "ingest", store, str(large)],
        env=s3.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and len(s3.keys("abort/")) < 2:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    # The server may still be at work on what the killed process has sent.
    before = None
    while before != (before := s3.keys("abort/")):
        time.sleep(0.5)
    assert json.loads(s3_vacuole("ingest", store, "--abort", "--json").stdout)["aborted"]
    assert s3.keys("abort/") == {}


def test_memory_is_kept(large, s3, vacuole):
    """Uploads and the cache of the input are within what an ingest may take."""
    s3.client().upload_file(str(large), BUCKET, "in/large.h5ad")
    command = [str(vacuole.path), "ingest", f"s3://{BUCKET}/memory", f"s3://{BUCKET}/in/large.h5ad", "--memory", "256MiB"]
    process = subprocess.Popen(command, env=s3.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    most = 0
    # What the system tells at the end has the memory in it of the process that it was forked from.
    while process.poll() is None:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        most = max([most, *(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))])
        time.sleep(0.002)
    assert process.returncode == 0
    assert 10 << 10 < most < 256 << 10


def test_consolidated_vacuumed_and_counted(s3, vacuole, s3_vacuole, context, tmp_path):
    """An experiment of several appends, on disk and in the bucket: the same fragments are joined and removed, and the
    same is read of both, by tiledbsoma and by us, before and after."""
    paths = small_files(tmp_path, range(5))
    here, there = tmp_path / "here", f"s3://{BUCKET}/upkeep/atlas"
    for store in (here, there):
        ingest(s3_vacuole, store, paths[:2])
        for path in paths[2:]:
            ingest(s3_vacuole, store, [path])
    both = (here, there)

    def same():
        assert differences(here, there, slices=2, context=context) == []
        assert many.differences(here, paths) == []
        for column in ("kind", "n", "obs_id"):
            told = [json.loads(s3_vacuole("values", store, column, "--json").stdout) for store in both]
            assert told[0] == told[1] and sum(value["count"] for value in told[0]["values"]) == 15
        for store in both:
            sound(s3_vacuole, store)

    def arrays(command, store):
        """What is told of each array, without the names of fragments, which hold the time."""
        found = json.loads(s3_vacuole(command, store, "--json").stdout)["arrays"]
        counts = lambda value: len(value) if isinstance(value, (list, dict)) else value  # noqa: E731
        told = {array["array"]: {key: counts(value) for key, value in array.items()} for array in found}
        # A document names its fragments, and is as long as they are.
        return {name: {k: v for k, v in array.items() if "bytes" not in k} for name, array in told.items()}

    def fragments():
        """How many fragments each array has, in either place."""
        keys = (key.removeprefix("upkeep/atlas/") for key in s3.keys("upkeep/atlas/"))
        files = (str(path.relative_to(here)) for path in here.rglob("*") if path.is_file())
        counts = []
        for names in (keys, files):
            found = {}
            for name in names:
                array, separator, rest = name.partition("/__fragments/")
                if separator:
                    found.setdefault(array, set()).add(rest.split("/")[0])
            counts.append({array: len(names) for array, names in found.items()})
        assert counts[0] == counts[1]
        return counts[0]

    same()
    assert fragments()["obs"] == 5
    joined = [arrays("consolidate", store) for store in both]
    assert joined[0] == joined[1] and joined[0]["obs"]["fragments_after"] == 1
    same()
    assert fragments()["obs"] > 5
    removed = [arrays("vacuum", store) for store in both]
    assert removed[0] == removed[1] and removed[0]["obs"]["removed"] == 5
    same()
    assert set(fragments().values()) == {1}
    assert arrays("consolidate", there) == arrays("vacuum", there) == {}
    assert s3.uploads("upkeep/") == []
    # An append finds what it needs.
    paths += small_files(tmp_path, range(5, 6))
    for store in both:
        ingest(s3_vacuole, store, paths[5:])
    assert differences(here, there, slices=2, context=context) == []
    assert many.differences(here, paths) == []
