"""The mint: it gives out kids, and the one certificate that each of them stands for."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from cryptography import x509

from orchestrator.errors import UsageError
from orchestrator.sandbox.certs import (
    BACKDATE,
    KEY_BITS,
    KEY_SIZES,
    SIGNATURE_HASHES,
    CertificateOrder,
    Material,
    base64url,
    sign_certificate,
    subject_of,
    years_later,
)

OLDEST_KEY_MS = 300 * 24 * 3600 * 1000  # seeded keys were generated within this time before now
DEFAULT_VALIDITY_YEARS = 10
EARLIEST = datetime(1970, 1, 2, tzinfo=UTC)  # a serial number is above 0


class Mint:
    """All certificates of one org. They are signed when somebody looks at them."""

    def __init__(self, *, seed: int, name: str, started_ms: int) -> None:
        self.seed = seed
        self.name = name
        self.started_ms = started_ms
        self.orders: dict[str, CertificateOrder] = {}
        self.materials: dict[str, Material] = {}
        self.generated = 0

    def derive_kid(self, purpose: str) -> str:
        """Return the kid for a purpose: 43 characters that follow from the seed alone."""
        return base64url(hashlib.sha256(f"{self.seed}:{self.name}:{purpose}".encode()).digest())

    def new_kid(self) -> str:
        """Return a kid that was not given out before."""
        while True:
            self.generated += 1
            kid = self.derive_kid(f"generated:{self.generated}")
            if kid not in self.orders and kid not in self.materials:
                return kid

    def seeded_birth_ms(self, text: str) -> int:
        """Return when a seeded key was generated: it follows from its kid."""
        digest = hashlib.sha256(f"{self.seed}:{text}".encode()).digest()
        return self.started_ms - 1 - int.from_bytes(digest[:8], "big") % OLDEST_KEY_MS

    def order_of(self, kid: str, validity_years: int = DEFAULT_VALIDITY_YEARS) -> CertificateOrder:
        """Return what determines the certificate of a kid, fixing it at the first call."""
        if kid not in self.orders:
            self.orders[kid] = self.okta_order(kid, self.seeded_birth_ms(kid), validity_years)
        return self.orders[kid]

    def okta_order(self, kid: str, born_ms: int, validity_years: int) -> CertificateOrder:
        """Return what Okta makes of a key generated at `born_ms`, in epoch milliseconds."""
        generated = datetime.fromtimestamp(born_ms // 1000, UTC)
        return CertificateOrder(
            kid=kid,
            subject=subject_of(self.name),
            serial=born_ms,
            not_before=generated - BACKDATE,
            not_after=years_later(generated, validity_years),
        )

    def order(
        self,
        kid: str,
        *,
        not_after: datetime,
        not_before: datetime | None = None,
        signature_hash: str = "sha256",
        key_bits: int = KEY_BITS,
        subject: x509.Name | None = None,
    ) -> None:
        """Say what the certificate of a kid is to be; without a start, it began ten years before.

        Raises:
            UsageError: somebody has seen the certificate already, or it cannot be made.
        """
        start = not_before or years_later(not_after, -DEFAULT_VALIDITY_YEARS)
        if kid in self.materials:
            raise UsageError(f"the certificate of {kid} is known already")
        if not EARLIEST <= start < not_after:
            raise UsageError(f"the certificate of {kid} cannot run from {start} to {not_after}")
        if signature_hash not in SIGNATURE_HASHES or key_bits not in KEY_SIZES:
            raise UsageError(
                f"the certificate of {kid} cannot be made: {signature_hash!a}, {key_bits} bits",
                hint=f"it can be with {', '.join(SIGNATURE_HASHES)}, "
                f"and {KEY_SIZES[0]} to {KEY_SIZES[-1]} bits",
            )
        self.orders[kid] = CertificateOrder(
            kid=kid,
            subject=subject or subject_of(self.name),
            serial=int(start.timestamp() * 1000) + len(self.orders) + 1,  # no two serials alike
            not_before=start,
            not_after=not_after,
            signature_hash=signature_hash,
            key_bits=key_bits,
        )

    def generate(self, validity_years: int, now: float) -> str:
        """Return the kid of a new key, generated at `now` (epoch seconds)."""
        kid = self.new_kid()
        born_ms = int(now * 1000) + self.generated  # no two serials alike
        self.orders[kid] = self.okta_order(kid, born_ms, validity_years)
        return kid

    def adopt(self, material: Material) -> str:
        """Return a new kid for a certificate that somebody else has signed."""
        kid = self.new_kid()
        self.materials[kid] = material
        return kid

    def material(self, kid: str) -> Material:
        """Return the certificate and public key of a kid, signed at the first call."""
        if kid not in self.materials:
            self.materials[kid] = sign_certificate(self.order_of(kid))
        return self.materials[kid]
