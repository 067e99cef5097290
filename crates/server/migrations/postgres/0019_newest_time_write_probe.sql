-- One row: the newest time at which the server has worked. What has expired by a clock far beyond it is not deleted at once.
CREATE TABLE newest_time (
    id    SMALLINT NOT NULL PRIMARY KEY CHECK (id = 1),
    at_ms BIGINT   NOT NULL
);

INSERT INTO newest_time (id, at_ms)
    SELECT 1, MAX(at_ms) FROM (
        SELECT MAX(created_at_ms) AS at_ms FROM users
        UNION ALL SELECT MAX(last_seen_at_ms) FROM devices
        UNION ALL SELECT MAX(created_at_ms) FROM refresh_families
        UNION ALL SELECT MAX(at_ms) FROM revocations
        UNION ALL SELECT MAX(last_at_ms) FROM rooms
        UNION ALL SELECT MAX(at_ms) FROM sightings
    ) AS times WHERE at_ms > 0 GROUP BY 1;

-- One row, written again to learn whether the database takes writes.
CREATE TABLE write_probe (
    id      SMALLINT NOT NULL PRIMARY KEY CHECK (id = 1),
    content BYTEA    NOT NULL
);
