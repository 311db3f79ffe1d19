"""A random forest of regression trees (scikit-learn's) on one assay's values, kept as plain arrays."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from partners.assay_models.inputs import Inputs, compound_blocks
from partners.errors import CheckpointDamaged

if TYPE_CHECKING:
    from sklearn.tree import DecisionTreeRegressor

N_TREES = 100
_RARE = 500  # a bit set by fewer than 2 compounds, or than 1 in so many, is left out

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Forest:
    """The nodes of all trees, one tree after the other; the left child of a node is the next node."""

    roots: NDArray[np.int32]  # (n_trees,)
    feature: NDArray[np.int32]  # (n_nodes,) column of the dense inputs; -1: a leaf
    number: NDArray[np.float32]  # (n_nodes,) threshold: the left child if the input is at most this; a leaf's value
    right: NDArray[np.int32]  # (n_nodes,) the right child; of a leaf itself

    def __post_init__(self) -> None:
        """Raise CheckpointDamaged for nodes that are no trees; a path from a root must end at a leaf."""
        if not self._is_of_trees():
            raise CheckpointDamaged("forest: found nodes that form no trees")

    def _is_of_trees(self) -> bool:
        shape, n_nodes, inner = self.feature.shape, self.feature.size, np.flatnonzero(self.feature >= 0)
        if not self.number.shape == self.right.shape == shape or not self.roots.size:
            return False
        ends = (
            (self.right[inner] > inner + 1).all() and (self.right < n_nodes).all() and not (inner == n_nodes - 1).any()
        )
        return bool(ends and (self.roots >= 0).all() and (self.roots < n_nodes).all())

    def predict(self, dense: NDArray[np.float32]) -> Floats:
        """Mean of the trees' values, (n,), for inputs (n, n_features)."""
        n_compounds = dense.shape[0]
        node = np.tile(self.roots, n_compounds).astype(np.intp)
        start = np.repeat(np.arange(n_compounds, dtype=np.intp) * dense.shape[1], self.roots.size)
        flat = np.ascontiguousarray(dense).ravel()
        walking = np.flatnonzero(self.feature[node] >= 0)
        while walking.size:
            at = node[walking]
            goes_left = flat[start[walking] + self.feature[at]] <= self.number[at]
            at = np.where(goes_left, at + 1, self.right[at])
            node[walking] = at
            walking = walking[self.feature[at] >= 0]
        values = self.number[node].reshape(n_compounds, self.roots.size)
        mean: Floats = values.mean(axis=1, dtype=np.float64)
        return mean

    def values(self, inputs: Inputs) -> Floats:
        """The same for any number of compounds, (n,), whose dense inputs are made a block at a time."""
        values = np.empty(inputs.n_compounds)
        for part in compound_blocks(inputs.n_compounds):
            values[part] = self.predict(inputs[part].dense())
        return values


def fit_forest(inputs: Inputs, values: Floats, seed: int, n_trees: int = N_TREES) -> Forest:
    """Fit trees, each split the best of sqrt(number of inputs); values: (n,); seeds 2^32 apart are the same."""
    from sklearn.ensemble import RandomForestRegressor  # noqa: PLC0415 -- a second to load, for a run's end alone

    columns = _used_columns(inputs)
    dense = replace(inputs, bits=inputs.bits[:, columns]).dense()
    place = np.concatenate([columns, np.arange(inputs.bits.shape[1], inputs.bits.shape[1] + _n_dense(inputs))])
    if not dense.shape[1]:  # no bit varies: a constant input gives one leaf
        dense, place = np.zeros((values.size, 1), np.float32), np.zeros(1, np.int64)
    state = seed % 2**32  # scikit-learn takes no larger one
    fitted = RandomForestRegressor(n_trees, max_features="sqrt", random_state=state, n_jobs=1).fit(dense, values)
    return _as_arrays(fitted.estimators_, place)


def _n_dense(inputs: Inputs) -> int:
    return int(inputs.hidden.shape[1] + inputs.descriptors.shape[1])


def _used_columns(inputs: Inputs) -> NDArray[np.int64]:
    n_set = np.bincount(inputs.bits.indices, minlength=inputs.bits.shape[1])
    fewest = max(2, inputs.n_compounds // _RARE)
    return np.flatnonzero((n_set >= fewest) & (n_set < inputs.n_compounds))


def _as_arrays(trees: "list[DecisionTreeRegressor]", place: NDArray[np.int64]) -> Forest:
    sizes = [tree.tree_.node_count for tree in trees]
    roots = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    parts: dict[str, list[NDArray[Any]]] = {"feature": [], "number": [], "right": []}
    for root, fitted in zip(roots, trees, strict=True):
        tree = fitted.tree_
        leaf = tree.children_left < 0
        nodes = np.arange(leaf.size)
        if not (tree.children_left[~leaf] == nodes[~leaf] + 1).all():
            raise AssertionError("scikit-learn numbers the nodes of a tree in another order than depth first")
        parts["feature"].append(np.where(leaf, -1, place[np.maximum(tree.feature, 0)]))
        parts["number"].append(np.where(leaf, tree.value[:, 0, 0], _rounded_down(tree.threshold)))
        parts["right"].append(np.where(leaf, nodes, tree.children_right) + root)
    feature, number, right = (np.concatenate(part) for part in parts.values())
    return Forest(roots.astype(np.int32), feature.astype(np.int32), number.astype(np.float32), right.astype(np.int32))


def _rounded_down(threshold: Floats) -> NDArray[np.float32]:
    """The largest float32 that is not above the threshold, so that float32 inputs fall on the same side of both."""
    nearest = threshold.astype(np.float32)
    return np.where(nearest > threshold, np.nextafter(nearest, np.float32(-np.inf)), nearest)
