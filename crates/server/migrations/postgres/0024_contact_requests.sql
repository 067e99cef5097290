-- A request takes a place by what its user typed, whatever stands behind it, so that nothing tells whose an address is.
-- No foreign keys: the peer may not exist.
CREATE TABLE contact_requests (
    user_id     UUID    NOT NULL,               -- who asks
    typed       BYTEA   NOT NULL,               -- a hash of the id, fingerprint or address
    peer_id     UUID    NOT NULL,               -- who is asked
    by_address  BOOLEAN NOT NULL,               -- then the user does not know whom
    asked_at_ms BIGINT  NOT NULL,
    PRIMARY KEY (user_id, typed)
);

CREATE INDEX contact_requests_by_pair ON contact_requests (user_id, peer_id);
CREATE INDEX contact_requests_by_age ON contact_requests (asked_at_ms);

ALTER TABLE contacts ADD COLUMN asked_by_address_at_ms BIGINT;  -- as asked_at_ms, of a request by address
ALTER TABLE contacts ADD COLUMN answered_at_ms BIGINT;          -- the user once allowed the peer
ALTER TABLE contacts ADD COLUMN peer_label TEXT;                -- what the peer called themselves when they asked

UPDATE contacts SET asked_by_address_at_ms = asked_at_ms, asked_at_ms = NULL WHERE asked_by_address;
UPDATE contacts SET answered_at_ms = decided_at_ms WHERE decision = 'allowed';

ALTER TABLE contacts DROP COLUMN asked_by_address;

DROP INDEX contacts_that_asked;
CREATE INDEX contacts_that_asked ON contacts (user_id, was_asked_at_ms) WHERE was_asked_at_ms IS NOT NULL;
CREATE INDEX contacts_by_request_age ON contacts (was_asked_at_ms) WHERE was_asked_at_ms IS NOT NULL;
CREATE INDEX contacts_by_asked_age ON contacts (asked_at_ms) WHERE asked_at_ms IS NOT NULL;
CREATE INDEX contacts_by_address_age ON contacts (asked_by_address_at_ms) WHERE asked_by_address_at_ms IS NOT NULL;

-- Receipts that the sender does not see: one of the two had blocked the other when they were given.
ALTER TABLE messages ADD COLUMN delivered_masked BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE messages ADD COLUMN read_masked BOOLEAN NOT NULL DEFAULT FALSE;

UPDATE messages SET delivered_masked = COALESCE(delivered_at_ms > blocks.at_ms, FALSE),
    read_masked = COALESCE(read_at_ms > blocks.at_ms, FALSE)
FROM (SELECT one, other, MIN(at_ms) AS at_ms FROM
        (SELECT user_id AS one, peer_id AS other, decided_at_ms AS at_ms FROM contacts WHERE decision = 'blocked'
        UNION ALL SELECT peer_id, user_id, decided_at_ms FROM contacts WHERE decision = 'blocked') AS both_ways
    GROUP BY one, other) AS blocks
WHERE recipient_id = blocks.one AND sender_id = blocks.other
    AND (delivered_at_ms > blocks.at_ms OR read_at_ms > blocks.at_ms);
