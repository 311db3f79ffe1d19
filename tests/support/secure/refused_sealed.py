"""Sealed updates and sums that must be refused, as make_refused.py writes them."""

import io
import json
import struct
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from secure.ciphertexts.coefficients import pack_coefficients
from secure.encoding.canonical import canonical_json
from tests.support.secure import plain_reader as plain
from tests.support.secure.refusals import OTHER, Edit, Row, Valid
from tests.support.secure.worked_example import PARTNERS, Example, known_bytes

UPDATE = "round-0001/attempt-01/update.ash.arrow"
END = 8  # bytes


class Sealed:
    """The parts of a valid sealed file, to be combined in invalid ways."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.header, (self.chunk,) = plain.read_sealed(data)
        self.text = canonical_json(self.header)
        self.schema = plain.schema_message(self.text, len(self.chunk))
        self.body = data[len(self.schema) :]  # batch and end
        self.at = len(data) - END - len(self.chunk)  # of the chunk

    def headed(self, text: bytes | None = None, **change: object) -> bytes:
        """Return the file with another header."""
        text = canonical_json(self.header | change) if text is None else text
        return plain.schema_message(text, len(self.chunk)) + self.body

    def parameters(self, **change: object) -> bytes:
        """Return the file with other parameters."""
        return self.headed(parameters=self.header["parameters"] | change)

    def arrow(self, schema: pa.Schema, *arrays: pa.Array, **options: object) -> bytes:
        """Return the file as Arrow writes it with another schema, columns or options."""
        sink = io.BytesIO()
        with pa.ipc.new_stream(sink, schema, options=pa.ipc.IpcWriteOptions(**options)) as stream:
            stream.write_batch(
                pa.RecordBatch.from_arrays(list(arrays or [self.column(schema.field(0).type)]), schema=schema)
            )
        return sink.getvalue()

    def column(self, kind: pa.DataType) -> pa.Array:
        """Return the chunk as a column of another type."""
        return pa.array([self.chunk], pa.binary(len(self.chunk))).cast(kind)

    def fields(self, *fields: pa.Field) -> pa.Schema:
        """Return a schema of other columns."""
        return pa.schema(fields, metadata={b"hocket": self.text})


def sealed_updates(valid: Valid) -> Iterator[Row]:
    """Updates, one to be added."""
    good = Sealed(valid.files[UPDATE])
    yield from _beginnings(good)
    yield from _headers(good)
    yield "two-members", "S-6", "BadContainer", "It is of two.", good.headed(members=["ash", "birch"])
    yield "is-sum", "S-8", "WrongKind", "It is a sum.", [], "", "sum"
    yield from _parameters(good)
    yield from _attempts(good)
    yield from _schemas(good)
    yield from _batches(good)
    yield from _ends(good)
    yield "large-coefficient", "S-18", "BadContainer", "A coefficient of c0 is 2^52 - 1.", _large(good.at + 64)
    yield "alone", "U-1", "RosterTooSmall", "It is to be added to nothing.", [], "sealed update, alone", UPDATE
    yield "too-many", "U-2", "BadRoster", "16 others are to be added.", [], "sealed update, with 16 others", UPDATE
    yield "n-params", "U-3", "BadContainer", "It has a parameter more than the others.", good.headed(n_params=52)
    yield "twice", "U-4", "SumIncomplete", "It is birch's again.", [], "", UPDATE.replace("ash", "birch")
    yield "of-a-stranger", "U-4", "SumIncomplete", "It is of who is not in the roster.", good.headed(members=["date"])
    read, birch = "audited update of ash", good.headed(members=["birch"])
    yield "under-another-name", "A-2", "SumIncomplete", "It says that it is birch's.", birch, read, ""
    more = good.headed(n_params=52)
    yield "of-another-trunk", "A-2", "BadContainer", "It has a parameter more than the trunk.", more, read, ""
    for name, head in _seal_heads().items():
        moved = [(good.at, 0, head), (good.at + len(good.chunk) - len(head), len(head), b"")]
        yield f"{name}-in-chunk", "T-4", "TagMismatch", f"Its chunk is the beginning of a SEAL file, {name}.", moved
        schema = plain.schema_message(good.text, len(good.chunk) + len(head))
        batch = plain.batch_message(1, len(good.chunk) + len(head))
        whole = [(0, good.at, schema + batch + head)]
        yield f"{name}-as-chunk", "S-14", "BadContainer", f"Its chunk is a SEAL file, {name}.", whole


def sealed_sums(valid: Valid) -> Iterator[Row]:
    """Sums, to be opened."""
    example, good = valid.example, Sealed(valid.files["sum"])
    yield "is-update", "S-8", "WrongKind", "It is an update.", [], "", UPDATE
    yield "one-member", "S-6", "BadContainer", "It is of one.", good.headed(members=["ash"])
    yield (
        "unsorted",
        "S-6",
        "BadContainer",
        "Its members are not sorted.",
        good.headed(members=["birch", "ash", "cedar"]),
    )
    yield "doubled", "S-6", "BadContainer", "It has ash twice.", good.headed(members=["ash", "ash", "birch", "cedar"])
    yield from _attempts(good)
    yield "large-c0", "S-18", "BadContainer", "A coefficient of c0 is 2^52 - 1.", _large(good.at)
    yield "large-c1", "S-18", "BadContainer", "A coefficient of c1 is 2^52 - 1.", _large(good.at + 53_248)
    bad = "SumIncomplete"
    yield "of-two", "T-2", bad, "It is of two.", good.headed(members=["ash", "birch"])
    yield "of-a-stranger", "T-2", bad, "It is of a stranger too.", good.headed(members=[*PARTNERS, "date"])
    yield "n-params", "T-3", "BadContainer", "It has a parameter more.", good.headed(n_params=52)
    no = "TagMismatch"
    third = good.at + 4 * 8192 + 2 * 3  # bits 32 to 47 of coefficient 3
    yield (
        "changed",
        "T-4",
        no,
        "A coefficient of c0 is another.",
        [(third + 1, 1, bytes([good.data[third + 1] ^ 0x80]))],
    )
    least = [(good.at, 1, bytes([good.data[good.at] ^ 1]))]
    yield "other-noise", "A-3", "WrongSum", "Its noise is another, and it opens all the same.", least, "audited sum", ""
    yield "zeros", "T-4", no, "All its coefficients are 0.", [(good.at, len(good.chunk), bytes(len(good.chunk)))]
    for name, head in _seal_heads().items():
        moved = [(good.at, 0, head), (good.at + len(good.chunk) - len(head), len(head), b"")]
        yield f"{name}-in-chunk", "T-4", no, f"Its chunk is the beginning of a SEAL file, {name}.", moved
    far = "UpdateOutOfRange"
    large = _forged(example, good, {0: 3 * 32_767 + 1}, 7)
    yield "large-parameter", "T-5", far, "A partner sent more than it may.", large
    for weight in (2, 13):
        yield (
            f"weight-{weight}",
            "T-5",
            far,
            f"Three weights of 1 to 4 are never {weight}.",
            _forged(example, good, {}, weight),
        )


def _beginnings(good: Sealed) -> Iterator[Row]:
    bad = "BadContainer"
    yield "empty", "S-1", bad, "It is empty.", b""
    yield "no-arrow", "S-1", bad, "It begins with another byte.", [(0, 1, b"\0")]
    yield "file-format", "S-1", bad, "It is an Arrow file, not a stream.", [(0, 0, b"ARROW1\0\0")]
    yield "endless-schema", "S-1", bad, "Its first message promises 2 GB.", [(4, 4, b"\xff\xff\xff\x7f")]
    yield "negative-schema", "S-1", bad, "Its first message promises -1 bytes.", [(4, 4, b"\xff\xff\xff\xff")]
    yield "cut-schema", "S-1", bad, "It ends in its schema.", [(200, len(good.data), b"")]
    yield "no-schema", "S-1", bad, "Its first message is a batch.", [(0, len(good.schema), b"")]
    field = pa.field("chunk", pa.binary(len(good.chunk)), nullable=False)
    for name, metadata in {
        "none": None, "other-key": {"other": good.text}, "second-key": {"hocket": good.text, "more": "1"}
    }.items():  # fmt: skip
        yield (
            f"metadata-{name}",
            "S-2",
            bad,
            "Its metadata is not one key, hocket.",
            good.arrow(pa.schema([field], metadata)),
        )


def _headers(good: Sealed) -> Iterator[Row]:
    bad, header = "BadContainer", good.header
    yield "header-no-json", "J-1", bad, "Its header is cut.", good.headed(good.text[:-1])
    yield "header-space", "J-2", bad, "Its header has a space.", good.headed(good.text.replace(b":", b": ", 1))
    doubled = good.text.replace(b'"round":1', b'"round":1,"round":1')
    yield "header-doubled-key", "J-2", bad, "Its header has a key twice.", good.headed(doubled)
    deep = good.text.replace(b'"round":1', b'"round":' + b"[" * 9 + b"]" * 9)
    yield "header-deep", "J-3", bad, "Its header is nested in 9 levels.", good.headed(deep)
    yield "header-unknown-key", "S-3", bad, "Its header has a key too many.", good.headed(more=1)
    for key in header:
        less = canonical_json({name: value for name, value in header.items() if name != key})
        yield f"header-without-{key}", "S-3", bad, f"Its header has no {key}.", good.headed(less)
    for key, rule, values in (
        ("format", "S-4", {"other": "hocket.update"}),
        ("version", "S-4", {"1": 1, "3": 3, "true": True, "with-point": 2.0}),
        ("parameters", "S-4", {"list": []}),
        ("plan", "S-5", {"short": "x"}),
        ("roster", "S-5", {"number": 1}),
        ("members", "S-6", {"nobody": [], "text": "ash", "no-name": ["a sh"]}),
        ("round", "S-7", {"negative": -1, "true": True, "with-point": 1.0}),
        ("attempt", "S-7", {"negative": -1, "true": True, "with-point": 1.0}),
        ("n_params", "S-7", {"0": 0, "negative": -1, "beyond": (1 << 36) + 1, "with-point": 51.0}),
    ):
        for name, value in values.items():
            why = f"Its {key} is {json.dumps(value)}."
            yield f"header-{key}-{name}".replace("_", "-"), rule, bad, why, good.headed(**{key: value})


def _parameters(good: Sealed) -> Iterator[Row]:
    no, known = "ParameterMismatch", good.header["parameters"]
    for key, value in known.items():
        other = "CKKS" if key == "scheme" else value + 2
        yield (
            f"other-{key}".replace("_", "-"),
            "S-9",
            no,
            f"Its {key} is not the plan's.",
            good.parameters(**{key: other}),
        )
    yield "parameters-with-point", "S-9", no, "Its bits are 16.0.", good.parameters(bits=16.0)
    yield "parameters-more", "S-9", no, "It has a parameter that none is.", good.parameters(security=128)
    less = {key: value for key, value in known.items() if key != "t"}
    yield "parameters-less", "S-9", no, "It does not say t.", good.headed(parameters=less)


def _attempts(good: Sealed) -> Iterator[Row]:
    yield "other-plan", "S-10", "WrongPlan", "It is of another plan.", good.headed(plan=OTHER)
    yield "other-round", "S-11", "WrongRound", "It is of round 2.", good.headed(round=2)
    yield "other-attempt", "S-12", "WrongAttempt", "It is of attempt 2.", good.headed(attempt=2)
    yield "other-roster", "S-13", "WrongRoster", "It is of another roster.", good.headed(roster=OTHER)


def _schemas(good: Sealed) -> Iterator[Row]:
    bad, width = "BadContainer", len(good.chunk)
    kind = pa.binary(width)
    for name, field in {
        "name": pa.field("chunks", kind, nullable=False),
        "nullable": pa.field("chunk", kind),
        "variable": pa.field("chunk", pa.binary(), nullable=False),
        "large": pa.field("chunk", pa.large_binary(), nullable=False),
        "dictionary": pa.field("chunk", pa.dictionary(pa.int8(), pa.binary()), nullable=False),
        "field-metadata": pa.field("chunk", kind, nullable=False, metadata={"a": "b"}),
    }.items():
        column = good.column(pa.binary()).dictionary_encode() if name == "dictionary" else good.column(field.type)
        yield f"column-{name}", "S-14", bad, f"Its column is another: {name}.", good.arrow(good.fields(field), column)
    field = pa.field("chunk", kind, nullable=False)
    two = good.fields(field, pa.field("more", pa.int8()))
    yield (
        "second-column",
        "S-14",
        bad,
        "It has two columns.",
        good.arrow(two, good.column(kind), pa.array([1], pa.int8())),
    )
    no_column = pa.schema([], metadata={b"hocket": good.text}).serialize().to_pybytes()
    yield "no-column", "S-14", bad, "It has no column.", no_column + good.body
    for bits in (56, 60):
        wide = plain.schema_message(good.text, 64 + 1024 * bits)
        yield f"chunks-for-q-of-{bits}", "S-14", bad, f"Its chunks are those of {bits} bits.", wide + good.body
    yield "big-endian", "S-14", bad, "It says that it is big-endian.", _big_endian(good) + good.body
    yield "padding", "S-14", bad, "Its schema's padding is not zero.", [(len(good.schema) - 1, 1, b"\1")]


def _big_endian(good: Sealed) -> bytes:
    """Return the schema message with an endianness, which stands in four bytes more of the Schema table."""
    content = bytearray(good.schema[8:])
    vtable, table = 30, 40  # of Schema, in the content
    a = len(good.text) // 4 * 4 + 4
    assert struct.unpack_from("<5H", content, vtable) == (10, 12, 0, 4, 8)
    struct.pack_into("<3H", content, vtable, 10, 16, 12)
    struct.pack_into("<2I", content, table + 4, a + 56, 8)
    content[table + 12 : table + 12] = struct.pack("<HH", 1, 0)
    content = content[: 92 - 8 + 4 + a + 84]
    content += bytes(-len(content) % 8)
    return struct.pack("<iI", -1, len(content)) + bytes(content)


def _batches(good: Sealed) -> Iterator[Row]:
    bad, width, data = "BadContainer", len(good.chunk), good.data
    field = pa.field("chunk", pa.binary(width), nullable=False)
    schema = good.fields(field)
    batch = len(good.schema)
    zeros = pa.array([bytes(width)], pa.binary(width))
    for codec in ("zstd", "lz4"):
        small = good.arrow(schema, zeros, compression=codec)
        yield f"{codec}", "S-16", bad, "Its batch is compressed.", small + bytes(width)
    promise = good.arrow(schema, zeros, compression="zstd")
    size = promise.rindex(struct.pack("<Q", width))
    bomb = promise[:size] + struct.pack("<Q", 1 << 50) + promise[size + 8 :] + bytes(width)
    yield "bomb", "S-16", bad, "Its compressed batch promises a petabyte.", bomb
    nulls = pa.Array.from_buffers(pa.binary(width), 1, [pa.py_buffer(b"\xfe"), good.column(field.type).buffers()[1]])
    yield "validity", "S-16", bad, "Its batch says that its chunk is null.", good.arrow(schema, nulls)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, schema) as stream:
        one = pa.RecordBatch.from_arrays([good.column(field.type)], schema=schema)
        stream.write_batch(one, custom_metadata={"a": "b"})
    yield "batch-metadata", "S-16", bad, "Its batch has metadata.", sink.getvalue()
    two = good.schema + plain.batch_message(2, 2 * width) + 2 * good.chunk + good.body[-END:]
    yield (
        "two-rows",
        "S-16",
        bad,
        "Its batch has a chunk more.",
        [(batch, 144, two[batch : batch + 144]), (good.at, 0, bytes(width))],
    )
    none = plain.batch_message(0, 0)
    yield "empty-batch-first", "S-16", bad, "It has an empty batch before.", [(batch, 0, none)]
    yield "batch-rows", "S-16", bad, "Its batch says 2 rows.", [(batch + 72, 1, b"\2")]
    yield "batch-endless", "S-16", bad, "Its batch promises 2^62 bytes.", [(batch + 40, 8, struct.pack("<Q", 1 << 62))]
    yield "batch-version", "S-16", bad, "Its batch is of another version of Arrow.", [(batch + 32, 1, b"\4")]
    assert data[batch + 72] == 1


def _ends(good: Sealed) -> Iterator[Row]:
    bad, n = "BadContainer", len(good.data)
    yield "n-params-huge", "S-15", bad, "It promises 2^36 parameters.", good.headed(n_params=1 << 36)
    yield "cut-in-chunk", "S-15", bad, "Half of it is missing.", [(n // 2, n, b"")]
    yield "much-more", "S-15", bad, "300 kB follow.", [(n, 0, bytes(300_000))]
    yield "cut-before-end", "S-17", bad, "Its end is missing.", [(n - END, END, b"")]
    yield "cut-in-end", "S-17", bad, "Its last byte is missing.", [(n - 1, 1, b"")]
    yield "byte-after-end", "S-17", bad, "A byte follows.", [(n, 0, b"\0")]
    yield "second-end", "S-17", bad, "It ends twice.", [(n, 0, good.data[-END:])]
    yield "second-batch", "S-17", bad, "A batch follows.", [(n - END, 0, plain.batch_message(1, len(good.chunk)))]
    yield "empty-batch-last", "S-17", bad, "An empty batch follows.", [(n - END, 0, plain.batch_message(0, 0))]


def _large(at: int) -> list[Edit]:
    """Edits that set coefficient 0 of the polynomial at `at` to 2^52 - 1; the half byte of coefficient 4096 too."""
    return [(at, 4, b"\xff" * 4), (at + 4 * 8192, 2, b"\xff" * 2), (at + 6 * 8192, 1, b"\xff")]


def _seal_heads() -> dict[str, bytes]:
    """Beginnings of SEAL's own files: a ciphertext of two polynomials in BFV, one in CKKS, and a public key."""
    n_bytes = 2 * 8 * 8192

    def head(*, is_ntt: bool, scale: float) -> bytes:
        numbers = bytes(range(32)) + struct.pack("<BQQQdQ", is_ntt, 2, 8192, 1, scale, 1)
        array = _seal_header(8 + n_bytes) + struct.pack("<Q", n_bytes // 8)
        return _seal_header(len(numbers) + len(array) + n_bytes) + numbers + array

    return {
        "bfv": head(is_ntt=False, scale=1.0),
        "ckks": head(is_ntt=True, scale=2.0**40),
        "public-key": head(is_ntt=True, scale=1.0),
    }


def _seal_header(n_bytes: int) -> bytes:
    return b"\x5e\xa1\x10\x04\x01\x00\x00\x00" + struct.pack("<Q", 16 + n_bytes)


def _forged(example: Example, good: Sealed, change: dict[int, int], weight: int) -> list[Edit]:
    """Edits that make a sum of any content with the right tag, as a partner can: c1 is zero, so no key is needed.

    change : sums of some parameters, by number; the others are 0
    """
    p, members = good.header["parameters"], list(PARTNERS)
    q, t, n_value_slots = p["q"], p["t"], plain.n_value_slots(good.header)
    sums = np.full(2 * n_value_slots, 3 * 32_767, dtype=object)
    for number, total in change.items():
        sums[number] += total
    slots = np.zeros(8192, dtype=object)
    slots[:n_value_slots] = sums[:n_value_slots] + sums[n_value_slots:] * p["radix"]
    slots[-2] = weight
    seeds = {name: known_bytes(f"release seed of {name}", 32) for name in members}
    streams = (plain.release_stream(name, seed, len(slots), good.header) for name, seed in seeds.items())
    slots = (slots + sum(streams)) % t
    slots[-1] = 0
    slots[-1] = plain.expected_tag(slots, members, example.group.tag_seed, good.header)
    c0 = (2 * q * slots + t) // (2 * t)
    packed = pack_coefficients(c0.astype(np.uint64)[None, :], q.bit_length()).tobytes()
    return [(good.at, len(good.chunk), packed + bytes(len(packed)))]
