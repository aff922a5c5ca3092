"""Remember the certificates of an org, so that each is read from it once."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from orchestrator.errors import StateError
from orchestrator.model import Certificate, Kid
from orchestrator.store.codec import dump, is_storable, load
from orchestrator.store.database import QUERIES, Database
from orchestrator.store.records import text

log = logging.getLogger(__name__)


class SqliteCertificateBook:
    """The `CertificateBook` of one org in a SQLite database.

    It only spares calls: what is damaged, or cannot be written, is as if it had never been read.
    """

    def __init__(self, writer: Database, reader: Database, org: str) -> None:
        self.writer = writer
        self.reader = reader
        self.org = org

    def get(self, kid: Kid) -> Certificate | None:
        if not is_storable(self.org + kid):
            return None
        try:
            rows = self.reader.read("find_certificate", (self.org, kid))
            return load(text(rows[0][0]), Certificate) if rows else None
        except StateError as error:
            log.debug("the certificate of %a is not remembered: %s", kid, error)
            return None

    def keep(self, certificates: Mapping[Kid, Certificate]) -> None:
        """As the protocol says. May wait long for another writer: call it in a thread."""
        values = [
            (self.org, kid, dump(certificate))
            for kid, certificate in certificates.items()
            if is_storable(self.org + kid)
        ]
        if not values:
            return
        try:
            with self.writer.transaction() as connection:
                connection.executemany(QUERIES["keep_certificate"], values)
        except StateError as error:
            log.debug("%d certificates cannot be remembered: %s", len(values), error)
