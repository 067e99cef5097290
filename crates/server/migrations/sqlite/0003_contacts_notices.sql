-- How a user stands towards another. A request leaves a row on both sides, and does so too where the other does not
-- exist, so that it costs and leaves the same: hence no foreign keys.
CREATE TABLE contacts (
    user_id           BLOB    NOT NULL,
    peer_id           BLOB    NOT NULL,
    decision          TEXT    CHECK (decision IN ('allowed', 'blocked')),
    decided_at_ms     INTEGER,
    asked_at_ms       INTEGER,                  -- the user asked, and got no answer yet
    asked_by_address  INTEGER NOT NULL,         -- then the user does not know whom
    was_asked_at_ms   INTEGER,                  -- the peer asked, and got no answer yet
    reached_out_at_ms INTEGER,                  -- the user asked or wrote, and did not block the peer since
    PRIMARY KEY (user_id, peer_id),
    CHECK ((decision IS NULL) = (decided_at_ms IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX contacts_by_peer ON contacts (peer_id);
CREATE INDEX contacts_that_asked ON contacts (user_id) WHERE was_asked_at_ms IS NOT NULL;

-- What waits for a device until it connects.
CREATE TABLE notices (
    device_id     TEXT    NOT NULL REFERENCES devices ON DELETE CASCADE,
    notice_id     BLOB    NOT NULL,
    kind          TEXT    NOT NULL CHECK (kind IN ('alert', 'contact_request')),
    body          TEXT    NOT NULL,             -- JSON
    created_at_ms INTEGER NOT NULL,
    PRIMARY KEY (device_id, notice_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX notices_by_age ON notices (created_at_ms);
