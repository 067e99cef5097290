-- A room. One whose owner's account is deleted loses its name at once; the sweep takes what was said in it.
CREATE TABLE rooms (
    room_id       UUID   NOT NULL PRIMARY KEY,
    name          TEXT   COLLATE "C" UNIQUE,
    owner_id      UUID   NOT NULL REFERENCES users,
    visibility    TEXT   NOT NULL CHECK (visibility IN ('public', 'private')),
    state_writers TEXT   NOT NULL CHECK (state_writers IN ('owner', 'members')),
    created_at_ms BIGINT NOT NULL,
    first_seq     BIGINT NOT NULL DEFAULT 1,    -- of the oldest message kept, or of the next where none is
    last_seq      BIGINT NOT NULL DEFAULT 0,    -- given last
    last_at_ms    BIGINT NOT NULL DEFAULT 0     -- when it was given; times in a room do not go back
) WITH (fillfactor = 70);

CREATE INDEX rooms_by_owner ON rooms (owner_id);
CREATE INDEX rooms_without_name ON rooms (room_id) WHERE name IS NULL;

-- Who was put in a room, its owner among them, or removed from a public one.
CREATE TABLE room_members (
    room_id     UUID    NOT NULL REFERENCES rooms ON DELETE CASCADE,
    user_id     UUID    NOT NULL REFERENCES users,
    removed     BOOLEAN NOT NULL,
    added_at_ms BIGINT  NOT NULL,               -- or removed
    PRIMARY KEY (room_id, user_id)
);

CREATE INDEX room_members_by_user ON room_members (user_id);

-- Apart from the room, whose row is written with every message.
CREATE TABLE room_states (
    room_id  UUID   NOT NULL PRIMARY KEY REFERENCES rooms ON DELETE CASCADE,
    revision BIGINT NOT NULL,
    state    TEXT   NOT NULL                    -- JSON
);

-- No foreign keys: to check them costs more than to insert, and rooms go only after their messages.
CREATE TABLE chat_messages (
    room_id            UUID   NOT NULL,
    seq                BIGINT NOT NULL,
    request_id         TEXT   COLLATE "C",
    sender_device_id   TEXT   COLLATE "C" NOT NULL,
    sender_user_id     UUID   NOT NULL,
    sender_fingerprint BYTEA,
    payload            BYTEA  NOT NULL,         -- as it came
    created_at_ms      BIGINT NOT NULL,
    PRIMARY KEY (room_id, seq)
);

CREATE UNIQUE INDEX chat_messages_by_request ON chat_messages (room_id, sender_device_id, request_id)
    WHERE request_id IS NOT NULL;
