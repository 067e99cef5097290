//! Starting the binary, and when it refuses to start (docs/configuration.md).

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use aldis_tests::{Builder, TestServer};

/// Every variable of the table in docs/http.md.
const VARIABLES: [&str; 21] = [
    "HOST",
    "PORT",
    "DATABASE_URL",
    "SECRET_KEY",
    "ALGORITHM",
    "ACCESS_TOKEN_EXPIRE_MINUTES",
    "PASSWORD_HASH",
    "ALDIS_DATA_DIR",
    "ALDIS_PUBLIC_ORIGIN",
    "ALDIS_ALLOWED_ORIGINS",
    "ALDIS_ADMIN_LISTEN",
    "ALDIS_TLS_CERT",
    "ALDIS_TLS_KEY",
    "ALDIS_REGISTRATION",
    "ALDIS_ROUTING",
    "ALDIS_STUN_URLS",
    "ALDIS_TURN_URLS",
    "ALDIS_TURN_SECRET",
    "ALDIS_RESUME_WINDOW",
    "ALDIS_SESSION_MEMORY",
    "ALDIS_RATE_LIMITS",
];

/// The error of a server that refuses to start.
#[track_caller]
fn refusal(builder: Builder) -> String {
    let output = builder.run(&[]);
    assert!(!output.status.success(), "the server was to refuse");
    assert!(output.stdout.is_empty(), "an error goes to the error output");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn help_names_every_variable() {
    let output = TestServer::builder().run(&["--help"]);
    assert!(output.status.success());
    let help = String::from_utf8(output.stdout).unwrap();
    let missing: Vec<&str> = VARIABLES.into_iter().filter(|name| !help.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?} in {help}");
    assert!(!help.contains(aldis_tests::SECRET_KEY), "no value of a secret in {help}");
}

#[test]
fn check_config_prints_the_settings_and_no_secret() {
    let builder = TestServer::builder().env("ALDIS_TURN_SECRET", "the secret of TURN");
    let output = builder.env("ALDIS_TURN_URLS", "turn:turn.example").run(&["--check-config"]);
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains("turn:turn.example"), "{printed}");
    assert!(
        !printed.contains("the secret of TURN") && !printed.contains(aldis_tests::SECRET_KEY),
        "{printed}"
    );
}

#[test]
fn a_bad_value_is_named() {
    let cases = [
        ("SECRET_KEY", "too short"),
        ("PORT", "seventy"),
        ("ALDIS_ROUTING", "opne"),
        ("ALGORITHM", "none"),
        ("DATABASE_URL", "mysql://localhost/aldis"),
        ("ACCESS_TOKEN_EXPIRE_MINUTES", "0.01"),
    ];
    for (name, value) in cases {
        let error = refusal(TestServer::builder().env(name, value));
        assert!(error.contains(name), "`{name}` in {error}");
    }
}

#[test]
fn a_misspelt_variable_is_named() {
    let error = refusal(TestServer::builder().env("ALDIS_RUTING", "open"));
    assert!(error.contains("ALDIS_RUTING"), "{error}");
}

#[test]
fn a_taken_port_is_an_error() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let error = refusal(TestServer::builder().env("PORT", &port));
    assert!(error.contains(&port), "{error}");
}

#[test]
fn a_taken_admin_address_is_an_error_unless_it_is_the_default() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let error = refusal(TestServer::builder().env("ALDIS_ADMIN_LISTEN", &address));
    assert!(error.contains(&address), "{error}");

    // If another program has the port, it is in use as well.
    let _taken = TcpListener::bind("127.0.0.1:19840");
    let server = TestServer::builder().without("ALDIS_ADMIN_LISTEN").start();
    server.http().get("/health").expects(200);
    assert!(server.terminate().success());
    assert!(server.log().contains("ALDIS_ADMIN_LISTEN"), "a warning that names the setting");
}

#[test]
fn only_its_owner_can_read_the_key_file() {
    let server = TestServer::start();
    let key = server.directory().join("aldis.key");
    let mode = fs::metadata(&key).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let bytes = fs::read(&key).unwrap();
    server.kill9();
    server.restart_same_port();
    assert_eq!(fs::read(&key).unwrap(), bytes, "made once");
}

#[test]
fn a_broken_or_open_key_file_is_an_error_and_stays() {
    let server = TestServer::start();
    let key = server.directory().join("aldis.key");
    let directory = server.directory().to_str().unwrap().to_owned();
    assert!(server.terminate().success());

    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let error = refusal(TestServer::builder().env("ALDIS_DATA_DIR", &directory));
    assert!(error.contains("aldis.key"), "{error}");

    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&key, "broken").unwrap();
    let error = refusal(TestServer::builder().env("ALDIS_DATA_DIR", &directory));
    assert!(error.contains("aldis.key"), "{error}");
    assert_eq!(fs::read(&key).unwrap(), b"broken", "never replaced");
}

#[test]
fn sqlalchemys_form_of_a_url_works() {
    let server = TestServer::builder().env("DATABASE_URL", "sqlite+aiosqlite:///relative.db").start();
    assert!(server.directory().join("relative.db").exists(), "three slashes are relative");
}

#[test]
fn eddsa_tokens_are_accepted_too() {
    let server = TestServer::builder().env("ALGORITHM", "EdDSA").without("SECRET_KEY").start();
    let user = server.user();
    assert_eq!(aldis_tests::token::header(&user.token)["alg"], "EdDSA");
    user.opens_ephemeral().expects_nothing();
}
