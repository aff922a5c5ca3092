"""The certificate signing requests of a run that wait for a CA."""

from __future__ import annotations

import ssl
from base64 import b64decode
from dataclasses import dataclass
from pathlib import Path

from orchestrator.engine.gates import Gating, Wait
from orchestrator.engine.keys import CSR_CREATED, certificate_for
from orchestrator.model import KeyKind
from orchestrator.report.document import stem_of
from orchestrator.store.base import Archive, JobRecord, RunRecord
from orchestrator.writing import write_pieces


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRequest:
    """A job that waits for the certificate of its request."""

    job: JobRecord
    csr_id: str
    csr: str  # base64 of the DER

    @property
    def der(self) -> bytes:
        return b64decode(self.csr)


def open_requests(archive: Archive, run_id: str) -> list[OpenRequest]:
    """Return the requests of a run whose certificates are not published."""
    made = {event.body.get("job"): event.body for event in archive.events(run_id, kind=CSR_CREATED)}
    return [
        OpenRequest(
            job=job,
            csr_id=str(made[job.position].get("id")),
            csr=str(made[job.position].get("csr")),
        )
        for job in archive.jobs(run_id)
        if job.wanted.kind is KeyKind.CSR and not job.key.is_known and job.position in made
    ]


def requests_awaited(archive: Archive, run_id: str) -> dict[str, Wait]:
    """Return what the jobs wait for whose certificates are still to be signed, by their name."""
    return {
        request.job.name: Wait(gating=Gating.KEY, detail=certificate_for(request.csr_id))
        for request in open_requests(archive, run_id)
    }


def write_requests(archive: Archive, record: RunRecord, folder: Path) -> list[Path]:
    """Write the open requests of a run as PEM, for the CA, and return the paths.

    Raises:
        ReportError: the folder or a file cannot be written.
    """
    stem = stem_of(record.plan, record.run_id)
    return [
        write_pieces(
            folder / f"{stem}-{request.job.name}.csr.pem",
            (pem_of_request(request.der),),
        )
        for request in open_requests(archive, record.run_id)
    ]


def pem_of_request(der: bytes) -> str:
    """Return a request as PEM (RFC 7468 section 7)."""
    text = ssl.DER_cert_to_PEM_cert(der)
    return text.replace(" CERTIFICATE-", " CERTIFICATE REQUEST-")
