"""Ed25519 signatures: whoever changes a signed file without this home's key is found out."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kobe.core.errors import IntegrityError
from kobe.infra import durable

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PRIVATE, PUBLIC = "models.key", "models.pub"


@dataclass(frozen=True)
class FileSigner:
    """Signs with a key kept in a folder only its owner may read; made at the first signature.

    The public half alone is enough to verify, so a machine that only trades needs no private key.
    """

    folder: Path

    def sign(self, content: bytes) -> str:
        """Return the signature of some bytes, 128 hex digits."""
        return self._key().sign(content).hex()

    def verify(self, content: bytes, signature: str) -> bool:
        """Say whether these bytes were signed with this home's key.

        Raises:
            IntegrityError: the public key is gone or is none.
        """
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        path = self.folder / PUBLIC
        try:
            key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(path.read_text("ascii")))
            key.verify(bytes.fromhex(signature), content)
        except InvalidSignature:
            return False
        except (OSError, ValueError) as error:
            raise IntegrityError(
                "a signature cannot be checked", seen=error, expected=f"the public key {path}",
                next_command="kobe train-meta",
            ) from error  # fmt: skip
        return True

    def _key(self) -> "Ed25519PrivateKey":
        """Return the private key, made on first use; a crash in between leaves a state this finishes."""
        from cryptography.hazmat.primitives.asymmetric import ed25519

        private, public = self.folder / PRIVATE, self.folder / PUBLIC
        if private.is_file():
            key = ed25519.Ed25519PrivateKey.from_private_bytes(bytes.fromhex(private.read_text("ascii")))
        elif public.is_file():
            raise IntegrityError(
                "this home's private key is gone, and what it signed must stay checkable", seen=public,
                expected=str(private), next_command=f"put {PRIVATE} back, or move {PUBLIC} and the models away",
            )  # fmt: skip
        else:
            durable.make_folder(self.folder)
            self.folder.chmod(0o700)
            key = ed25519.Ed25519PrivateKey.generate()
            durable.write_whole(private, key.private_bytes_raw().hex().encode())
            private.chmod(0o600)
        if not public.is_file():
            durable.write_whole(public, key.public_key().public_bytes_raw().hex().encode())
        return key
