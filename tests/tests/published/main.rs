//! Compares the published contract, `docs/`, with the code in both directions.

mod calls;
mod commands;
mod messages;
mod page;
mod privacy;
mod schemas;
mod statements;
mod tables;
