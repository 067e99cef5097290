//! Checks the source against the statements of architecture.md.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use aldis_protocol::{ErrorCode, MessageKind, reason};

/// A source file without its test code.
struct Source {
    /// Relative to the workspace, with `/`.
    path: String,
    code: String,
}

#[test]
fn only_one_file_of_server_and_client_uses_the_websocket_library() {
    let knows = |source: &Source| source.code.contains("tungstenite");
    let paths_of = |package: &str| {
        let sources = sources(package);
        sources.into_iter().filter(knows).map(|source| source.path).collect::<Vec<String>>()
    };
    assert_eq!(paths_of("server"), ["crates/server/src/transport/socket.rs"]);
    assert_eq!(paths_of("client").len(), 1, "{:?}", paths_of("client"));
    for pure in ["protocol", "auth", "registry"] {
        assert!(paths_of(pure).is_empty(), "{:?}", paths_of(pure));
    }
}

/// Wire words that are also ordinary words in English, SQL or logs: they may be literals elsewhere.
const ORDINARY_WORDS: [&str; 3] = ["connected", "message", "read"];

#[test]
fn wire_names_live_in_protocol_only() {
    let kinds = MessageKind::ALL.iter().map(|kind| kind.as_str());
    let codes = ErrorCode::ALL.iter().map(|code| code.as_str());
    let rest = [
        reason::FIRST_MESSAGE_MUST_BE_AUTH,
        reason::MISSING_AUTH_TOKEN,
        reason::INVALID_TOKEN,
        reason::AUTHENTICATION_TIMEOUT,
        reason::REAUTHENTICATION_TIMEOUT,
        "aldis.v1.json",
        "aldis.v1.proto",
    ];
    let names: Vec<&str> =
        kinds.chain(codes).chain(rest).filter(|name| !ORDINARY_WORDS.contains(name)).collect();
    let mut strays = Vec::new();
    for source in ["auth", "registry", "server", "client"].iter().flat_map(|package| sources(package)) {
        for name in names.iter().filter(|name| has_literal(&source.code, name)) {
            strays.push(format!("{}: \"{name}\"", source.path));
        }
    }
    assert!(strays.is_empty(), "wire names outside the protocol crate: {strays:#?}");
}

/// A word after `=` belongs to a longer text, such as `error="invalid_token"` of RFC 6750.
fn has_literal(code: &str, name: &str) -> bool {
    let literal = format!("\"{name}\"");
    code.match_indices(&literal).any(|(start, _)| !code[..start].ends_with('='))
}

#[test]
fn each_layer_of_the_server_imports_only_what_is_to_its_right() {
    const LAYERS: [&[&str]; 6] =
        [&["transport", "http"], &["session"], &["relay"], &["accounts"], &["link"], &["store"]];
    let mut breaches = Vec::new();
    for source in sources("server") {
        let module = room_of(&source);
        let Some(layer) = LAYERS.iter().position(|names| names.contains(&module)) else { continue };
        let left: Vec<&str> = LAYERS[..layer].concat();
        for name in imported_modules(&source.code).into_iter().filter(|name| left.contains(&name.as_str())) {
            breaches.push(format!("{} imports {name}", source.path));
        }
    }
    assert!(breaches.is_empty(), "{breaches:#?}");
}

#[test]
fn no_rooms_of_the_server_import_each_other_in_a_circle() {
    let mut imports: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources("server") {
        let room = room_of(&source);
        if !["lib", "main"].contains(&room) {
            let names = imported_modules(&source.code).into_iter();
            // A macro names `crate::$module`.
            let names = names.filter(|name| !name.is_empty() && name != room);
            imports.entry(room.to_owned()).or_default().extend(names);
        }
    }
    // Rooms that import none that is left go, until only circles are left.
    while let Some(done) = imports.keys().find(|room| imports[*room].is_empty()).cloned() {
        imports.remove(&done);
        imports.values_mut().for_each(|names| {
            names.remove(&done);
        });
    }
    assert!(imports.is_empty(), "circles among these: {imports:#?}");
}

/// A file below the shells, and the clock that it may read.
const CLOCKS_BELOW_THE_SHELLS: [(&str, &str); 5] = [
    // Measures how long a password hash takes.
    ("crates/server/src/accounts/passwords.rs", "Instant::now"),
    // Stamps each frame with the time at which it is made.
    ("crates/server/src/relay.rs", "Now::read"),
    // Delivers what is committed, as a task of its own.
    ("crates/server/src/relay/committed.rs", "Now::read"),
    // Pages that are read when the client takes them, which may be long after the request.
    ("crates/server/src/relay/reading.rs", "Now::read"),
    ("crates/server/src/relay/syncing.rs", "Now::read"),
];

#[test]
fn accounts_and_the_relay_are_told_the_time() {
    let clocks = ["Now::read", "Now::tick", "unix_ms_i64", "SystemTime", "Instant::now"];
    let mut strays = Vec::new();
    let below = |source: &Source| ["accounts", "relay"].contains(&room_of(source));
    for source in sources("server").into_iter().filter(below) {
        for clock in clocks.iter().filter(|clock| source.code.contains(**clock)) {
            strays.push((source.path.clone(), *clock));
        }
    }
    let strays: BTreeSet<(&str, &str)> = strays.iter().map(|(path, clock)| (path.as_str(), *clock)).collect();
    assert_eq!(strays, BTreeSet::from(CLOCKS_BELOW_THE_SHELLS));
}

/// The module of the server, directly below the crate, that a file belongs to.
fn room_of(source: &Source) -> &str {
    let module = source.path.trim_start_matches("crates/server/src/");
    module.split(['/', '.']).next().unwrap_or_default()
}

/// What writes without a credential: nobody who is signed in asks for it, or it comes with a proof of its own.
const WITHOUT_CREDENTIAL: [(&str, &[&str]); 16] = [
    ("accounts", &["create_account", "replace_password_hash"]),
    (
        "administration",
        &[
            "disable_account",
            "enable_account",
            "import_accounts",
            "remove_second_factor",
            "set_password",
            "sign_out",
        ],
    ),
    ("chain", &["cancel"]),
    ("chat/expiry", &["sweep_rooms_without_name", "trim_room"]),
    ("credential", &["begin_for", "begin_for_all", "begin_for_both"]),
    ("health", &["probe"]),
    ("identity", &["create_account_for_key"]),
    ("mailbox/expiry", &["delete"]),
    ("notices", &["delete_notices", "waiting_notices"]),
    ("orders", &["order_close", "remove_room"]),
    ("restored", &["end_what_a_restore_revives"]),
    ("sightings", &["set_sightings"]),
    ("sweep", &["set_newest_time", "sweep_rows"]),
    ("tokens", &["create_family", "revoke_reused", "use_refresh_token"]),
    ("totp", &["check_second_factor"]),
    ("writer", &["write"]),
];

#[test]
fn every_change_by_a_signed_in_user_begins_with_a_credential() {
    let listed: BTreeSet<String> = WITHOUT_CREDENTIAL
        .iter()
        .flat_map(|(file, functions)| functions.iter().map(move |function| format!("{file}: {function}")))
        .collect();
    let mut found = BTreeSet::new();
    for source in sources("server") {
        let module = source.path.trim_start_matches("crates/server/src/").trim_end_matches(".rs");
        let module = module.trim_start_matches("store/");
        for place in writes(&source.code) {
            found.insert(format!("{module}: {}", function_around(&source.code, place)));
        }
    }
    assert_eq!(
        found, listed,
        "a change begins with `Store::begin_for`; what nobody asks for who is signed in is listed here"
    );
}

/// The places where a transaction begins without a credential, or a statement writes outside a transaction.
fn writes(code: &str) -> impl Iterator<Item = usize> {
    let begun = code.match_indices("db.begin");
    begun.chain(code.match_indices(", w, pool =>")).map(|(place, _)| place)
}

/// The name of the last function that begins before this place.
fn function_around(code: &str, place: usize) -> String {
    code[..place].rfind("fn ").map(|start| identifier(&code[start + "fn ".len()..])).unwrap_or_default()
}

#[test]
fn modules_are_beside_their_directories() {
    let strays: Vec<String> =
        every_source().map(|source| source.path).filter(|path| path.ends_with("/mod.rs")).collect();
    assert!(strays.is_empty(), "{strays:?}");
}

#[test]
fn nothing_is_unbounded() {
    let unbounded = |source: &Source| source.code.contains("unbounded");
    let strays: Vec<String> = every_source().filter(unbounded).map(|source| source.path).collect();
    assert!(strays.is_empty(), "{strays:?}");
}

#[test]
fn pure_crates_use_no_clock_and_no_randomness() {
    let hidden = [
        "Instant::now",
        "SystemTime::now",
        "rand::rng",
        "getrandom",
        "Uuid::new_v4",
        "Uuid::now_v7",
        "OsRng",
        "SysRng",
    ];
    let mut strays = Vec::new();
    for source in ["protocol", "auth", "registry"].iter().flat_map(|package| sources(package)) {
        for name in hidden.iter().filter(|name| source.code.contains(**name)) {
            strays.push(format!("{}: {name}", source.path));
        }
    }
    assert!(strays.is_empty(), "{strays:#?}");
}

#[test]
fn imports_are_found_in_lists_too() {
    let code = "use crate::{\n    clock::Now,\n    store::{self, session},\n};\nfn f() { crate::relay::g() }";
    assert_eq!(imported_modules(code), ["clock", "store", "relay"]);
}

/// The first names after each `crate::`.
fn imported_modules(code: &str) -> Vec<String> {
    let mut modules = Vec::new();
    for after in code.split("crate::").skip(1) {
        match after.strip_prefix('{') {
            Some(list) => modules.extend(heads(list)),
            None => modules.push(identifier(after)),
        }
    }
    modules
}

/// The first name of each member of a list in braces.
fn heads(list: &str) -> Vec<String> {
    let mut depth = 0;
    let mut heads = vec![String::new()];
    for character in list.chars() {
        match character {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => heads.push(String::new()),
            _ => {}
        }
        if let Some(head) = heads.last_mut() {
            head.push(character);
        }
    }
    let names = heads.iter().map(|head| identifier(head.trim_start_matches([',', ' ', '\n'])));
    names.filter(|name| !name.is_empty()).collect()
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|character| character.is_alphanumeric() || *character == '_').collect()
}

fn every_source() -> impl Iterator<Item = Source> {
    ["protocol", "auth", "registry", "server", "client"].into_iter().flat_map(sources)
}

fn sources(package: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut paths = Vec::new();
    collect(&root.join("crates").join(package).join("src"), &mut paths);
    paths.sort();
    let sources = paths.iter().map(|path| Source {
        path: path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(),
        code: without_comments(without_tests(&fs::read_to_string(path).unwrap())),
    });
    sources.filter(|source| !is_for_tests(&source.path)).collect()
}

fn collect(directory: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

/// Files that a `#[cfg(test)] mod …;` includes.
fn is_for_tests(path: &str) -> bool {
    let names = ["tests", "test_dir", "conformance", "fake", "simulation"];
    path.split(['/', '.']).any(|part| names.contains(&part))
}

/// Tests come last in a file.
fn without_tests(code: &str) -> &str {
    match code.find("#[cfg(test)]\nmod tests {") {
        Some(start) => &code[..start],
        None => code,
    }
}

fn without_comments(code: &str) -> String {
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<&str>>().join("\n")
}
