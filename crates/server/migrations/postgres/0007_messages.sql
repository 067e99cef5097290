-- A mailbox holds what its user received and sent, numbered together.
CREATE TABLE mailboxes (
    user_id     UUID   NOT NULL PRIMARY KEY REFERENCES users,
    last_seq    BIGINT NOT NULL DEFAULT 0,
    undelivered BIGINT NOT NULL DEFAULT 0       -- received and not delivered
) WITH (fillfactor = 50);                       -- counted up in place, over and over

INSERT INTO mailboxes (user_id) SELECT user_id FROM users WHERE deleted_at_ms IS NULL;

-- One row for both mailboxes; to oneself both numbers are the same. Sender and recipient may be deleted: then it stays
-- for the other. Ids are UUIDs of version 7, and so in the order of time.
CREATE TABLE messages (
    message_id        UUID   NOT NULL PRIMARY KEY,
    sender_id         UUID   NOT NULL,
    sender_device_id  TEXT   COLLATE "C" NOT NULL,
    request_id        TEXT   COLLATE "C" NOT NULL,
    sender_seq        BIGINT NOT NULL,
    recipient_id      UUID   NOT NULL,
    recipient_seq     BIGINT NOT NULL,
    encrypted_content BYTEA  NOT NULL,
    created_at_ms     BIGINT NOT NULL,
    delivered_at_ms   BIGINT,
    read_at_ms        BIGINT,
    UNIQUE (sender_device_id, request_id)
);

-- What clients encrypted does not shrink.
ALTER TABLE messages ALTER COLUMN encrypted_content SET STORAGE EXTERNAL;

CREATE UNIQUE INDEX messages_by_sender ON messages (sender_id, sender_seq);
CREATE UNIQUE INDEX messages_by_recipient ON messages (recipient_id, recipient_seq);
CREATE INDEX messages_by_conversation ON messages (sender_id, recipient_id, sender_seq, recipient_seq);
CREATE INDEX messages_undelivered ON messages (recipient_id, recipient_seq, sender_id) WHERE delivered_at_ms IS NULL;
