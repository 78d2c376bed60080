"""Builds the Python package as it is in the clone, unpacks it, and prints the folder for PYTHONPATH.

Usage: python_package.py [--release]

maturin builds it with cargo's profile for development, or for release, in $CARGO_TARGET_DIR, where the folder is too: environments are shared
by all clones, and know nothing of it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


def main() -> None:
    target = Path(os.environ.get("CARGO_TARGET_DIR") or REPOSITORY / "target").resolve()
    release = sys.argv[1:] == ["--release"]
    profile, ending = ("release", "-release") if release else ("dev", "")
    wheels, folder = target / f"python-wheel{ending}", target / f"python{ending}"
    shutil.rmtree(wheels, ignore_errors=True)
    requirements = REPOSITORY / "tests/python/requirements-maturin.txt"
    command = [sys.executable, REPOSITORY / ".ci/python_env.py", requirements]
    python = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    maturin = Path(python).parent / "maturin"
    options = ["--manifest-path", REPOSITORY / "python/Cargo.toml", "--out", wheels, "--profile", profile, "--locked"]
    # It is for this machine only.
    options += ["--compatibility", "linux", "--auditwheel", "skip"] if sys.platform == "linux" else []
    environment = os.environ | {"CARGO_TARGET_DIR": str(target)}
    done = subprocess.run([maturin, "build", *options], stdout=sys.stderr, env=environment)
    if done.returncode:
        sys.exit("failed: maturin build")
    [wheel] = wheels.glob("*.whl")
    shutil.rmtree(folder, ignore_errors=True)
    with zipfile.ZipFile(wheel) as unpacked:
        unpacked.extractall(folder)
    print(folder)


main()
