//! Rooms: joining and leaving, chat, history, administration (docs/protocol/messages.md; docs/http.md, rooms).

mod doors;
mod entering;
mod history;
mod invitations;
mod limits;
mod making;
mod reach;
mod removal;
mod state;
mod steps;
mod talking;
