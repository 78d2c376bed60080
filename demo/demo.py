"""Real cells go in, are counted and queried, and come out again: `make demo`.

Needs Rust and Python 3.10 or newer, and no Python package. Set VACUOLE_BIN to use a program that is built already.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
OUTPUT = REPOSITORY / "demo-output"
CACHE = Path(os.environ.get("VACUOLE_CACHE") or Path.home() / ".cache/vacuole").absolute()
TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or CACHE / "target").absolute()

SCANPY = "scanpy==1.11.5"
DATASET = "scanpy/datasets/10x_pbmc68k_reduced.h5ad"
INPUT = "pbmc68k_reduced.h5ad"

CELLS = "bulk_labels in ['CD19+ B', 'CD56+ NK'] and n_genes > 1200"
GENES = "highly_variable == True"


class Demo:
    """Runs steps, says what each does, and keeps the time."""

    def __init__(self) -> None:
        self.times: list[tuple[str, float]] = []

    def step(self, title: str, explanation: str, work) -> None:
        print(f"\n[{len(self.times) + 1}] {title}\n    {explanation}", flush=True)
        start = time.monotonic()
        work()
        taken = time.monotonic() - start
        self.times.append((title, taken))
        print(f"    took {seconds(taken)}", flush=True)

    def summary(self) -> None:
        print("\nTime of each step")
        for title, taken in self.times:
            print(f"    {seconds(taken):>9}  {title}")


def seconds(taken: float) -> str:
    return f"{taken:.3f} s" if taken < 10 else f"{taken:.1f} s"


def main() -> None:
    demo = Demo()
    ready = os.environ.get("VACUOLE_BIN")
    binary = Path(ready).absolute() if ready else TARGET / "release/vacuole"
    OUTPUT.mkdir(exist_ok=True)
    shutil.rmtree(OUTPUT / "pbmc", ignore_errors=True)

    def vacuole(*arguments: str) -> None:
        show_command(["vacuole", *arguments])
        run([str(binary), *arguments], OUTPUT)

    print(f"Vacuole on 700 blood cells. Everything is written to {OUTPUT}, where the commands below are run.")
    if not ready:
        demo.step("Build", "The program, as it is released. The first build takes some minutes.", build)
    demo.step("Get data", f"{INPUT}: 700 cells x 765 genes, out of the wheel of {SCANPY}.", get_data)
    demo.step(
        "Ingest",
        "The H5AD file becomes a SOMA experiment, a folder of TileDB arrays.",
        lambda: vacuole("ingest", "pbmc", INPUT),
    )
    demo.step(
        "Ingest again",
        "This file was ingested before: nothing changes.",
        lambda: vacuole("ingest", "pbmc", INPUT),
    )
    demo.step("Show", "What is in the experiment.", lambda: vacuole("show", "pbmc"))
    demo.step(
        "Count",
        "How many cells and genes two filters find.",
        lambda: vacuole("count", "pbmc", "--obs", CELLS, "--var", GENES),
    )
    demo.step(
        "Query",
        "Those cells and genes, with all that belongs to them, as an H5AD file.",
        lambda: vacuole("query", "pbmc", "--obs", CELLS, "--var", GENES, "-o", "slice.h5ad"),
    )
    demo.step(
        "Verify",
        "Every byte of the experiment is read and checked.",
        lambda: vacuole("verify", "pbmc"),
    )
    open_with_anndata(demo)
    demo.summary()
    print(f"\nThe program is {binary}\nThe slice is {OUTPUT / 'slice.h5ad'}")


def build() -> None:
    command = ["cargo", "build", "--release", "-p", "vacuole", "--locked"]
    show_command(command)
    run(command, REPOSITORY, CARGO_TARGET_DIR=str(TARGET))


def get_data() -> None:
    wheels = CACHE / "demo" / SCANPY.replace("==", "-")
    path = wheels / INPUT
    if path.exists():
        print(f"    (downloaded before, to {wheels})")
    else:
        wheels.mkdir(parents=True, exist_ok=True)
        fetch(wheels)
    shutil.copyfile(path, OUTPUT / INPUT)


def fetch(folder: Path) -> None:
    """Gets the wheel by pip or, where Python has none, by uv, and takes the file out of it."""
    partial = folder / f"{INPUT}.{os.getpid()}"
    if answers([sys.executable, "-m", "pip", "--version"]):
        options = ["--quiet", "--no-deps", "--only-binary=:all:", "--dest", str(folder)]
        command = ["-m", "pip", "download", *options, SCANPY]
        show_command(["python3", *command])
        run([sys.executable, *command], OUTPUT)
        wheel = next(folder.glob("scanpy-*.whl"))
        with zipfile.ZipFile(wheel) as archive, archive.open(DATASET) as source, open(partial, "wb") as target:
            shutil.copyfileobj(source, target)
        wheel.unlink()
    elif answers(["uv", "--version"]):
        command = ["uv", "pip", "install", "--quiet", "--no-deps", "--python", sys.executable]
        command += ["--target", str(folder / "unpacked"), SCANPY]
        show_command(command)
        run(command, OUTPUT)
        shutil.copyfile(folder / "unpacked" / DATASET, partial)
        shutil.rmtree(folder / "unpacked")
    else:
        sys.exit(f"{sys.executable} has no pip, and there is no uv: install one of them to download the data")
    partial.rename(folder / INPUT)


def open_with_anndata(demo: Demo) -> None:
    """Opens the slice as its readers will, where anndata happens to be installed."""
    try:
        import anndata
    except ImportError:
        return

    def work() -> None:
        print('    $ python3 -c \'import anndata; print(anndata.read_h5ad("slice.h5ad"))\'', flush=True)
        print(anndata.read_h5ad(OUTPUT / "slice.h5ad"))

    demo.step("Open", "The slice, opened by anndata.", work)


def show_command(command: list[str]) -> None:
    print("    $ " + " ".join(quoted(part) for part in command), flush=True)


def quoted(part: str) -> str:
    """As one would type it: filters are full of single quotes, and read best between double ones."""
    plain = not any(character in part for character in '"$`\\!')
    return f'"{part}"' if "'" in part and plain else shlex.quote(part)


def answers(command: list[str]) -> bool:
    try:
        return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
    except OSError:
        return False


def run(command: list[str], folder: Path, **variables: str) -> None:
    try:
        done = subprocess.run(command, cwd=folder, env={**os.environ, **variables})
    except OSError as error:
        sys.exit(f"{command[0]} cannot be run: {error.strerror}")
    if done.returncode:
        sys.exit(done.returncode)


main()
