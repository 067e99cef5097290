-- A user in the list of a private room is a member only once they have joined it; until then they are invited. 'ignored'
-- is a user who takes no invitation from the owner: the owner sees a member, the user sees nothing. Members of before
-- count as joined.
ALTER TABLE room_members ADD COLUMN standing TEXT NOT NULL DEFAULT 'invited'
    CHECK (standing IN ('invited', 'ignored', 'joined', 'removed'));

UPDATE room_members SET standing = CASE WHEN removed THEN 'removed' ELSE 'joined' END;

ALTER TABLE room_members DROP COLUMN removed;

CREATE INDEX room_members_waiting ON room_members (room_id) WHERE standing IN ('invited', 'ignored');

-- Whose rooms a user does not want to be put in, for 30 days.
CREATE TABLE room_refusals (
    user_id       BLOB    NOT NULL,
    owner_id      BLOB    NOT NULL,
    room_id       BLOB    NOT NULL,              -- the room that the user left; all zeros: every room of the owner
    refused_at_ms INTEGER NOT NULL,
    PRIMARY KEY (user_id, owner_id, room_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX room_refusals_by_owner ON room_refusals (owner_id);
CREATE INDEX room_refusals_by_age ON room_refusals (refused_at_ms);
