-- The second factor of an account, in force from its confirmation on.
CREATE TABLE totp (
    user_id         BLOB    NOT NULL PRIMARY KEY REFERENCES users,
    sealed_secret   BLOB    NOT NULL,
    confirmed_at_ms INTEGER,
    last_step       INTEGER NOT NULL DEFAULT -1 -- of the newest code that was used
) STRICT, WITHOUT ROWID;

-- A code that was used is gone.
CREATE TABLE recovery_codes (
    user_id   BLOB NOT NULL REFERENCES totp ON DELETE CASCADE,
    code_hash BLOB NOT NULL,
    PRIMARY KEY (user_id, code_hash)
) STRICT, WITHOUT ROWID;

-- Wrong codes of either kind. They outlive the factor, so that enrolling anew is no way around the lock.
CREATE TABLE second_factor_failures (
    failure_id   BLOB    NOT NULL PRIMARY KEY,
    user_id      BLOB    NOT NULL REFERENCES users,
    failed_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX second_factor_failures_by_user ON second_factor_failures (user_id, failed_at_ms);
CREATE INDEX second_factor_failures_by_time ON second_factor_failures (failed_at_ms);
