-- Certificates that were read, which is no part of any history. A kid means one certificate for
-- ever, so what is here is never out of date; what is not here is read again.

CREATE TABLE certificates (
    org TEXT NOT NULL,  -- its id, or its URL where the id is not known
    kid TEXT NOT NULL,
    record TEXT NOT NULL,  -- JSON of a Certificate
    PRIMARY KEY (org, kid)
);
