-- When the login was that registered the device. Of older devices it is not known: a login by their keys is never recent.
ALTER TABLE devices ADD COLUMN auth_time_ms BIGINT NOT NULL DEFAULT 0;

-- The sign-in that put the second factor in force, and so has shown it.
ALTER TABLE totp ADD COLUMN confirmed_by UUID;

-- A removed device keeps only its id.
UPDATE devices SET pubkey = NULL, name = NULL, signature = NULL, created_at_ms = 0, registered_at_ms = 0,
    last_seen_at_ms = NULL WHERE removed_at_ms IS NOT NULL;

-- A cancelled rotation brings this back too.
ALTER TABLE kept_devices ADD COLUMN last_seen_at_ms BIGINT;

-- Revocations of sign-ins and devices are kept up to a number for each user. Who learns of a 'trimmed' one knows that some
-- until that time were forgotten.
ALTER TABLE revocations
    ADD COLUMN until_ms BIGINT,
    DROP CONSTRAINT revocations_kind_check,
    ADD CONSTRAINT revocations_kind_check CHECK (kind IN
        ('family', 'key_changed', 'device_removed', 'account_disabled', 'account_deleted', 'signed_out', 'trimmed')),
    ADD CONSTRAINT revocations_until_check CHECK ((kind = 'trimmed') = (until_ms IS NOT NULL));

CREATE INDEX revocations_by_user ON revocations (user_id, number);
