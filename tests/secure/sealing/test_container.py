"""Sealed files are read back as written, and refused if any byte differs from the layout."""

import io
import json
import tracemalloc

import numpy as np
import pyarrow as pa
import pytest

from secure.ciphertexts.parameters import BLOCK_CHUNKS
from secure.encoding.canonical import digest
from secure.errors import BadContainer
from secure.messages.messages import PayloadDigest, payload_digest
from secure.sealing.container import UPDATE, make_header, read_chunks, write_chunks

N = 150_000  # three blocks


@pytest.fixture(scope="module")
def header(trio):
    return make_header(UPDATE, trio.roster(), ("ash",), N, trio.parameters)


@pytest.fixture(scope="module")
def rows(trio):
    shape = (trio.parameters.n_chunks(N), trio.parameters.update_chunk_bytes)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture(scope="module")
def written(trio, header, rows, tmp_path_factory):
    path = tmp_path_factory.mktemp("container") / "update"
    with write_chunks(path, header, trio.parameters.update_chunk_bytes) as writer:
        for start in range(0, len(rows), BLOCK_CHUNKS):
            writer.write(rows[start : start + BLOCK_CHUNKS])
        report = writer.close()
    assert report == payload_digest(path)
    return path


def read(path, parameters):
    with read_chunks(path) as reader:
        reader.expect_shape(parameters)
        chunks = np.concatenate([chunks for _, chunks in reader])
        return reader.header, chunks, reader.digest()


def test_round_trip(trio, header, rows, written):
    """Header and chunks are read back, and the reader hashes the whole file."""
    found, chunks, seen = read(written, trio.parameters)
    assert found == header
    np.testing.assert_array_equal(chunks, rows)
    assert seen == payload_digest(written)


def test_reading_without_digest(trio, rows, written):
    """The same chunks are read; the digest, which nobody counted, is not given."""
    with read_chunks(written, with_digest=False) as reader:
        reader.expect_shape(trio.parameters)
        np.testing.assert_array_equal(np.concatenate([chunks for _, chunks in reader]), rows)
        with pytest.raises(ValueError, match="without digest"):
            reader.digest()


def test_any_arrow_reader_can_look_inside(written, rows):
    """It is a plain Arrow stream with one column and readable metadata."""
    table = pa.ipc.open_stream(written.read_bytes()).read_all()
    assert table.column_names == ["chunk"]
    assert table.num_rows == len(rows)
    assert json.loads(table.schema.metadata[b"hocket"])["members"] == ["ash"]


def test_overhead_is_small(written, rows):
    """The container adds less than one part in a hundred."""
    assert written.stat().st_size < rows.size * 1.01


def rewritten(path, schema, batches, options=None):
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, schema, options=options) as stream:
        for batch in batches:
            stream.write_batch(batch)
    path.write_bytes(sink.getvalue())
    return path


def test_other_batches_are_refused(trio, written, tmp_path):
    """A file with a missing, doubled, empty, moved or resized batch is refused."""
    good = pa.ipc.open_stream(written.read_bytes())
    schema, batches = good.schema, list(good)
    table = pa.Table.from_batches(batches)
    for content in (
        batches[:-1],
        [*batches, batches[-1]],
        [*batches, batches[-1].slice(0, 0)],
        batches[::-1],
        table.combine_chunks().to_batches(),
        table.to_batches(max_chunksize=1),
        [*batches[:-1], batches[-1].slice(1)],
    ):
        with pytest.raises(BadContainer):
            read(rewritten(tmp_path / "x", schema, content), trio.parameters)


def test_promises_take_no_memory(trio, tmp_path):
    """A small file that states 2^36 parameters, or a first message of 2 GB, is refused without that memory."""
    header = make_header(UPDATE, trio.roster(), ("ash",), 1 << 36, trio.parameters)
    with write_chunks(tmp_path / "many", header, trio.parameters.update_chunk_bytes) as writer:
        writer.close()
    (tmp_path / "long").write_bytes(b"\xff\xff\xff\xff\xff\xff\xff\x7f" + bytes(1000))
    for name in ("many", "long"):
        tracemalloc.start()
        with pytest.raises(BadContainer):
            read(tmp_path / name, trio.parameters)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
        tracemalloc.stop()


@pytest.mark.parametrize("n_claimed", [1 << 28, 1 << 50])
def test_a_memory_bomb_is_refused_unopened(trio, tmp_path, n_claimed):
    """A small file whose compressed batch states a huge size is refused without that memory."""
    n_params, n_bytes = 8208, trio.parameters.n_chunks(8208) * trio.parameters.update_chunk_bytes
    small = make_header(UPDATE, trio.roster(), ("ash",), n_params, trio.parameters)
    with write_chunks(tmp_path / "plain", small, trio.parameters.update_chunk_bytes) as writer:
        writer.write(np.zeros((trio.parameters.n_chunks(n_params), trio.parameters.update_chunk_bytes), np.uint8))
        writer.close()
    with pa.ipc.open_stream(tmp_path / "plain") as plain:
        rewritten(tmp_path / "x", plain.schema, list(plain), pa.ipc.IpcWriteOptions(compression="zstd"))
    data, true = (tmp_path / "x").read_bytes(), n_bytes.to_bytes(8, "little")
    at = data.rindex(true)  # the promised size before the compressed bytes
    bomb = data[:at] + n_claimed.to_bytes(8, "little") + data[at + 8 :] + bytes(n_bytes)  # as large as a plain file
    (tmp_path / "x").write_bytes(bomb)
    pool = pa.default_memory_pool()
    before = pool.max_memory()
    with pytest.raises(BadContainer, match="plain one"):
        read(tmp_path / "x", trio.parameters)
    assert pool.max_memory() - before < 1 << 22


def test_failure_leaves_nothing(header, rows, tmp_path):
    """If writing fails, neither the file nor a temporary file remains."""

    def fail() -> None:
        with write_chunks(tmp_path / "x", header, rows.shape[1]) as writer:
            writer.write(rows[:BLOCK_CHUNKS])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_missing_file_is_refused(tmp_path):
    """A missing file raises BadContainer."""
    with pytest.raises(BadContainer):
        read(tmp_path / "missing", None)


def test_payload_digest_of_the_empty_file(tmp_path):
    """The digest of nothing is that of nothing."""
    (tmp_path / "x").write_bytes(b"")
    assert payload_digest(tmp_path / "x") == PayloadDigest(digest(b""), 0)
