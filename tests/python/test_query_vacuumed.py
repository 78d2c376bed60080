"""An experiment that is consolidated and vacuumed while a query reads it: the answer is that of before, or an error that
says that files have gone and what to do. Never another answer, and nothing half written.

A query is held at some moment of its work, as a slow disk would hold it, and goes on when the files have gone.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import anndata as ad
import disturbed
import numpy as np
import pytest
from disturbed import Run, command, contents
from seaweed import BUCKET

MOMENTS = [0.1, 0.3, 0.4, 0.5, 0.7]
FORMS = ["slice.h5ad", "slice.mtx", "whole.h5ad", "stats.csv", "sample.h5ad", "table.csv"]
ARRAYS = ["obs", "ms/RNA/var", "ms/RNA/X/data", "ms/RNA/obsm/X_pca"]

# In a process of its own: see crashes.py.
REFERENCE = """
import sys, tiledbsoma
for array in sys.argv[1:]:
    with tiledbsoma.open(array, "w") as opened:
        opened._handle.consolidate_and_vacuum(["fragments"])
        opened._handle.consolidate_and_vacuum(["commits"])
"""


@pytest.fixture(scope="module")
def store(vacuole, tmp_path_factory) -> Path:
    return disturbed.store_of_parts(vacuole, tmp_path_factory.mktemp("vacuumed"))


def by_vacuole(vacuole, store: Path) -> None:
    vacuole("consolidate", store)
    vacuole("vacuum", store)


def by_tiledbsoma(_, store: Path) -> None:
    done = subprocess.run([sys.executable, "-c", REFERENCE, *(f"{store}/{array}" for array in ARRAYS)])
    # Killed in the middle it has removed some of the files, which is as good.
    assert done.returncode <= 0


def answer(out: Path) -> object:
    """What was written, without the time and place of the store."""
    if out.suffix != ".h5ad":
        return contents(out.parent)
    adata = ad.read_h5ad(out)
    x = adata.X.tocsr()
    arrays = [x.indptr, x.indices, x.data, *(np.asarray(adata.obsm[key]) for key in sorted(adata.obsm))]
    return adata.obs.to_csv(), adata.var.to_csv(), [array.tobytes() for array in arrays]


@pytest.mark.parametrize(
    "form, who", [*((form, by_vacuole) for form in FORMS), ("slice.h5ad", by_tiledbsoma), ("stats.csv", by_tiledbsoma)]
)
def test_read_meanwhile(store, vacuole, tmp_path, form, who):
    folder, temporary = tmp_path / "out", tmp_path / "tmp"
    out = folder / f"out{Path(form).suffix}"
    folder.mkdir()
    temporary.mkdir()
    for _ in range(2):
        shutil.rmtree(folder)
        folder.mkdir()
        start = time.monotonic()
        vacuole(*command(form, store, out))
        seconds = time.monotonic() - start
    before = answer(out)
    failed = 0
    for number, moment in enumerate(MOMENTS):
        shutil.rmtree(folder)
        folder.mkdir()
        read = tmp_path / f"store{number}"
        shutil.copytree(store, read)
        run = Run(vacuole, [*command(form, read, out), "--json"], temporary)
        held(run, moment * seconds)
        who(vacuole, read)
        run.process.send_signal(signal.SIGCONT)
        stdout, stderr = run.process.communicate(timeout=60)
        if run.process.returncode == 0:
            assert answer(out) == before, moment
        else:
            failed += 1
            check_error(json.loads(stdout)["error"], run.process.returncode, read)
            assert "panicked" not in stderr
            assert list(folder.iterdir()) == [], moment
            # What it says to do helps.
            vacuole(*command(form, read, out))
            assert answer(out) == before, moment
        shutil.rmtree(read)
    # Tables and statistics may be read before they can be held.
    assert failed > 0 or form in ("table.csv", "stats.csv")


def held(run: Run, after: float) -> None:
    while time.monotonic() - run.begun < after and run.process.poll() is None:
        time.sleep(0.0005)
    run.process.send_signal(signal.SIGSTOP)


def check_error(error: dict, code: int, store) -> None:
    assert (error["kind"], code) == ("conflict", 8), error
    assert str(store) in error["message"] and "run the command again" in error["remedy"]
    assert "vacuumed" in error["remedy"] and "verify" in error["remedy"]


def test_in_a_bucket(vacuole, s3, tmp_path):
    program = vacuole.within(s3.environment())
    folder, temporary = tmp_path / "out", tmp_path / "tmp"
    folder.mkdir()
    temporary.mkdir()
    paths = [tmp_path / f"{number}.h5ad" for number in range(2)]
    for number, path in enumerate(paths):
        disturbed.make(path, number)
    failed = 0
    for number in range(3):
        uri = f"s3://{BUCKET}/vacuumed/{number}"
        for path in paths:
            program.ingest(uri, path)
        whole = folder / "whole.h5ad"
        start = time.monotonic()
        program("query", uri, "-o", whole)
        seconds = time.monotonic() - start
        before = answer(whole)
        out = folder / "out.h5ad"
        run = Run(program, ["query", uri, "-o", out, "--json"], temporary)
        held(run, (0.2, 0.4, 0.6)[number] * seconds)
        by_vacuole(program, uri)
        run.process.send_signal(signal.SIGCONT)
        stdout, _ = run.process.communicate(timeout=60)
        if run.process.returncode:
            failed += 1
            check_error(json.loads(stdout)["error"], run.process.returncode, uri)
            assert list(folder.iterdir()) == [whole]
            program("query", uri, "-o", out)
        assert answer(out) == before
        out.unlink()
    assert failed > 0


def test_counted_again_and_again_meanwhile(store, vacuole, tmp_path):
    """Short questions, which mostly meet the moment between a listing and a read."""
    answers = 0
    for number in range(4):
        read = tmp_path / f"store{number}"
        shutil.copytree(store, read)
        script = f"'{vacuole.path}' consolidate '{read}' -q && '{vacuole.path}' vacuum '{read}' -q"
        others = subprocess.Popen(["bash", "-c", script], stdout=subprocess.DEVNULL)
        while others.poll() is None:
            done = vacuole.run("count", read, "--obs", "score > -100 and small > -1000", "--json")
            if done.returncode == 0:
                answers += 1
                assert json.loads(done.stdout)["count"] == disturbed.CELLS
            else:
                check_error(json.loads(done.stdout)["error"], done.returncode, read)
        assert others.returncode == 0
    assert answers > 0


def test_a_file_that_is_really_missing(store, vacuole, tmp_path):
    """What the error says to do then tells what is missing."""
    read = tmp_path / "store"
    shutil.copytree(store, read)
    fragment = sorted((read / "ms/RNA/X/data/__fragments").iterdir())[1]
    missing = fragment / "a0.tdb"
    missing.unlink()
    done = vacuole.run("query", read, "-o", tmp_path / "out.h5ad", "--json")
    check_error(json.loads(done.stdout)["error"], done.returncode, read)
    assert not (tmp_path / "out.h5ad").exists()
    done = vacuole.run("verify", read)
    assert done.returncode == 6, done.stderr
    assert fragment.name in done.stdout + done.stderr
