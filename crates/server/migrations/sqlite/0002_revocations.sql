-- A deleted account keeps its row, empty: its device ids and keys are never given to somebody else.
ALTER TABLE users ADD COLUMN deleted_at_ms INTEGER;

CREATE INDEX refresh_families_by_device ON refresh_families (device_id) WHERE device_id IS NOT NULL;

-- What every node has to know, in the order in which it was committed.
CREATE TABLE revocations (
    number    INTEGER NOT NULL PRIMARY KEY,
    kind      TEXT    NOT NULL
        CHECK (kind IN ('family', 'key_changed', 'device_removed', 'account_disabled', 'account_deleted')),
    user_id   BLOB    NOT NULL,
    family_id BLOB,
    device_id TEXT,
    at_ms     INTEGER NOT NULL,
    CHECK ((kind = 'family') = (family_id IS NOT NULL)),
    CHECK ((kind = 'device_removed') = (device_id IS NOT NULL))
) STRICT;

CREATE INDEX revocations_by_time ON revocations (at_ms);

-- One row: the number that was given last.
CREATE TABLE revocation_counter (
    last INTEGER NOT NULL
) STRICT;

INSERT INTO revocation_counter (last) VALUES (0);
