//! Compares the published contract, `docs/`, with the code in both directions.

mod calls;
mod commands;
mod messages;
mod page;
mod schemas;
mod statements;
mod tables;
