"""Transforms of the input values before the first layer, those of SparseChem."""

import numpy as np
from scipy import sparse

from partners.errors import BadFeatures
from partners.settings import InputTransform


def transformed(x: sparse.csr_matrix, how: InputTransform) -> sparse.csr_matrix:
    """Transform every stored value, into a new matrix; `none` returns the argument itself.

    binarize : 1 for a value above 0, else 0
    log1p    : log(1 + value)
    tanh     : tanh(value)
    Raises BadFeatures if log1p meets a value of -1 or less.
    """
    if how == "none":
        return x
    if how == "binarize":
        data = (x.data > 0).astype(np.float32)
    elif how == "tanh":
        data = np.tanh(x.data)
    else:
        if x.data.size and x.data.min() <= -1:
            raise BadFeatures(f"x: found {x.data.min():g}, expected values above -1 for the input transform log1p")
        data = np.log1p(x.data)
    return sparse.csr_matrix((data, x.indices, x.indptr), shape=x.shape)
