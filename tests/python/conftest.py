"""Fixtures: the binary under test, the generated H5AD files, and stores that the reference made of them."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import corpus
import pytest
import seaweed
import tiledbsoma.io
from crashes import Crashes

REPOSITORY = Path(__file__).resolve().parents[2]


def pytest_configure(config):
    warnings.filterwarnings("ignore")
    config.addinivalue_line("filterwarnings", "ignore")
    config.pluginmanager.register(Crashes())


def find_binary() -> Path:
    if "VACUOLE_BIN" in os.environ:
        return Path(os.environ["VACUOLE_BIN"])
    targets = [os.environ.get("CARGO_TARGET_DIR"), Path.home() / ".cache/vacuole/target", REPOSITORY / "target"]
    return next(
        (p for t in targets if t and (p := Path(t) / "debug/vacuole").exists()), REPOSITORY / "target/debug/vacuole"
    )


class Vacuole:
    """The command line under test. Calls fail the test on a non-zero exit, except through `run`."""

    def __init__(self, path: Path, environment: dict[str, str] | None = None):
        self.path = path
        self.environment = environment

    def within(self, environment: dict[str, str]) -> Vacuole:
        """The same program under other variables."""
        return Vacuole(self.path, environment)

    def run(self, *arguments, timeout: float = 120) -> subprocess.CompletedProcess:
        command = [str(self.path), *map(str, arguments)]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL, env=self.environment
        )

    def __call__(self, *arguments) -> subprocess.CompletedProcess:
        done = self.run(*arguments)
        assert done.returncode == 0, f"vacuole {' '.join(map(str, arguments))}\n{done.stdout}\n{done.stderr}"
        return done

    def ingest(self, experiment, h5ad, *options) -> subprocess.CompletedProcess:
        return self("ingest", experiment, h5ad, "--measurement", "RNA", *options)

    def count(self, experiment, **filters) -> int:
        return json.loads(self("count", experiment, *options(filters), "--json").stdout)["count"]

    def query(self, experiment, out, **filters) -> None:
        self("query", experiment, *options(filters), "-o", out)


def options(filters: dict) -> list[str]:
    return [part for axis, text in filters.items() if text is not None for part in (f"--{axis}", text)]


@pytest.fixture(scope="session")
def vacuole() -> Vacuole:
    path = find_binary()
    if not path.exists():
        pytest.fail(f"no binary at {path}: build it (cargo build -p vacuole) or set VACUOLE_BIN")
    return Vacuole(path)


@pytest.fixture(scope="session")
def package():
    """Our Python package."""
    try:
        import vacuole
    except ImportError:
        pytest.fail("no package vacuole: PYTHONPATH=$(python3 .ci/python_package.py), as `make test` has it")
    return vacuole


@pytest.fixture(scope="session")
def tiledb_python() -> str:
    """A Python that has tiledb-py, whose libtiledb is another than tiledbsoma's."""
    make = [sys.executable, REPOSITORY / ".ci/python_env.py", Path(__file__).with_name("requirements-tiledb.txt")]
    return subprocess.run(make, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


@pytest.fixture(scope="session")
def s3(tmp_path_factory):
    """An S3 server, started when the first test wants it."""
    server = seaweed.start(tmp_path_factory.mktemp("seaweed"))
    yield server
    server.stop()


class Inputs:
    """The corpus by name, each file written once, with stores of it made by the reference and by us."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.paths: dict[str, Path] = {}

    def add(self, name: str, path: Path) -> None:
        self.paths[name] = path

    def h5ad(self, name: str) -> Path:
        if name not in self.paths:
            path = self.folder / "h5ad" / f"{name}.h5ad"
            path.parent.mkdir(exist_ok=True)
            corpus.CASES[name].write(path)
            self.paths[name] = path
        return self.paths[name]

    def reference(self, name: str) -> str:
        """The store that tiledbsoma makes. Tests only read it."""
        store = self.folder / "reference" / name
        if not store.exists():
            tiledbsoma.io.from_h5ad(str(store), str(self.h5ad(name)), measurement_name="RNA")
        return str(store)

    def ours(self, name: str, vacuole: Vacuole) -> str:
        """The store that we make. Tests only read it."""
        store = self.folder / "ours" / name
        if not store.exists():
            store.parent.mkdir(exist_ok=True)
            options = corpus.CASES[name].options if name in corpus.CASES else ()
            vacuole.ingest(store, self.h5ad(name), *options)
        return str(store)


@pytest.fixture(scope="session")
def inputs(tmp_path_factory) -> Inputs:
    inputs = Inputs(tmp_path_factory.mktemp("inputs"))
    inputs.add("pbmc68k_reduced", pbmc68k_reduced())
    return inputs


def pbmc68k_reduced() -> Path:
    """700 peripheral blood cells, inside scanpy's wheel."""
    scanpy = importlib.util.find_spec("scanpy")
    return Path(scanpy.origin).parent / "datasets/10x_pbmc68k_reduced.h5ad"
