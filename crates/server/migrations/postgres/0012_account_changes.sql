-- The last change of each account that has one which is no revocation, so that every node forgets what it remembers of
-- the account. Numbered by revocation_counter, in the order in which it was committed.
CREATE TABLE account_changes (
    user_id UUID   NOT NULL PRIMARY KEY REFERENCES users,
    number  BIGINT NOT NULL
);

CREATE INDEX account_changes_by_number ON account_changes (number);
