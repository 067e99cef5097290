-- All times are Unix milliseconds. Ids of users and families are UUIDs of 16 bytes.

CREATE TABLE users (
    user_id        BLOB    NOT NULL PRIMARY KEY,
    email          TEXT    UNIQUE,              -- lower case
    password_hash  TEXT,
    created_at_ms  INTEGER NOT NULL,
    disabled_at_ms INTEGER,
    CHECK ((email IS NULL) = (password_hash IS NULL))
) STRICT, WITHOUT ROWID;

-- Every key ever shown as an identity's or a device's, for good, so that none can become somebody else's.
CREATE TABLE known_keys (
    public_key       BLOB    NOT NULL PRIMARY KEY,
    kind             TEXT    NOT NULL CHECK (kind IN ('identity', 'device')),
    user_id          BLOB    NOT NULL REFERENCES users,
    first_seen_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE identities (
    fingerprint   BLOB    NOT NULL PRIMARY KEY,
    user_id       BLOB    NOT NULL UNIQUE REFERENCES users,
    genesis_key   BLOB    NOT NULL UNIQUE,
    active_key    BLOB    NOT NULL UNIQUE,
    created_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A removed device keeps its row: its id is never given to another user.
CREATE TABLE devices (
    device_id        TEXT    NOT NULL PRIMARY KEY,
    user_id          BLOB    NOT NULL REFERENCES users,
    pubkey           BLOB,
    name             TEXT,
    created_at_ms    INTEGER NOT NULL,          -- as the signed statement says it
    signature        BLOB,
    registered_at_ms INTEGER NOT NULL,
    last_seen_at_ms  INTEGER,
    removed_at_ms    INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX devices_by_user ON devices (user_id);
CREATE INDEX devices_by_pubkey ON devices (pubkey) WHERE pubkey IS NOT NULL;

CREATE TABLE refresh_families (
    family_id     BLOB    NOT NULL PRIMARY KEY,
    user_id       BLOB    NOT NULL REFERENCES users,
    device_id     TEXT,
    created_at_ms INTEGER NOT NULL,
    auth_time_ms  INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL,
    revoked_at_ms INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX refresh_families_by_user ON refresh_families (user_id);
CREATE INDEX refresh_families_by_expiry ON refresh_families (expires_at_ms);

CREATE TABLE refresh_tokens (
    token_hash     BLOB NOT NULL PRIMARY KEY,
    family_id      BLOB NOT NULL REFERENCES refresh_families ON DELETE CASCADE,
    used_at_ms     INTEGER,
    successor_hash BLOB,
    CHECK ((used_at_ms IS NULL) = (successor_hash IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX refresh_tokens_by_family ON refresh_tokens (family_id);
CREATE INDEX refresh_tokens_by_use ON refresh_tokens (used_at_ms) WHERE used_at_ms IS NOT NULL;

CREATE TABLE used_challenges (
    challenge     BLOB    NOT NULL PRIMARY KEY,
    expires_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX used_challenges_by_expiry ON used_challenges (expires_at_ms);
