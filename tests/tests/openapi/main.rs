//! The description of the HTTP API, and the page that shows it (http.md, first paragraph).

mod answers;
mod description;
mod document;
mod page;
mod texts;
