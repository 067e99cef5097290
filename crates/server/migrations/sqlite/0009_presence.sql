-- When others last saw a user. No foreign key: whoever has a token may connect.
CREATE TABLE sightings (
    user_id BLOB    NOT NULL PRIMARY KEY,
    at_ms   INTEGER -- none for good, once the account is deleted
) STRICT, WITHOUT ROWID;

-- Between whom something has changed that decides who may reach whom, in the order in which it was committed.
CREATE TABLE standings (
    number  INTEGER NOT NULL PRIMARY KEY,
    user_id BLOB    NOT NULL,
    peer_id BLOB    NOT NULL,
    at_ms   INTEGER NOT NULL
) STRICT;

CREATE INDEX standings_by_time ON standings (at_ms);

-- One row: the number that was given last.
CREATE TABLE standing_counter (
    last INTEGER NOT NULL
) STRICT;

INSERT INTO standing_counter (last) VALUES (0);
