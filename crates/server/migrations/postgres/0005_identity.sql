-- The statements of an identity's chain after its genesis, which is the row in `identities`.
CREATE TABLE chain_statements (
    user_id        UUID   NOT NULL REFERENCES identities (user_id) ON DELETE CASCADE,
    sequence       BIGINT NOT NULL,
    kind           TEXT   NOT NULL CHECK (kind IN ('rotation', 'cancellation')),
    previous_hash  BYTEA  NOT NULL,
    signer_key     BYTEA  NOT NULL,            -- the old key, which signs either
    new_key        BYTEA,
    target_hash    BYTEA,
    reason         TEXT,
    created_at_ms  BIGINT NOT NULL,            -- as it was signed
    signature      BYTEA  NOT NULL,
    signature_new  BYTEA,
    accepted_at_ms BIGINT NOT NULL,
    PRIMARY KEY (user_id, sequence),
    CHECK ((kind = 'rotation') = (new_key IS NOT NULL)),
    CHECK ((kind = 'rotation') = (reason IS NOT NULL)),
    CHECK ((kind = 'rotation') = (signature_new IS NOT NULL)),
    CHECK ((kind = 'cancellation') = (target_hash IS NOT NULL))
);

CREATE TABLE identity_blobs (
    user_id      UUID  NOT NULL PRIMARY KEY REFERENCES identities (user_id) ON DELETE CASCADE,
    content      BYTEA NOT NULL,
    content_hash BYTEA NOT NULL
);

-- Of accounts with and without an identity; without one nobody signs.
CREATE TABLE encryption_keys (
    user_id        UUID   NOT NULL PRIMARY KEY REFERENCES users,
    encryption_key BYTEA  NOT NULL,
    created_at_ms  BIGINT,                     -- as it was signed
    signature      BYTEA
);

-- What a rotation's cancellation brings back: blob, encryption key and devices as they were when the identity's last
-- rotation was accepted.
CREATE TABLE kept_blobs (
    user_id      UUID  NOT NULL PRIMARY KEY REFERENCES identities (user_id) ON DELETE CASCADE,
    content      BYTEA NOT NULL,
    content_hash BYTEA NOT NULL
);

CREATE TABLE kept_encryption_keys (
    user_id        UUID   NOT NULL PRIMARY KEY REFERENCES identities (user_id) ON DELETE CASCADE,
    encryption_key BYTEA  NOT NULL,
    created_at_ms  BIGINT,
    signature      BYTEA
);

CREATE TABLE kept_devices (
    user_id          UUID   NOT NULL REFERENCES identities (user_id) ON DELETE CASCADE,
    device_id        TEXT   COLLATE "C" NOT NULL REFERENCES devices,
    pubkey           BYTEA,
    name             TEXT,
    created_at_ms    BIGINT NOT NULL,
    signature        BYTEA,
    registered_at_ms BIGINT NOT NULL,
    PRIMARY KEY (user_id, device_id)
);
