"""Check the identity of the other side: the common name of a site's certificate is the partner's name in the plan.

NVFlare checks certificates when a site registers and on every connection. This module checks them again between the
job's two parts: each side signs the other's new challenge with the private key of its kit, for this receiver and this
plan. Whether a message is valid is decided by the member's own signature in addition.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nvflare.lighter.utils import load_crt_chain_bytes
from nvflare.private.fed.utils.identity_utils import (
    CNMismatch,
    IdentityAsserter,
    IdentityVerifier,
    InvalidAsserterCert,
    InvalidCNSignature,
    MissingCN,
    get_cn_from_cert,
)

from pipeline.errors import ConfigError, WrongSite

_DOMAIN = "hocket/nvflare/identity/v1"
_LONGEST = 1 << 16  # bytes of a certificate chain
_CERTIFICATE, _SIGNATURE = "certificate", "signature"


@dataclass(frozen=True, slots=True)
class Kit:
    """The certificate and private key in a site's startup kit, and the root certificate that all sites share."""

    certificate_file: Path
    key_file: Path
    root_file: Path

    @classmethod
    def at(cls, startup: Path, side: str) -> "Kit":
        """The kit in a startup folder; side is "client" or "server". Raises ConfigError if files are missing."""
        kit = cls(startup / f"{side}.crt", startup / f"{side}.key", startup / "rootCA.pem")
        for file in (kit.certificate_file, kit.key_file, kit.root_file):
            if not file.is_file():
                raise ConfigError(f"{file}: is missing, expected the startup kit of an NVFlare {side} with mTLS")
        return kit

    @property
    def name(self) -> str:
        """The certificate's common name."""
        return common_name(self.certificate_file.read_bytes(), self.certificate_file.name)

    def prove(self, to: str, plan: str, nonce: str) -> dict[str, Any]:
        """Sign the receiver's challenge."""
        asserter = IdentityAsserter(str(self.key_file), str(self.certificate_file))
        signature = asserter.sign_common_name(_content(to, plan, nonce))
        return {_CERTIFICATE: asserter.cert_data, _SIGNATURE: signature}

    def check(self, proof: object, *, expected: str, plan: str, nonce: str) -> None:
        """Raise WrongSite unless the proof is that of `expected`, made for this site's challenge."""
        chain = proof.get(_CERTIFICATE) if isinstance(proof, dict) else None
        signature = proof.get(_SIGNATURE) if isinstance(proof, dict) else None
        if not isinstance(chain, bytes) or len(chain) > _LONGEST or not isinstance(signature, bytes):
            raise WrongSite(f"{expected}: found no certificate and signature, expected both")
        if (name := common_name(chain, expected)) != expected:
            error = WrongSite(f"{expected}: the site's certificate is that of {name}")
            error.add_note(
                "every site has a startup kit of its own, whose common name is the partner's name in the plan"
            )
            raise error
        certificate, *others = load_crt_chain_bytes(chain)
        try:
            IdentityVerifier(str(self.root_file)).verify_common_name(
                asserted_cn=expected,
                nonce=_content(self.name, plan, nonce),
                asserter_cert=certificate,
                signature=signature,
                intermediate_certs=others,
            )
        except (CNMismatch, InvalidAsserterCert, InvalidCNSignature) as error:
            raise WrongSite(f"{expected}: certificate or signature is not valid under {self.root_file.name}") from error


def common_name(chain: bytes, where: str) -> str:
    """Common name of a chain's first certificate. Raises WrongSite if there is none."""
    try:
        return str(get_cn_from_cert(load_crt_chain_bytes(chain)[0]))
    except (ValueError, MissingCN) as error:
        raise WrongSite(f"{where}: found no certificate with a common name") from error


def server_of(startup: Path) -> str:
    """Common name of the server's certificate, read from a site's startup kit. Raises ConfigError if it has none."""
    file = startup / "fed_client.json"
    try:
        return str(json.loads(file.read_text())["servers"][0]["identity"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ConfigError(f"{file}: does not name the server, as an NVFlare client's kit does") from error


def expect_name(found: str, expected: str, where: str) -> None:
    """Raise WrongSite if a name is not the expected one."""
    if found != expected:
        error = WrongSite(f"{where}: found {found}, expected {expected}")
        error.add_note("NVFlare's site names are the partners' names in the plan; is this the kit of another site?")
        raise error


def _content(receiver: str, plan: str, nonce: str) -> str:
    """The text that is signed together with the signer's name."""
    return f"\n{_DOMAIN}\n{receiver}\n{plan}\n{nonce}"
