//! The settings in force, as `check-config` prints them, and warnings for an operator.

use std::fmt::Write;

use serde::Serialize;

use super::{
    Config, Place, Tls, TokenAlgorithm,
    key_file::FILE_NAME,
    layers::Settings,
    setting::{self, Setting},
};

/// A setting in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct SettingInForce {
    /// Its variable.
    pub(crate) name: &'static str,
    /// Its value, masked where it is secret; `None` if it is not set and has no default.
    pub(crate) value: Option<String>,
    /// Where it was set: `default`, `environment`, or the name of a flag, a variable or a file.
    pub(crate) source: String,
}

/// All settings, in the order of the documentation.
pub(super) fn in_force(settings: &Settings, config: &Config) -> Vec<SettingInForce> {
    setting::ALL.iter().map(|setting| one_in_force(setting, settings, config)).collect()
}

/// One line for each setting, with its source, then the warnings.
pub(super) fn text(config: &Config) -> String {
    let mut text = String::new();
    for setting in &config.in_force {
        text.push_str(&line(setting));
        text.push('\n');
    }
    for warning in config.warnings() {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "warning: {warning}");
    }
    text
}

/// The same as JSON.
pub(super) fn json(config: &Config) -> String {
    let report = serde_json::json!({ "settings": config.in_force, "warnings": config.warnings() });
    format!("{report:#}\n")
}

pub(super) fn warnings(config: &Config) -> Vec<String> {
    let exposed = !config.listen.ip().is_loopback();
    let listen = config.listen;
    let mut warnings = Vec::new();
    if exposed && config.tls.is_none() {
        warnings.push(format!(
            "listening on {listen} without TLS: tokens and passwords travel readable; set ALDIS_TLS_CERT and \
             ALDIS_TLS_KEY, or let a TLS proxy stand in front"
        ));
    }
    if config.tls == Some(Tls::SelfSigned) {
        warnings.push(
            "serving a self-signed certificate (ALDIS_TLS_SELF_SIGNED): clients cannot tell this server from an \
             impostor unless they compare the fingerprint; for production set ALDIS_TLS_CERT and ALDIS_TLS_KEY"
                .to_owned(),
        );
    }
    if exposed && config.public_origin.is_none() {
        warnings.push(format!(
            "listening on {listen} without ALDIS_PUBLIC_ORIGIN: challenge calls and /v1/connect will answer 421 \
             public_origin_required, except by loopback names; set it, as https://aldis.example"
        ));
    }
    if exposed && !config.rate_limits {
        warnings.push(format!(
            "listening on {listen} with ALDIS_RATE_LIMITS=off: anybody can guess passwords as fast as the server \
             answers; leave it on outside of tests"
        ));
    }
    if !config.admin_listen.address.ip().is_loopback() {
        let address = config.admin_listen.address;
        warnings.push(format!(
            "metrics on {address} can be read by anyone who reaches it; see ALDIS_ADMIN_LISTEN"
        ));
    }
    for variable in &config.unknown_variables {
        warnings.push(format!("{variable} is no setting of this server and has no effect"));
    }
    if config.algorithm == TokenAlgorithm::EdDsa && config.secret_key.is_some() {
        warnings.push("SECRET_KEY has no effect with ALGORITHM=EdDSA; remove it".to_owned());
    }
    warnings
}

fn one_in_force(setting: &Setting, settings: &Settings, config: &Config) -> SettingInForce {
    let place = settings.place(setting);
    let is_variable = matches!(place, Place::Variable(name) if name == setting.variable);
    let source = if is_variable { " (environment)".to_owned() } else { place.to_string() };
    let value = match (settings.text(setting), setting.default) {
        (None, "") => None,
        _ if is(setting, &setting::DATABASE_URL) => Some(config.database_url.to_string()),
        (text, default) => Some(setting.shown(text.unwrap_or(default))),
    };
    let source = source.trim_start_matches(" (").trim_end_matches(')').to_owned();
    SettingInForce { name: setting.variable, value, source }
}

fn line(setting: &SettingInForce) -> String {
    let SettingInForce { name, value, source } = setting;
    match value {
        Some(value) => format!("{name} = {value} ({source})"),
        None if *name == setting::SECRET_KEY.variable => {
            format!("{name}: not set; the key file {FILE_NAME} serves")
        }
        None => format!("{name}: not set"),
    }
}

fn is(setting: &Setting, other: &Setting) -> bool {
    setting.variable == other.variable
}
