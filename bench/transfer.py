"""`vacuole bucket` beside s5cmd and rclone, against one SeaweedFS on loopback: time, CPU and memory of the client.

Usage: transfer.py --binary VACUOLE [--size MIB] [--files N] [--rounds N]

One large file and many small ones, up and down; the tools take turns, and of each the round with the least time counts.
The server shares the machine: what the client takes less, the server has.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "tests/python"))

import seaweed  # noqa: E402

MIB = 1 << 20
LAUNCHER = """
import resource, subprocess, sys, time
begun = time.monotonic()
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(time.monotonic() - begun, used.ru_utime + used.ru_stime, used.ru_maxrss)
sys.exit(code)
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="vacuole-transfer-"))
    (folder / "server").mkdir()
    server = seaweed.start(folder / "server")
    try:
        run(options, folder, server)
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def run(options, folder: Path, server) -> None:
    large, small = folder / "large.bin", folder / "small"
    block = os.urandom(16 * MIB)
    with open(large, "wb") as file:
        for number in range(options.size // 16):
            file.write(number.to_bytes(8, "big") + block[8:])
    small.mkdir()
    for number in range(options.files):
        (small / f"{number:05}").write_bytes(os.urandom(4096))
    print(f"{'':24} {'wall s':>8} {'CPU s':>8} {'RSS MiB':>8}")
    one, many = f"{options.size} MiB", f"{options.files} x 4 KiB"
    for what, commands in {
        f"{one} up": tools(options.binary, server, "up", large, "large.bin"),
        f"{one} down": tools(options.binary, server, "down", folder / "back.bin", "large.bin"),
        f"{many} up": tools(options.binary, server, "up", small, "small"),
        f"{many} down": tools(options.binary, server, "down", folder / "back", "small"),
    }.items():
        best: dict[str, tuple[float, float, int]] = {}
        for _ in range(options.rounds):
            for name, command in commands.items():
                for back in (folder / "back.bin", folder / "back"):
                    shutil.rmtree(back, ignore_errors=True)
                    back.unlink(missing_ok=True)
                best[name] = min(best.get(name, (1e9, 0.0, 0)), measure(command, server, folder))
        print(what)
        for name, (wall, cpu, rss) in best.items():
            print(f"  {name:22} {wall:8.2f} {cpu:8.2f} {rss:8}")


def tools(binary: str, server, way: str, path: Path, key: str) -> dict[str, list[str]]:
    beside = Path(sys.executable).parent
    remote, is_folder = f"s3://{seaweed.BUCKET}/bench/%s/{key}", not key.endswith(".bin")
    rclone = f":s3,provider=Other,env_auth=true,force_path_style=true,no_check_bucket=true,endpoint='{server.endpoint}'"
    rclone = f"{rclone}:{seaweed.BUCKET}/bench/rclone/{key}"
    s5cmd = [str(beside / "s5cmd"), "--endpoint-url", server.endpoint, "cp"]
    verb = "copy" if is_folder else "copyto"
    slash = "/" if is_folder else ""
    if way == "up":
        return {
            "vacuole": [binary, "-q", "bucket", "put", str(path), remote % "vacuole" + slash],
            "s5cmd": [*s5cmd, str(path) + slash, remote % "s5cmd" + slash],
            "rclone": [str(beside / "rclone"), verb, str(path), rclone, "--transfers", "32", "--ignore-times"],
        }
    return {
        "vacuole": [binary, "-q", "bucket", "fetch", remote % "vacuole" + slash, str(path)],
        "s5cmd": [*s5cmd, remote % "s5cmd" + ("/*" if is_folder else ""), str(path) + slash],
        "rclone": [str(beside / "rclone"), verb, rclone, str(path), "--transfers", "32", "--ignore-times"],
    }


def measure(command: list[str], server, folder: Path) -> tuple[float, float, int]:
    environment = server.environment(XDG_CACHE_HOME=str(folder / "cache"))
    # s5cmd and rclone know no variable for S3 alone.
    environment["AWS_ENDPOINT_URL"] = server.endpoint
    # By a small process in between: what a process had before it became another counts as its memory.
    launch = [sys.executable, "-S", "-c", LAUNCHER, *command]
    done = subprocess.run(launch, capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(f"failed: {' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    seconds, cpu, rss = done.stdout.splitlines()[-1].split()
    return float(seconds), float(cpu), int(rss) // 1024


if __name__ == "__main__":
    main()
