-- When the login was that registered the device. Of older devices it is not known: a login by their keys is never recent.
ALTER TABLE devices ADD COLUMN auth_time_ms INTEGER NOT NULL DEFAULT 0;

-- The sign-in that put the second factor in force, and so has shown it.
ALTER TABLE totp ADD COLUMN confirmed_by BLOB;

-- A removed device keeps only its id.
UPDATE devices SET pubkey = NULL, name = NULL, signature = NULL, created_at_ms = 0, registered_at_ms = 0,
    last_seen_at_ms = NULL WHERE removed_at_ms IS NOT NULL;

-- A cancelled rotation brings this back too.
ALTER TABLE kept_devices ADD COLUMN last_seen_at_ms INTEGER;

-- Revocations of sign-ins and devices are kept up to a number for each user. Who learns of a 'trimmed' one knows that some
-- until that time were forgotten. SQLite cannot widen a CHECK in place.
CREATE TABLE wider_revocations (
    number    INTEGER NOT NULL PRIMARY KEY,
    kind      TEXT    NOT NULL CHECK (kind IN
        ('family', 'key_changed', 'device_removed', 'account_disabled', 'account_deleted', 'signed_out', 'trimmed')),
    user_id   BLOB    NOT NULL,
    family_id BLOB,
    device_id TEXT,
    until_ms  INTEGER,
    at_ms     INTEGER NOT NULL,
    CHECK ((kind = 'family') = (family_id IS NOT NULL)),
    CHECK ((kind = 'device_removed') = (device_id IS NOT NULL)),
    CHECK ((kind = 'trimmed') = (until_ms IS NOT NULL))
) STRICT;

INSERT INTO wider_revocations (number, kind, user_id, family_id, device_id, at_ms)
    SELECT number, kind, user_id, family_id, device_id, at_ms FROM revocations;

DROP TABLE revocations;

ALTER TABLE wider_revocations RENAME TO revocations;

CREATE INDEX revocations_by_time ON revocations (at_ms);
CREATE INDEX revocations_by_user ON revocations (user_id, number);
