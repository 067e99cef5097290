-- Alerts and requests have quotas of their own, and one notice of a kind and subject waits for a device.
ALTER TABLE notices DROP CONSTRAINT notices_kind_check;
ALTER TABLE notices ADD CONSTRAINT notices_kind_check CHECK (kind IN ('alert', 'contact_request', 'room_invite'));

ALTER TABLE notices ADD COLUMN subject TEXT;     -- who asks, or which room; of an alert: its body
ALTER TABLE notices ADD COLUMN of_chain BOOLEAN; -- an alert that no alert of another kind displaces

UPDATE notices SET
    subject = CASE kind WHEN 'contact_request' THEN body::json ->> 'user_id' ELSE body END,
    of_chain = kind = 'alert' AND body::json ->> 'kind' IN
        ('rotation_started', 'rotation_cancelled', 'rotation_final', 'identity_linked');

ALTER TABLE notices ALTER COLUMN subject SET NOT NULL;
ALTER TABLE notices ALTER COLUMN of_chain SET NOT NULL;
