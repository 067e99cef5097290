//! `aldis rooms list`, `aldis rooms show` and `aldis rooms remove`.

use aldis_protocol::{RoomId, Timestamp};
use serde::Serialize;

use super::{CommandError, print, print_json, with_store};
use crate::{clock::unix_ms_i64, config::Config, store::RoomSummary};

/// How many rooms one query reads.
const PAGE: i64 = 500;
const HEADER: &str = "room\towner\tvisibility\tmembers\tinvited\tmessages\tlast_message_at\tcreated_at\n";

/// A room as it is printed.
#[derive(Serialize)]
struct Room {
    room: String,
    owner: String,
    visibility: String,
    members: i64,
    invited: i64,
    messages: i64,
    last_message_at: Option<String>,
    created_at: String,
}

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    room: Room,
    users: Vec<Standing>,
}

#[derive(Serialize)]
struct Standing {
    user: String,
    standing: String,
}

#[derive(Serialize)]
struct Removed<'a> {
    room: &'a str,
    removed: bool,
}

impl From<&RoomSummary> for Room {
    fn from(room: &RoomSummary) -> Self {
        let time = |ms| Timestamp::from_ms(ms).to_string();
        Self {
            room: room.name.clone(),
            owner: room.owner().to_string(),
            visibility: room.visibility.clone(),
            members: room.members,
            invited: room.invited,
            messages: room.messages,
            last_message_at: (room.last_at_ms > 0).then(|| time(room.last_at_ms)),
            created_at: time(room.created_at_ms),
        }
    }
}

impl Room {
    fn line(&self) -> String {
        let Self { room, owner, visibility, members, invited, messages, last_message_at, created_at } = self;
        let last = last_message_at.as_deref().unwrap_or("-");
        format!("{room}\t{owner}\t{visibility}\t{members}\t{invited}\t{messages}\t{last}\t{created_at}\n")
    }
}

/// Prints the stored rooms, in the order of their names.
pub(super) async fn list(config: &Config, json: bool) -> Result<(), CommandError> {
    let rooms = with_store(config, async |store| {
        let (mut rooms, mut last) = (Vec::new(), String::new());
        loop {
            let page = store.rooms_after(&last, PAGE).await?;
            let Some(end) = page.last() else { return Ok(rooms) };
            last.clone_from(&end.name);
            rooms.extend(page.iter().map(Room::from));
        }
    });
    let rooms: Vec<Room> = rooms.await?;
    if json {
        print_json(&rooms);
    } else {
        print(HEADER);
        print(&rooms.iter().map(Room::line).collect::<String>());
    }
    Ok(())
}

/// Prints a room and its users.
pub(super) async fn show(config: &Config, room: &RoomId, json: bool) -> Result<(), CommandError> {
    let found = with_store(config, async |store| {
        let Some(summary) = store.room_summary(room).await? else { return Ok(None) };
        Ok(Some((summary, store.room_standings(room).await?)))
    });
    let (summary, users) = found.await?.ok_or(CommandError::NoRoom)?;
    let users = users.into_iter().map(|(user, standing)| Standing { user: user.to_string(), standing });
    let shown = Shown { room: Room::from(&summary), users: users.collect() };
    if json {
        print_json(&shown);
        return Ok(());
    }
    print(HEADER);
    print(&shown.room.line());
    print("\nuser\tstanding\n");
    print(&shown.users.iter().map(|user| format!("{}\t{}\n", user.user, user.standing)).collect::<String>());
    Ok(())
}

/// Removes a room; running servers empty it.
pub(super) async fn remove(config: &Config, room: &RoomId, json: bool) -> Result<(), CommandError> {
    if !with_store(config, async |store| store.remove_room(room, unix_ms_i64()).await).await? {
        return Err(CommandError::NoRoom);
    }
    if json {
        print_json(&Removed { room: room.as_str(), removed: true });
    } else {
        print(&format!("{room}\tremoved\n"));
    }
    Ok(())
}
