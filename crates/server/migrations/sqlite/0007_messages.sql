-- A mailbox holds what its user received and sent, numbered together.
CREATE TABLE mailboxes (
    user_id     BLOB    NOT NULL PRIMARY KEY REFERENCES users,
    last_seq    INTEGER NOT NULL DEFAULT 0,
    undelivered INTEGER NOT NULL DEFAULT 0      -- received and not delivered
) STRICT, WITHOUT ROWID;

INSERT INTO mailboxes (user_id) SELECT user_id FROM users WHERE deleted_at_ms IS NULL;

-- One row for both mailboxes; to oneself both numbers are the same. Sender and recipient may be deleted: then it stays
-- for the other. Ids are UUIDs of version 7, and so in the order of time.
CREATE TABLE messages (
    message_id        BLOB    NOT NULL PRIMARY KEY,
    sender_id         BLOB    NOT NULL,
    sender_device_id  TEXT    NOT NULL,
    request_id        TEXT    NOT NULL,
    sender_seq        INTEGER NOT NULL,
    recipient_id      BLOB    NOT NULL,
    recipient_seq     INTEGER NOT NULL,
    encrypted_content BLOB    NOT NULL,
    created_at_ms     INTEGER NOT NULL,
    delivered_at_ms   INTEGER,
    read_at_ms        INTEGER,
    UNIQUE (sender_device_id, request_id)
) STRICT;

CREATE UNIQUE INDEX messages_by_sender ON messages (sender_id, sender_seq);
CREATE UNIQUE INDEX messages_by_recipient ON messages (recipient_id, recipient_seq);
CREATE INDEX messages_by_conversation ON messages (sender_id, recipient_id, sender_seq, recipient_seq);
CREATE INDEX messages_undelivered ON messages (recipient_id, recipient_seq, sender_id) WHERE delivered_at_ms IS NULL;
