-- How a user stands towards another. A request leaves a row on both sides, and does so too where the other does not
-- exist, so that it costs and leaves the same: hence no foreign keys.
CREATE TABLE contacts (
    user_id           UUID    NOT NULL,
    peer_id           UUID    NOT NULL,
    decision          TEXT    CHECK (decision IN ('allowed', 'blocked')),
    decided_at_ms     BIGINT,
    asked_at_ms       BIGINT,                   -- the user asked, and got no answer yet
    asked_by_address  BOOLEAN NOT NULL,         -- then the user does not know whom
    was_asked_at_ms   BIGINT,                   -- the peer asked, and got no answer yet
    reached_out_at_ms BIGINT,                   -- the user asked or wrote, and did not block the peer since
    PRIMARY KEY (user_id, peer_id),
    CHECK ((decision IS NULL) = (decided_at_ms IS NULL))
);

CREATE INDEX contacts_by_peer ON contacts (peer_id);
CREATE INDEX contacts_that_asked ON contacts (user_id) WHERE was_asked_at_ms IS NOT NULL;

-- What waits for a device until it connects.
CREATE TABLE notices (
    device_id     TEXT   COLLATE "C" NOT NULL REFERENCES devices ON DELETE CASCADE,
    notice_id     UUID   NOT NULL,
    kind          TEXT   NOT NULL CHECK (kind IN ('alert', 'contact_request')),
    body          TEXT   NOT NULL,              -- JSON
    created_at_ms BIGINT NOT NULL,
    PRIMARY KEY (device_id, notice_id)
);

CREATE INDEX notices_by_age ON notices (created_at_ms);
