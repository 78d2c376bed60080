"""The scripts in docs/cluster.md do what the page says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import many
import pytest
from test_shards import SCHEDULERS, slurm

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs/cluster.md").read_text()


def script(heading: str) -> str:
    """The first block of code below a heading."""
    _, section = PAGE.split(f"\n## {heading}\n")
    return re.search(r"```\w+\n(.*?)```", section, re.DOTALL)[1]


@pytest.fixture
def project(vacuole, tmp_path) -> Path:
    """A folder with inputs, and the program on the PATH as `bin` has it."""
    (tmp_path / "inputs").mkdir()
    many.write(tmp_path / "inputs", 50, count=4, alike=True)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/vacuole").symlink_to(vacuole.path.resolve())
    return tmp_path


def environment(project: Path, **more: str) -> dict[str, str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(SCHEDULERS)}
    return clean | {"PATH": f"{project / 'bin'}:{os.environ['PATH']}"} | more


def is_whole(project: Path) -> bool:
    return many.differences(project / "atlas", sorted((project / "inputs").glob("*.h5ad"))) == []


def test_slurm(project):
    """Every task of the array, as bash runs it in the job; sbatch itself is not here."""
    job = script("Slurm")
    (project / "job.sh").write_text(job)
    first, last = map(int, re.search(r"--array=(\d+)-(\d+)", job).groups())
    for task in range(first, last + 1):
        assert not (project / "atlas/__vacuole/ingests").exists()
        variables = slurm(task, first, last) | {"SLURM_CPUS_PER_TASK": "2"}
        command = ["bash", "job.sh"]
        subprocess.run(command, cwd=project, env=environment(project, **variables), check=True, timeout=120)
    assert is_whole(project)


def test_snakemake(project):
    requirements = REPOSITORY / "tests/python/requirements-snakemake.txt"
    command = [sys.executable, REPOSITORY / ".ci/python_env.py", requirements]
    made = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    snakemake = Path(made.stdout.strip()).parent / "snakemake"
    (project / "Snakefile").write_text(script("Snakemake"))
    command = [snakemake, "--cores", "4", "atlas.json"]
    variables = environment(project, XDG_CACHE_HOME=str(project / "cache"), HOME=str(project))
    done = subprocess.run(command, cwd=project, env=variables, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert '"committed": true' in (project / "atlas.json").read_text()
    assert len(list((project / "shards").iterdir())) == 4
    assert is_whole(project)
