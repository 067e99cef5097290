//! Decisions that a user, or others about them, make while the user has no connection.

use aldis_client::protocol::RoomId;
use aldis_client::{Client, Since, State};
use aldis_tests::{Proxy, TestServer, User};

use crate::PATIENCE;
use crate::person::Person;
use crate::rooms::{Guest, Told, room_of};

/// How an outage ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outage {
    /// The session is resumed.
    Resumed,
    /// It lasted longer than the resume window.
    Lapsed,
    /// The server was killed meanwhile.
    Killed,
}

/// A user who stays in two rooms, and a user whose connection breaks.
struct Scene {
    server: TestServer,
    owner: User,
    rooms: [RoomId; 2],
    network: Proxy,
    other_network: Proxy,
}

impl Scene {
    fn is_set(outage: Outage) -> Self {
        let window = if outage == Outage::Lapsed { "1" } else { "30" };
        let server = TestServer::builder().env("ALDIS_ROUTING", "open").env("ALDIS_RESUME_WINDOW", window);
        let server = server.start();
        let owner = server.user();
        let rooms = ["hall", "attic"].map(|name| room_of(&owner, name));
        let [network, other_network] = [Proxy::before(&server), Proxy::before(&server)];
        Self { server, owner, rooms, network, other_network }
    }

    /// Both users join both rooms.
    async fn begins(&self) -> [Guest; 2] {
        let stays = Guest::starts(&Person::new("ann"), &self.other_network).await;
        let suffers = Guest::starts(&Person::new("bob"), &self.network).await;
        for room in &self.rooms {
            stays.client.join(room, Since::Seq(0)).await.unwrap();
            suffers.client.join(room, Since::Seq(0)).await.unwrap();
            stays.sees(room, &[&stays, &suffers]).await;
        }
        [stays, suffers]
    }

    /// Cuts a user's network.
    async fn breaks_down(&self, suffers: &Guest) {
        self.network.goes_down();
        awaits_state(&suffers.client, State::Reconnecting).await;
    }

    /// Restores the network once the outage has had its effect on the session.
    async fn is_mended(&self, outage: Outage, [stays, suffers]: [&Guest; 2]) {
        match outage {
            Outage::Resumed => {}
            Outage::Lapsed => stays.sees(&self.rooms[0], &[stays]).await,
            Outage::Killed => {
                self.server.kill9();
                self.server.restart_same_port();
            }
        }
        self.network.comes_up();
        awaits_state(&suffers.client, State::Connected).await;
    }
}

async fn awaits_state(client: &Client, awaited: State) {
    let mut state = client.watch_state();
    let came = tokio::time::timeout(PATIENCE, state.wait_for(|state| *state == awaited)).await;
    came.unwrap_or_else(|_| panic!("{awaited:?} in time")).unwrap();
}

#[test]
fn a_leave_during_a_cut_is_kept() {
    stays_out_of_what_it_left(Outage::Resumed);
}

#[test]
fn a_leave_during_an_outage_longer_than_the_window_is_kept() {
    stays_out_of_what_it_left(Outage::Lapsed);
}

#[test]
fn a_leave_while_the_server_is_killed_is_kept() {
    stays_out_of_what_it_left(Outage::Killed);
}

fn stays_out_of_what_it_left(outage: Outage) {
    let scene = Scene::is_set(outage);
    let [hall, attic] = &scene.rooms;
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let [stays, leaves] = scene.begins().await;
        scene.breaks_down(&leaves).await;
        let leaving = leaves.client.leave(attic);
        let (left, ()) = tokio::join!(biased; leaving, scene.is_mended(outage, [&stays, &leaves]));
        left.unwrap();
        stays.sees(hall, &[&stays, &leaves]).await;
        stays.sees(attic, &[&stays]).await;
        for room in [attic, hall] {
            stays.client.chat(room, "who is there?").await.unwrap();
        }
        // Messages in the attic would have arrived before.
        leaves.awaits("what is said", |told| told.in_room(hall).said.len() == 1).await;
        assert!(leaves.told().in_room(attic).said.is_empty(), "{:?}", leaves.told());

        // The next session does not restore it either.
        scene.breaks_down(&leaves).await;
        scene.is_mended(Outage::Killed, [&stays, &leaves]).await;
        stays.sees(hall, &[&stays, &leaves]).await;
        stays.sees(attic, &[&stays]).await;
        leaves.client.join(attic, Since::Seq(0)).await.unwrap();
        leaves.awaits("what was said", |told| told.in_room(attic).said.len() == 1).await;
        stays.sees(attic, &[&stays, &leaves]).await;
        stays.stops().await;
        leaves.stops().await;
    });
}

#[test]
fn leaving_and_joining_again_during_an_outage_ends_in_the_room() {
    for outage in [Outage::Resumed, Outage::Lapsed, Outage::Killed] {
        let scene = Scene::is_set(outage);
        let [_, attic] = &scene.rooms;
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let [stays, hesitates] = scene.begins().await;
            scene.breaks_down(&hesitates).await;
            let (leaving, coming) = (hesitates.client.leave(attic), hesitates.client.join(attic, Since::Now));
            let mending = scene.is_mended(outage, [&stays, &hesitates]);
            let (left, came, ()) = tokio::join!(biased; leaving, coming, mending);
            assert!(left.is_ok() && came.is_ok(), "{outage:?}: {left:?} {came:?}");
            stays.sees(attic, &[&stays, &hesitates]).await;
            stays.client.chat(attic, "there you are").await.unwrap();
            hesitates.awaits("what is said", |told| told.in_room(attic).said.len() == 1).await;
            stays.stops().await;
            hesitates.stops().await;
        });
    }
}

#[test]
fn a_user_removed_during_an_outage_is_told() {
    for outage in [Outage::Resumed, Outage::Lapsed, Outage::Killed] {
        let scene = Scene::is_set(outage);
        let [hall, attic] = &scene.rooms;
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let [stays, goes] = scene.begins().await;
            scene.breaks_down(&goes).await;
            removes(&scene.owner, attic, &goes).await;
            scene.is_mended(outage, [&stays, &goes]).await;
            stays.sees(hall, &[&stays, &goes]).await;
            stays.sees(attic, &[&stays]).await;
            // A resumed session is told like all others; a fresh one cannot join.
            match outage {
                Outage::Resumed => {
                    let is_out = |told: &Told| !told.in_room(attic).members.contains(&goes.device);
                    goes.awaits("the removal", is_out).await;
                }
                Outage::Lapsed | Outage::Killed => {
                    goes.awaits("the refusal", |told| told.not_restored == 1).await;
                }
            }
            stays.client.chat(attic, "they are gone").await.unwrap();
            stays.client.chat(hall, "and here").await.unwrap();
            goes.awaits("what is said", |told| told.in_room(hall).said.len() == 1).await;
            assert!(goes.told().in_room(attic).said.is_empty());
            stays.stops().await;
            goes.stops().await;
        });
    }
}

/// Removes a guest over HTTP, as the owner of the room.
async fn removes(owner: &User, room: &RoomId, guest: &Guest) {
    let user = guest.client.session().unwrap().user_id;
    let (owner, path) = (owner.clone(), format!("/api/rooms/{room}/members/{user}"));
    tokio::task::spawn_blocking(move || owner.http().delete(&path).expects(204)).await.unwrap();
}
