"""Every type of SOMA object is shown, verified and exported as tiledbsoma reads it."""

import json
from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiledbsoma
from soma_equal import rows

ROWS = 20
STAMPS = pa.array([datetime(2024, 3, day + 1) for day in range(ROWS)], pa.timestamp("us"))

# How data frames can be indexed: the type of each column, its values and its domain.
INDEXES = {
    "words": (pa.large_string(), [f"cell {i:02}" for i in range(ROWS)], None),
    "bytes": (pa.large_binary(), [b"cell %02d" % i for i in range(ROWS)], None),
    "float": (pa.float32(), [i / 4 - 2 for i in range(ROWS)], (-5.0, 5.0)),
    "double": (pa.float64(), [i / 8 for i in range(ROWS)], (0.0, 9.0)),
    "small": (pa.int8(), [i - 10 for i in range(ROWS)], (-20, 20)),
    "unsigned": (pa.uint64(), [2**40 + i for i in range(ROWS)], (0, 2**50)),
    "when": (pa.timestamp("us"), STAMPS.to_pylist(), (np.datetime64("2000-01-01", "us"), np.datetime64("2100-01-01", "us"))),
    "seconds": (pa.timestamp("s"), STAMPS.to_pylist(), (np.datetime64("2000-01-01", "s"), np.datetime64("2100-01-01", "s"))),
    "soma_joinid": (pa.int64(), list(range(ROWS)), (0, 99)),
}  # fmt: skip
COLUMNS = {
    "soma_joinid": pa.array(range(ROWS), pa.int64()),
    "score": pa.array([None if i % 5 == 0 else i / 2 for i in range(ROWS)], pa.float64()),
    "name": pa.array([None if i % 7 == 0 else f"näme {i}" for i in range(ROWS)], pa.large_string()),
    "flag": pa.array([i % 3 == 0 for i in range(ROWS)], pa.bool_()),
    "blob": pa.array([b"\xff%d" % i for i in range(ROWS)], pa.large_binary()),
    "kind": pa.array(["b", "a"] * (ROWS // 2)).dictionary_encode(),
    "then": STAMPS,
}


def frame(index: list[str]) -> pa.Table:
    columns = {name: pa.array(INDEXES[name][1], INDEXES[name][0]) for name in index}
    return pa.table({**columns, **{name: column for name, column in COLUMNS.items() if name not in columns}})


def schema_of(table: pa.Table) -> pa.Schema:
    nullable = {"score", "name"}
    return pa.schema([field.with_nullable(field.name in nullable) for field in table.schema])


def plain(table: pa.Table) -> pd.DataFrame:
    """With the values of categories, rows in the order of everything that can be compared."""
    frame = table.to_pandas()
    for name in frame:
        if isinstance(frame[name].dtype, pd.CategoricalDtype):
            frame[name] = frame[name].astype(object)
        if frame[name].dtype.kind == "M":
            # Parquet has no seconds.
            frame[name] = frame[name].astype("datetime64[ns]")
    keys = frame.apply(lambda column: column.map(repr))
    return frame.iloc[np.lexsort([keys[name] for name in reversed(frame.columns)])].reset_index(drop=True)


def read(array) -> pa.Table:
    if array.soma_type == "SOMASparseNDArray":
        return array.read().tables().concat()
    if array.soma_type != "SOMADenseNDArray":
        return rows(array) if array.soma_type == "SOMADataFrame" else array.read().concat()
    values = array.read().to_numpy()
    places = np.indices(values.shape).reshape(values.ndim, -1)
    columns = {f"soma_dim_{i}": pa.array(places[i]) for i in range(values.ndim)}
    return pa.table({**columns, "soma_data": values.reshape(-1)})


def compare_exports(vacuole, array, folder) -> None:
    expected = read(array)
    uri = array.uri
    for ending in ("arrow", "parquet", "csv"):
        out = folder / f"out.{ending}"
        vacuole("export", uri, out)
        if ending == "csv":
            found = pd.read_csv(out)
            assert len(found) == expected.num_rows, uri
            assert list(found.columns) == expected.column_names, uri
            for name in expected.column_names:
                if pa.types.is_floating(expected[name].type):
                    left = np.sort(found[name].to_numpy("float64"))
                    assert np.allclose(left, np.sort(expected[name].to_numpy().astype("float64")), equal_nan=True), (uri, name)
            continue
        found = pa.ipc.open_file(out).read_all() if ending == "arrow" else pq.read_table(out)
        for i, field in enumerate(found.schema):
            if ending == "parquet" and expected.schema.field(i).type == pa.timestamp("s") and field.type == pa.int64():
                # It has no such unit: numbers of seconds are what is written.
                found = found.set_column(i, field.name, found[i].cast(pa.timestamp("s")))
        assert found.column_names == expected.column_names, uri
        pd.testing.assert_frame_equal(plain(found), plain(expected), check_dtype=False, obj=f"{uri} as {ending}")
        out.unlink()


def compare_tree(node: dict, opened) -> None:
    """What `show` tells of an object and all in it."""
    assert node["type"] == opened.soma_type
    kinds = {"soma_object_type", "soma_encoding_version"}
    stored = {key: value for key, value in opened.metadata.items() if key not in kinds}
    assert node.get("metadata", {}) == {key: shown(value) for key, value in stored.items()}
    if hasattr(opened, "schema"):
        assert [column["name"] for column in node["columns"]] == opened.schema.names
        if opened.soma_type.endswith("DataFrame"):
            assert node["count"] == opened.count
        else:
            assert node["shape"] == list(opened.shape)
        return
    assert [member["name"] for member in node.get("members", [])] == sorted(opened.keys())
    for member in node.get("members", []):
        compare_tree(member, opened[member["name"]])


def shown(value):
    return value.hex() if isinstance(value, bytes) else value


def leaves(opened):
    if hasattr(opened, "schema"):
        yield opened
        return
    for name in opened:
        yield from leaves(opened[name])


def compare(vacuole, uri: str, folder) -> None:
    with tiledbsoma.open(uri) as opened:
        compare_tree(json.loads(vacuole("show", uri, "--json").stdout), opened)
        assert vacuole("show", uri).stdout
        for array in leaves(opened):
            compare_exports(vacuole, array, folder)
    report = vacuole.run("verify", uri, "--json")
    assert json.JSONDecoder().raw_decode(report.stdout)[0]["faults"] == [], report.stdout


INDEXED = [
    [name] for name in INDEXES
] + [["words", "when"], ["soma_joinid", "words"], ["float", "words", "small"], ["small", "soma_joinid"], ["when", "unsigned"]]  # fmt: skip


@pytest.mark.parametrize("index", INDEXED, ids="+".join)
def test_data_frames_by_any_index(index, vacuole, tmp_path):
    table = frame(index)
    uri = str(tmp_path / "frame")
    with tiledbsoma.DataFrame.create(
        uri, schema=schema_of(table), index_column_names=index, domain=[INDEXES[name][2] for name in index]
    ) as created:
        created.metadata["note"] = "näme"
        created.write(table.slice(0, 12))
    # The second write overlaps the first.
    with tiledbsoma.DataFrame.open(uri, "w") as opened:
        opened.write(table.slice(8))
    compare(vacuole, uri, tmp_path)


@pytest.mark.parametrize("dimensions", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", ["float32", "int8", "uint16", "int64", "bool"])
def test_sparse_arrays(dimensions, kind, vacuole, tmp_path):
    rng = np.random.default_rng([dimensions, len(kind)])
    shape = (13, 5, 4, 3)[:dimensions]
    uri = str(tmp_path / "sparse")
    with tiledbsoma.SparseNDArray.create(uri, type=pa.from_numpy_dtype(kind), shape=shape) as array:
        array.metadata["numbers"] = 5
        for _ in range(2):
            places = np.unique(rng.integers(0, shape, (9, dimensions)), axis=0)
            columns = {f"soma_dim_{i}": places[:, i] for i in range(dimensions)}
            array.write(pa.table({**columns, "soma_data": rng.integers(0, 2, len(places)).astype(kind)}))
    compare(vacuole, uri, tmp_path)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("kind", ["float64", "uint8", "int32"])
def test_dense_arrays(dimensions, kind, vacuole, tmp_path):
    shape = (7, 5, 3)[:dimensions]
    uri = str(tmp_path / "dense")
    values = np.arange(np.prod(shape)).reshape(shape).astype(kind)
    with tiledbsoma.DenseNDArray.create(uri, type=pa.from_numpy_dtype(kind), shape=shape) as array:
        array.write(tuple(slice(0, n - 1) for n in shape), pa.Tensor.from_numpy(values))
    # Written in part, over what was there.
    with tiledbsoma.DenseNDArray.open(uri, "w") as array:
        part = values[tuple(slice(1, 3) for _ in shape)] + 1
        array.write(tuple(slice(1, 2) for _ in shape), pa.Tensor.from_numpy(np.ascontiguousarray(part)))
    compare(vacuole, uri, tmp_path)


def test_an_empty_one_of_each(vacuole, tmp_path):
    """With nothing ever written."""
    with tiledbsoma.Experiment.create(str(tmp_path / "empty")) as experiment:
        experiment.add_new_dataframe("obs", schema=pa.schema([("a", pa.int32())]), domain=[(0, 9)])
        ms = experiment.add_new_collection("ms")
        rna = ms.add_new_collection("RNA", tiledbsoma.Measurement)
        rna.add_new_collection("X").add_new_sparse_ndarray("data", type=pa.int8(), shape=(9, 3))
        rna["X"].add_new_dense_ndarray("dense", type=pa.int8(), shape=(2, 3))
        words = pa.schema([("w", pa.large_string()), ("soma_joinid", pa.int64())])
        rna.add_new_dataframe("var", schema=words, index_column_names=["w"], domain=[None])
        experiment.add_new_collection("nothing")
    compare(vacuole, str(tmp_path / "empty"), tmp_path)


@pytest.fixture(scope="module")
def spatial(tmp_path_factory):
    """An experiment with a scene, in which there is one of each spatial type."""
    uri = str(tmp_path_factory.mktemp("spatial") / "store")
    rng = np.random.default_rng(3)
    with tiledbsoma.Experiment.create(uri) as experiment:
        experiment.metadata["dataset_type"] = "soma"
        experiment.metadata["ratio"] = 0.25
        obs = experiment.add_new_dataframe("obs", schema=pa.schema([("label", pa.large_string())]), domain=[(0, 9)])
        obs.write(pa.table({"soma_joinid": range(5), "label": list("abcde")}))
        experiment.add_new_collection("ms").add_new_collection("RNA", tiledbsoma.Measurement)
        scene = experiment.add_new_collection("spatial").add_new_collection(
            "scene0", tiledbsoma.Scene, coordinate_space=("x", "y")
        )
        for name in ("img", "obsl", "varl"):
            scene.add_new_collection(name)
        transform = tiledbsoma.ScaleTransform(("x", "y"), ("x", "y"), [0.5, 0.5])
        image = scene.add_new_multiscale_image(
            "tissue", "img", transform=transform, type=pa.uint8(), level_shape=(3, 8, 6)
        )
        image.add_new_level("level1", shape=(3, 4, 3))
        for name, shape in (("level0", (3, 8, 6)), ("level1", (3, 4, 3))):
            pixels = rng.integers(0, 255, shape, dtype="uint8")
            image[name].write(tuple(slice(0, n - 1) for n in shape), pa.Tensor.from_numpy(pixels))
        points = scene.add_new_point_cloud_dataframe(
            "spots", "obsl", transform=transform, domain=((0, 10), (0, 10), (0, 99)),
            schema=pa.schema([("x", pa.float64()), ("y", pa.float64()), ("size", pa.float32())]),
        )  # fmt: skip
        points.write(
            pa.table({
                "x": rng.random(5) * 10, "y": rng.random(5) * 10, "soma_joinid": range(5),
                "size": pa.array(rng.random(5), pa.float32()),
            })
        )  # fmt: skip
        # tiledbsoma does not make these within a scene.
        cells = f"{scene['obsl'].uri}/cells"
        with tiledbsoma.GeometryDataFrame.create(
            cells, coordinate_space=("x", "y"), domain=([(0, 10), (0, 10)], (0, 99)),
            schema=pa.schema([("quality", pa.float32())]),
        ) as shapes:  # fmt: skip
            outlines = [[0.0, 0, 0, 1, 1, 1, 0, 0], [2.0, 0, 2, 3, 5, 3, 2, 0]]
            quality = pa.array([0.5, 1.5], pa.float32())
            shapes.from_outlines(pa.table({"soma_geometry": outlines, "soma_joinid": [0, 1], "quality": quality}))
        scene["obsl"].set("cells", tiledbsoma.GeometryDataFrame.open(cells), use_relative_uri=True)
    return uri


def test_spatial_types(spatial, vacuole, tmp_path):
    compare(vacuole, spatial, tmp_path)
    text = vacuole("show", spatial).stdout
    for kind in ("Scene", "MultiscaleImage", "PointCloudDataFrame", "GeometryDataFrame"):
        assert kind in text
    spots = vacuole("show", f"{spatial}/spatial/scene0/obsl/spots").stdout
    assert "5 rows" in spots and ". size  float32" in spots
