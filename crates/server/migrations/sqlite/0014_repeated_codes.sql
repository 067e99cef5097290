-- The recovery code that was accepted last, so that the same code shown again at once is no failure.
ALTER TABLE totp ADD COLUMN last_recovery_hash BLOB;
ALTER TABLE totp ADD COLUMN last_recovery_at_ms INTEGER;
