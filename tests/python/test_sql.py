"""`vacuole sql`: its answers are DuckDB's on the same tables as Parquet, of experiments and of files; it reads only what it is
asked for, writes only what is complete, and says what is wrong."""

from __future__ import annotations

import csv
import json
import math
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import anndata as ad
import corpus
import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp
import tiledbsoma
import tiledbsoma.io
from seaweed import BUCKET
from test_query_outputs import atlas

HERE = Path(__file__).parent
DOCUMENT = HERE.parents[1] / "docs/sql.md"

# The paths of the tables of an experiment, in a file.
IN_FILE = {
    "ms/raw/X/data": "raw/X",
    "ms/raw/var": "raw/var",
    "ms/RNA/obsm/X_pca": "obsm/X_pca",
    "ms/RNA/obsm/X_umap": "obsm/X_umap",
    "ms/RNA/obsp/connectivities": "obsp/connectivities",
    "ms/RNA/obsp/distances": "obsp/distances",
}


def queries(name: str) -> list[str]:
    text = "\n".join(line for line in (HERE / "sql" / name).read_text().splitlines() if not line.startswith("--"))
    return [query.strip() for query in text.split(";") if query.strip()]


ATLAS, PBMC = queries("atlas.sql"), queries("pbmc.sql")


def arrow(vacuole, folder: Path, source, query: str, *options) -> pa.Table:
    out = folder / "answer.arrow"
    vacuole("sql", source, query, "-o", out, *options)
    return pyarrow.feather.read_table(out, memory_map=False)


def rows(table) -> list[tuple]:
    return [tuple(value(cell) for cell in row.values()) for row in table.to_pylist()]


def value(cell):
    """Sums of integers are decimals in DuckDB."""
    if isinstance(cell, bool) or cell is None or isinstance(cell, (int, float, str)):
        return cell
    return int(cell) if hasattr(cell, "as_tuple") and cell == int(cell) else cell


def alike(ours, theirs) -> bool:
    if isinstance(ours, bool) or isinstance(theirs, bool) or ours is None or theirs is None:
        return ours is theirs
    if isinstance(ours, (int, float)) and isinstance(theirs, (int, float)):
        if math.isnan(ours) or math.isnan(theirs):
            return math.isnan(ours) and math.isnan(theirs)
        if isinstance(ours, int) and isinstance(theirs, int):
            return ours == theirs
        return math.isclose(ours, theirs, rel_tol=1e-6, abs_tol=1e-9)
    return ours == theirs


def same(ours: list[tuple], theirs: list[tuple], query: str) -> None:
    ordered = re.search(r"\bORDER BY [^()]*$", query)
    if not ordered:
        rounded = lambda cell: f"{cell:.4g}" if isinstance(cell, float) else str(cell)
        key = lambda row: tuple(rounded(cell) for cell in row)
        ours, theirs = sorted(ours, key=key), sorted(theirs, key=key)
    assert len(ours) == len(theirs), query
    for place, (left, right) in enumerate(zip(ours, theirs)):
        assert len(left) == len(right), query
        assert all(map(alike, left, right)), f"{query}\nrow {place}: {left}, DuckDB has {right}"


def plain(table: pa.Table) -> pa.Table:
    """Categories as values: DuckDB orders an enumeration by its codes."""
    decode = lambda column: column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
    return pa.table({name: decode(table[name]) for name in table.column_names})


def triples(array) -> pa.Table:
    if isinstance(array, tiledbsoma.SparseNDArray):
        return array.read().tables().concat()
    values = array.read().to_numpy()
    grid = np.indices(values.shape).reshape(values.ndim, -1)
    return pa.table({**{f"soma_dim_{d}": axis for d, axis in enumerate(grid)}, "soma_data": values.ravel()})


def export(store: str, folder: Path, measurement: str = "RNA") -> dict[str, Path]:
    """The tables of an experiment as Parquet, by way of tiledbsoma."""
    found = {}
    with tiledbsoma.Experiment.open(store) as experiment:
        found["obs"] = plain(experiment.obs.read().concat())
        for name, part in experiment.ms.items():
            found[f"ms/{name}/var"] = plain(part.var.read().concat())
            for group in ("X", "obsm", "varm", "obsp", "varp"):
                for key, array in part[group].items() if group in part else ():
                    found[f"ms/{name}/{group}/{key}"] = triples(array)
    found["var"], found["X"] = found[f"ms/{measurement}/var"], found[f"ms/{measurement}/X/data"]
    paths = {name: folder / f"{i}.parquet" for i, name in enumerate(found)}
    for name, path in paths.items():
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(found[name], path)
    return paths


def judge(main: dict[str, Path], other: dict[str, Path] | None = None) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET threads = 1; CREATE SCHEMA other")
    for schema, tables in (("main", main), ("other", other or {})):
        for name, path in tables.items():
            connection.execute(f"CREATE VIEW {schema}.\"{name}\" AS SELECT * FROM read_parquet('{path}')")
    return connection


def asked(connection, query: str) -> list[tuple]:
    return [tuple(value(cell) for cell in row) for row in connection.execute(query).fetchall()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("sql")


def of_file(tables: dict[str, Path], folder: Path) -> dict[str, Path]:
    """The same of a file, in which a NaN of `obs` is one, and no null."""
    folder.mkdir(parents=True)
    obs = pq.read_table(tables["obs"])
    for place, field in enumerate(obs.schema):
        if pa.types.is_floating(field.type):
            obs = obs.set_column(place, field.name, pa.compute.fill_null(obs[field.name], math.nan))
    # By statistics, which leave NaN out, DuckDB 2.0 decides that there is none.
    pq.write_table(obs, folder / "obs.parquet", write_statistics=False)
    return tables | {"obs": folder / "obs.parquet"}


@pytest.fixture(scope="module")
def judges(atlases, folder):
    """DuckDB over the experiments, and over the files."""
    tables = [export(str(store), folder / "again" / store.name) for store in atlases[:2]]
    files = [of_file(part, folder / "of files" / store.name) for part, store in zip(tables, atlases)]
    return {"experiment": atlases[2], "file": judge(*files)}


@pytest.fixture(scope="module")
def atlases(folder, vacuole):
    """Two experiments, their files, and DuckDB over the first with the second as `other`."""
    for name, (cells, seed) in {"atlas": (300, 1), "other": (200, 2)}.items():
        corpus.write(atlas(cells, seed), folder / f"{name}.h5ad")
        vacuole.ingest(folder / name, folder / f"{name}.h5ad")
    tables = [export(str(folder / name), folder / "parquet" / name) for name in ("atlas", "other")]
    return folder / "atlas", folder / "other", judge(*tables)


@pytest.fixture(scope="module")
def pbmc(inputs, folder, vacuole):
    store = inputs.ours("pbmc68k_reduced", vacuole)
    return store, judge(export(store, folder / "parquet" / "pbmc"))


# Answers


@pytest.mark.parametrize("where", ["experiment", "file"])
def test_answers_are_those_of_duckdb(where, atlases, judges, vacuole, tmp_path):
    store, other, connection = *atlases[:2], judges[where]
    assert len(ATLAS) + len(PBMC) >= 40
    suffix = "" if where == "experiment" else ".h5ad"
    found, wrong = {}, []
    for query in ATLAS:
        try:
            answer = arrow(vacuole, tmp_path, f"{store}{suffix}", query, "--attach", f"other={other}{suffix}")
            same(rows(answer), asked(connection, query), query)
        except (AssertionError, duckdb.Error) as error:
            wrong.append(f"{query}\n{error}")
            continue
        found[query] = answer.num_rows
    assert not wrong, "\n\n".join(wrong)
    assert sum(count > 0 for count in found.values()) > len(ATLAS) - 2, found


@pytest.mark.parametrize("where", ["experiment", "reference", "file"])
def test_answers_over_real_cells(where, pbmc, inputs, vacuole, tmp_path):
    name = "pbmc68k_reduced"
    source = {"experiment": inputs.ours(name, vacuole), "reference": inputs.reference(name), "file": inputs.h5ad(name)}
    for query in PBMC:
        ours = query
        if where == "file":
            for path, element in IN_FILE.items():
                ours = ours.replace(f'"{path}"', f'"{element}"')
        answer = arrow(vacuole, tmp_path, source[where], ours)
        assert answer.num_rows > 0
        same(rows(answer), asked(pbmc[1], query), query)


def test_an_experiment_and_a_file_in_one_query(atlases, vacuole, tmp_path):
    store, other, connection = atlases
    query = "SELECT a.obs_id, b.obs_id FROM obs AS a JOIN other.obs AS b USING (soma_joinid) ORDER BY 1"
    answer = arrow(vacuole, tmp_path, store, query, "--attach", f"other={other}.h5ad")
    same(rows(answer), asked(connection, query), query)


def test_times_and_deletes(folder, vacuole, tmp_path):
    """What other programs have written: times, and a column of categories that are numbers."""
    adata = corpus.simple(cells=30, genes=4)
    adata.obs["moment"] = pd.date_range("2024-01-01", periods=30, freq="D").astype("datetime64[ns]")
    adata.obs["batch"] = pd.Categorical([1, 2, 3] * 10)
    store = str(tmp_path / "reference")
    tiledbsoma.io.from_anndata(store, adata, measurement_name="RNA")
    connection = judge(export(store, tmp_path / "parquet"))
    for query in [
        'SELECT obs_id, moment FROM obs WHERE moment >= TIMESTAMP \'2024-01-20\' ORDER BY moment',
        "SELECT date_trunc('week', moment) AS week, count(*) FROM obs GROUP BY 1 ORDER BY 1",
        "SELECT batch, min(moment), max(moment) FROM obs WHERE batch <> 2 GROUP BY batch ORDER BY batch",
        "SELECT batch * 2, obs_id FROM obs WHERE batch = 3 ORDER BY obs_id",
    ]:
        ours = [tuple(pd.Timestamp(c) if hasattr(c, "year") else c for c in row) for row in rows(arrow(vacuole, tmp_path, store, query))]
        theirs = [tuple(pd.Timestamp(c) if hasattr(c, "year") else c for c in row) for row in asked(connection, query)]
        same(ours, theirs, query)


def test_in_a_bucket(atlases, vacuole, s3, folder, tmp_path):
    store, _, connection = atlases
    remote = vacuole.within(s3.environment())
    for name in ("sql-atlas", "sql.h5ad"):
        source = f"s3://{BUCKET}/{name}"
        if name.endswith("h5ad"):
            remote("bucket", "put", f"{store}.h5ad", source)
        else:
            remote.ingest(source, f"{store}.h5ad")
        query = ATLAS[37]
        same(rows(arrow(remote, tmp_path, source, query)), asked(connection, query), query)


# The short form, names, and what there is


def test_the_short_form(atlases, vacuole, tmp_path):
    store, other, connection = atlases
    cases = {
        "SELECT obs WHERE obs.tissue = 'lung'": "SELECT * FROM obs WHERE tissue = 'lung'",
        "SELECT obs WHERE n_genes > 900 ORDER BY obs_id LIMIT 3": "SELECT * FROM obs WHERE n_genes > 900 ORDER BY obs_id LIMIT 3",
        'SELECT "ms/RNA/X/data" WHERE soma_dim_0 = 3': "SELECT * FROM X WHERE soma_dim_0 = 3",
        "select other.obs where other.obs.grade = 'low'": "SELECT * FROM other.obs WHERE grade = 'low'",
    }
    for short, long in cases.items():
        answer = arrow(vacuole, tmp_path, store, short, "--attach", f"other={other}")
        same(rows(answer), asked(connection, long), long)


def test_the_tables_are_listed(atlases, vacuole):
    store, other, _ = atlases
    listed = json.loads(vacuole("sql", store, "--tables", "--attach", f"other={other}", "--json").stdout)["tables"]
    by_name = {(table["schema"], table["name"]): table for table in listed}
    assert {("main", name) for name in ("obs", "var", "X", "ms/RNA/var", "ms/RNA/X/data")} <= by_name.keys()
    assert by_name["main", "obs"]["rows"] == 300 and by_name["other", "obs"]["rows"] == 200
    columns = {column["name"]: column["type"] for column in by_name["main", "obs"]["columns"]}
    assert columns["soma_joinid"] == "int64" and columns["tissue"] == "text, categories" and columns["donor"] == "text"
    text = vacuole("sql", store, "--tables").stdout
    assert "obs: data frame, 300 rows" in text and '"ms/RNA/X/data": sparse array' in text
    shown = vacuole("sql", store, "SHOW TABLES", "--output-format", "csv").stdout
    assert "ms/RNA/X/data" in shown and "information_schema" in shown
    described = vacuole("sql", store, "DESCRIBE obs", "--output-format", "csv").stdout
    assert "n_genes,Int32" in described


def test_layers_and_measurements(vacuole, tmp_path):
    adata = corpus.simple(cells=12, genes=5)
    adata.layers["counts"] = adata.X * 3
    corpus.write(adata, tmp_path / "a.h5ad")
    vacuole.ingest(tmp_path / "a", tmp_path / "a.h5ad")
    total = "SELECT sum(soma_data) FROM X"
    expected = float(adata.X.sum()) * 3
    for source in ("a", "a.h5ad"):
        assert rows(arrow(vacuole, tmp_path, tmp_path / source, total, "--layer", "counts"))[0][0] == pytest.approx(expected)
    done = vacuole.run("sql", tmp_path / "a.h5ad", total, "--layer", "nowhere")
    assert done.returncode != 0 and "counts" in done.stderr
    done = vacuole.run("sql", tmp_path / "a.h5ad", total, "--measurement", "RNA")
    assert done.returncode == 2 and "leave the option out" in done.stderr
    assert arrow(vacuole, tmp_path, tmp_path / "a", total, "--measurement", "RNA").num_rows == 1


# What is read


def plan(vacuole, source, query: str) -> str:
    lines = vacuole("sql", source, f"EXPLAIN {query}", "--output-format", "csv").stdout
    return "\n".join(line for line in lines.splitlines() if "Scan" in line or "Exec" in line)


@pytest.mark.parametrize(
    "condition, shown",
    [
        ("soma_dim_0 = 17", "soma_dim_0=17"),
        ("soma_dim_0 BETWEEN 20 AND 22 AND soma_dim_1 IN (3, 5)", "soma_dim_1=3,5"),
        ("soma_dim_0 >= 295", "soma_dim_0=295..299"),
        ("soma_dim_0 % 100 = 1", "soma_dim_0=1,101,201"),
        ("soma_dim_0 = 1 OR soma_dim_0 = 3", "soma_dim_0=1,3"),
        ("soma_dim_0 < 0", "soma_dim_0=none"),
    ],
)
@pytest.mark.parametrize("where", ["", ".h5ad"])
def test_conditions_on_coordinates_are_read_by(condition, shown, where, atlases, vacuole):
    text = plan(vacuole, f"{atlases[0]}{where}", f"SELECT sum(soma_data) FROM X WHERE {condition}")
    assert shown in text and "FilterExec" not in text, text


def test_what_is_no_coordinate_is_looked_at(atlases, vacuole):
    text = plan(vacuole, atlases[0], "SELECT count(*) FROM X WHERE soma_dim_0 = 17 AND soma_data > 1")
    assert "soma_dim_0=17" in text and "FilterExec: soma_data" in text
    # Whether it holds for a random half of the coordinates is nobody's to say.
    text = plan(vacuole, atlases[0], "SELECT count(*) FROM X WHERE soma_dim_0 > random() * 300")
    assert "FilterExec" in text
    text = plan(vacuole, atlases[0], "SELECT count(*) FROM obs WHERE tissue = 'lung'")
    assert "codes of tissue=1..1" in text and "columns=[tissue]" in text
    text = plan(vacuole, atlases[0], "SELECT obs_id FROM obs LIMIT 3")
    assert "limit=3" in text and "columns=[obs_id]" in text


def test_a_limit_comes_before_the_conditions_on_what_it_leaves(atlases, vacuole, tmp_path):
    for query, expected in [
        ("SELECT count(*) FROM (SELECT * FROM X LIMIT 5) WHERE soma_dim_0 = 200", 0),
        ("SELECT count(*) FROM (SELECT * FROM obs LIMIT 5) AS a JOIN (SELECT 200 AS n) AS b ON a.soma_joinid = b.n", 0),
        ("SELECT count(*) FROM (SELECT * FROM X LIMIT 5)", 5),
    ]:
        assert rows(arrow(vacuole, tmp_path, atlases[0], query)) == [(expected,)], query


@pytest.mark.parametrize("where", ["", ".h5ad"])
def test_a_join_reads_only_what_its_other_side_has(where, atlases, vacuole, tmp_path):
    """X is read by what has been found in obs: the scan hands on no other cells."""
    store, _, connection = atlases
    for condition in ("donor = 'donor 7'", "n_genes > 950", "grade = 'high' AND tissue = 'lung'"):
        query = f"SELECT sum(soma_data) FROM X JOIN obs ON soma_dim_0 = soma_joinid WHERE {condition}"
        text = vacuole("sql", f"{store}{where}", f"EXPLAIN ANALYZE {query}", "--output-format", "csv").stdout
        scan = next(line for line in text.splitlines() if "table=X" in line)
        read, thousand = re.search(r"output_rows=([0-9.]+)( K)?", scan).groups()
        (cells,) = asked(connection, f"SELECT count(*) FROM obs WHERE {condition}")[0]
        (stored,) = asked(connection, query.replace("sum(soma_data)", "count(*)"))[0]
        assert re.search(rf"wanted_soma_dim_0={cells}\b", scan), scan
        assert float(read) * (1000 if thousand else 1) == pytest.approx(stored, rel=0.005), scan


# Forms of output


QUERY = "SELECT obs_id, cell_type, tissue, score, large, doublet, age, note, soma_joinid FROM obs WHERE soma_joinid < 40 ORDER BY soma_joinid"


@pytest.mark.parametrize("ending, form", [("parquet", None), ("arrow", None), ("csv", None), ("tsv", None), ("jsonl", None), ("x", "json"), ("x", "parquet")])
def test_files_are_what_others_read(ending, form, atlases, vacuole, tmp_path):
    store, _, connection = atlases
    out = tmp_path / f"out.{ending}"
    options = ["--output-format", form] if form else []
    said = json.loads(vacuole("sql", store, QUERY, "-o", out, *options, "--json").stdout)
    assert said == {"rows": 40, "columns": 9}
    assert os.listdir(tmp_path) == [out.name]
    theirs = asked(connection, QUERY)
    form = form or ending
    if form == "parquet":
        found = rows(pq.read_table(out))
    elif form == "arrow":
        found = rows(pyarrow.feather.read_table(out))
    elif form in ("json", "jsonl"):
        lines = [json.loads(line) for line in out.read_text().splitlines()]
        found = [tuple(math.nan if cell == "NaN" else cell for cell in line.values()) for line in lines]
    else:
        options = {"delimiter": "\t" if form == "tsv" else ","}
        with open(out, newline="") as file:
            header, *lines = csv.reader(file, **options)
        assert header == QUERY.split(" FROM")[0].removeprefix("SELECT ").split(", ")
        as_text = lambda cell: "" if cell is None else str(cell).lower() if isinstance(cell, bool) else str(cell)
        for line, row in zip(lines, theirs, strict=True):
            for cell, expected in zip(line, row, strict=True):
                if isinstance(expected, float):
                    assert alike(float(cell), expected)
                else:
                    assert cell == as_text(expected)
        return
    same(found, theirs, QUERY)


def test_stdout(atlases, vacuole):
    store = atlases[0]
    query = "SELECT obs_id, tissue FROM obs WHERE soma_joinid IN (0, 1, 2) ORDER BY obs_id"
    lines = vacuole("sql", store, query, "-o", "-").stdout.splitlines()
    assert lines[0] == "obs_id,tissue" and len(lines) == 4
    assert vacuole("sql", store, query, "--output-format", "csv").stdout.splitlines() == lines
    objects = [json.loads(line) for line in vacuole("sql", store, query, "--json").stdout.splitlines()]
    assert [row["obs_id"] for row in objects] == [line.split(",")[0] for line in lines[1:]]
    done = vacuole("sql", store, query)
    assert done.stdout.splitlines()[0].split() == ["obs_id", "tissue"] and done.stderr == "3 rows\n"
    done = vacuole("sql", store, "SELECT obs_id FROM obs", "--limit", "5")
    assert len(done.stdout.splitlines()) == 6 and "the first 5 rows; all with -o FILE" in done.stderr
    # Who reads no further ends it, with nothing said.
    head = subprocess.run(["bash", "-c", f"'{vacuole.path}' sql '{store}' 'SELECT * FROM X AS a, X AS b' -o - | head -1"], capture_output=True, text=True)
    assert head.stdout.startswith("soma_dim_0,") and head.stderr == ""
    given = subprocess.run([vacuole.path, "sql", store, "-", "-o", "-"], input=query, capture_output=True, text=True)
    assert given.stdout.splitlines() == lines


@pytest.mark.parametrize("form", ["csv", "tsv", "json", "arrow", "parquet", "table"])
def test_an_empty_answer_has_its_columns(form, atlases, vacuole, tmp_path):
    query = "SELECT obs_id, tissue, n_genes FROM obs WHERE n_genes < 0"
    if form == "table":
        done = vacuole("sql", atlases[0], query)
        assert done.stdout.split() == ["obs_id", "tissue", "n_genes"] and done.stderr == "0 rows\n"
        return
    vacuole("sql", atlases[0], query, "-o", tmp_path / "out", "--output-format", form)
    names = ["obs_id", "tissue", "n_genes"]
    if form in ("arrow", "parquet"):
        table = (pq.read_table if form == "parquet" else pyarrow.feather.read_table)(tmp_path / "out")
        assert table.column_names == names and table.num_rows == 0
    else:
        separator = {"csv": ",", "tsv": "\t"}.get(form)
        assert (tmp_path / "out").read_text() == (separator.join(names) + "\n" if separator else "")


def test_columns_of_one_name_are_told_apart(atlases, vacuole, tmp_path):
    query = "SELECT * FROM obs AS a JOIN var AS b ON a.soma_joinid = b.soma_joinid LIMIT 2"
    names = arrow(vacuole, tmp_path, atlases[0], query).column_names
    assert len(set(names)) == len(names) and {"soma_joinid", "soma_joinid_1"} <= set(names)


# What is refused, and what goes wrong


@pytest.mark.parametrize(
    "query, word",
    [
        ("CREATE TABLE a AS SELECT 1", "CREATE"),
        ("CREATE EXTERNAL TABLE a STORED AS CSV LOCATION '/etc/passwd'", "CREATE"),
        ("INSERT INTO obs SELECT * FROM obs", "INSERT"),
        ("EXPLAIN INSERT INTO obs SELECT * FROM obs", "INSERT"),
        ("DELETE FROM obs", "DELETE"),
        ("UPDATE obs SET n_genes = 1", "UPDATE"),
        ("DROP TABLE obs", "DROP"),
        ("COPY obs TO 'out.csv'", "COPY"),
        ("SET datafusion.execution.batch_size = 1", "SET"),
    ],
)
def test_nothing_is_written_by_a_query(query, word, atlases, vacuole, tmp_path):
    done = vacuole.run("sql", atlases[0], query)
    assert done.returncode == 5 and f"expected one that only reads, found {word}" in done.stderr, done.stderr


@pytest.mark.parametrize(
    "query, said",
    [
        ("SELEC 1", "character 1 of the query"),
        ("SELECT a,\n  FROM WHERE", "(character"),
        ("SELECT count(* FROM obs", "(character"),
        ("SELECT tisue FROM obs", "there is no column `tisue` (did you mean `tissue`?); the columns are"),
        ("SELECT * FROM obz", "there is no table `obz` (did you mean `obs`?); the tables are `obs`, `var`, `X`"),
        ("SELECT * FROM x", "there is no table `x` (did you mean `X`?); the tables are"),
        ("SELECT * FROM nowhere.obs", "nowhere"),
        ("SELECT nothing(n_genes) FROM obs", "nothing"),
        ("SELECT 'a' + tissue FROM obs", "query: "),
        ("SELECT 1 / (n_genes - n_genes) FROM obs", "zero"),
        ("SELECT CAST(donor AS BIGINT) FROM obs", "Cannot cast"),
        ("SELECT large * 8 FROM obs", ""),
        ("SELECT 1; SELECT 2", "found several"),
        ("", "query"),
    ],
)
def test_what_is_wrong_with_a_query_is_said(query, said, atlases, vacuole, tmp_path):
    out = tmp_path / "out.parquet"
    done = vacuole.run("sql", atlases[0], query, "-o", out)
    if not said:
        return
    assert done.returncode == 5, (done.returncode, done.stderr)
    assert said in done.stderr and "panicked" not in done.stderr
    assert os.listdir(tmp_path) == []
    told = json.loads(vacuole.run("sql", atlases[0], query, "--json").stdout.splitlines()[-1])
    assert told["error"]["kind"] == "invalid_input" and told["error"]["remedy"]


def test_a_wrong_command_line(atlases, vacuole, tmp_path):
    store = atlases[0]
    for arguments, said in [
        ([store], "QUERY"),
        ([store, "SELECT 1", "--tables"], "--tables"),
        ([store, "SELECT 1", "--attach", "other"], "--attach"),
        ([store, "SELECT 1", "--attach", f"main={store}"], "'main'"),
        ([store, "SELECT 1", "--attach", f"a={store}", "--attach", f"a={store}"], "again"),
        ([store, "SELECT 1", "--memory", "1KiB"], "--memory"),
        ([store, "SELECT 1", "--jobs", "0"], "--jobs"),
        ([store, "SELECT 1", "-o", tmp_path / "a.h5ad"], ".parquet"),
        ([store, "SELECT 1", "-o", tmp_path / "a.csv", "--limit", "3"], "--limit"),
        ([store, "SELECT 1", "-o", tmp_path / "a.csv", "--output-format", "table"], "table"),
    ]:
        done = vacuole.run("sql", *arguments)
        assert done.returncode == 2 and said in done.stderr, (arguments, done.stderr)
    done = vacuole.run("sql", tmp_path / "nowhere", "SELECT 1")
    assert done.returncode == 3, done.stderr
    (tmp_path / "text.h5ad").write_text("no")
    assert vacuole.run("sql", tmp_path / "text.h5ad", "SELECT 1").returncode == 5


def test_help(vacuole):
    done = vacuole("sql", "--help")
    assert "SELECT cell_type, count(*)" in done.stdout and "--attach" in done.stdout
    other = subprocess.run([vacuole.path.with_name("vacuole-sql"), "--help"], capture_output=True, text=True)
    assert other.returncode == 0 and "--attach" in other.stdout


def test_without_the_other_program(vacuole, atlases, tmp_path):
    alone = tmp_path / "vacuole"
    os.link(vacuole.path, alone) if os.stat(vacuole.path).st_dev == os.stat(tmp_path).st_dev else __import__("shutil").copy(vacuole.path, alone)
    done = subprocess.run([alone, "sql", atlases[0], "SELECT 1"], capture_output=True, text=True, env={"PATH": str(tmp_path)})
    assert done.returncode == 3 and "cargo build --release -p vacuole-sql" in done.stderr
    # On the PATH it is found.
    env = {"PATH": str(vacuole.path.parent)}
    done = subprocess.run([alone, "--quiet", "sql", atlases[0], "SELECT 1 AS one"], capture_output=True, text=True, env=env)
    assert done.returncode == 0 and done.stdout.split() == ["one", "1"] and done.stderr == ""


def test_an_interrupted_query_leaves_nothing(atlases, vacuole, tmp_path):
    query = "SELECT count(*) FROM X AS a, X AS b, X AS c WHERE a.soma_data + b.soma_data > c.soma_data"
    spill = tmp_path / "spill"
    spill.mkdir()
    for sent, code in ((signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)):
        process = subprocess.Popen(
            [vacuole.path, "sql", atlases[0], query, "-o", tmp_path / "out.csv", "--tmpdir", spill], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        time.sleep(3)
        assert process.poll() is None, process.communicate()
        begun = time.monotonic()
        process.send_signal(sent)
        _, said = process.communicate(timeout=20)
        assert process.returncode == code, said
        assert time.monotonic() - begun < 3
        assert os.listdir(tmp_path) == ["spill"] and os.listdir(spill) == []


def test_a_full_disk(atlases, vacuole, tmp_path):
    query = "SELECT * FROM X AS a JOIN X AS b ON a.soma_dim_0 = b.soma_dim_0"
    command = f"ulimit -f 64; exec '{vacuole.path}' sql '{atlases[0]}' '{query}' -o '{tmp_path}/out.csv' --json"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120)
    assert done.returncode == 10, (done.returncode, done.stderr)
    assert json.loads(done.stdout)["error"]["kind"] == "no_space" and os.listdir(tmp_path) == []


# Memory


@pytest.fixture(scope="module")
def large(folder, vacuole):
    rng = np.random.default_rng(3)
    x = sp.random(20_000, 2_000, density=0.1, format="csr", dtype="float32", random_state=rng)
    obs = pd.DataFrame({"group": pd.Categorical(rng.integers(0, 9, 20_000).astype(str))}, index=[f"c{i}" for i in range(20_000)])
    corpus.write(ad.AnnData(x, obs=obs), folder / "large.h5ad")
    vacuole.ingest(folder / "large", folder / "large.h5ad")
    return folder / "large"


def test_what_does_not_fit_is_put_aside(large, vacuole, tmp_path):
    """Four million cells are sorted in 96 MiB."""
    query = "SELECT soma_data, soma_dim_0, soma_dim_1 FROM X ORDER BY soma_data, soma_dim_0, soma_dim_1"
    out = tmp_path / "sorted.parquet"
    spill = tmp_path / "spill"
    spill.mkdir()
    vacuole("sql", large, query, "-o", out, "--memory", "96MiB", "--tmpdir", spill)
    assert os.listdir(spill) == []
    table = pq.read_table(out)
    values = table["soma_data"].to_numpy()
    assert len(values) == 4_000_000 and (np.diff(values) >= 0).all()
    done = vacuole.run("sql", large, "SELECT count(*) FROM X AS a JOIN X AS b ON a.soma_data = b.soma_data", "--memory", "64MiB")
    assert done.returncode in (0, 12), done.stderr
    if done.returncode == 12:
        assert "--memory" in done.stderr


# The page


def test_the_examples_of_the_page_work(pbmc, inputs, vacuole, tmp_path):
    found = re.findall(r"```sql\n(.*?)```", DOCUMENT.read_text(), re.S)
    asked = [query.strip() for block in found for query in block.split(";") if query.strip()]
    assert len(asked) > 8
    for query in asked:
        answer = arrow(vacuole, tmp_path, pbmc[0], query, "--attach", f"other={inputs.h5ad('pbmc68k_reduced')}")
        assert answer.num_rows > 0, query
