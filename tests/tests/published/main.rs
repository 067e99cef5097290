//! The published contract, `docs/`, held against the code in both directions.

mod calls;
mod messages;
mod page;
mod schemas;
mod statements;
mod tables;
