"""The errors of keys, messages and ciphertexts, one type for each kind of fault.

The message says where, what was found and what was expected. No message holds a secret.
"""


class SecureError(Exception):
    """Base of all errors of this folder."""


class NotCanonical(SecureError):
    """A value has no canonical JSON form, or JSON bytes are not in canonical form."""


class BadKeyFile(SecureError):
    """A file with secrets is damaged, has the wrong mode or owner, or is of another kind."""


class KeyFileExists(SecureError):
    """A file with secrets already exists; it is never overwritten."""


class WrongPassphrase(SecureError):
    """The passphrase does not open the private keys, or one is missing or superfluous."""


class WrongKey(SecureError):
    """The key does not belong to the card, the group secret to the digest, or the file to the keys."""


class BadCard(SecureError):
    """A card is malformed or not signed by its own key."""


class BadEnvelope(SecureError):
    """An HPKE envelope or the file of envelopes is malformed, missing, or made for another receiver or purpose."""


class BadManifest(SecureError):
    """A manifest is malformed: not canonical, unknown or missing keys, wrong types, too large."""


class BadSignature(SecureError):
    """The signature is not by the expected card over these bytes."""


class WrongKind(SecureError):
    """A message or file is of another kind than expected."""


class WrongPlan(SecureError):
    """A message or file is bound to another plan digest."""


class WrongRound(SecureError):
    """A message or file is bound to another round."""


class WrongAttempt(SecureError):
    """A message or file is bound to another attempt of the round."""


class WrongSender(SecureError):
    """A message is from another member than expected, or from a member whose role does not send this kind."""


class WrongRoster(SecureError):
    """A message or file is bound to another roster than the one of this attempt."""


class PayloadMismatch(SecureError):
    """A payload file has another digest or size than its manifest says."""


class BadRoster(SecureError):
    """A roster is not sorted, repeats a member, lists one that is no partner of the plan, or omits this partner."""


class RosterTooSmall(BadRoster):
    """A roster has fewer members than the plan's minimum, or fewer than three."""


class ParameterMismatch(SecureError):
    """Encryption parameters differ from the plan's, or lack the margin that decryption needs."""


class BadContainer(SecureError):
    """A sealed file does not have the layout of FORMAT.md."""


class AlreadySealed(SecureError):
    """The update is already sealed; the sealed file is sent again, an update is never sealed twice."""


class UpdateOutOfRange(SecureError):
    """An update holds NaN or infinity, has the wrong shape, or a sum exceeds what its members can have sent."""


class SumIncomplete(SecureError):
    """A sum does not list exactly the members of the roster, each once."""


class WrongSum(SecureError):
    """Adding the updates that a sum lists gives another sum."""


class TagMismatch(SecureError):
    """The sum is not the sum of exactly the roster's updates: an update was dropped, added or changed."""


class WrongRelease(SecureError):
    """A released seed is not the one to which its member's update commits, or a member's seed is missing."""


class BadProvenance(SecureError):
    """The provenance of a model is malformed."""


class UnknownFile(SecureError):
    """A file has none of the formats of this folder."""
