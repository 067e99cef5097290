//! Members who are removed or leave.

use aldis_tests::{TestServer, Upgrade, unique};
use serde_json::json;

use crate::steps::{adds, asks_history, chat, contents, is_refused, joins, makes, removes, says};

#[test]
fn removal_acts_at_once_on_live_sockets() {
    let server = TestServer::shared();
    let (owner, user, other) = (server.user(), server.user(), server.user());
    for (room, visibility) in [(unique("secret"), "private"), (unique("open"), "public")] {
        makes(&owner, &room, visibility, &[&user, &other]);
        let mut watching = other.connects("watch");
        let (mut phone, mut laptop) = (user.connects("phone"), user.connects("laptop"));
        joins(&mut watching, &room);
        for peer in [&mut phone, &mut laptop] {
            joins(peer, &room);
            watching.expects("member_joined");
        }
        phone.expects("member_joined");
        removes(&owner, &room, &user.id).expects(204);
        for peer in [&mut phone, &mut laptop] {
            let left = peer.expects("member_left");
            let expected = (&json!(room), &json!(user.id), &json!(peer.device_id()));
            assert_eq!((&left["room"], &left["user_id"], &left["device_id"]), expected, "with its own id");
            peer.sends(chat(&unique("m"), &room, "still here?"));
            peer.expects_error("unknown_room");
            is_refused(peer, &room);
            peer.expects_nothing();
        }
        let mut gone = [watching.expects("member_left"), watching.expects("member_left")]
            .map(|left| left["device_id"].as_str().expect("a device").to_owned());
        gone.sort();
        let mut expected = [phone.device_id(), laptop.device_id()];
        expected.sort();
        assert_eq!(gone, expected);
        says(&mut watching, &room, "among us");
        phone.expects_nothing();
        user.http().get(&format!("/api/rooms/{room}/messages")).expects_problem(404, "unknown_room");

        adds(&owner, &room, &user.id).expects(204);
        if visibility == "private" {
            assert_eq!(phone.expects("room_invite")["room"], room);
        }
        joins(&mut phone, &room);
        assert_eq!(contents(&asks_history(&mut phone, &room, 0, 10)), ["among us"]);
    }
}

#[test]
fn a_member_may_leave() {
    let server = TestServer::shared();
    let (owner, user) = (server.user(), server.user());
    let (secret, open) = (unique("secret"), unique("open"));
    makes(&owner, &secret, "private", &[&user]);
    makes(&owner, &open, "public", &[&user]);
    let mut peer = user.connects("phone");
    joins(&mut peer, &secret);
    joins(&mut peer, &open);
    removes(&user, &secret, &user.id).expects(204);
    assert_eq!(peer.expects("member_left")["room"], secret);
    is_refused(&mut peer, &secret);
    removes(&user, &open, &user.id).expects(204);
    says(&mut peer, &open, "as anybody");
    removes(&user, &open, &user.id).expects_problem(403, "forbidden");
}

#[test]
fn a_user_removed_on_one_node_is_removed_on_the_other() {
    let one = TestServer::builder().postgres().start();
    let other = TestServer::builder().beside(&one).start();
    let (owner, user) = (one.user(), one.user());
    makes(&owner, "secret", "private", &[&user]);
    makes(&owner, "open", "public", &[]);
    let mut peer = Upgrade::to("/signal").bearer(&user.token).connected(&other);
    for room in ["secret", "open"] {
        joins(&mut peer, room);
        removes(&owner, room, &user.id).expects(204);
        assert_eq!(peer.expects("member_left")["room"], room);
        is_refused(&mut peer, room);
    }
}
