"""Ed25519 signatures: whoever changes a signed file without this home's key is found out."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from kobe.core.errors import IntegrityError
from kobe.infra import durable

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey


@dataclass(frozen=True)
class FileSigner:
    """Signs with a key kept in a folder only its owner may read; made at the first signature.

    The public half alone is enough to verify, so a machine that only trades needs no private key of the models.

    Attributes:
        folder: where the keys are kept.
        name: of the pair: `NAME.key` and `NAME.pub`.
    """

    folder: Path
    name: str = "models"

    @property
    def private(self) -> Path:
        """The file of the private key."""
        return self.folder / f"{self.name}.key"

    @property
    def public(self) -> Path:
        """The file of the public key."""
        return self.folder / f"{self.name}.pub"

    def sign(self, content: bytes) -> str:
        """Return the signature of some bytes, 128 hex digits."""
        return self._key().sign(content).hex()

    def verify(self, content: bytes, signature: str) -> bool:
        """Say whether these bytes were signed with this home's key.

        Raises:
            IntegrityError: the public key is gone or is none.
        """
        try:
            return signed_by(self.public_key(), content, signature)
        except ValueError as error:
            raise self._unusable(error) from error

    def public_key(self) -> str:
        """Return the public key, 64 hex digits.

        Raises:
            IntegrityError: it is gone or cannot be read.
        """
        try:
            return self.public.read_text("ascii")
        except (OSError, ValueError) as error:
            raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> IntegrityError:
        return IntegrityError(
            "a signature cannot be checked", seen=error, expected=f"the public key {self.public}",
            next_command="kobe train-meta" if self.name == "models" else f"put {self.public.name} back",
        )  # fmt: skip

    def _key(self) -> "Ed25519PrivateKey":
        """Return the private key, made on first use; a crash in between leaves a state this finishes."""
        from cryptography.hazmat.primitives.asymmetric import ed25519

        private, public = self.private, self.public
        if private.is_file():
            key = _private(private.read_text("ascii"))
        elif public.is_file():
            raise IntegrityError(
                "this home's private key is gone, and what it signed must stay checkable", seen=public,
                expected=str(private),
                next_command=f"put {private.name} back, or move {public.name} and what it signed away",
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


def signed_by(public_key: str, content: bytes, signature: str) -> bool:
    """Say whether these bytes were signed with the private half of a public key, 64 hex digits.

    Raises:
        ValueError: the key is none.
    """
    from cryptography.exceptions import InvalidSignature

    key = _public(public_key)
    try:
        key.verify(bytes.fromhex(signature), content)
    except (InvalidSignature, ValueError):
        return False
    return True


@lru_cache(maxsize=8)
def _private(private_key: str) -> "Ed25519PrivateKey":
    from cryptography.hazmat.primitives.asymmetric import ed25519

    return ed25519.Ed25519PrivateKey.from_private_bytes(bytes.fromhex(private_key))


@lru_cache(maxsize=8)
def _public(public_key: str) -> "Ed25519PublicKey":
    from cryptography.hazmat.primitives.asymmetric import ed25519

    return ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key))
