"""The one name of a message, and the relative paths of its files."""

from dataclasses import dataclass

from secure.messages.message_schemas import SIGNS


@dataclass(frozen=True, slots=True)
class MessageName:
    """File name of a message, the same in exchange, inbox and outbox; FORMAT.md, section 4."""

    kind: str
    round_no: int  # 0 outside the rounds, and in the counting round of a catalogue
    attempt: int  # 0 outside the rounds
    sender: str

    @property
    def folder(self) -> str:
        """Folder of the message, relative."""
        if self.attempt:
            return f"round-{self.round_no:04d}/attempt-{self.attempt:02d}"
        return "signs" if self.kind in SIGNS else "enrol"

    @property
    def manifest(self) -> str:
        """Relative path of the signed manifest."""
        return f"{self.folder}/{self.kind}.{self.sender}.json"

    @property
    def payload(self) -> str:
        """Relative path of the payload file, for kinds that have one."""
        suffix = "arrow" if self.kind in ("update", "sum") else "envelopes"
        return f"{self.folder}/{self.kind}.{self.sender}.{suffix}"
