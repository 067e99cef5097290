//! The description of the HTTP API, and the page that shows it (docs/http.md).

mod answers;
mod description;
mod document;
mod page;
mod texts;
