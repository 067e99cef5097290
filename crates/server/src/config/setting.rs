//! The table of all settings. The flags, the environment, the file, `--help` and `--check-config` all use it.

/// One setting under its three names.
#[derive(Debug)]
pub(super) struct Setting {
    /// The key in the file; a dot separates section and key. The flag is the same with hyphens.
    pub(super) key: &'static str,
    pub(super) variable: &'static str,
    /// The default value; empty for none.
    pub(super) default: &'static str,
    /// Whether the value is secret; then it also has a `…_FILE` form.
    pub(super) secret: bool,
    /// Whether a running server takes a changed value on SIGHUP.
    pub(super) reloads: bool,
    pub(super) value_name: &'static str,
    pub(super) help: &'static str,
}

impl Setting {
    /// The same, taken by a running server on SIGHUP.
    const fn reloading(self) -> Self {
        Self { reloads: true, ..self }
    }

    pub(super) fn flag(&self) -> String {
        self.key.replace(['.', '_'], "-")
    }

    pub(super) fn file_variable(&self) -> String {
        format!("{}_FILE", self.variable)
    }

    pub(super) fn file_flag(&self) -> String {
        format!("{}-file", self.flag())
    }

    pub(super) fn file_key(&self) -> String {
        format!("{}_file", self.key)
    }

    /// The value as an error message may show it.
    pub(super) fn shown(&self, text: &str) -> String {
        if self.secret { MASK.to_owned() } else { text.escape_debug().to_string() }
    }
}

const MASK: &str = "***";

/// A setting that is not secret.
const fn public(
    key: &'static str,
    variable: &'static str,
    default: &'static str,
    value_name: &'static str,
    help: &'static str,
) -> Setting {
    Setting { key, variable, default, secret: false, reloads: false, value_name, help }
}

pub(super) static HOST: Setting =
    public("host", "HOST", "127.0.0.1", "ADDRESS", "IP address to listen on, or localhost");
pub(super) static PORT: Setting =
    public("port", "PORT", "8000", "PORT", "Port to listen on; 0 for any free port");
pub(super) static DATABASE_URL: Setting = Setting {
    key: "database_url",
    variable: "DATABASE_URL",
    default: "sqlite:aldis.db",
    secret: true,
    reloads: false,
    value_name: "URL",
    help: "sqlite:FILE (created if missing) or postgres://USER:PASSWORD@HOST/NAME",
};
pub(super) static SECRET_KEY: Setting = Setting {
    key: "secret_key",
    variable: "SECRET_KEY",
    default: "",
    secret: true,
    reloads: false,
    value_name: "TEXT",
    help: "Key of HS256 tokens, at least 32 bytes; by default derived from the key file. \
           Other users of the machine can see it in a flag",
};
pub(super) static ALGORITHM: Setting =
    public("algorithm", "ALGORITHM", "HS256", "NAME", "Algorithm of access tokens: HS256 or EdDSA");
pub(super) static ACCESS_TOKEN_EXPIRE_MINUTES: Setting = public(
    "access_token_expire_minutes",
    "ACCESS_TOKEN_EXPIRE_MINUTES",
    "15",
    "MINUTES",
    "Lifetime of access tokens; fractions allowed, at least 5 seconds",
);
pub(super) static PASSWORD_HASH: Setting = public(
    "password_hash",
    "PASSWORD_HASH",
    "argon2id",
    "NAME",
    "Algorithm of new password hashes: argon2id or bcrypt",
);
pub(super) static DATA_DIR: Setting =
    public("data_dir", "ALDIS_DATA_DIR", ".", "DIRECTORY", "Directory of the key file aldis.key; must exist");
pub(super) static NAME: Setting = public(
    "name",
    "ALDIS_NAME",
    "",
    "TEXT",
    "Name of this server in authenticator apps and on pages; by default the host of the public origin, else Aldis",
);
pub(super) static PUBLIC_ORIGIN: Setting = public(
    "public_origin",
    "ALDIS_PUBLIC_ORIGIN",
    "",
    "ORIGIN",
    "Where clients reach this server, for example https://aldis.example",
);
pub(super) static ALLOWED_ORIGINS: Setting = public(
    "allowed_origins",
    "ALDIS_ALLOWED_ORIGINS",
    "",
    "LIST",
    "Origins of other web pages that may call this server, separated by commas; also loopback, null, file://",
)
.reloading();
pub(super) static ADMIN_LISTEN: Setting = public(
    "admin_listen",
    "ALDIS_ADMIN_LISTEN",
    "127.0.0.1:19840",
    "ADDRESS:PORT",
    "Address of the admin listener, which serves /metrics",
);
pub(super) static ADMIN_NAMES: Setting = public(
    "admin_names",
    "ALDIS_ADMIN_NAMES",
    "",
    "LIST",
    "Host names for the admin listener, besides loopback names and its address, separated by commas",
)
.reloading();
pub(super) static LOG: Setting = public(
    "log",
    "ALDIS_LOG",
    "info",
    "LEVELS",
    "Log levels: off, error, warn, info, debug or trace, or levels by module, for example \
     info,aldis_server::store=debug",
)
.reloading();
pub(super) static TLS_CERT: Setting =
    public("tls.cert", "ALDIS_TLS_CERT", "", "FILE", "Certificate chain, PEM; read again when it changes");
pub(super) static TLS_KEY: Setting =
    public("tls.key", "ALDIS_TLS_KEY", "", "FILE", "Private key of the certificate, PEM");
pub(super) static TLS_SELF_SIGNED: Setting = public(
    "tls.self_signed",
    "ALDIS_TLS_SELF_SIGNED",
    "off",
    "BOOL",
    "Serve TLS with a certificate that the server makes and signs itself; for a first try",
);
pub(super) static REGISTRATION: Setting = public(
    "registration",
    "ALDIS_REGISTRATION",
    "open",
    "WORD",
    "Whether users can register: open or closed",
)
.reloading();
pub(super) static ROUTING: Setting = public(
    "routing",
    "ALDIS_ROUTING",
    "contacts",
    "WORD",
    "Which users can reach each other: contacts, or open (everyone who is not blocked)",
);
pub(super) static ROOMS_AUTO_CREATE: Setting = public(
    "rooms.auto_create",
    "ALDIS_ROOMS_AUTO_CREATE",
    "true",
    "BOOL",
    "Whether joining an unknown room creates it",
)
.reloading();
pub(super) static STUN_URLS: Setting = public(
    "stun.urls",
    "ALDIS_STUN_URLS",
    "stun:stun.l.google.com:19302,stun:stun1.l.google.com:19302",
    "LIST",
    "STUN servers for clients, separated by commas; empty for none",
)
.reloading();
pub(super) static TURN_URLS: Setting =
    public("turn.urls", "ALDIS_TURN_URLS", "", "LIST", "TURN servers for clients, separated by commas")
        .reloading();
pub(super) static TURN_SECRET: Setting = Setting {
    key: "turn.secret",
    variable: "ALDIS_TURN_SECRET",
    default: "",
    secret: true,
    reloads: true,
    value_name: "TEXT",
    help: "Secret shared with the TURN servers (coturn: static-auth-secret). \
           Other users of the machine can see it in a flag",
};
pub(super) static RESUME_WINDOW: Setting = public(
    "resume_window",
    "ALDIS_RESUME_WINDOW",
    "30",
    "SECONDS",
    "How long a session without a connection waits for its client",
)
.reloading();
pub(super) static SESSION_MEMORY: Setting = public(
    "session_memory",
    "ALDIS_SESSION_MEMORY",
    "256",
    "MIB",
    "Memory that all sessions together may hold for clients that are away or read slowly, in MiB",
)
.reloading();
pub(super) static TRUSTED_PROXY_HOPS: Setting = public(
    "trusted_proxy_hops",
    "ALDIS_TRUSTED_PROXY_HOPS",
    "0",
    "NUMBER",
    "Number of proxies that append to X-Forwarded-For; 0 ignores the header",
);
pub(super) static RATE_LIMITS: Setting = public(
    "rate_limits",
    "ALDIS_RATE_LIMITS",
    "on",
    "BOOL",
    "on, or off to lift every limit by address, user, device and pair",
);

/// Every setting, in the order of `--help`, `--check-config` and the documentation.
pub(super) static ALL: &[&Setting] = &[
    &HOST,
    &PORT,
    &DATABASE_URL,
    &SECRET_KEY,
    &ALGORITHM,
    &ACCESS_TOKEN_EXPIRE_MINUTES,
    &PASSWORD_HASH,
    &DATA_DIR,
    &NAME,
    &PUBLIC_ORIGIN,
    &ALLOWED_ORIGINS,
    &ADMIN_LISTEN,
    &ADMIN_NAMES,
    &LOG,
    &TLS_CERT,
    &TLS_KEY,
    &TLS_SELF_SIGNED,
    &REGISTRATION,
    &ROUTING,
    &ROOMS_AUTO_CREATE,
    &STUN_URLS,
    &TURN_URLS,
    &TURN_SECRET,
    &RESUME_WINDOW,
    &SESSION_MEMORY,
    &TRUSTED_PROXY_HOPS,
    &RATE_LIMITS,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_its_key_in_capitals_with_or_without_the_prefix() {
        for setting in ALL {
            let capitals = setting.key.replace('.', "_").to_uppercase();
            assert_eq!(setting.variable.trim_start_matches("ALDIS_"), capitals);
        }
    }

    #[test]
    fn the_documentation_names_the_settings_that_reload() {
        let page = include_str!("../../../../docs/configuration.md");
        let listed = page.split("These settings are then in force").nth(1).unwrap();
        let listed = listed.split(". A new resume window").next().unwrap();
        let listed: Vec<&str> = listed.split('`').skip(1).step_by(2).collect();
        let reloading = ALL.iter().filter(|setting| setting.reloads).map(|setting| setting.variable);
        assert_eq!(listed, reloading.collect::<Vec<_>>());
    }

    #[test]
    fn the_documentation_has_every_setting_with_its_names_and_default() {
        let page = include_str!("../../../../docs/configuration.md");
        for setting in ALL {
            let row = format!("| `{}` | `--{}` | `{}` |", setting.variable, setting.flag(), setting.key);
            let row = page.lines().find(|line| line.starts_with(&row)).unwrap_or_else(|| panic!("{row}"));
            assert!(row.contains(&setting.default.replace(',', "`, `")), "{row}");
        }
    }
}
