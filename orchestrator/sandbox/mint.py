"""The mint: it gives out kids, and the one certificate that each of them stands for."""

from __future__ import annotations

import hashlib

from orchestrator.sandbox.certs import CertificateOrder, Material, base64url, sign_certificate

OLDEST_KEY_MS = 300 * 24 * 3600 * 1000  # seeded keys were generated within this time before now
DEFAULT_VALIDITY_YEARS = 10


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
        self.generated += 1
        return self.derive_kid(f"generated:{self.generated}")

    def seeded_birth_ms(self, text: str) -> int:
        """Return when a seeded key was generated: it follows from its kid."""
        digest = hashlib.sha256(f"{self.seed}:{text}".encode()).digest()
        return self.started_ms - 1 - int.from_bytes(digest[:8], "big") % OLDEST_KEY_MS

    def order_of(self, kid: str, validity_years: int = DEFAULT_VALIDITY_YEARS) -> CertificateOrder:
        """Return what determines the certificate of a kid, fixing it at the first call."""
        if kid not in self.orders:
            self.orders[kid] = CertificateOrder(
                kid=kid,
                org_name=self.name,
                born_ms=self.seeded_birth_ms(kid),
                validity_years=validity_years,
            )
        return self.orders[kid]

    def generate(self, validity_years: int, now: float) -> str:
        """Return the kid of a new key, generated at `now` (epoch seconds)."""
        kid = self.new_kid()
        self.orders[kid] = CertificateOrder(
            kid=kid,
            org_name=self.name,
            born_ms=int(now * 1000) + self.generated,  # no two serials alike
            validity_years=validity_years,
        )
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
