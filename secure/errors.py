"""Every way in which keys, messages and ciphertexts can be wrong; each has a type of its own.

The message says where, what was found and what was expected. No message holds a secret.
"""


class SecureError(Exception):
    """Base of all errors of this folder."""


class NotCanonical(SecureError):
    """A value has no canonical JSON form, or bytes are not the canonical form of what they say."""


class BadKeyFile(SecureError):
    """A file with secrets is damaged, has the wrong mode or owner, or is not such a file."""


class KeyFileExists(SecureError):
    """A file with secrets is there already; it is never overwritten."""


class WrongPassphrase(SecureError):
    """The passphrase does not open the private keys, or one is missing or superfluous."""


class WrongKey(SecureError):
    """The key does not belong to the card, the group secret to the digest, or the file to the keys."""


class BadCard(SecureError):
    """A card is malformed or not signed by its own key."""


class BadEnvelope(SecureError):
    """An HPKE envelope or the file of envelopes is malformed, missing, or made for someone or something else."""


class BadManifest(SecureError):
    """A manifest is malformed: not canonical, unknown or missing keys, wrong types, too large."""


class BadSignature(SecureError):
    """The signature is not by the expected card over these bytes."""


class WrongKind(SecureError):
    """A message of another kind than expected."""


class WrongPlan(SecureError):
    """Bound to another plan digest."""


class WrongRound(SecureError):
    """Bound to another round."""


class WrongAttempt(SecureError):
    """Bound to another attempt of the round."""


class WrongSender(SecureError):
    """From another member than expected, or from one whose role does not send this kind."""


class WrongRoster(SecureError):
    """Bound to another roster than the one of this attempt."""


class PayloadMismatch(SecureError):
    """A payload file has another digest or size than its manifest says."""


class BadRoster(SecureError):
    """A roster is not sorted, not unique, lists a stranger, or leaves out who asks."""


class RosterTooSmall(BadRoster):
    """A roster below the plan's minimum, or below three."""


class ParameterMismatch(SecureError):
    """Other encryption parameters than the plan's, or parameters without the needed margin."""


class BadContainer(SecureError):
    """A sealed file is not laid out as it must be."""


class AlreadySealed(SecureError):
    """The update has been sealed; a sealed update is sent again, never made anew."""


class UpdateOutOfRange(SecureError):
    """An update holds NaN or infinity, has the wrong shape, or a sum exceeds what its members can have sent."""


class SumIncomplete(SecureError):
    """A sum does not list exactly the members of the roster, each once."""


class WrongSum(SecureError):
    """A sum is not what adding the updates it lists gives."""


class TagMismatch(SecureError):
    """The sum is not the sum of exactly the roster's updates: something was dropped, added or changed."""


class UnknownFile(SecureError):
    """A file that none of this folder's formats describes."""
