-- The statements of an identity's chain after its genesis, which is the row in `identities`.
CREATE TABLE chain_statements (
    user_id        BLOB    NOT NULL REFERENCES identities (user_id) ON DELETE CASCADE,
    sequence       INTEGER NOT NULL,
    kind           TEXT    NOT NULL CHECK (kind IN ('rotation', 'cancellation')),
    previous_hash  BLOB    NOT NULL,
    signer_key     BLOB    NOT NULL,            -- the old key, which signs either
    new_key        BLOB,
    target_hash    BLOB,
    reason         TEXT,
    created_at_ms  INTEGER NOT NULL,            -- as it was signed
    signature      BLOB    NOT NULL,
    signature_new  BLOB,
    accepted_at_ms INTEGER NOT NULL,
    PRIMARY KEY (user_id, sequence),
    CHECK ((kind = 'rotation') = (new_key IS NOT NULL)),
    CHECK ((kind = 'rotation') = (reason IS NOT NULL)),
    CHECK ((kind = 'rotation') = (signature_new IS NOT NULL)),
    CHECK ((kind = 'cancellation') = (target_hash IS NOT NULL))
) STRICT, WITHOUT ROWID;

CREATE TABLE identity_blobs (
    user_id      BLOB NOT NULL PRIMARY KEY REFERENCES identities (user_id) ON DELETE CASCADE,
    content      BLOB NOT NULL,
    content_hash BLOB NOT NULL
) STRICT;

-- Of accounts with and without an identity; without one nobody signs.
CREATE TABLE encryption_keys (
    user_id        BLOB    NOT NULL PRIMARY KEY REFERENCES users,
    encryption_key BLOB    NOT NULL,
    created_at_ms  INTEGER,                     -- as it was signed
    signature      BLOB
) STRICT, WITHOUT ROWID;

-- What a rotation's cancellation brings back: blob, encryption key and devices as they were when the identity's last
-- rotation was accepted.
CREATE TABLE kept_blobs (
    user_id      BLOB NOT NULL PRIMARY KEY REFERENCES identities (user_id) ON DELETE CASCADE,
    content      BLOB NOT NULL,
    content_hash BLOB NOT NULL
) STRICT;

CREATE TABLE kept_encryption_keys (
    user_id        BLOB    NOT NULL PRIMARY KEY REFERENCES identities (user_id) ON DELETE CASCADE,
    encryption_key BLOB    NOT NULL,
    created_at_ms  INTEGER,
    signature      BLOB
) STRICT, WITHOUT ROWID;

CREATE TABLE kept_devices (
    user_id          BLOB    NOT NULL REFERENCES identities (user_id) ON DELETE CASCADE,
    device_id        TEXT    NOT NULL REFERENCES devices,
    pubkey           BLOB,
    name             TEXT,
    created_at_ms    INTEGER NOT NULL,
    signature        BLOB,
    registered_at_ms INTEGER NOT NULL,
    PRIMARY KEY (user_id, device_id)
) STRICT, WITHOUT ROWID;
