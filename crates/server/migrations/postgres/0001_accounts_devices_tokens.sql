-- All times are Unix milliseconds. Device ids sort by their bytes.

CREATE TABLE users (
    user_id        UUID   NOT NULL PRIMARY KEY,
    email          TEXT   UNIQUE,              -- lower case
    password_hash  TEXT,
    created_at_ms  BIGINT NOT NULL,
    disabled_at_ms BIGINT,
    CHECK ((email IS NULL) = (password_hash IS NULL))
);

-- Every key ever shown as an identity's or a device's, for good, so that none can become somebody else's.
CREATE TABLE known_keys (
    public_key       BYTEA  NOT NULL PRIMARY KEY,
    kind             TEXT   NOT NULL CHECK (kind IN ('identity', 'device')),
    user_id          UUID   NOT NULL REFERENCES users,
    first_seen_at_ms BIGINT NOT NULL
);

CREATE TABLE identities (
    fingerprint   BYTEA  NOT NULL PRIMARY KEY,
    user_id       UUID   NOT NULL UNIQUE REFERENCES users,
    genesis_key   BYTEA  NOT NULL UNIQUE,
    active_key    BYTEA  NOT NULL UNIQUE,
    created_at_ms BIGINT NOT NULL
);

-- A removed device keeps its row: its id is never given to another user.
CREATE TABLE devices (
    device_id        TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    user_id          UUID   NOT NULL REFERENCES users,
    pubkey           BYTEA,
    name             TEXT,
    created_at_ms    BIGINT NOT NULL,          -- as the signed statement says it
    signature        BYTEA,
    registered_at_ms BIGINT NOT NULL,
    last_seen_at_ms  BIGINT,
    removed_at_ms    BIGINT
);

CREATE INDEX devices_by_user ON devices (user_id);
CREATE INDEX devices_by_pubkey ON devices (pubkey) WHERE pubkey IS NOT NULL;

CREATE TABLE refresh_families (
    family_id     UUID   NOT NULL PRIMARY KEY,
    user_id       UUID   NOT NULL REFERENCES users,
    device_id     TEXT   COLLATE "C",
    created_at_ms BIGINT NOT NULL,
    auth_time_ms  BIGINT NOT NULL,
    expires_at_ms BIGINT NOT NULL,
    revoked_at_ms BIGINT
);

CREATE INDEX refresh_families_by_user ON refresh_families (user_id);
CREATE INDEX refresh_families_by_expiry ON refresh_families (expires_at_ms);

CREATE TABLE refresh_tokens (
    token_hash     BYTEA NOT NULL PRIMARY KEY,
    family_id      UUID  NOT NULL REFERENCES refresh_families ON DELETE CASCADE,
    used_at_ms     BIGINT,
    successor_hash BYTEA,
    CHECK ((used_at_ms IS NULL) = (successor_hash IS NULL))
);

CREATE INDEX refresh_tokens_by_family ON refresh_tokens (family_id);
CREATE INDEX refresh_tokens_by_use ON refresh_tokens (used_at_ms) WHERE used_at_ms IS NOT NULL;

CREATE TABLE used_challenges (
    challenge     BYTEA  NOT NULL PRIMARY KEY,
    expires_at_ms BIGINT NOT NULL
);

CREATE INDEX used_challenges_by_expiry ON used_challenges (expires_at_ms);
