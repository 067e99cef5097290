//! Nothing lost over a broken connection (docs/protocol/resume.md).

mod doors;
mod ends;
mod replay;
mod steps;
