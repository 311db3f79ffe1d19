"""Archives of arrays that grow batch by batch."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from data_prep.prediction.array_files import growing_arrays


@given(st.lists(st.integers(0, 5), min_size=1, max_size=5))
def test_numpy_reads_the_batches_joined(sizes: list[int]) -> None:
    """Numbers of any shape and texts, without pickle; the same rows give the same bytes."""
    rng = np.random.default_rng(0)
    batches = [
        {"rows": np.arange(n), "hidden": rng.random((n, 3), np.float32), "ids": [f"ä{i}" for i in range(n)]}
        for n in sizes
    ]
    with TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("a.npz", "b.npz")]
        for path in paths:
            with growing_arrays(path) as arrays:
                for batch in batches:
                    arrays.append(batch)
        assert paths[0].read_bytes() == paths[1].read_bytes()
        assert {path.name for path in Path(folder).iterdir()} == {"a.npz", "b.npz"}
        with np.load(paths[0], allow_pickle=False) as found:
            for name in ("rows", "hidden"):
                np.testing.assert_array_equal(found[name], np.concatenate([batch[name] for batch in batches]))
                assert found[name].dtype == batches[0][name].dtype
            assert found["ids"].tolist() == [text for batch in batches for text in batch["ids"]]
