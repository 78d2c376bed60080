"""One step of the benchmark in Python, in a process of its own: prints the seconds without imports, as JSON.

python bench/reference.py [--package FOLDER] STEP ARGUMENT ...

With the folder of Vacuole's package the steps that read are of that, which has the same names, in the place of tiledbsoma.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import warnings

warnings.filterwarnings("ignore")

MODULE = "tiledbsoma"
MEASUREMENT, LAYER = "RNA", "data"
FILTER = "tissue == 'lung' and n_genes > 500"
TYPE = "T cell"
# Positions of genes, of which make_h5ad.py makes names and ids.
FEW_GENES, MANY_GENES = [17, 1234, 9876], list(range(40, 10_000, 100))
ID_OF_GENE = "ENSG{:011}"


def ingest(h5ad: str, store: str):
    import tiledbsoma.io

    return lambda: tiledbsoma.io.from_h5ad(store, h5ad, measurement_name=MEASUREMENT)


def ingest_many(store: str, *h5ads: str):
    """Several files in two processes, as its users are told to: register, prepare, and each file by itself."""
    import multiprocessing

    import tiledbsoma.io

    def run():
        tiledbsoma.io.from_h5ad(store, h5ads[0], measurement_name=MEASUREMENT, ingest_mode="schema_only")
        names = {"measurement_name": MEASUREMENT, "obs_field_name": "obs_id", "var_field_name": "var_id"}
        plan = tiledbsoma.io.register_h5ads(store, list(h5ads), **names, append_obsm_varm=True)
        plan.prepare_experiment(store)
        tasks = [(store, h5ad, plan.subset_for_h5ad(h5ad)) for h5ad in h5ads]
        with multiprocessing.get_context("spawn").Pool(2) as pool:
            pool.starmap(ingest_one, tasks, chunksize=1)

    return run


def ingest_one(store: str, h5ad: str, plan) -> None:
    import tiledbsoma.io

    tiledbsoma.io.from_h5ad(store, h5ad, measurement_name=MEASUREMENT, registration_mapping=plan)


def ingest_slaf(h5ad: str, store: str):
    from slaf.data import SLAFConverter

    return lambda: SLAFConverter().convert(h5ad, store)


def of_slaf(store: str, read):
    """SLAF's answers are tables of cells, genes and values."""
    from slaf import SLAFArray

    return lambda: read(SLAFArray(store))


def genes_slaf(store: str):
    return of_slaf(store, lambda array: array.get_gene_expression([ID_OF_GENE.format(n) for n in FEW_GENES]))


def cells_slaf(store: str):
    import numpy as np
    from slaf import SLAFArray

    count = SLAFArray(store).shape[0]
    ids = np.sort(np.random.default_rng(7).choice(count, 1000, replace=False)).tolist()
    return of_slaf(store, lambda array: array.get_submatrix(cell_selector=ids))


def types_slaf(store: str):
    def read(array):
        cells = array.filter_cells(cell_type=TYPE)["cell_integer_id"].to_list()
        return array.get_submatrix(cell_selector=cells, gene_selector=MANY_GENES)

    return of_slaf(store, read)


def export(store: str, h5ad: str, compression: str):
    import tiledbsoma.io

    def run():
        with tiledbsoma.open(store) as experiment:
            if compression == "none":
                tiledbsoma.io.to_h5ad(experiment, h5ad, measurement_name=MEASUREMENT, X_layer_name=LAYER)
            else:
                adata = tiledbsoma.io.to_anndata(experiment, measurement_name=MEASUREMENT, X_layer_name=LAYER)
                adata.write_h5ad(h5ad, compression=compression)

    return run


def of_experiment(store: str, read):
    module = importlib.import_module(MODULE)
    import anndata  # noqa: F401

    config = json.loads(os.environ.get("VACUOLE_BENCH_TILEDB", "null"))
    options = {"context": module.SOMATileDBContext(tiledb_config=config)} if config else {}

    def run():
        with module.open(store, **options) as experiment:
            return read(module, experiment)

    return run


def scan(store: str):
    def read(_, experiment):
        return sum(table.num_rows for table in experiment.ms[MEASUREMENT].X[LAYER].read().tables())

    return of_experiment(store, read)


def scan_sum(store: str):
    import pyarrow.compute

    def read(_, experiment):
        tables = experiment.ms[MEASUREMENT].X[LAYER].read().tables()
        return sum(pyarrow.compute.sum(table["soma_data"]).as_py() for table in tables)

    return of_experiment(store, read)


def selected(store: str, **axes):
    """The AnnData of a query, given the arguments of both axes."""

    def read(tiledbsoma, experiment):
        queries = {axis: tiledbsoma.AxisQuery(**query) for axis, query in axes.items()}
        with experiment.axis_query(MEASUREMENT, **queries) as query:
            return query.to_anndata(LAYER)

    return of_experiment(store, read)


def tissue(store: str):
    return selected(store, obs_query={"value_filter": "tissue == 'lung'"})


def named(genes: list[int]) -> dict:
    return {"value_filter": f"feature_name in {[f'GENE{n}' for n in genes]}"}


def narrow(store: str):
    cells = {"value_filter": "tissue == 'lung' and sex == 'female'"}
    return selected(store, obs_query=cells, var_query=named(FEW_GENES))


def genes(store: str):
    return selected(store, var_query=named(FEW_GENES))


def types(store: str):
    return selected(store, obs_query={"value_filter": f"cell_type == '{TYPE}'"}, var_query=named(MANY_GENES))


def cells(store: str):
    import numpy as np

    def read_all(_, experiment):
        with experiment.axis_query(MEASUREMENT) as query:
            return query.n_obs

    count = of_experiment(store, read_all)()

    def read(tiledbsoma, experiment):
        ids = np.sort(np.random.default_rng(7).choice(count, 1000, replace=False))
        query = tiledbsoma.AxisQuery(coords=(ids,))
        with experiment.axis_query(MEASUREMENT, obs_query=query) as query:
            return query.to_anndata(LAYER)

    return of_experiment(store, read)


def count(store: str):
    def read(_, experiment):
        return len(experiment.obs.read(value_filter="tissue == 'lung'", column_names=["soma_joinid"]).concat())

    return of_experiment(store, read)


def obs_filter(store: str):
    def read(module, experiment):
        if MODULE == "tiledbsoma":
            return experiment.obs.read(value_filter=FILTER).concat()
        with experiment.axis_query(MEASUREMENT, obs_query=module.AxisQuery(value_filter=FILTER)) as query:
            return query.obs().concat()

    return of_experiment(store, read)


def query(store: str, h5ad: str):
    read = tissue(store)
    return lambda: read().write_h5ad(h5ad, compression="gzip")


STEPS = [
    *(ingest, ingest_many, ingest_slaf, export, scan, scan_sum, tissue, narrow, genes, types, cells, count, obs_filter, query),
    *(genes_slaf, cells_slaf, types_slaf),
]


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if arguments[0] == "--package":
        MODULE = "vacuole"
        sys.path.insert(0, arguments[1])
        arguments = arguments[2:]
    step = {step.__name__: step for step in STEPS}[arguments[0]]
    run = step(*arguments[1:])
    start = time.perf_counter()
    run()
    print(json.dumps({"seconds": time.perf_counter() - start}))
