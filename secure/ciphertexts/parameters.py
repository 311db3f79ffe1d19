"""Encryption parameters, computed from the plan's settings alone, with the proof that sums decrypt exactly.

BFV (Fan & Vercauteren, IACR 2012/144) with ring degree 8192 and one modulus q of at most 60 bits: 256-bit security with
ternary secrets by the table of the Homomorphic Encryption Standard (2018), which allows log q <= 118 for N = 8192.
"""

from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Literal

from secure.encoding.canonical import canonical_json, digest
from secure.errors import ParameterMismatch

N_SLOTS = 8192  # numbers in a ciphertext = ring degree = coefficients of a polynomial
Q_BITS = (52, 56, 60)  # sizes that pack into bytes; SEAL's primes have at most 60 bits
MIN_TAG_BITS = 40
BLOCK_CHUNKS = 4  # chunks of one record batch; masks and tags are drawn block by block; 256 kB stay in the cache
SEED_BYTES = 64
_MOST_FIELDS = 8
# SEAL 4 draws the noise from a centred binomial distribution of 2 x 21 bits: |e| <= 21; rounding q m / t adds 1/2.
_TWICE_NOISE = 43
_MIN_PARTNERS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class SealSettings:
    """How updates are converted to integers and sealed."""

    __pydantic_config__: ClassVar[dict[str, object]] = {
        "extra": "forbid",
        "strict": True,
        "use_attribute_docstrings": True,
    }

    bits: Literal[16, 12, 8] = 16
    """Bits of one parameter's change; fewer make smaller updates."""

    max_partners: int = 16
    """The largest roster; the fewer, the smaller the updates."""

    first_bound: float = 0.1
    """Largest change of a parameter in the first round; the bounds adapt from then on."""

    bound_factor: float = 1.25
    """Next bound = factor x n partners x the largest mean change of the tensor."""

    bound_shrink: float = 0.25
    """A bound falls at most to this share of itself per round."""

    min_bound: float = 1e-8
    """No bound falls below this."""

    weights: Literal["equal", "size"] = "size"
    """The mean over partners, or (size) weighted by their training labels, of which only the sum is seen."""

    # changes are sent times weight / max_weight. An assay gives labels at up to five thresholds, or more if its
    # experts gave more, and three folds of five are trained on: 0.9 to 2.7 training labels for a row of T1 were counted
    max_weight: int = 1_000_000
    """Training labels; a partner with more counts as this many. Set it just above the largest partner's number. Where
    that is not known, take 3 times its rows of T1: an assay gives labels at several thresholds. A value that is far
    too large costs precision.
    """

    def __post_init__(self) -> None:
        _expect("bits", self.bits, "16, 12 or 8", ok=self.bits in {16, 12, 8})
        _expect("max_partners", self.max_partners, "3 to 128", ok=_MIN_PARTNERS <= self.max_partners <= 128)  # noqa: PLR2004 -- the text states it
        _expect("min_bound", self.min_bound, "above 1e-30", ok=1e-30 < self.min_bound < float("inf"))  # noqa: PLR2004 -- float32 steps
        _expect("first_bound", self.first_bound, "min_bound to 1e6", ok=self.min_bound <= self.first_bound <= 1e6)  # noqa: PLR2004 -- the text states it
        _expect("bound_factor", self.bound_factor, "1 to 1000", ok=1 <= self.bound_factor <= 1000)  # noqa: PLR2004 -- the text states it
        _expect("bound_shrink", self.bound_shrink, "above 0, at most 1", ok=0 < self.bound_shrink <= 1)
        _expect("weights", self.weights, "equal or size", ok=self.weights in {"equal", "size"})
        _expect("max_weight", self.max_weight, "1 to 2^32", ok=1 <= self.max_weight <= 1 << 32)


@dataclass(frozen=True, slots=True)
class SealParameters:
    """The encryption parameters that follow from the settings; raises ParameterMismatch if they lack margin."""

    bits: int
    max_partners: int
    max_weight: int  # 1 for equal weights
    t: int  # plain modulus, a prime: slots, masks and tags are numbers mod t
    q: int  # ciphertext modulus, a prime = 1 mod 2 N_SLOTS
    radix: int  # of a field: one more than the largest sum of max_partners offset values
    fields: int  # parameters in a slot, as digits of a number with that radix

    def __post_init__(self) -> None:
        prove_margin(self)

    @property
    def limit(self) -> int:
        """Largest magnitude of a fixed-point value; also the offset that makes values non-negative."""
        return (1 << (self.bits - 1)) - 1

    def n_value_slots(self, n_params: int) -> int:
        """Slots that hold the packed changes of n_params parameters."""
        return -(-n_params // self.fields)

    def n_chunks(self, n_params: int) -> int:
        """Ciphertexts of an update: values, then the weight and the tag in the last two slots of the last one."""
        return -(-(self.n_value_slots(n_params) + 2) // N_SLOTS)

    @property
    def poly_bytes(self) -> int:
        """Bytes of one polynomial, packed."""
        return N_SLOTS * self.q.bit_length() // 8

    @property
    def update_chunk_bytes(self) -> int:
        """Bytes of a fresh ciphertext: the seed of its random half and the other half."""
        return SEED_BYTES + self.poly_bytes

    @property
    def sum_chunk_bytes(self) -> int:
        """Bytes of a ciphertext that is a sum: both halves."""
        return 2 * self.poly_bytes

    def to_dict(self) -> dict[str, object]:
        """Return the parameters as written into sealed files."""
        return {
            "scheme": "BFV",
            "n_slots": N_SLOTS,
            "q": self.q,
            "t": self.t,
            "bits": self.bits,
            "radix": self.radix,
            "fields": self.fields,
            "max_partners": self.max_partners,
            "max_weight": self.max_weight,
            "block_chunks": BLOCK_CHUNKS,
        }

    def ring_digest(self) -> str:
        """Return the digest of the parameters that a secret key depends on."""
        return digest(canonical_json({"scheme": "BFV", "n_slots": N_SLOTS, "q": self.q, "t": self.t}))


@cache
def seal_parameters(settings: SealSettings) -> SealParameters:
    """Return the parameters with the most fields per slot and, for those, the smallest ciphertexts.

    Raises ParameterMismatch if no plain modulus has the margin that the settings need.
    """
    for fields in range(_MOST_FIELDS, 0, -1):
        for q_bits in Q_BITS:
            try:
                return _with_fields(settings, fields, largest_prime((1 << q_bits) - 1, step=2 * N_SLOTS))
            except ParameterMismatch:
                continue
    raise ParameterMismatch(
        f"max_partners = {settings.max_partners}, bits = {settings.bits}, max_weight = {settings.max_weight}: "
        "no plain modulus has the margin; expected fewer partners or a smaller weight"
    )


def _with_fields(settings: SealSettings, fields: int, q: int) -> SealParameters:
    """Return the parameters with the largest t of the needed bits, so few words of a random stream exceed it."""
    n, max_weight = settings.max_partners, settings.max_weight if settings.weights == "size" else 1
    radix = n * ((1 << settings.bits) - 2) + 1
    needed = max(radix**fields, 1 << MIN_TAG_BITS, n * max_weight) + 1
    most = min((1 << needed.bit_length()) - 1, (q - 1) // (_TWICE_NOISE * n + 2))
    if most < needed:
        raise ParameterMismatch(f"{fields} fields of radix {radix} do not fit into a slot")
    return SealParameters(settings.bits, n, max_weight, largest_prime(most), q, radix, fields)


def prove_margin(parameters: SealParameters) -> None:
    """Raise ParameterMismatch unless every sum of up to max_partners updates is exact.

    Decryption: a fresh ciphertext decrypts to q m / t + e with |e| <= 21 + 1/2, so the sum of n of them to
    q (sum m) / t + e' with |e'| <= 43 n / 2; rounding gives sum m mod t while |e'| < q / 2t. One unit is kept for
    the decryptor's own arithmetic: t (43 n + 2) < q.
    Fields: no sum of n values of 2^bits - 2 reaches the radix, and radix^fields, above every packed sum, is at most t.
    Weights: n max_weight < t. Tag: t > 2^40, since a forged sum passes with probability 1/t.
    """
    p, n = parameters, parameters.max_partners
    if n < _MIN_PARTNERS:
        raise ParameterMismatch(f"max_partners = {n}, expected at least {_MIN_PARTNERS}")
    if p.t <= 1 << MIN_TAG_BITS:
        raise ParameterMismatch(f"t = {p.t}: a forged sum would pass with more than 2^-{MIN_TAG_BITS}")
    if p.t * (_TWICE_NOISE * n + 2) >= p.q:
        raise ParameterMismatch(f"t = {p.t}, q = {p.q}: a sum of {n} updates might not decrypt")
    if p.fields < 1 or n * 2 * p.limit >= p.radix:
        raise ParameterMismatch(f"{p.fields} fields of radix {p.radix}: {n} values of {p.bits} bits overflow a field")
    if p.radix**p.fields > p.t:
        raise ParameterMismatch(f"{p.fields} fields of radix {p.radix}: {n} values overflow t = {p.t}")
    if p.q.bit_length() not in Q_BITS:
        raise ParameterMismatch(f"q = {p.q}: has {p.q.bit_length()} bits, expected one of {Q_BITS}")
    if n * p.max_weight >= p.t:
        raise ParameterMismatch(f"max_weight = {p.max_weight}: the sum of {n} weights overflows t = {p.t}")


def largest_prime(most: int, step: int = 1) -> int:
    """Return the largest prime that is 1 mod `step` and at most `most`, 3 or more.

    With step 2 N_SLOTS and most 2^bits - 1 it is the one that SEAL's CoeffModulus chooses.
    """
    candidate = (most - 1) // step * step + 1
    while not _is_prime(candidate):
        candidate -= step
    return candidate


def _is_prime(n: int) -> bool:
    """Miller-Rabin with the first twelve primes as bases: no error below 3.3e24 (Sorenson & Webster 2015)."""
    odd, twos = n - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37):
        x = pow(base, odd, n)
        if base % n and x not in (1, n - 1) and not any((x := x * x % n) == n - 1 for _ in range(twos - 1)):
            return False
    return True


def _expect(key: str, found: object, expected: str, *, ok: bool) -> None:
    if not ok:
        raise ValueError(f"{key} = {found!r}, expected {expected}")
