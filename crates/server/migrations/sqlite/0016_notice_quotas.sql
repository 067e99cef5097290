-- Alerts and requests have quotas of their own, and one notice of a kind and subject waits for a device. SQLite cannot
-- widen a CHECK in place.
CREATE TABLE notices_with_subject (
    device_id     TEXT    NOT NULL REFERENCES devices ON DELETE CASCADE,
    notice_id     BLOB    NOT NULL,
    kind          TEXT    NOT NULL CHECK (kind IN ('alert', 'contact_request', 'room_invite')),
    subject       TEXT    NOT NULL,             -- who asks, or which room; of an alert: its body
    of_chain      INTEGER NOT NULL,             -- an alert that no alert of another kind displaces
    body          TEXT    NOT NULL,             -- JSON
    created_at_ms INTEGER NOT NULL,
    PRIMARY KEY (device_id, notice_id)
) STRICT, WITHOUT ROWID;

INSERT INTO notices_with_subject (device_id, notice_id, kind, subject, of_chain, body, created_at_ms)
SELECT device_id, notice_id, kind,
    CASE kind WHEN 'contact_request' THEN body ->> 'user_id' ELSE body END,
    kind = 'alert' AND body ->> 'kind' IN
        ('rotation_started', 'rotation_cancelled', 'rotation_final', 'identity_linked'),
    body, created_at_ms
FROM notices;

DROP TABLE notices;

ALTER TABLE notices_with_subject RENAME TO notices;

CREATE INDEX notices_by_age ON notices (created_at_ms);
