//! The output of `--check-config`, and warnings for an operator.

use std::fmt::Write;

use super::{
    Config, Place, Tls, TokenAlgorithm,
    key_file::FILE_NAME,
    layers::Settings,
    setting::{self, Setting},
};

/// One line for each setting, with its source, then the warnings.
pub(super) fn in_force(settings: &Settings, config: &Config) -> String {
    let mut text = String::new();
    for setting in setting::ALL {
        text.push_str(&line(setting, settings, config));
        text.push('\n');
    }
    for warning in config.warnings() {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "warning: {warning}");
    }
    text
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

fn line(setting: &Setting, settings: &Settings, config: &Config) -> String {
    let place = settings.place(setting);
    let in_environment = matches!(place, Place::Variable(name) if name == setting.variable);
    let source = if in_environment { " (environment)".to_owned() } else { place.to_string() };
    match (settings.text(setting), setting.default) {
        (None, "") => format!("{}: {}", setting.variable, when_left_out(setting)),
        _ if is(setting, &setting::DATABASE_URL) => {
            format!("{} = {}{source}", setting.variable, config.database_url)
        }
        (text, default) => {
            format!("{} = {}{source}", setting.variable, setting.shown(text.unwrap_or(default)))
        }
    }
}

fn when_left_out(setting: &Setting) -> String {
    if is(setting, &setting::SECRET_KEY) {
        format!("not set; the key file {FILE_NAME} serves")
    } else {
        "not set".to_owned()
    }
}

fn is(setting: &Setting, other: &Setting) -> bool {
    setting.variable == other.variable
}
