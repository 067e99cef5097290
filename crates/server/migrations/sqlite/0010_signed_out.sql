-- An operator ends every session of an account. SQLite cannot widen a CHECK in place.
CREATE TABLE wider_revocations (
    number    INTEGER NOT NULL PRIMARY KEY,
    kind      TEXT    NOT NULL CHECK (kind IN
        ('family', 'key_changed', 'device_removed', 'account_disabled', 'account_deleted', 'signed_out')),
    user_id   BLOB    NOT NULL,
    family_id BLOB,
    device_id TEXT,
    at_ms     INTEGER NOT NULL,
    CHECK ((kind = 'family') = (family_id IS NOT NULL)),
    CHECK ((kind = 'device_removed') = (device_id IS NOT NULL))
) STRICT;

INSERT INTO wider_revocations SELECT number, kind, user_id, family_id, device_id, at_ms FROM revocations;

DROP TABLE revocations;

ALTER TABLE wider_revocations RENAME TO revocations;

CREATE INDEX revocations_by_time ON revocations (at_ms);
