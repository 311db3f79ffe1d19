"""Sealed files: read back as written, and refused when they are anything else."""

import io
import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secure.canonical import canonical_json, digest
from secure.container import UPDATE, make_header, parse_header, read_chunks, write_chunks
from secure.errors import BadContainer, PayloadMismatch, SecureError
from secure.messages import PayloadDigest, check_payload, payload_digest
from secure.parameters import BLOCK_CHUNKS

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
    """Header and chunks come back, and the reader hashed the whole file."""
    found, chunks, seen = read(written, trio.parameters)
    assert found == header
    np.testing.assert_array_equal(chunks, rows)
    assert seen == payload_digest(written)


def test_any_arrow_reader_can_look_inside(written, rows):
    """It is a plain Arrow stream with one column and readable metadata."""
    table = pa.ipc.open_stream(written.read_bytes()).read_all()
    assert table.column_names == ["chunk"]
    assert table.num_rows == len(rows)
    assert json.loads(table.schema.metadata[b"hocket"])["members"] == ["ash"]


def test_overhead_is_small(written, rows):
    """The container adds less than one part in a hundred."""
    assert written.stat().st_size < rows.size * 1.01


def test_truncations_and_extensions_are_refused(trio, written, tmp_path):
    """A file that ends early or late is refused, wherever it was cut."""
    data = written.read_bytes()
    cuts = [0, 3, 4, 8, 100, 700, len(data) // 2, len(data) - 1, len(data) - 4, len(data) - 8, len(data) - 9]
    for changed in [data[:cut] for cut in cuts] + [data + b"\0", data + bytes(8), data + data]:
        (tmp_path / "x").write_bytes(changed)
        with pytest.raises(BadContainer):
            read(tmp_path / "x", trio.parameters)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_flipped_bytes_never_pass_unseen(trio, header, rows, written, tmp_path_factory, data):
    """A flipped byte is a typed error, or differs in the digest that the manifest commits to; never a crash."""
    original = bytearray(written.read_bytes())
    near_start = st.integers(0, 2000)
    position = data.draw(
        st.one_of(near_start, st.integers(0, len(original) - 1), st.integers(len(original) - 300, len(original) - 1))
    )
    original[position] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.getbasetemp() / "flipped"
    path.write_bytes(original)
    with pytest.raises(PayloadMismatch):
        check_payload(path, payload_digest(written), "test")
    try:
        found, chunks, _ = read(path, trio.parameters)
    except SecureError:
        return
    if found == header:
        assert chunks.shape == rows.shape  # at most ciphertext bytes changed, which the tag sees


def rewritten(path, schema, batches, options=None):
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, schema, options=options) as stream:
        for batch in batches:
            stream.write_batch(batch, **({"custom_metadata": {"a": "b"}} if options == "custom" else {}))
    path.write_bytes(sink.getvalue())
    return path


def column(rows, kind):
    return pa.array([row.tobytes() for row in rows], type=kind)


def test_other_arrow_streams_are_refused(trio, rows, written, tmp_path):
    """Other columns, types, metadata, batch sizes, nulls and compression are refused."""
    good = pa.ipc.open_stream(written.read_bytes())
    schema, batches = good.schema, list(good)
    size, path = rows.shape[1], tmp_path / "x"
    table = pa.Table.from_batches(batches)
    fixed = schema.field(0)
    variants = [
        (schema.remove_metadata(), batches),
        (schema.with_metadata({**schema.metadata, b"more": b"1"}), batches),
        (schema.with_metadata({b"hocket": b"{}"}), batches),
        (schema.with_metadata({b"other": schema.metadata[b"hocket"]}), batches),
        (schema, batches[:-1]),
        (schema, [*batches, batches[-1]]),
        (schema, [*batches, batches[-1].slice(0, 0)]),
        (schema, batches[::-1]),
        (schema, table.combine_chunks().to_batches()),
        (schema, table.to_batches(max_chunksize=1)),
        (schema, [*batches[:-1], batches[-1].slice(1)]),
    ]
    for other, content in variants:
        with pytest.raises(BadContainer):
            read(rewritten(path, other, [pa.record_batch(b.columns, schema=other) for b in content]), trio.parameters)
    for field in (
        pa.field("chunks", fixed.type, nullable=False),
        pa.field("chunk", fixed.type),
        pa.field("chunk", pa.binary(), nullable=False),
    ):
        other = pa.schema([field], metadata=schema.metadata)
        with pytest.raises(BadContainer):
            read(
                rewritten(
                    path, other, [pa.record_batch([b.column(0).cast(field.type)], schema=other) for b in batches]
                ),
                trio.parameters,
            )
    two = pa.schema([fixed, pa.field("more", pa.int8())], metadata=schema.metadata)
    zeros = [pa.record_batch([b.column(0), pa.array([0] * len(b), pa.int8())], schema=two) for b in batches]
    with pytest.raises(BadContainer):
        read(rewritten(path, two, zeros), trio.parameters)
    short = pa.schema([pa.field("chunk", pa.binary(size - 1), nullable=False)], metadata=schema.metadata)
    with pytest.raises(BadContainer):
        read(
            rewritten(path, short, [pa.record_batch([column(rows[:16, 1:], pa.binary(size - 1))], schema=short)]),
            trio.parameters,
        )


def test_compressed_and_annotated_batches_are_refused(trio, written, tmp_path):
    """Arrow's own compression (a bomb, if accepted) and metadata on batches are refused."""
    good = pa.ipc.open_stream(written.read_bytes())
    schema, batches = good.schema, list(good)
    zeros = pa.py_buffer(bytes(BLOCK_CHUNKS * schema.field(0).type.byte_width))
    bomb = pa.record_batch([pa.Array.from_buffers(schema.field(0).type, BLOCK_CHUNKS, [None, zeros])], schema=schema)
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pytest.raises(BadContainer):
        read(rewritten(tmp_path / "x", schema, [bomb] * 3, options), trio.parameters)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, schema) as stream:
        for batch in batches:
            stream.write_batch(batch, custom_metadata={"a": "b"})
    (tmp_path / "y").write_bytes(sink.getvalue())
    with pytest.raises(BadContainer):
        read(tmp_path / "y", trio.parameters)


@pytest.mark.parametrize("n_claimed", [1 << 28, 1 << 50])
def test_a_memory_bomb_is_refused_unopened(trio, tmp_path, n_claimed):
    """A small file whose compressed batch promises any amount of memory is refused without taking it."""
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
    with pytest.raises(BadContainer, match="not a plain one"):
        read(tmp_path / "x", trio.parameters)
    assert pool.max_memory() - before < 1 << 22


def test_nulls_are_refused(trio, written, tmp_path):
    """A column with a validity map is refused even if the schema says there are none."""
    good = pa.ipc.open_stream(written.read_bytes())
    schema, batches = good.schema, list(good)
    kind = schema.field(0).type
    nulls = pa.Array.from_buffers(kind, len(batches[0]), [pa.py_buffer(b"\xfe\xff"), batches[0].column(0).buffers()[1]])
    broken = pa.RecordBatch.from_arrays([nulls], schema=schema)
    with pytest.raises(BadContainer):
        read(rewritten(tmp_path / "x", schema, [broken, *batches[1:]]), trio.parameters)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"format": "other"},
        {"format": "hocket.sealed-sum"},
        {"plan": "x"},
        {"roster": 1},
        {"round": -1},
        {"round": True},
        {"attempt": 1.0},
        {"members": []},
        {"members": ["ash", "birch"]},
        {"members": ["a b"]},
        {"members": "ash"},
        {"n_params": 0},
        {"n_params": 1 << 40},
        {"parameters": []},
        {"more": 1},
    ],
)
def test_malformed_headers_are_refused(header, change):
    """The metadata have exactly the expected keys and types."""
    with pytest.raises(BadContainer):
        parse_header(canonical_json(json.loads(header.to_bytes()) | change), "test")


def test_failure_leaves_nothing(header, rows, tmp_path):
    """If writing fails, neither the file nor a temporary one stays."""

    def fail() -> None:
        with write_chunks(tmp_path / "x", header, rows.shape[1]) as writer:
            writer.write(rows[:BLOCK_CHUNKS])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_missing_file_is_refused(tmp_path):
    """No file is no sealed file."""
    with pytest.raises(BadContainer):
        read(tmp_path / "missing", None)


def test_payload_digest_of_the_empty_file(tmp_path):
    """The digest of nothing is that of nothing."""
    (tmp_path / "x").write_bytes(b"")
    assert payload_digest(tmp_path / "x") == PayloadDigest(digest(b""), 0)
