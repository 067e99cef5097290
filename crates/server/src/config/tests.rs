use super::{test_dir::TestDir, *};

fn load(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    let arguments = ["aldis"].iter().chain(arguments).map(OsString::from);
    let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
    Config::load(arguments, variables)
}

fn config(arguments: &[&str], variables: &[(&str, &str)]) -> Config {
    let loaded = load(arguments, variables).unwrap();
    let Loaded::Run(config) = loaded else { panic!("{loaded:?}") };
    *config
}

fn printed(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let loaded = load(arguments, variables).unwrap();
    let Loaded::Print(text) = loaded else { panic!("{loaded:?}") };
    text
}

fn refusal(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    load(arguments, variables).unwrap_err().to_string()
}

fn from_file(text: &str) -> Result<Loaded, ConfigError> {
    let dir = TestDir::new();
    load(&["--config", &dir.file("aldis.toml", text)], &[])
}

const LONG_SECRET: &str = "a secret of more than thirty-two bytes";

#[test]
fn the_defaults_are_those_of_the_documentation() {
    let config = config(&[], &[]);
    assert_eq!(config.listen, "127.0.0.1:8000".parse().unwrap());
    assert_eq!((config.log.to_string().as_str(), config.admin_names.len()), ("info", 0));
    assert_eq!(config.admin_listen.address, "127.0.0.1:19840".parse().unwrap());
    assert!(!config.admin_listen.explicit);
    assert_eq!(config.database_url.to_string(), "sqlite:aldis.db");
    assert_eq!(config.secret_key, None);
    assert_eq!(config.algorithm, TokenAlgorithm::Hs256);
    assert_eq!(config.access_token_lifetime, Duration::from_secs(900));
    assert_eq!(config.password_hash, PasswordHash::Argon2id);
    assert_eq!(config.data_dir, PathBuf::from("."));
    assert_eq!((config.public_origin, config.tls, config.turn), (None, None, None));
    assert!(config.allowed_origins.is_empty());
    assert_eq!((config.registration, config.routing), (Registration::Open, Routing::Contacts));
    assert!(config.rooms_auto_create && config.rate_limits);
    assert_eq!(config.stun_urls, ["stun:stun.l.google.com:19302", "stun:stun1.l.google.com:19302"]);
    assert_eq!(config.resume_window, Duration::from_secs(30));
    assert_eq!(config.session_memory, 256 << 20);
    assert_eq!(config.trusted_proxy_hops, 0);
}

#[test]
fn a_flag_overrides_its_variable_and_a_variable_the_file() {
    let dir = TestDir::new();
    let file = dir.file("aldis.toml", "port = 1\nhost = \"::1\"\n[tls]\ncert = \"c\"\nkey = \"k\"\n");
    let variables = [("ALDIS_CONFIG", file.as_str()), ("PORT", "2"), ("ALDIS_TLS_KEY", "k2")];
    let config = config(&["--port", "3"], &variables);
    assert_eq!(config.listen, "[::1]:3".parse().unwrap());
    assert_eq!(config.tls, Some(Tls::Files(TlsFiles { cert: "c".into(), key: "k2".into() })));
    assert_eq!(config_port(&[], &variables), 2);
    assert_eq!(config_port(&[], &[("ALDIS_CONFIG", &file)]), 1);
    assert_eq!(config_port(&["--config", &file], &[("ALDIS_CONFIG", "not there")]), 1);
}

fn config_port(arguments: &[&str], variables: &[(&str, &str)]) -> u16 {
    config(arguments, variables).listen.port()
}

#[test]
fn the_file_takes_every_setting() {
    let text = r#"
        host = "0.0.0.0"
        port = 0x1F90
        database_url = "sqlite+aiosqlite:///x.db"
        secret_key = "a secret of more than thirty-two bytes"
        algorithm = "EdDSA"
        access_token_expire_minutes = 0.5
        password_hash = "bcrypt"
        data_dir = "data"
        public_origin = "https://aldis.example"
        allowed_origins = ["https://a.example", "https://b.example:8443"]
        admin_listen = "[::1]:9"
        admin_names = ["metrics.aldis.example"]
        log = "warn,aldis_server=debug"
        registration = "closed"
        routing = "open"
        resume_window = 0
        session_memory = 64
        trusted_proxy_hops = 2
        rate_limits = false
        [tls]
        cert = "cert.pem"
        key = "key.pem"
        [rooms]
        auto_create = false
        [stun]
        urls = []
        [turn]
        urls = ["turn:turn.example:3478?transport=udp", "turns:[::1]"]
        secret = "shared"
    "#;
    let Ok(Loaded::Run(config)) = from_file(text) else { panic!("refused") };
    assert_eq!(config.listen, "0.0.0.0:8080".parse().unwrap());
    assert_eq!(config.database_url.to_string(), "sqlite:x.db");
    assert_eq!(config.secret_key, Some(SecretText::new(LONG_SECRET.to_owned())));
    assert_eq!((config.algorithm, config.password_hash), (TokenAlgorithm::EdDsa, PasswordHash::Bcrypt));
    assert_eq!(config.access_token_lifetime, Duration::from_secs(30));
    assert_eq!(config.public_origin.as_ref().map(Origin::audience), Some("aldis.example"));
    assert_eq!(config.allowed_origins.len(), 2);
    assert!(config.admin_listen.explicit);
    assert_eq!(config.admin_names, ["metrics.aldis.example"]);
    assert_eq!(config.log.to_string(), "warn,aldis_server=debug");
    assert_eq!((config.registration, config.routing), (Registration::Closed, Routing::Open));
    assert!(config.stun_urls.is_empty() && !config.rooms_auto_create && !config.rate_limits);
    assert_eq!(config.turn.as_ref().map(|turn| turn.urls.len()), Some(2));
    assert_eq!((config.resume_window, config.trusted_proxy_hops), (Duration::ZERO, 2));
    assert_eq!(config.session_memory, 64 << 20);
}

#[test]
fn every_bad_value_is_refused_by_name_with_the_remedy() {
    let cases = [
        ("HOST", "aldis.example", "give an IP address"),
        ("PORT", "65536", "give a port"),
        ("PORT", "+1", "give a port"),
        ("PORT", "", "give a port"),
        ("DATABASE_URL", "mysql://ann:hush@db/x", "starts with sqlite:, postgres:// or"),
        ("SECRET_KEY", "hush", "at least 32 bytes"),
        ("ALGORITHM", "none", "give HS256 or EdDSA"),
        ("ACCESS_TOKEN_EXPIRE_MINUTES", "15m", "plain number of minutes"),
        ("ACCESS_TOKEN_EXPIRE_MINUTES", "0.07", "at least"),
        ("ACCESS_TOKEN_EXPIRE_MINUTES", "43201", "at most 43200"),
        ("ACCESS_TOKEN_EXPIRE_MINUTES", "inf", "plain number"),
        ("ACCESS_TOKEN_EXPIRE_MINUTES", "99999999999999999999999999999999", "plain number"),
        ("PASSWORD_HASH", "md5", "give argon2id or bcrypt"),
        ("ALDIS_DATA_DIR", "", "give a path"),
        ("ALDIS_PUBLIC_ORIGIN", "https://aldis.example/", "without a path"),
        ("ALDIS_PUBLIC_ORIGIN", "aldis.example", "give scheme and host"),
        ("ALDIS_PUBLIC_ORIGIN", "tauri://localhost", "https or http"),
        ("ALDIS_ALLOWED_ORIGINS", "*", "no wildcard"),
        ("ALDIS_ALLOWED_ORIGINS", "https://a.example,", "give scheme and host"),
        ("ALDIS_ADMIN_LISTEN", "19840", "give an IP address and port"),
        ("ALDIS_ADMIN_NAMES", "aldis:19840", "without a port"),
        ("ALDIS_NAME", " ", "give a name"),
        ("ALDIS_LOG", "warning", "give off, error, warn"),
        ("ALDIS_TLS_CERT", "", "give a path"),
        ("ALDIS_TLS_SELF_SIGNED", "yes", "give on or off"),
        ("ALDIS_REGISTRATION", "maybe", "give open or closed"),
        ("ALDIS_ROUTING", "closed", "give contacts or open"),
        ("ALDIS_ROOMS_AUTO_CREATE", "yes", "give on or off"),
        ("ALDIS_STUN_URLS", "stun.example", "give URLs such as stun:"),
        ("ALDIS_TURN_URLS", "stun:stun.example", "such as turn:"),
        ("ALDIS_TURN_URLS", "turn:2001:db8::1:3478", "needs brackets"),
        ("ALDIS_TURN_URLS", "turn:turn.example?transport=tls", "transport=udp"),
        ("ALDIS_TURN_SECRET", "", "give the secret"),
        ("ALDIS_RESUME_WINDOW", "-1", "from 0"),
        ("ALDIS_RESUME_WINDOW", "3601", "to 3600"),
        ("ALDIS_SESSION_MEMORY", "0", "from 1"),
        ("ALDIS_SESSION_MEMORY", "1.5", "a whole number"),
        ("ALDIS_TRUSTED_PROXY_HOPS", "256", "from 0 to 255"),
        ("ALDIS_RATE_LIMITS", "sometimes", "give on or off"),
    ];
    for (variable, value, remedy) in cases {
        let message = refusal(&[], &[(variable, value)]);
        assert!(message.starts_with(&format!("{variable}: ")) && message.contains(remedy), "{message}");
        assert!(!message.contains("hush"), "{message}");
    }
    let tested =
        |setting: &&setting::Setting| cases.iter().any(|(variable, ..)| *variable == setting.variable);
    let untested: Vec<_> = setting::ALL.iter().filter(|setting| !tested(setting)).collect();
    assert!(untested.iter().all(|setting| setting.variable == "ALDIS_TLS_KEY"), "{untested:?}");
}

#[test]
fn a_bad_value_is_refused_by_its_flag_or_line() {
    assert!(refusal(&["--port", "x"], &[]).starts_with("PORT (flag --port): \"x\""));
    let message = from_file("# first\n\nport = \"x\"\n").unwrap_err().to_string();
    assert!(message.contains("PORT (port in ") && message.contains("aldis.toml, line 3)"), "{message}");
    let message = from_file("[turn]\nsecret = 2020-01-01\n").unwrap_err().to_string();
    assert!(
        message.starts_with("ALDIS_TURN_SECRET (turn.secret in ") && message.contains("line 2"),
        "{message}"
    );
}

#[test]
fn the_shortest_token_lives_five_seconds() {
    let lifetime = |minutes| config(&[], &[("ACCESS_TOKEN_EXPIRE_MINUTES", minutes)]).access_token_lifetime;
    assert_eq!(lifetime("0.0833"), Duration::from_secs(5));
    assert_eq!(lifetime("0.25"), Duration::from_secs(15));
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_the_nearest_key() {
    let message = from_file("port = 1\ndatabse_url = \"sqlite:x\"\n").unwrap_err().to_string();
    assert!(message.contains("line 2") && message.contains("\"databse_url\""), "{message}");
    assert!(message.contains("write \"database_url\""), "{message}");
    let message = from_file("[tls]\ncret = \"x\"\n").unwrap_err().to_string();
    assert!(message.contains("line 2") && message.contains("write \"tls.cert\""), "{message}");
    for text in
        ["[logging]\n", "[logging]\nlevel = 1\n", "tls = 1\n", "port_file = \"x\"\n", "[rooms.auto_create]\n"]
    {
        let error = from_file(text).unwrap_err();
        assert!(matches!(error, ConfigError::UnknownKey { .. } | ConfigError::BadValue { .. }), "{error}");
    }
}

#[test]
fn a_syntax_error_names_the_line_and_quotes_nothing() {
    let message = from_file("port = 1\nsecret_key = \"hush\n").unwrap_err().to_string();
    assert!(message.contains("aldis.toml, line 2") && !message.contains("hush"), "{message}");
    let message = from_file("secret_key = hush\n").unwrap_err().to_string();
    assert!(message.contains("line 1") && !message.contains("hush"), "{message}");
}

#[test]
fn an_unknown_variable_is_refused_with_the_nearest_name() {
    assert!(refusal(&[], &[("ALDIS_PUBLIC_ORIGN", "x")]).contains("write \"ALDIS_PUBLIC_ORIGIN\""));
    assert!(refusal(&[], &[("ALDIS_DATABASE_URL", "x")]).contains("write \"DATABASE_URL\""));
    assert!(refusal(&[], &[("ALDIS_PORT", "9000")]).contains("write \"PORT\""));
    assert!(refusal(&[], &[("ALDIS_TLS_CERT_FILE", "x")]).contains("ALDIS_TLS_CERT"));
}

#[test]
fn an_unknown_variable_similar_to_no_setting_causes_a_warning() {
    let config = config(&[], &[("ALDIS_NONSENSE_ALTOGETHER", "x")]);
    assert!(config.warnings().iter().any(|warning| warning.contains("ALDIS_NONSENSE_ALTOGETHER")));
}

#[test]
fn the_line_end_of_an_environment_file_became_part_of_the_path() {
    let variables = [("DATABASE_URL", "sqlite:x.db\r"), ("ALDIS_DATA_DIR", "data\r\n"), ("PORT", "81\n")];
    let config = config(&[], &variables);
    assert_eq!(config.database_url.to_string(), "sqlite:x.db");
    assert_eq!((config.data_dir, config.listen.port()), (PathBuf::from("data"), 81));
}

#[test]
fn a_control_character_is_refused_in_every_setting_and_place() {
    for setting in setting::ALL {
        let message = refusal(&[], &[(setting.variable, "a\u{1b}[2Jb")]);
        assert!(message.starts_with(&format!("{}: ", setting.variable)), "{message}");
        assert!(message.contains("U+001B") && !message.contains('\u{1b}'), "{message}");
    }
    assert!(refusal(&["--data-dir", "a\rb"], &[]).contains("(flag --data-dir)"));
    let dir = TestDir::new();
    let secret = dir.file("secret", "a secret with a line break\nin its middle, and long enough\n");
    assert!(refusal(&[], &[("SECRET_KEY_FILE", &secret)]).contains("U+000A"));
    assert!(from_file("data_dir = \"a\\tb\"\n").unwrap_err().to_string().contains("U+0009"));
    assert!(refusal(&[], &[("ALDIS_CONFIG", "a\u{1b}b")]).contains("U+001B"));
}

#[test]
fn variables_of_other_programs_are_ignored() {
    let others = [
        ("PATH", "/bin"),
        ("ALDIS_POSTGRESQL_SERVICE_HOST", "10.0.0.2"),
        ("ALDIS_SERVICE_HOST", "10.0.0.1"),
        ("ALDIS_PORT", "tcp://10.0.0.1:80"),
        ("ALDIS_PORT_80_TCP_PROTO", "tcp"),
    ];
    assert_eq!(config_port(&[], &others), 8000);
}

#[test]
fn a_variable_that_is_not_utf8_is_refused() {
    use std::os::unix::ffi::OsStringExt;
    let variables = [("PORT".into(), OsString::from_vec(vec![0xff]))];
    let error = Config::load(["aldis".into()], variables).unwrap_err().to_string();
    assert!(error.starts_with("PORT: not valid UTF-8"), "{error}");
}

#[test]
fn an_unknown_flag_is_refused_with_the_nearest_one() {
    assert!(refusal(&["--prot", "1"], &[]).contains("--port"));
    assert!(matches!(load(&["extra"], &[]), Err(ConfigError::Usage(_))));
    assert!(matches!(load(&["--port", "1", "--port", "2"], &[]), Err(ConfigError::Usage(_))));
}

#[test]
fn a_secret_is_read_from_the_file_that_is_named() {
    let dir = TestDir::new();
    let secret = dir.file("secret", &format!("{LONG_SECRET}\r\n"));
    let database = dir.file("database", "postgres://ann:hush@db/aldis\n");
    let key = Some(SecretText::new(LONG_SECRET.to_owned()));
    assert_eq!(config(&[], &[("SECRET_KEY_FILE", &secret)]).secret_key, key);
    assert_eq!(config(&["--secret-key-file", &secret], &[]).secret_key, key);
    let config = config(&[], &[("DATABASE_URL_FILE", &database)]);
    assert_eq!(config.database_url.to_string(), "postgres://ann:***@db:5432/aldis");
    let Ok(Loaded::Run(config)) = from_file(&format!("secret_key_file = \"{secret}\"")) else {
        panic!("refused")
    };
    assert_eq!(config.secret_key, key);
}

#[test]
fn a_bad_secret_file_is_refused_without_being_quoted() {
    let dir = TestDir::new();
    let short = dir.file("short", "hush\n");
    let message = refusal(&[], &[("SECRET_KEY_FILE", &short)]);
    assert!(message.starts_with("SECRET_KEY (in the file of SECRET_KEY_FILE)"), "{message}");
    assert!(!message.contains("hush"), "{message}");
    let message = refusal(&[], &[("SECRET_KEY_FILE", "not there")]);
    assert!(message.starts_with("SECRET_KEY_FILE: cannot read not there"), "{message}");
    let long = dir.file("long", &"x".repeat(100_000));
    assert!(refusal(&[], &[("ALDIS_TURN_SECRET_FILE", &long)]).contains("too large"));
}

#[test]
fn a_secret_given_twice_in_one_place_is_refused() {
    let message = refusal(&[], &[("SECRET_KEY", LONG_SECRET), ("SECRET_KEY_FILE", "x")]);
    assert!(message.contains("both set") && !message.contains(LONG_SECRET), "{message}");
    assert_eq!(
        config(&["--turn-secret", "a"], &[("ALDIS_TURN_SECRET_FILE", "x"), ("ALDIS_TURN_URLS", "turn:t")])
            .turn
            .map(|turn| turn.secret),
        Some(SecretText::new("a".to_owned()))
    );
}

#[test]
fn half_of_a_pair_is_refused() {
    assert!(refusal(&[], &[("ALDIS_TLS_CERT", "c")]).contains("without ALDIS_TLS_KEY"));
    assert!(refusal(&[], &[("ALDIS_TLS_KEY", "k")]).contains("without ALDIS_TLS_CERT"));
    assert!(refusal(&[], &[("ALDIS_TURN_URLS", "turn:t")]).contains("without ALDIS_TURN_SECRET"));
}

#[test]
fn help_names_every_flag_with_its_variable() {
    let help = printed(&["--help"], &[("SECRET_KEY", LONG_SECRET)]);
    for setting in setting::ALL {
        assert!(help.contains(&format!("--{} ", setting.flag())), "{}", setting.variable);
        assert!(help.contains(&format!("[env: {}]", setting.variable)), "{}", setting.variable);
    }
    for name in ["--config ", "[env: ALDIS_CONFIG]", "--check-config", "[env: SECRET_KEY_FILE]"] {
        assert!(help.contains(name), "{name}");
    }
    assert!(!help.contains(LONG_SECRET));
    assert!(printed(&["--version"], &[]).starts_with("aldis "));
}

#[test]
fn the_check_prints_each_setting_and_its_source() {
    let variables = [
        ("SECRET_KEY", LONG_SECRET),
        ("DATABASE_URL", "postgres://ann:hush@db/aldis"),
        ("ALDIS_TURN_URLS", "turn:t"),
        ("ALDIS_TURN_SECRET", "shared-with-turn"),
    ];
    let text = printed(&["--check-config", "--host", "0.0.0.0"], &variables);
    for line in [
        "HOST = 0.0.0.0 (flag --host)",
        "PORT = 8000 (default)",
        "DATABASE_URL = postgres://ann:***@db:5432/aldis (environment)",
        "SECRET_KEY = *** (environment)",
        "ALDIS_TURN_SECRET = *** (environment)",
        "ALDIS_TLS_CERT: not set",
    ] {
        assert!(text.lines().any(|printed| printed == line), "{line}\n{text}");
    }
    assert!(text.contains("warning: listening on 0.0.0.0:8000 without TLS"), "{text}");
    for secret in [LONG_SECRET, "hush", "shared-with-turn"] {
        assert!(!text.contains(secret), "{text}");
    }
    assert!(matches!(load(&["--check-config", "--port", "x"], &[]), Err(ConfigError::BadValue { .. })));
}

#[test]
fn secrets_are_never_printed() {
    let variables = [
        ("SECRET_KEY", LONG_SECRET),
        ("DATABASE_URL", "postgres://ann:hush@db/aldis"),
        ("ALDIS_TURN_URLS", "turn:t"),
        ("ALDIS_TURN_SECRET", "shared-with-turn"),
    ];
    let text = format!("{:?}", config(&[], &variables));
    assert!(![LONG_SECRET, "hush", "shared-with-turn"].iter().any(|secret| text.contains(secret)), "{text}");
}

#[test]
fn risky_settings_cause_warnings() {
    let warnings = |variables: &[(&str, &str)]| config(&[], variables).warnings().join("\n");
    assert_eq!(warnings(&[]), "");
    assert_eq!(warnings(&[("HOST", "::1"), ("ALDIS_RATE_LIMITS", "off")]), "");
    let open = warnings(&[("HOST", "0.0.0.0")]);
    assert!(open.contains("without TLS") && open.contains("421 public_origin_required"), "{open}");
    let safe = [
        ("HOST", "::"),
        ("ALDIS_PUBLIC_ORIGIN", "https://aldis.example"),
        ("ALDIS_TLS_CERT", "c"),
        ("ALDIS_TLS_KEY", "k"),
    ];
    assert_eq!(warnings(&safe), "");
    assert!(warnings(&[("ALDIS_ADMIN_LISTEN", "0.0.0.0:19840")]).contains("metrics"));
    assert!(warnings(&[("SECRET_KEY", LONG_SECRET), ("ALGORITHM", "EdDSA")]).contains("no effect"));
}

#[test]
fn a_self_signed_certificate_excludes_files() {
    assert_eq!(config(&[], &[("ALDIS_TLS_SELF_SIGNED", "1")]).tls, Some(Tls::SelfSigned));
    assert_eq!(config(&[], &[("ALDIS_TLS_SELF_SIGNED", "0")]).tls, None);
    let both = refusal(&["--tls-cert", "c", "--tls-key", "k"], &[("ALDIS_TLS_SELF_SIGNED", "on")]);
    assert_eq!(both, "ALDIS_TLS_SELF_SIGNED and ALDIS_TLS_CERT are both set; remove one");
}
