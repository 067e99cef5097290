-- What an operator asks of every running node, in the order in which it was committed: to close the sessions of a device, or
-- to empty a room that was removed. Numbered by revocation_counter.
CREATE TABLE orders (
    number  BIGINT NOT NULL PRIMARY KEY,
    kind    TEXT    NOT NULL CHECK (kind IN ('close_device', 'end_room')),
    subject TEXT    NOT NULL,                   -- the device, or the name of the room
    at_ms   BIGINT NOT NULL
);

CREATE INDEX orders_by_time ON orders (at_ms);
