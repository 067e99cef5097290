-- Rotations whose window has ended uncancelled, which the devices of their user were told, or have it waiting for them.
CREATE TABLE told_rotation_ends (
    user_id  UUID   NOT NULL,
    sequence BIGINT NOT NULL,
    PRIMARY KEY (user_id, sequence),
    FOREIGN KEY (user_id, sequence) REFERENCES chain_statements ON DELETE CASCADE
);

CREATE INDEX rotations_by_acceptance ON chain_statements (accepted_at_ms) WHERE kind = 'rotation';
