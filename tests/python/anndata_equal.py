"""Are two AnnData the same? Every difference in values, types, names and order fails an assertion."""

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp


def same(path, a, b, canonical=False):
    if isinstance(a, pd.DataFrame):
        assert isinstance(b, pd.DataFrame), path
        assert list(a.columns) == list(b.columns), path
        assert a.index.name == b.index.name, path
        types = "equiv" if canonical else True
        if canonical:
            assert list(a.index) == list(b.index), path
            a, b = a.reset_index(drop=True), b.reset_index(drop=True)
        pd.testing.assert_frame_equal(a, b, check_exact=True, check_index_type=types, check_column_type=types)
    elif isinstance(a, (pd.Categorical, pd.api.extensions.ExtensionArray)):
        assert a.dtype == b.dtype, path
        pd.testing.assert_extension_array_equal(a, b, check_exact=True)
    elif sp.issparse(a):
        assert sp.issparse(b) and a.shape == b.shape and a.dtype == b.dtype, path
        if canonical:
            a, b = (sp.csr_matrix(x).copy() for x in (a, b))
            for x in (a, b):
                x.sum_duplicates()
                x.indices, x.indptr = x.indices.astype("int64"), x.indptr.astype("int64")
        assert type(a) is type(b), path
        assert a.indices.dtype == b.indices.dtype and a.indptr.dtype == b.indptr.dtype, path
        for part in ("indptr", "indices", "data"):
            np.testing.assert_array_equal(getattr(a, part), getattr(b, part), err_msg=path)
    elif isinstance(a, dict) or hasattr(a, "keys"):
        assert set(a) == set(b), path
        for key in a:
            same(f"{path}/{key}", a[key], b[key], canonical)
    elif isinstance(a, np.ndarray) or (canonical and a is not None):
        a, b = np.asarray(a), np.asarray(b)
        strings = canonical and a.dtype.kind in "OUT" and b.dtype.kind in "OUT"
        assert (strings or a.dtype == b.dtype) and a.shape == b.shape, path
        if a.dtype.names:
            for name in a.dtype.names:
                same(f"{path}.{name}", a[name], b[name], canonical)
        else:
            np.testing.assert_array_equal(a, b, err_msg=path)
    else:
        assert type(a) is type(b), f"{path}: {type(a)} and {type(b)}"
        assert a == b or (a != a and b != b), path


def same_anndata(left, right, canonical=False):
    """Compares two H5AD files. `canonical` takes sparse matrices of the same values as the same: rows or columns
    first, in any order, with repeated entries or their sums; and NumPy's scalars and strings for Python's."""
    a, b = ad.read_h5ad(left), ad.read_h5ad(right)
    assert a.shape == b.shape
    assert (a.X is None) == (b.X is None)
    if a.X is not None:
        same("X", a.X, b.X, canonical)
    same("obs", a.obs, b.obs, canonical)
    same("var", a.var, b.var, canonical)
    for part in ("layers", "obsm", "varm", "obsp", "varp", "uns"):
        x, y = dict(getattr(a, part)), dict(getattr(b, part))
        if part == "uns":
            # Where a slice is from.
            x.pop("vacuole", None)
            y.pop("vacuole", None)
        same(part, x, y, canonical)
    assert (a.raw is None) == (b.raw is None)
    if a.raw is not None:
        same("raw/X", a.raw.X, b.raw.X, canonical)
        same("raw/var", a.raw.var, b.raw.var, canonical)
        same("raw/varm", dict(a.raw.varm), dict(b.raw.varm), canonical)


# Equality, as h5py sees it: names, shapes, types and attributes.
