"""Generated value filters on six experiments: ours find the rows that tiledbsoma's find, as far as it has the language,
and those that DuckDB finds in the same table, nulls included.

Hypothesis generates filters as pairs of our text and DuckDB's SQL, from fixed seeds. SQL takes NaN for a number that is
equal to itself and greater than others, so that its conditions on floats say otherwise first.
"""

from __future__ import annotations

import datetime
import json
import operator
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import corpus
import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse as sp
import tiledbsoma
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

EXAMPLES = 60
"""Filters of each kind on each experiment: 720 in all."""

WORDS = ["T cell", "B cell", "NK", "it's", 'a "b"', "größe", "100%", "a_b", "a\\b", "", "Tumor", "t CELL", "é"]
OPERATORS = ["==", "!=", "<", "<=", ">", ">="]


# The experiments


def kinds(folder, vacuole) -> Path:
    """A column of every kind that an H5AD file has, with nulls where there can be some."""
    rng, cells = np.random.default_rng(1), 400
    pick = lambda options: np.array(options, dtype=object)[rng.integers(0, len(options), cells)]
    grades = ["low", "mid", "high"]
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical(pick(WORDS)),
            "tissue": pd.Categorical(pick(["lung", "brain", None]), categories=["brain", "unused", "lung"]),
            "grade": pd.Categorical(pick([*grades, None]), categories=grades, ordered=True),
            "best": pd.Categorical(pick(grades), categories=grades, ordered=True),
            "cluster": pd.Categorical(rng.integers(0, 5, cells)),
            "score": np.where(rng.random(cells) < 0.1, np.nan, rng.integers(-4, 5, cells) / 2),
            "fraction": rng.integers(0, 11, cells).astype("float32") / np.float32(10),
            "limits": pick([np.inf, -np.inf, 0.0, -0.0, 1e300]).astype(float),
            "n_genes": rng.integers(0, 9, cells).astype("int32"),
            "n_counts": rng.integers(0, 9, cells),
            "batch": rng.integers(0, 4, cells).astype("uint8"),
            "large": rng.integers(-(2**62), 2**62, cells),
            "huge": rng.integers(2**63 - 5, 2**63 + 5, cells, dtype="uint64"),
            "primary": rng.random(cells) < 0.5,
            "doublet": pd.array(pick([True, False, None]), dtype="boolean"),
            "age": pd.array(pick([20, 30, 40, None]), dtype="Int16"),
            "donor": pick(WORDS),
            "note": pd.array(pick([*WORDS, None]), dtype="string"),
            "odd name": rng.integers(0, 3, cells),
            "like": rng.integers(0, 3, cells),
        },
        index=[f"cell-{i:04d}" for i in range(cells)],
    )
    return ingested(vacuole, folder / "kinds", obs)


def pbmc(folder, vacuole, inputs) -> Path:
    vacuole.ingest(folder / "pbmc", inputs.h5ad("pbmc68k_reduced"))
    return folder / "pbmc"


def tall(folder, vacuole) -> Path:
    """Many tiles, sorted columns, and an append that brings categories of its own."""
    for part, cells in enumerate([18_000, 12_000]):
        rng = np.random.default_rng(part)
        row = np.arange(cells) + part * 18_000
        obs = pd.DataFrame(
            {
                "dataset": pd.Categorical([f"dataset {i // 1_000}" for i in row]),
                "cell_type": pd.Categorical(rng.choice([*WORDS[part : part + 6]], cells)),
                "position": row,
                "wave": np.sin(row / 1_000),
                "n_genes": pd.array(np.where(row % 7 == 0, None, row % 50), dtype="Int32"),
                "donor": [f"D{i % 13:02d}" for i in row],
            },
            index=[f"cell-{i:06d}" for i in row],
        )
        ingested(vacuole, folder / "tall", obs)
    return folder / "tall"


def tiny(folder, vacuole) -> Path:
    obs = pd.DataFrame(
        {
            "none": pd.array([None] * 3, dtype="Int64"),
            "empty": ["", "", "x"],
            "no one's": pd.Categorical([None, None, None], categories=["never"]),
            "flag": [True, False, True],
            "one": [1.5, np.nan, -1.5],
        },
        index=["a", "b", "c"],
    )
    return ingested(vacuole, folder / "tiny", obs)


def moments(folder) -> Path:
    """What the reference writes and H5AD files cannot hold: times, NaN beside nulls, cells that are written again."""
    rng, cells = np.random.default_rng(4), 600
    units = ["s", "ms", "us", "ns"]
    categories = pa.array(WORDS[:6], pa.large_string())
    grades = pa.array(["low", "mid", "high"], pa.large_string())
    schema = pa.schema(
        [
            ("soma_joinid", pa.int64()),
            *[(f"at_{unit}", pa.timestamp(unit)) for unit in units],
            ("x", pa.float64()),
            ("y", pa.float32()),
            ("small", pa.int8()),
            ("kind", pa.dictionary(pa.int8(), pa.large_string())),
            ("grade", pa.dictionary(pa.int8(), pa.large_string(), ordered=True)),
            ("name", pa.large_string()),
        ]
    )

    def table(ids) -> pa.Table:
        count = len(ids)
        known = lambda: rng.random(count) < 0.85
        nulled = lambda values, **k: pa.array(values, mask=~known(), **k)
        columns = {"soma_joinid": pa.array(ids)}
        for unit in units:
            # Few days and hours, so that times meet each other and the dates of literals.
            nanoseconds = rng.integers(-3, 4, count) * 86_400_000_000_000 + rng.integers(0, 4, count) * 500_000_000
            per = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}[unit]
            start = 1_709_251_200_000_000_000 // per
            columns[f"at_{unit}"] = nulled(start + nanoseconds // per).cast(pa.timestamp(unit))
        columns["x"] = nulled(rng.choice([np.nan, np.inf, -0.0, 0.0, 0.5, 1.0, -1.0], count))
        columns["y"] = nulled(rng.choice([np.nan, 0.5, 1.0, 0.1, -np.inf], count).astype("float32"))
        columns["small"] = nulled(rng.integers(-2, 3, count).astype("int8"))
        for name, values in (("kind", categories), ("grade", grades)):
            codes = nulled(rng.integers(0, len(values), count).astype("int8"))
            columns[name] = pa.DictionaryArray.from_arrays(codes, values, ordered=name == "grade")
        columns["name"] = nulled(rng.choice(WORDS, count).astype(object), type=pa.large_string())
        return pa.table(columns, schema=schema)

    uri = str(folder / "moments")
    with tiledbsoma.Experiment.create(uri) as experiment:
        experiment.add_new_dataframe("obs", schema=schema, domain=[[0, cells - 1]])
        experiment.add_new_collection("ms")
    for ids in (np.arange(cells), np.arange(0, cells, 3), np.arange(100, 250)):
        with tiledbsoma.open(f"{uri}/obs", "w") as obs:
            obs.write(table(ids))
    return Path(uri)


def tiles(folder) -> Path:
    """Small tiles whose statistics can rule them out, some of nulls alone, in fragments that lie apart."""
    cells, each = 1_200, 400
    row = np.arange(cells)
    rng = np.random.default_rng(5)
    categories = pa.array([f"batch {i:02d}" for i in range(24)], pa.large_string())
    seconds = pa.timestamp("s")
    columns = {
        "soma_joinid": pa.array(row),
        "rising": pa.array((row // 3 - 200).astype("int32"), mask=(row // 50) % 5 == 2),
        "falling": pa.array(np.uint64(2**63 + cells) - row.astype("uint64")),
        "wave": pa.array(np.where(row % 40 == 7, np.nan, np.round(np.sin(row / 90), 1))),
        "flag": pa.array(row > 700),
        "at": pa.array(1_709_251_200 + row * 3_600, type=pa.int64()).cast(seconds),
        "batch": pa.DictionaryArray.from_arrays(pa.array((23 - row // 50).astype("int8")), categories),
        "name": pa.array([WORDS[i % 5 + i // 300] for i in row], pa.large_string()),
        "any": pa.array(rng.integers(-5, 6, cells).astype("int16"), mask=rng.random(cells) < 0.2),
    }
    schema = pa.schema([(name, column.type) for name, column in columns.items()])
    table = pa.table(columns, schema=schema)
    uri = str(folder / "tiles")
    options = tiledbsoma.TileDBCreateOptions(capacity=50)
    with tiledbsoma.Experiment.create(uri) as experiment:
        experiment.add_new_dataframe("obs", schema=schema, domain=[[0, cells - 1]], platform_config=options)
        experiment.add_new_collection("ms")
    for start in range(0, cells, each):
        with tiledbsoma.open(f"{uri}/obs", "w") as obs:
            obs.write(table.slice(start, each))
    return Path(uri)


def ingested(vacuole, store: Path, obs: pd.DataFrame) -> Path:
    genes = pd.DataFrame(index=["gene-0", "gene-1"])
    path = store.with_name(f"{store.name}-{len(obs)}.h5ad")
    corpus.write(ad.AnnData(sp.csr_matrix((len(obs), 2), dtype="float32"), obs=obs, var=genes), path)
    vacuole.ingest(store, path)
    return store


# What is asked, and whom


class Rows:
    """Our answers, of one process that goes on."""

    def __init__(self, store: Path, vacuole):
        folder = os.environ.get("VACUOLE_BIN_DIR") or vacuole.path.parent
        command = [str(Path(folder) / "examples" / "rows"), str(store)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, text: str) -> dict:
        self.process.stdin.write(json.dumps(text) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def stop(self):
        self.process.stdin.close()
        assert self.process.wait(timeout=60) == 0


@dataclass(frozen=True)
class Column:
    name: str
    at: int
    kind: str
    """`int`, `float`, `bool`, `string` or `time`."""
    type: pa.DataType
    """Of the values, or of the categories."""
    categories: tuple | None
    ordered: bool
    values: tuple
    """Some of those that are there."""

    @property
    def sql(self) -> str:
        return f"c{self.at}"

    @property
    def rank(self) -> str:
        """The place of a category in its list."""
        return f"r{self.at}"

    @property
    def by_name(self) -> bool:
        return self.name.isidentifier()


class Experiment:
    def __init__(self, store: Path, vacuole):
        self.store = store
        self.ours = Rows(store, vacuole)
        self.reference = tiledbsoma.open(str(store))
        table = self.reference.obs.read().concat()
        self.rows = table.num_rows
        self.columns = [column_of(table, at) for at in range(table.num_columns)]
        self.duckdb = duckdb.connect()
        self.duckdb.register("obs", plain(table, self.columns))

    def by_reference(self, text: str) -> list[int]:
        found = self.reference.obs.read(column_names=["soma_joinid"], value_filter=text).concat()
        return sorted(found["soma_joinid"].to_pylist())

    def by_duckdb(self, condition: str) -> list[int]:
        joinid = next(column.sql for column in self.columns if column.name == "soma_joinid")
        return [row for (row,) in self.duckdb.sql(f"SELECT {joinid} FROM obs WHERE {condition} ORDER BY 1").fetchall()]

    def stop(self):
        self.reference.close()
        self.duckdb.close()
        self.ours.stop()


def column_of(table: pa.Table, at: int) -> Column:
    field, data = table.schema.field(at), table.column(at).combine_chunks()
    values, categories, ordered = field.type, None, False
    if pa.types.is_dictionary(field.type):
        values, ordered = field.type.value_type, field.type.ordered
        categories = tuple(data.dictionary.to_pylist())
        data = data.cast(values)
    kinds = {
        "bool": pa.types.is_boolean,
        "int": pa.types.is_integer,
        "float": pa.types.is_floating,
        "time": pa.types.is_timestamp,
    }
    kind = next((kind for kind, holds in kinds.items() if holds(values)), "string")
    if kind == "time":
        data = data.cast(pa.int64())
    known = data.drop_null().unique().to_pylist()
    known = [value for value in known if value == value]
    some = known[:: max(1, len(known) // 12)]
    return Column(field.name, at, kind, values, categories, ordered, tuple(some))


def plain(table: pa.Table, columns: list[Column]) -> pa.Table:
    """Categories as their values, with the place of each; names that DuckDB does not mix up."""
    arrays = {}
    for column in columns:
        data = table.column(column.at).combine_chunks()
        if column.categories is not None:
            arrays[column.rank] = data.indices.cast(pa.int64())
            data = data.cast(column.type)
        if column.kind == "time":
            arrays[f"t{column.at}"] = data.cast(pa.int64())
        arrays[column.sql] = data
    return pa.table(arrays)


# Filters: our text, and SQL that says the same


def text_of(value) -> str:
    """A literal of our language."""
    if isinstance(value, float) and np.isinf(value):
        return "1e999" if value > 0 else "-1e999"
    return repr(value)


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def by_float(op: str, condition: str, *columns: Column) -> str:
    """What IEEE 754 says of NaN."""
    floats = [f"isnan({column.sql})" for column in columns if column.kind == "float"]
    if not floats:
        return condition
    nulls = " OR ".join(f"{column.sql} IS NULL" for column in columns)
    of_nan = {"==": "false", "!=": "true"}.get(op, "NULL")
    return f"(CASE WHEN {nulls} THEN NULL WHEN {' OR '.join(floats)} THEN {of_nan} ELSE {condition} END)"


def compared(column: Column, op: str, value) -> str:
    """A comparison with a literal."""
    sql = "=" if op == "==" else op
    if column.kind == "int" or column.kind == "bool":
        # Halves are whole numbers here, so that nothing is rounded.
        return f"(2 * CAST({column.sql} AS HUGEINT) {sql} CAST('{int(2 * value)}' AS HUGEINT))"
    if column.kind == "float":
        width = "FLOAT" if column.type == pa.float32() else "DOUBLE"
        return by_float(op, f"({column.sql} {sql} CAST('{float(value)!r}' AS {width}))", column)
    if column.kind == "time":
        if isinstance(value, int):
            return f"(t{column.at} {sql} {value})"
        return f"(CAST({column.sql} AS TIMESTAMP_NS) {sql} CAST('{value}' AS TIMESTAMP_NS))"
    if column.ordered and op not in ("==", "!="):
        if value not in column.categories:
            return "(NULL = 1)"
        return f"({column.rank} {sql} {column.categories.index(value)})"
    return f"({column.sql} {sql} {quoted(value)})"


def literals(column: Column, shared: bool):
    """Values to compare a column with: those that are there, and others near them."""
    there = st.sampled_from(column.values) if column.values else st.nothing()
    if column.kind == "bool":
        return st.booleans() if shared else st.one_of(st.booleans(), st.sampled_from([0, 1, 2, 0.5]))
    if column.kind == "int":
        if column.categories is not None:
            return there
        limits = np.iinfo(column.type.to_pandas_dtype())
        near = there.flatmap(lambda v: st.sampled_from([min(v + 1, limits.max), max(v - 1, limits.min), v]))
        near = near if column.values else st.integers(0, 9)
        halves = st.integers(-9, 25).map(lambda i: i / 2)
        beyond = st.sampled_from([2**64, -(2**64), limits.max + 1, limits.min - 1])
        return near if shared else st.one_of(near, halves, beyond)
    if column.kind == "float":
        least = -1e30 if column.type == pa.float32() else -1e300
        return st.one_of(there, st.sampled_from([0.0, -0.5, 0.1, 1.0, float("inf"), least]))
    if column.kind == "time":
        numbers = there if column.values else st.just(0)
        return numbers if shared else st.one_of(numbers, dates(column))
    near = st.sampled_from(WORDS)
    known = there if column.values else near
    if shared and column.ordered:
        return known
    return st.one_of(known, known, near, st.just("absent"))


def dates(column: Column):
    """Texts of times near those of a column, also finer ones than it holds."""
    per = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}[column.type.unit]
    moments = st.sampled_from(column.values or (0,)).map(lambda v: np.datetime64(v * per, "ns"))

    def spelled(moment) -> st.SearchStrategy[str]:
        day, whole = str(moment.astype("datetime64[D]")), str(moment)
        return st.sampled_from([day, whole, whole[:19], whole[:16], whole[:21], whole.replace("T", " "), f"{whole[:28]}7"])

    return moments.flatmap(spelled)


@st.composite
def names(draw, column: Column, shared: bool) -> str:
    quote = "attr(" + repr(column.name) + ")"
    if shared:
        return column.name if column.by_name else quote
    others = [quote] if "`" in column.name else [quote, f"`{column.name}`"]
    return draw(st.sampled_from([column.name, *others] if column.by_name else others))


@st.composite
def comparisons(draw, columns: list[Column], shared: bool) -> tuple[str, str]:
    column = draw(st.sampled_from(columns))
    name = draw(names(column, shared))
    has_order = column.categories is None or column.ordered
    op = draw(st.sampled_from(OPERATORS if has_order else OPERATORS[:2]))
    value = draw(literals(column, shared))
    condition = compared(column, op, value)
    flipped = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}.get(op, op)
    form = draw(st.sampled_from(["plain", "flipped", "chain"]))
    if form == "plain" or (shared and column.kind == "string"):
        return f"{name} {op} {text_of(value)}", condition
    if form == "flipped":
        return f"{text_of(value)} {flipped} {name}", condition
    other = draw(literals(column, shared))
    end = draw(st.sampled_from(OPERATORS if has_order else OPERATORS[:2]))
    return (
        f"{text_of(value)} {flipped} {name} {end} {text_of(other)}",
        f"({condition} AND {compared(column, end, other)})",
    )


@st.composite
def memberships(draw, columns: list[Column], shared: bool) -> tuple[str, str]:
    def can_be(column: Column) -> bool:
        if not shared:
            return bool(column.values)
        small = column.type in (pa.uint8(), pa.int16()) and column.categories is None
        # Negative numbers and zeros of floats in lists are among the differences.
        return bool(column.values) and column.kind in ("int", "string") and not small

    column = draw(st.sampled_from([column for column in columns if can_be(column)]))
    name = draw(names(column, shared))
    values = draw(st.lists(literals(column, shared), min_size=1, max_size=4))
    if shared and column.kind == "int":
        values = [abs(value) for value in values]
    inside = draw(st.booleans())
    condition = " OR ".join(compared(column, "==", value) for value in values)
    listed = ", ".join(map(text_of, values))
    return f"{name} {'in' if inside else 'not in'} [{listed}]", f"({condition})" if inside else f"(NOT ({condition}))"


@st.composite
def nulls(draw, columns: list[Column], shared: bool) -> tuple[str, str]:
    column = draw(st.sampled_from(columns))
    name = draw(names(column, shared))
    missing = draw(st.booleans())
    forms = [f"{name} {'==' if missing else '!='} None"]
    if not shared:
        forms.append(f"{name} is {'' if missing else 'not '}null")
        forms.append(f"{name} {'IS' if missing else 'IS NOT'} None")
        if column.kind == "float" and draw(st.booleans()):
            return f"{name} is {'' if missing else 'not '}nan", f"({'' if missing else 'NOT '}isnan({column.sql}))"
    return draw(st.sampled_from(forms)), f"({column.sql} IS {'' if missing else 'NOT '}NULL)"


@st.composite
def parts_of(draw, values) -> str:
    value = draw(st.sampled_from([v for v in values if v] or ["x"]))
    start = draw(st.integers(0, len(value) - 1))
    return value[start : draw(st.integers(start + 1, len(value)))]


@st.composite
def texts(draw, columns: list[Column]) -> tuple[str, str]:
    column = draw(st.sampled_from([column for column in columns if column.kind == "string"]))
    name, sql = draw(names(column, False)), column.sql
    part = draw(parts_of(column.values))
    kind = draw(st.sampled_from(["startswith", "endswith", "contains", "matches", "like", "ilike", "not like"]))
    if kind in ("startswith", "endswith", "contains"):
        if draw(st.booleans()):
            value = draw(st.sampled_from(column.values or ("x",)))
            part = value[: len(part)] if kind == "startswith" else value[-len(part) :]
        function = {"startswith": "starts_with", "endswith": "suffix", "contains": "contains"}[kind]
        return f"{kind}({name}, {part!r})", f"{function}({sql}, {quoted(part)})"
    if kind == "matches":
        plain = re.escape(part)
        pattern = draw(st.sampled_from([plain, f"^{plain}", f"{plain}$", f"(?i){plain}", "^[A-T]", "(a|l{2})+", "^.{2,4}$", ""]))
        return f"matches({name}, {pattern!r})", f"regexp_matches({sql}, {quoted(pattern)})"
    pattern = "".join("\\" + c if c in "\\%_" else c for c in part)
    if kind == "ilike":
        pattern = pattern.swapcase()
    pattern = draw(st.sampled_from([f"%{pattern}%", f"{pattern}%", f"%{pattern}", f"_%{pattern}%", f"{pattern}__%", "_%", ""]))
    return f"{name} {kind} {pattern!r}", f"({sql} {kind.upper()} {quoted(pattern)} ESCAPE '\\')"


@st.composite
def pairs(draw, columns: list[Column]) -> tuple[str, str]:
    """Two columns."""
    def exact(column: Column) -> bool:
        # What a double holds; larger integers have a test of their own.
        return column.kind != "int" or column.type.bit_width <= 32 or column.name == "n_counts"

    def fits(a: Column, b: Column) -> bool:
        numbers = ("int", "bool", "float")
        if a.kind in numbers and b.kind in numbers:
            return "float" not in (a.kind, b.kind) or (exact(a) and exact(b))
        return a.kind == b.kind

    left = draw(st.sampled_from(columns))
    right = draw(st.sampled_from([column for column in columns if fits(left, column)]))
    categories = [left.categories is not None, right.categories is not None]
    in_order = left.ordered and right.ordered and left.categories == right.categories
    op = draw(st.sampled_from(OPERATORS[:2] if any(categories) and not in_order else OPERATORS))
    text = f"{draw(names(left, False))} {op} {draw(names(right, False))}"
    sql = "=" if op == "==" else op
    if in_order and op not in ("==", "!="):
        return text, f"({left.rank} {sql} {right.rank})"
    if left.kind == "string":
        return text, f"({left.sql} {sql} {right.sql})"
    width = "TIMESTAMP_NS" if left.kind == "time" else "DOUBLE" if "float" in (left.kind, right.kind) else "HUGEINT"
    return text, by_float(op, f"(CAST({left.sql} AS {width}) {sql} CAST({right.sql} AS {width}))", left, right)


def filters(columns: list[Column], shared: bool):
    leaves = [comparisons(columns, shared), memberships(columns, shared), nulls(columns, shared)]
    if not shared:
        leaves += [texts(columns), pairs(columns)]
    leaf = st.one_of(*leaves)
    if shared:
        # `not` before anything but a comparison ends the reference's process.
        negated = comparisons([c for c in columns if c.kind != "string"] or columns, True)
        negated = negated.filter(lambda filter: " AND " not in filter[1])
        leaf = st.one_of(leaf, leaf, negated.map(lambda filter: (f"not {filter[0]}", f"(NOT {filter[1]})")))

    def joined(part):
        def two(words, sql):
            return st.tuples(part, st.sampled_from(words), part).map(
                lambda t: (f"({t[0][0]}) {t[1]} ({t[2][0]})", f"({t[0][1]} {sql} {t[2][1]})")
            )

        words = (["and", "&"], ["or", "|"]) if shared else (["and", "&", "AND"], ["or", "|", "Or"])
        options = [two(words[0], "AND"), two(words[1], "OR")]
        if not shared:
            nots = st.tuples(st.sampled_from(["not", "~", "NOT"]), part)
            options.append(nots.map(lambda t: (f"{t[0]} ({t[1][0]})", f"(NOT {t[1][1]})")))
        return st.one_of(*options)

    return st.recursive(leaf, joined, max_leaves=4)


NAMES = ["kinds", "pbmc", "tall", "tiny", "moments", "tiles"]


@pytest.fixture(scope="module")
def experiments(tmp_path_factory, vacuole, inputs):
    folder = tmp_path_factory.mktemp("filters")
    stores = {
        "kinds": lambda: kinds(folder, vacuole),
        "pbmc": lambda: pbmc(folder, vacuole, inputs),
        "tall": lambda: tall(folder, vacuole),
        "tiny": lambda: tiny(folder, vacuole),
        "moments": lambda: moments(folder),
        "tiles": lambda: tiles(folder),
    }
    opened: dict[str, Experiment] = {}

    def experiment(name: str) -> Experiment:
        if name not in opened:
            opened[name] = Experiment(stores[name](), vacuole)
        return opened[name]

    yield experiment
    for one in opened.values():
        one.stop()


def generated(strategy, check) -> None:
    """The same filters in every run; one that fails is made as short as it gets."""
    options = settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    options(given(strategy)(check))()


@pytest.mark.parametrize("shared", [True, False], ids=["reference", "duckdb"])
@pytest.mark.parametrize("name", NAMES)
def test_generated(name, shared, experiments):
    experiment = experiments(name)
    counts: dict[str, int] = {}

    def check(filter):
        text, condition = filter
        found = experiment.ours(text)
        assert "rows" in found, f"{text}\n{found['error']}"
        counts[text] = len(found["rows"])
        assert found["rows"] == experiment.by_duckdb(condition), f"{text}\n{condition}"
        if shared:
            assert found["rows"] == experiment.by_reference(text), text

    generated(filters(experiment.columns, shared), check)
    assert len(counts) >= 0.8 * EXAMPLES
    # Filters that find everything or nothing tell little.
    telling = sum(0 < count < experiment.rows for count in counts.values())
    assert telling >= len(counts) / 4, counts


def test_large_integers_against_floats(tmp_path, vacuole):
    """By exact value, as Python compares them; a double has no room for 2**53 + 1."""
    ints = [2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63), 0, 1]
    floats = [2.0**53, 2.0**53 + 2, -(2.0**53), 2.0**63, -(2.0**63), 0.5, -0.0, float("inf"), float("-inf")]
    grid = [(i, f) for i in ints for f in floats]
    obs = pd.DataFrame(
        {"i": np.array([i for i, _ in grid], dtype="int64"), "f": [f for _, f in grid]},
        index=corpus.names("cell", len(grid)),
    )
    store = ingested(vacuole, tmp_path / "large", obs)
    ours = Rows(store, vacuole)
    comparisons = dict(zip(OPERATORS, [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]))
    for op, compare in comparisons.items():
        assert ours(f"i {op} f")["rows"] == [row for row, (i, f) in enumerate(grid) if compare(i, f)]
        assert ours(f"f {op} i")["rows"] == [row for row, (i, f) in enumerate(grid) if compare(f, i)]
    ours.stop()


def test_times_with_offsets(experiments):
    """Against Python's own reading of ISO 8601."""
    experiment = experiments("moments")
    column = next(column for column in experiment.columns if column.name == "at_ms")
    times = dict(experiment.duckdb.sql(f"SELECT c0, t{column.at} FROM obs WHERE t{column.at} IS NOT NULL").fetchall())
    for text in ["2024-03-01T00:00:00Z", "2024-03-01T02:00:01+02:00", "2024-02-29 22:30:00.500-01:30", "2024-03-02"]:
        moment = datetime.datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=datetime.timezone.utc)
        wanted = moment.timestamp() * 1000
        expected = sorted(row for row, time in times.items() if time >= wanted)
        assert 0 < len(expected) < experiment.rows
        assert experiment.ours(f"at_ms >= {text!r}")["rows"] == expected, text


@pytest.mark.parametrize("text", ["position < 18000", "dataset == 'dataset 1'", "soma_joinid in [1000, 17999]"])
def test_tiles_are_left_out(text, experiments, vacuole, tmp_path):
    """What statistics rule out is not read: of one of two fragments a column is missing, and nobody minds."""
    store = tmp_path / "tall"
    shutil.copytree(experiments("tall").store, store)
    fragments = sorted((store / "obs" / "__fragments").iterdir())
    assert len(fragments) == 2
    with tiledbsoma.open(str(store)) as experiment:
        at = experiment.obs.schema.names.index("wave") - 1
    (fragments[1] / f"a{at}.tdb").unlink()
    expected = vacuole.count(experiments("tall").store, obs=f"{text} and wave > 0.5")
    assert 0 < vacuole.count(store, obs=f"{text} and wave > 0.5") == expected
    assert vacuole.run("count", store, "--obs", f"({text} or n_genes is null) and wave > 0.5").returncode != 0


def test_nothing_is_found_in_tiles_that_are_left_out(experiments, vacuole):
    """Why nothing was found is told of all rows."""
    store = experiments("tiles").store
    done = vacuole("count", store, "--obs", "rising < -150 and flag == True")
    assert done.stderr == (
        "note: no row satisfies all conditions at once: alone `rising < -150` holds for 100, `flag == True` holds for 499\n"
    )
    done = vacuole("count", store, "--obs", "rising > 1000 and flag == True")
    assert done.stderr == "note: no row satisfies `rising > 1000`\n"


def test_notes(experiments, vacuole, tmp_path):
    """Values that are no categories, and conditions that find nothing, are told of on stderr; the answer stays."""
    store = experiments("kinds").store
    done = vacuole("count", store, "--obs", "cell_type == 'T cels' and n_genes >= 0")
    assert done.stdout == "0\n"
    assert done.stderr.splitlines() == [
        "note: column `cell_type` has no category 'T cels' (did you mean 'T cell' or 't CELL' or 'B cell'?)",
        "note: no row satisfies `cell_type == 'T cels'`",
    ]
    done = vacuole("count", store, "--obs", "tissue in ['lungs', 'brain']", "--json")
    assert json.loads(done.stdout)["count"] > 0
    assert done.stderr == "note: column `tissue` has no category 'lungs' (did you mean 'lung'?)\n"
    done = vacuole("--quiet", "count", store, "--obs", "contains(tissue, 'kidney') or cluster == 7")
    assert (done.stdout, done.stderr) == ("0\n", "")
    done = vacuole("count", store, "--obs", "contains(tissue, 'kidney') or cluster == 7")
    assert done.stderr.splitlines() == [
        "note: no category of column `tissue` satisfies contains(tissue, 'kidney')",
        "note: column `cluster` has no category 7; it has 0, 1, 2, 3, 4",
    ]
    done = vacuole("query", store, "--obs", "n_genes < 0 and tissue == 'lung'", "-o", tmp_path / "none.h5ad", "--json")
    assert json.loads(done.stdout)["n_obs"] == 0
    assert "note: no row satisfies `n_genes < 0`" in done.stderr
    assert ad.read_h5ad(tmp_path / "none.h5ad").n_obs == 0
    assert vacuole("count", store, "--obs", "tissue == 'lung' and n_genes > 1").stderr == ""
    done = vacuole("values", store, "grade", "--obs", "tissue == 'lungs'")
    assert done.stderr == "note: column `tissue` has no category 'lungs' (did you mean 'lung'?)\n"


def test_notes_on_files(experiments, vacuole, tmp_path):
    """An H5AD file in place is asked in the same language."""
    path = experiments("kinds").store.with_name("kinds-400.h5ad")
    obs = ad.read_h5ad(path).obs
    done = vacuole("count", path, "--obs", "tissue == 'lungs'")
    assert done.stdout == "0\n" and "(did you mean 'lung'?)" in done.stderr
    done = vacuole("query", path, "--obs", "tissue == 'lungs'", "-o", tmp_path / "none.h5ad")
    assert "(did you mean 'lung'?)" in done.stderr
    assert vacuole.count(path, obs="score is nan") == obs["score"].isna().sum() > 0
    assert vacuole.count(path, obs="note is null") == obs["note"].isna().sum() > 0
    assert vacuole.count(path, obs="cell_type like 'T%' and `odd name` < like") == sum(
        obs["cell_type"].astype(str).str.startswith("T") & (obs["odd name"] < obs["like"])
    )
    assert vacuole.count(path, obs="grade < best") == sum(
        obs["grade"].cat.codes.between(0, obs["best"].cat.codes - 1)
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cell_tpye == 'NK'", "did you mean `cell_type`?"),
        ("absent is null", "the columns are soma_joinid, obs_id, cell_type, tissue"),
        ("cell_type == NK", "if `NK` is a string, quote it: 'NK'"),
        ("tissue == None and matches(donor, '[')", "unclosed character class"),
        ("n_genes like '1%'", "`like` is a test of strings"),
        ("donor.str.contains('x')", "write contains(donor, 'text')"),
        ("grade < tissue", "have no order"),
        ("n_genes < donor", "cannot be compared with column `donor`"),
    ],
)
def test_refused(text, message, experiments, vacuole):
    """Errors say what to write, and point at the place."""
    done = vacuole.run("count", experiments("kinds").store, "--obs", text)
    assert done.returncode == 5, done.stderr
    assert message in done.stderr and re.search(r"^ *\^+$", done.stderr, re.M), done.stderr
