-- A deleted account keeps its row, empty: its device ids and keys are never given to somebody else.
ALTER TABLE users ADD COLUMN deleted_at_ms BIGINT;

CREATE INDEX refresh_families_by_device ON refresh_families (device_id) WHERE device_id IS NOT NULL;

-- What every node has to know, in the order in which it was committed.
CREATE TABLE revocations (
    number    BIGINT NOT NULL PRIMARY KEY,
    kind      TEXT   NOT NULL
        CHECK (kind IN ('family', 'key_changed', 'device_removed', 'account_disabled', 'account_deleted')),
    user_id   UUID   NOT NULL,
    family_id UUID,
    device_id TEXT   COLLATE "C",
    at_ms     BIGINT NOT NULL,
    CHECK ((kind = 'family') = (family_id IS NOT NULL)),
    CHECK ((kind = 'device_removed') = (device_id IS NOT NULL))
);

CREATE INDEX revocations_by_time ON revocations (at_ms);

-- One row: the number that was given last.
CREATE TABLE revocation_counter (
    last BIGINT NOT NULL
);

INSERT INTO revocation_counter (last) VALUES (0);
