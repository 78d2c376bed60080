"""Prints the path of a Python that has the packages of a requirements file, made the first time it is asked for.

Usage: python_env.py REQUIREMENTS [PYTHON]

The environment lies in the cache folder ($VACUOLE_CACHE), under a name made of a digest of the requirements, and
is shared by all clones. `uv` makes it; where there is none, it is installed into the cache first. PYTHON is the version that
old packages want, as 3.11.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

UV = "uv==0.13.8"
# The Pythons that every pinned package has wheels for.
OLDEST, END = (3, 11), (3, 14)


def main() -> None:
    requirements = Path(sys.argv[1]).resolve()
    cache = cache_folder() / "python"
    cache.mkdir(parents=True, exist_ok=True)
    version = python_version(sys.argv[2] if len(sys.argv) > 2 else None)
    wanted = f"{version} {sys.version}\n".encode() + requirements.read_bytes()
    environment = cache / hashlib.sha256(wanted).hexdigest()[:16]
    with open(cache / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        complete = environment / "complete"
        if not complete.exists():
            make(environment, requirements, cache, version)
            complete.touch()
    print(environment / "bin/python")


def cache_folder() -> Path:
    if folder := os.environ.get("VACUOLE_CACHE"):
        return Path(folder).resolve()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").resolve() / "vacuole"


def python_version(asked: str | None) -> str:
    """This Python where it will do, else one that uv finds or fetches."""
    if asked is not None and asked != f"{sys.version_info[0]}.{sys.version_info[1]}":
        return asked
    if OLDEST <= sys.version_info[:2] < END:
        return sys.executable
    return f">={OLDEST[0]}.{OLDEST[1]},<{END[0]}.{END[1]}"


def make(environment: Path, requirements: Path, cache: Path, version: str) -> None:
    print(f"making the Python environment of {requirements.name} in {environment}", file=sys.stderr)
    shutil.rmtree(environment, ignore_errors=True)
    uv = find_uv(cache)
    run([uv, "venv", "--quiet", "--python", version, environment])
    run([uv, "pip", "install", "--quiet", "--python", environment / "bin/python", "-r", requirements])


def find_uv(cache: Path) -> str:
    """The uv on the PATH; else one in the cache, by venv, or by pip alone where venv is not installed."""
    if works("uv", "--version"):
        return "uv"
    folder = cache / UV.replace("==", "-")
    uv = folder / "bin/uv"
    if not works(uv, "--version"):
        shutil.rmtree(folder, ignore_errors=True)
        if works(sys.executable, "-m", "venv", folder):
            run([folder / "bin/python", "-m", "pip", "install", "--quiet", UV])
        elif works(sys.executable, "-m", "pip", "--version"):
            shutil.rmtree(folder, ignore_errors=True)
            run([sys.executable, "-m", "pip", "install", "--quiet", "--target", folder, UV])
        else:
            sys.exit(f"{sys.executable} has neither venv nor pip, and there is no uv: install one of them")
    return str(uv)


def works(*command: object) -> bool:
    try:
        done = subprocess.run([str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except OSError:
        return False
    return done.returncode == 0


def run(command: list[object]) -> None:
    # stdout is for the one line of result.
    done = subprocess.run([str(part) for part in command], stdout=sys.stderr)
    if done.returncode:
        sys.exit(f"failed: {' '.join(str(part) for part in command)}")


main()
