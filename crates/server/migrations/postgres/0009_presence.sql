-- When others last saw a user. No foreign key: whoever has a token may connect.
CREATE TABLE sightings (
    user_id UUID   NOT NULL PRIMARY KEY,
    at_ms   BIGINT -- none for good, once the account is deleted
);

-- Between whom something has changed that decides who may reach whom, in the order in which it was committed.
CREATE TABLE standings (
    number  BIGINT NOT NULL PRIMARY KEY,
    user_id UUID   NOT NULL,
    peer_id UUID   NOT NULL,
    at_ms   BIGINT NOT NULL
);

CREATE INDEX standings_by_time ON standings (at_ms);

-- One row: the number that was given last.
CREATE TABLE standing_counter (
    last BIGINT NOT NULL
);

INSERT INTO standing_counter (last) VALUES (0);
