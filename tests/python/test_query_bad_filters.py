"""Filters whose values do not fit the columns: numbers out of all ranges compare as what they are, and values of another
kind are errors that show the place. All are answered at once, whatever the size of the filter."""

from __future__ import annotations

import json
import time

import disturbed
import numpy as np
import pytest


@pytest.fixture(scope="module")
def made(vacuole, tmp_path_factory):
    folder = tmp_path_factory.mktemp("filters")
    adata = disturbed.make(folder / "in.h5ad", 0)
    vacuole.ingest(folder / "store", folder / "in.h5ad")
    return adata.obs, {"experiment": folder / "store", "file": folder / "in.h5ad"}


@pytest.fixture(params=["experiment", "file"])
def source(request, made):
    return made[1][request.param]


NUMBERS = [0, 1.5, -129, 300, 2**63 - 1, 2**63, -(2**63) - 1, 2**64 - 1, 2**64, 10**38, -(10**38), 1e308, -1e308]


@pytest.mark.parametrize("column", ["small", "large", "score"])
def test_numbers_beyond_the_type(made, source, vacuole, column):
    values = [v.item() for v in made[0][column].to_numpy()]
    for number in NUMBERS:
        for operator, holds in (
            ("==", lambda a, b: a == b),
            ("!=", lambda a, b: a != b),
            ("<", lambda a, b: a < b),
            (">=", lambda a, b: a >= b),
        ):
            expected = sum(holds(value, number) for value in values)
            assert vacuole.count(source, obs=f"{column} {operator} {number!r}") == expected, (operator, number)
        assert vacuole.count(source, obs=f"{column} in [{number!r}]") == sum(value == number for value in values)


def test_infinity_and_less_than_any_number(made, source, vacuole):
    cells = len(made[0])
    for text, expected in (
        ("score < 1e999", cells),
        ("score > -1e999", cells),
        ("large < 1e999", cells),
        ("small == 1e999", 0),
        ("score == 1e-999", int((made[0]["score"] == 0).sum())),
        ("small > 1e-999", int((made[0]["small"] > 0).sum())),
        ("flag == 2", 0),
        ("flag < 99999999999999999999", cells),
    ):
        assert vacuole.count(source, obs=text) == expected, text[:50]


@pytest.mark.parametrize(
    "text, mentioned",
    [
        ("small == 'x'", ["`small`", "'x'", "character 10"]),
        ("small in [1, 'x']", ["`small`", "'x'"]),
        ("1 < small < 'x'", ["`small`", "'x'"]),
        ("score == 'a'", ["`score`", "'a'"]),
        ("flag == 'x'", ["`flag`", "'x'"]),
        ("kind == 5", ["`kind`", "'5'"]),
        ("kind in [1]", ["`kind`", "'1'"]),
        ("kind > 'a'", ["`kind`", "no order"]),
        ("label == 3", ["`label`", "'3'"]),
        ("small >= '2024-01-01'", ["`small`", "'2024-01-01'"]),
        ("label like 3", ["like", "string"]),
        ("contains(small, 'a')", ["`small`", "contains"]),
        ("matches(label, '(')", ["regular expression"]),
        ("matches(label, 'a{1000}{1000}{1000}')", ["10 MiB"]),
        ("small == " + "9" * 5_000, ["beyond every column's range"]),
        ("score < -" + "9" * 50, ["beyond every column's range"]),
        ("small < label", ["`small`", "`label`"]),
        ("nobody == 1", ["`nobody`", "label"]),
        ("small", ["no condition"]),
        ("", ["empty"]),
        ("small ==", ["end of the filter"]),
        ("(" * 5_000 + "small == 1" + ")" * 5_000, ["nested too deeply"]),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_values_of_another_kind(source, vacuole, tmp_path, text, mentioned):
    for command in (
        ["count", source],
        ["query", source, "-o", tmp_path / "out.h5ad"],
        ["query", source],
        ["stats", source, "-o", tmp_path / "out.csv"],
        ["sample", source, "-n", 1],
    ):
        begun = time.monotonic()
        done = vacuole.run(*command, "--obs", text, "--json")
        assert time.monotonic() - begun < 5
        assert done.returncode == 5, (command, done.stderr)
        error = json.loads(done.stdout.splitlines()[-1])["error"]
        assert error["kind"] == "invalid_input"
        assert all(part in error["message"] for part in mentioned), error["message"]
        # A long filter is shown in part.
        assert len(done.stderr) < 2_000
    assert list(tmp_path.iterdir()) == []


def test_a_long_filter(made, source, vacuole):
    rng = np.random.default_rng(0)
    wanted = sorted(set(rng.integers(-200, 200, 300).tolist()))
    expected = int(made[0]["small"].isin(wanted).sum())
    assert vacuole.count(source, obs=" or ".join(f"small == {n}" for n in wanted)) == expected
    many = ", ".join(str(n) for n in [*wanted, *range(10**9, 10**9 + 9_000)])
    assert vacuole.count(source, obs=f"small in [{many}]") == expected
