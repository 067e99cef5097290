//! Accounts from the terminal, beside a running server (docs/operations.md, "Accounts"; docs/security.md,
//! "Revocation").

use std::process::Output;
use std::time::{Duration, Instant};

use aldis_tests::{Authenticator, Device, Identity, Incoming, Peer, TestServer, Upgrade, User, unique};
use serde_json::{Value, json};

/// The time within which an operator's revocation closes sockets on every node.
const CLOSED_WITHIN: Duration = Duration::from_secs(2);

/// A hash made by OpenBSD, and its password.
const BCRYPT: (&str, &str) =
    ("$2a$06$.rCVZVOThsIa97pEDOxvGuRRgzG64bvtJ0938xuqzv18d3ZpQhstC", "abcdefghijklmnopqrstuvwxyz");

/// Runs `aldis accounts …` on the database of a server.
fn accounts(server: &TestServer, arguments: &[&str], input: &str) -> Output {
    let arguments = [&["accounts"], arguments].concat();
    TestServer::builder().beside(server).run_with(&arguments, input)
}

/// The output of a successful command.
#[track_caller]
fn done(server: &TestServer, arguments: &[&str], input: &str) -> String {
    let output = accounts(server, arguments, input);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    assert!(output.stderr.is_empty(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The error of a command that ends with this code and prints nothing.
#[track_caller]
fn refused(server: &TestServer, arguments: &[&str], input: &str, code: i32) -> String {
    let output = accounts(server, arguments, input);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
    assert!(output.stdout.is_empty(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn login(server: &TestServer, email: &str, password: &str) -> aldis_tests::Answer {
    server.http().post("/auth/login", &json!({"email": email, "password": password}))
}

fn address() -> String {
    format!("{}@aldis.example", unique("somebody"))
}

fn access(tokens: &Value) -> &str {
    tokens["access_token"].as_str().unwrap()
}

/// The line of an account in the list.
#[track_caller]
fn listed(server: &TestServer, user_id: &str) -> Vec<String> {
    let list = done(server, &["list"], "");
    let mut lines = list.lines().map(|line| line.split('\t').map(str::to_owned).collect::<Vec<_>>());
    assert_eq!(lines.next().unwrap(), ["user_id", "email", "fingerprint", "state", "totp", "created_at"]);
    lines.find(|line| line[0] == user_id).unwrap_or_else(|| panic!("{user_id} in {list}"))
}

/// Expects a close after an `error` that announces it, and skips earlier messages.
#[track_caller]
fn closes(door: &str, mut peer: Peer, error: &str, code: u16) {
    let mut named = Value::Null;
    loop {
        match peer.socket.next("a close") {
            Incoming::Text(text) => named = serde_json::from_str(&text).unwrap(),
            Incoming::Close(given, _) => {
                assert_eq!((given, &named["payload"]["code"]), (code, &json!(error)), "{door}");
                return;
            }
            other => panic!("{door}: {other:?}"),
        }
    }
}

/// Expects an alert of this kind, and skips earlier ones.
#[track_caller]
fn hears(peer: &mut Peer, kind: &str) {
    while peer.expects("alert")["payload"]["kind"] != kind {}
}

/// All messages to a session that has just connected.
fn all_heard(peer: &mut Peer) -> String {
    peer.sends(json!({"type": "ping", "id": "fence"}));
    let mut heard = String::new();
    loop {
        match peer.socket.next("a pong") {
            Incoming::Text(text) if text.contains("\"fence\"") => return heard,
            Incoming::Text(text) => heard.push_str(&text),
            other => panic!("{other:?}"),
        }
    }
}

fn both() -> [TestServer; 2] {
    [TestServer::start(), TestServer::builder().postgres().start()]
}

// Making.

#[test]
fn an_account_is_created_while_registration_is_closed() {
    let closed = || TestServer::builder().env("ALDIS_REGISTRATION", "closed");
    for server in [closed().start(), closed().postgres().start()] {
        let email = address();
        let made = done(&server, &["create", &email.to_uppercase()], "correct horse battery\n");
        let tokens = login(&server, &email, "correct horse battery").expects(200);
        assert_eq!(made, format!("{}\tcreated\n", tokens["user_id"].as_str().unwrap()));

        let taken = refused(&server, &["create", &email], "another horse battery\n", 3);
        assert!(taken.contains("has an account"), "{taken}");
        login(&server, &email, "correct horse battery").expects(200);
    }
}

#[test]
fn accounts_are_printed_as_json_too() {
    let server = TestServer::start();
    assert_eq!(done(&server, &["list", "--json"], ""), "[\n]\n");
    let email = address();
    let made: Value =
        serde_json::from_str(&done(&server, &["create", &email, "--json"], "correct horse battery\n"))
            .unwrap();
    assert_eq!(made["outcome"], "created", "{made}");
    let second = address();
    done(&server, &["create", &second], "correct horse battery\n");
    let list: Value = serde_json::from_str(&done(&server, &["--json", "list"], "")).unwrap();
    assert_eq!((&list[0]["user_id"], &list[0]["email"]), (&made["user_id"], &json!(email)), "{list}");
    assert_eq!(
        (&list[1]["email"], &list[1]["state"], &list[1]["totp"]),
        (&json!(second), &json!("active"), &json!(false))
    );
    let counts: Value =
        serde_json::from_str(&done(&server, &["import", "-", "--json"], &format!("{email},{}\n", BCRYPT.0)))
            .unwrap();
    assert_eq!(counts, json!({"imported": 0, "existed": 1, "bad": 0}));
}

#[test]
fn an_account_is_created_while_no_server_runs() {
    let server = TestServer::start();
    assert!(server.terminate().success());
    let email = address();
    done(&server, &["create", &email], "correct horse battery");
    server.restart_same_port();
    login(&server, &email, "correct horse battery").expects(200);
}

#[test]
fn a_password_is_read_only_from_standard_input_and_checked() {
    let server = TestServer::shared();
    let email = address();
    refused(&server, &["create", &email, "correct horse battery"], "", 2);
    refused(&server, &["create", &email, "--password", "correct horse battery"], "", 2);
    for bad in ["", "\n", "1234567\n", "1234567\0\n", &format!("{}\n", "x".repeat(1_025))] {
        let said = refused(&server, &["create", &email], bad, 3);
        assert!(said.contains("standard input"), "{said}");
    }
    login(&server, &email, "correct horse battery").expects_problem(401, "invalid_credentials");
    done(&server, &["create", &email], "  spaces count  \r\n");
    login(&server, &email, "  spaces count  ").expects(200);
}

#[test]
fn an_unknown_account_is_refused_and_nothing_changes() {
    let server = TestServer::shared();
    for bad in ["", "somebody", "a@b@c", "a b@c", "01a2"] {
        refused(&server, &["disable", bad], "", 2);
        refused(&server, &["create", bad], "correct horse battery\n", 2);
    }
    let unknown = [address(), uuid::Uuid::new_v4().to_string(), Identity::new().fingerprint()];
    for command in ["disable", "enable", "set-password", "remove-totp", "revoke"] {
        for name in &unknown {
            let said = refused(&server, &[command, name], "correct horse battery\n", 3);
            assert!(said.contains("no such account"), "{said}");
        }
        refused(&server, &[command], "", 2);
    }
    let wrong: [&[&str]; 4] = [&[], &["nonsense"], &["list", "more"], &["import"]];
    for arguments in wrong {
        refused(&server, arguments, "", 2);
    }
}

#[test]
fn an_unusable_database_is_reported() {
    let run = |url| TestServer::builder().env("DATABASE_URL", url).run(&["accounts", "list"]);
    let memory = run("sqlite::memory:");
    assert_eq!(memory.status.code(), Some(2), "{memory:?}");
    let away = run("postgres://postgres@127.0.0.1:1/aldis");
    assert_eq!(away.status.code(), Some(1), "{away:?}");
    assert!(away.stdout.is_empty() && !away.stderr.is_empty(), "{away:?}");
}

#[test]
fn flags_may_come_before_or_after_the_command() {
    let server = TestServer::start();
    let user = server.user();
    let url = format!("sqlite:{}", server.directory().join("aldis.db").display());
    for arguments in [
        ["--database-url", &url, "accounts", "list"],
        ["accounts", "--database-url", &url, "list"],
        ["accounts", "list", "--database-url", &url],
    ] {
        let output = TestServer::builder().run(&arguments);
        assert!(String::from_utf8(output.stdout).unwrap().contains(&user.email), "{arguments:?}");
    }
}

// Listing.

#[test]
fn accounts_are_listed_in_columns_and_found_by_any_of_their_names() {
    for server in both() {
        let user = server.user();
        let app = Authenticator::enroll(&user.http());
        let identity = Identity::new();
        let tokens = identity.signs_in(&server, None).expects(201);
        let by_key = tokens["user_id"].as_str().unwrap();
        let line = listed(&server, &user.id);
        assert_eq!(line[1..5], [&*user.email, "-", "active", "on"], "{line:?}");
        assert!(line[5].ends_with('Z'), "{line:?}");
        let line = listed(&server, by_key);
        assert_eq!(line[1..5], ["-", &identity.fingerprint(), "active", "off"], "{line:?}");

        let disabled = |id: &str| format!("{id}\tdisabled\n");
        assert_eq!(done(&server, &["disable", &user.email.to_uppercase()], ""), disabled(&user.id));
        assert_eq!(done(&server, &["disable", &identity.fingerprint()], ""), disabled(by_key));
        for id in [&user.id, by_key] {
            assert_eq!(listed(&server, id)[3], "disabled");
            assert_eq!(done(&server, &["disable", id], ""), format!("{id}\tunchanged\n"));
            assert_eq!(done(&server, &["enable", id], ""), format!("{id}\tenabled\n"));
            assert_eq!(done(&server, &["enable", id], ""), format!("{id}\tunchanged\n"));
            assert_eq!(listed(&server, id)[3], "active");
        }
        user.logs_in(&json!({"totp_code": app.next_code()})).expects(200);
    }
}

// Disabling.

/// A user with an address, an identity and a device.
struct Somebody {
    user: User,
    identity: Identity,
    phone: Device,
}

impl Somebody {
    fn new(server: &TestServer) -> Self {
        let (user, identity) = (server.user(), Identity::new());
        let phone = user.device("phone");
        let challenge = identity.challenge(server, None);
        let signature = identity.signs(&challenge, aldis_protocol::statement::Transport::Http, None);
        let body = json!({
            "public_key": identity.public(), "challenge": challenge["challenge"], "signature": signature,
        });
        user.http().post("/api/identity/link", &body).expects(200);
        Self { user, identity, phone }
    }

    /// A session at each door with each proof.
    fn opens_everywhere(&self, server: &TestServer) -> Vec<(&'static str, Peer)> {
        let token = &self.user.token;
        let auth = json!({"type": "auth", "payload": {"token": token}});
        let mut connect = Upgrade::to("/v1/connect").peer(server);
        connect.expects("auth_challenge");
        let mut chat = Upgrade::to("/v1/chat/lobby").peer(server);
        for peer in [&mut connect, &mut chat] {
            peer.sends(auth.clone());
            peer.expects("auth_success");
            peer.expects_connected();
        }
        vec![
            ("/v1/connect by token", connect),
            ("/v1/chat", chat),
            ("/signal", Upgrade::to("/signal").bearer(token).connected(server)),
            ("/ws", Upgrade::to("/ws").bearer(token).subprotocols("aldis.v1.json").connected(server)),
            ("/api/ws", Upgrade::to("/api/ws").bearer(token).connected(server)),
            ("/v1/connect by key", self.identity.connects(server, None)),
            ("/v1/connect by device key", self.phone.key.connects(server, Some(&self.phone.id))),
        ]
    }

    /// Sends a proof by key at `/v1/connect`.
    fn shows(&self, server: &TestServer, key: &Identity, device_id: Option<&str>) -> Peer {
        let mut peer = Upgrade::to("/v1/connect").peer(server);
        let challenge = peer.expects("auth_challenge");
        peer.sends(key.answers(&challenge, device_id));
        peer
    }

    /// The user's tokens are refused: the node has read that they are revoked.
    #[track_caller]
    fn expects_tokens_revoked(&self, server: &TestServer, tokens: &Value) {
        let token = access(tokens);
        let http = server.http().bearer(token);
        http.get("/devices/").expects_problem(401, "revoked");
        http.post("/api/auth/totp/enroll", &json!({})).expects_problem(401, "revoked");
        http.delete("/api/account").expects_problem(401, "revoked");
        let refresh = json!({"refresh_token": tokens["refresh_token"]});
        server.http().post("/api/auth/refresh", &refresh).expects_problem(401, "revoked");
        for door in ["/signal", "/ws"] {
            let upgrade = Upgrade::to(door).bearer(token).subprotocols("aldis.v1.json");
            upgrade.peer(server).expects_error_and_close("revoked", 4002);
        }
        assert_eq!(Upgrade::to("/api/ws").bearer(token).refused(server).json()["code"], "revoked");
        let auth = json!({"type": "auth", "payload": {"token": token}});
        let mut connect = Upgrade::to("/v1/connect").peer(server);
        connect.expects("auth_challenge");
        connect.sends(auth.clone());
        connect.expects_refusal("revoked", 4002);
        let mut chat = Upgrade::to("/v1/chat/lobby").peer(server);
        chat.sends(auth);
        chat.expects_error("revoked");
        chat.expects_close(1008, "Invalid token");
    }

    /// The user cannot sign in anywhere.
    #[track_caller]
    fn expects_disabled(&self, server: &TestServer) {
        let (phone, key) = (Some(&*self.phone.id), &self.identity);
        self.user.logs_in(&json!({})).expects_problem(403, "forbidden");
        self.user.logs_in(&json!({"device_id": phone})).expects_problem(403, "forbidden");
        let wrong = login(server, &self.user.email, "not the password");
        wrong.expects_problem(401, "invalid_credentials");
        key.signs_in(server, None).expects_problem(403, "forbidden");
        key.signs_in(server, phone).expects_problem(403, "forbidden");
        self.phone.key.signs_in(server, phone).expects_problem(403, "forbidden");
        let free = unique("free");
        for (key, device_id) in [(key, None), (key, phone), (key, Some(&*free)), (&self.phone.key, phone)] {
            self.shows(server, key, device_id).expects_refusal("forbidden", 4302);
        }
    }

    #[track_caller]
    fn expects_welcome(&self, server: &TestServer) {
        self.user.logs_in(&json!({})).expects(200);
        self.identity.signs_in(server, None).expects(200);
        self.phone.key.signs_in(server, Some(&self.phone.id)).expects(200);
        self.identity.connects(server, None).expects_nothing();
        self.phone.key.connects(server, Some(&self.phone.id)).expects_nothing();
    }

    fn tokens(&self) -> Value {
        json!({"access_token": self.user.token, "refresh_token": self.user.refresh_token})
    }
}

#[test]
fn a_disabled_account_is_closed_and_refused_until_it_is_enabled() {
    for server in both() {
        let (somebody, stranger) = (Somebody::new(&server), server.user());
        let sessions = somebody.opens_everywhere(&server);
        let mut foreign = stranger.opens_ephemeral();

        done(&server, &["disable", &somebody.user.email], "");
        for (door, peer) in sessions {
            closes(door, peer, "forbidden", 4302);
        }
        foreign.expects_nothing();
        somebody.expects_tokens_revoked(&server, &somebody.tokens());
        somebody.expects_disabled(&server);

        done(&server, &["enable", &somebody.user.id], "");
        somebody.expects_welcome(&server);
        somebody.expects_tokens_revoked(&server, &somebody.tokens());
    }
}

#[test]
fn a_session_that_waits_for_its_client_ends_with_its_account() {
    let server = TestServer::start();
    let somebody = Somebody::new(&server);
    let (mut waiting, mut marker) =
        (somebody.identity.connects(&server, None), somebody.user.opens_ephemeral());
    waiting.sends(json!({"type": "ping"}));
    waiting.expects("pong");
    let (id, session) = (waiting.device_id(), waiting.connected["session"].clone());
    waiting.socket.breaks();
    done(&server, &["disable", &somebody.user.id], "");
    marker.expects_error_and_close("forbidden", 4302);
    done(&server, &["enable", &somebody.user.id], "");

    let mut peer = Upgrade::to("/v1/connect").peer(&server);
    let challenge = peer.expects("auth_challenge");
    let mut answer = somebody.identity.answers(&challenge, None);
    answer["resume"] = json!({"token": session["resume_token"], "received": 0});
    peer.sends(answer);
    peer.expects("auth_success");
    assert_eq!(peer.expects_connected()["session"]["resumed"], false);
    assert_ne!(peer.device_id(), id);
}

#[test]
fn a_disabled_account_is_disabled_on_every_node() {
    let one = TestServer::builder().postgres().start();
    let other = TestServer::builder().beside(&one).start();
    let somebody = Somebody::new(&one);
    let mut sessions = somebody.opens_everywhere(&other);
    sessions.push(("by key on the other node", somebody.identity.connects(&one, None)));

    done(&one, &["disable", &somebody.user.email], "");
    let start = Instant::now();
    for (door, peer) in sessions {
        closes(door, peer, "forbidden", 4302);
    }
    assert!(start.elapsed() < CLOSED_WITHIN, "closed after {:?}", start.elapsed());
    for node in [&one, &other] {
        somebody.expects_tokens_revoked(node, &somebody.tokens());
        somebody.expects_disabled(node);
    }
    done(&other, &["enable", &somebody.user.email], "");
    for node in [&one, &other] {
        somebody.expects_welcome(node);
    }
}

// Passwords, second factors, sign-ins.

#[test]
fn a_new_password_ends_the_sign_ins_and_alerts_every_device() {
    for server in both() {
        let mut somebody = Somebody::new(&server);
        let mut by_token = somebody.user.opens_ephemeral();
        let mut by_key = somebody.identity.connects(&server, None);
        let line = done(&server, &["set-password", &somebody.user.email], "another horse battery\n");
        assert_eq!(line, format!("{}\tpassword_set\n", somebody.user.id));
        by_token.expects_error_and_close("revoked", 4301);
        by_key.expects_nothing();
        somebody.expects_tokens_revoked(&server, &somebody.tokens());
        somebody.user.logs_in(&json!({})).expects_problem(401, "invalid_credentials");
        somebody.user.password = "another horse battery".to_owned();
        somebody.user.logs_in(&json!({})).expects(200);
        hears(&mut somebody.phone.key.connects(&server, Some(&somebody.phone.id)), "password_changed");

        refused(&server, &["set-password", &somebody.user.email], "short\n", 3);
        somebody.user.logs_in(&json!({})).expects(200);
        let identity = Identity::new();
        identity.signs_in(&server, None).expects(201);
        refused(&server, &["set-password", &identity.fingerprint()], "correct horse battery\n", 3);
    }
}

#[test]
fn removing_a_second_factor_alerts_every_device() {
    for server in both() {
        let user = server.user();
        let (phone, laptop) = (user.device("phone"), user.device("laptop"));
        let _app = Authenticator::enroll(&user.http());
        let mut live = laptop.key.connects(&server, Some(&laptop.id));
        hears(&mut live, "totp_changed");
        hears(&mut phone.key.connects(&server, Some(&phone.id)), "totp_changed");
        user.logs_in(&json!({})).expects_problem(401, "totp_required");
        for _ in 0..5 {
            user.logs_in(&json!({"totp_code": "000000"})).expects_problem(401, "invalid_totp");
        }
        user.logs_in(&json!({"totp_code": "000000"})).expects_problem(429, "rate_limited");

        let line = done(&server, &["remove-totp", &user.email], "");
        assert_eq!(line, format!("{}\ttotp_removed\n", user.id));
        let tokens = user.logs_in(&json!({})).expects(200);
        hears(&mut live, "totp_changed");
        hears(&mut phone.key.connects(&server, Some(&phone.id)), "totp_changed");
        let line = done(&server, &["remove-totp", &user.email], "");
        assert_eq!(line, format!("{}\tunchanged\n", user.id));
        let _app = Authenticator::enroll(&server.http().bearer(access(&tokens)));
    }
}

#[test]
fn revoking_ends_all_sessions_of_an_account() {
    for server in both() {
        let (somebody, stranger) = (Somebody::new(&server), server.user());
        let sessions = somebody.opens_everywhere(&server);
        let mut foreign = stranger.opens_ephemeral();
        let line = done(&server, &["revoke", &somebody.identity.fingerprint()], "");
        assert_eq!(line, format!("{}\tsigned_out\n", somebody.user.id));
        for (door, peer) in sessions {
            closes(door, peer, "revoked", 4301);
        }
        foreign.expects_nothing();
        somebody.expects_tokens_revoked(&server, &somebody.tokens());
        somebody.expects_welcome(&server);
    }
}

// Importing.

#[test]
fn an_imported_account_signs_in_and_is_hashed_again() {
    for server in both() {
        let (hash, password) = BCRYPT;
        let (email, existing) = (address(), server.user());
        let other = address();
        let lines = format!(
            "{email}, {hash}\r\n\n{}, {hash}\n  {} ,{}",
            existing.email.to_uppercase(),
            other.to_uppercase(),
            hash.replace("$2a$", "$2y$")
        );
        assert_eq!(done(&server, &["import", "-"], &lines), "imported\t2\nexisted\t1\nbad\t0\n");
        assert_eq!(done(&server, &["import", "-"], &lines), "imported\t0\nexisted\t3\nbad\t0\n");
        existing.logs_in(&json!({})).expects(200);
        login(&server, &email, "not the password").expects_problem(401, "invalid_credentials");

        let hashed = || server.metric("aldis_password_hashes_total");
        let before = hashed();
        login(&server, &email, password).expects(200);
        assert_eq!(hashed() - before, 2, "compared, and hashed again");
        login(&server, &email, password).expects(200);
        assert_eq!(hashed() - before, 3, "it is of the server's own kind now");
        login(&server, &other, password).expects(200);
    }
}

#[test]
fn an_imported_password_that_bcrypt_had_cut_was_refused() {
    for server in both() {
        let email = address();
        // For any password that begins with 72 times `x`, as libcrypt cuts it.
        let hash = "$2b$04$abcdefghijklmnopqrstuubzadhGtS2zEF.gu0yd0opP6cVzb.e0i";
        done(&server, &["import", "-"], &format!("{email},{hash}"));
        let password = "x".repeat(100);
        login(&server, &email, &"x".repeat(71)).expects_problem(401, "invalid_credentials");
        login(&server, &email, &password).expects(200);
        login(&server, &email, &password).expects(200);
        for other in ["x".repeat(72), "x".repeat(101)] {
            login(&server, &email, &other).expects_problem(401, "invalid_credentials");
        }
    }
}

#[test]
fn invalid_lines_are_reported_and_do_not_stop_the_import() {
    let server = TestServer::start();
    let (hash, password) = BCRYPT;
    let (first, last) = (address(), address());
    let lines = [
        format!("{first},{hash}"),
        "no comma".to_owned(),
        format!("no address,{hash}"),
        format!("{},secret", address()),
        format!("{},{}", address(), hash.replace("$06$", "$31$")),
        format!("{},{}", address(), hash.replace("$2a$", "$2x$")),
        format!("nul\0{},{hash}", address()),
        format!("{},{hash}", "x".repeat(5_000)),
        format!("{last},{hash}"),
    ];
    let file = server.directory().join("accounts.csv");
    std::fs::write(&file, lines.join("\n")).unwrap();
    let output = accounts(&server, &["import", file.to_str().unwrap()], "");
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "imported\t2\nexisted\t0\nbad\t7\n");
    let said = String::from_utf8(output.stderr).unwrap();
    let named: Vec<&str> = said.lines().filter_map(|line| line.split(':').next()).collect();
    let expected: Vec<String> = (2..=8).map(|number| format!("line {number}")).collect();
    assert_eq!(named[..7], expected, "{said}");
    assert!(!said.contains("secret") && !said.contains(&hash[7..]), "no hash in {said}");
    for email in [first, last] {
        login(&server, &email, password).expects(200);
    }
    let said = refused(&server, &["import", "/nowhere/at/all"], "", 1);
    assert!(said.contains("/nowhere/at/all"), "{said}");
}

#[test]
fn an_import_and_registrations_do_not_stop_each_other() {
    for server in both() {
        let (hash, password) = BCRYPT;
        let emails: Vec<String> = (0..450).map(|_| address()).collect();
        let lines: String = emails.iter().map(|email| format!("{email},{hash}\n")).collect();
        std::thread::scope(|scope| {
            let registering = scope.spawn(|| (0..10).map(|_| server.user()).collect::<Vec<User>>());
            let imported = done(&server, &["import", "-"], &lines);
            assert_eq!(imported, "imported\t450\nexisted\t0\nbad\t0\n");
            for user in registering.join().unwrap() {
                user.http().get("/devices/").expects(200);
            }
        });
        for email in [&emails[0], &emails[449]] {
            login(&server, email, password).expects(200);
        }
        assert_eq!(done(&server, &["list"], "").lines().count(), 1 + 450 + 10);
    }
}

// Alerts that come with what users do themselves.

#[test]
fn a_change_of_the_password_alerts_the_other_devices() {
    let server = TestServer::shared();
    let user = server.user();
    let (phone, laptop, tablet) = (user.device("phone"), user.device("laptop"), user.device("tablet"));
    let own = user.logs_in(&json!({"device_id": phone.id})).expects(200);
    let mut live_by_key = laptop.key.connects(&server, Some(&laptop.id));
    let mut ends =
        Upgrade::to("/signal").query("device_id", &tablet.id).bearer(&user.token).connected(&server);
    let changed = |password: &str| json!({"old_password": user.password, "new_password": password});
    let http = server.http().bearer(access(&own));
    http.post("/api/auth/password", &changed("another horse battery")).expects(204);
    ends.expects_close(4301, "");
    hears(&mut live_by_key, "password_changed");
    hears(&mut tablet.key.connects(&server, Some(&tablet.id)), "password_changed");
    let heard = all_heard(&mut phone.key.connects(&server, Some(&phone.id)));
    assert!(!heard.contains("password_changed"), "none for its own doing: {heard}");
}

#[test]
fn a_reused_refresh_token_alerts_every_device() {
    let server = TestServer::shared();
    let user = server.user();
    let (phone, laptop) = (user.device("phone"), user.device("laptop"));
    let mut live = laptop.key.connects(&server, Some(&laptop.id));
    let mut ends =
        Upgrade::to("/signal").query("device_id", &phone.id).bearer(&user.token).connected(&server);
    let refresh = |token: &Value| server.http().post("/api/auth/refresh", &json!({"refresh_token": token}));
    let first = refresh(&json!(user.refresh_token)).expects(200);
    refresh(&first["refresh_token"]).expects(200);
    refresh(&json!(user.refresh_token)).expects_problem(401, "refresh_reused");
    ends.expects_close(4301, "");
    hears(&mut live, "refresh_reused");
    hears(&mut phone.key.connects(&server, Some(&phone.id)), "refresh_reused");
}
