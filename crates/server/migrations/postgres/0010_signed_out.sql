-- An operator ends every session of an account.
ALTER TABLE revocations
    DROP CONSTRAINT revocations_kind_check,
    ADD CONSTRAINT revocations_kind_check CHECK (kind IN
        ('family', 'key_changed', 'device_removed', 'account_disabled', 'account_deleted', 'signed_out'));
