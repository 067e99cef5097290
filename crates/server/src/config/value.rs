//! Parses the values of settings. An error says what to write instead.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use aldis_auth::MIN_SECRET_BYTES;

use super::{AllowedOrigin, InvalidLogFilter, LogFilter, Origin, SecretText, ice_url, layers::Remedy};
use crate::store::{DatabaseUrl, InvalidDatabaseUrl};

pub(super) fn address(text: &str) -> Result<IpAddr, Remedy> {
    if text.eq_ignore_ascii_case("localhost") {
        return Ok(Ipv4Addr::LOCALHOST.into());
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse().map_err(|_| "give an IP address such as 127.0.0.1, 0.0.0.0 or ::, or localhost".into())
}

pub(super) fn port(text: &str) -> Result<u16, Remedy> {
    number(text, "give a port from 0 to 65535 (0 for any free port)")
}

pub(super) fn socket_address(text: &str) -> Result<SocketAddr, Remedy> {
    let remedy = "give an IP address and port, such as 127.0.0.1:19840 or [::1]:19840";
    if let Some(("localhost", digits)) = text.rsplit_once(':') {
        return Ok((Ipv4Addr::LOCALHOST, number(digits, remedy)?).into());
    }
    text.parse().map_err(|_| remedy.into())
}

pub(super) fn hops(text: &str) -> Result<u8, Remedy> {
    number(text, "give the number of proxies in front of the server, from 0 to 255")
}

pub(super) fn boolean(text: &str) -> Result<bool, Remedy> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "on" | "1" => Ok(true),
        "false" | "off" | "0" => Ok(false),
        _ => Err("give on or off (true or false)".into()),
    }
}

/// One of a few words, in upper or lower case.
pub(super) fn word<T: Copy>(words: &'static [(&'static str, T)]) -> impl Fn(&str) -> Result<T, Remedy> {
    move |text| {
        let found = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
        found.map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            format!("give {}", words.join(" or ")).into()
        })
    }
}

/// The lifetime of access tokens, in whole seconds like their claims. The upper bound is the idle lifetime of a
/// refresh token: a token that lives longer would stay valid after its sign-in has expired.
pub(super) fn token_minutes(text: &str) -> Result<Duration, Remedy> {
    let minutes = decimal(text).map(|minutes| Duration::from_secs_f64((minutes * 60.0).round()));
    minutes.filter(|lifetime| (MIN_TOKEN_LIFETIME..=MAX_TOKEN_LIFETIME).contains(lifetime)).ok_or_else(|| {
        "give a plain number of minutes, at least 0.0833 (5 s), at most 43200 (30 days)".into()
    })
}

/// The resume window. The upper bound keeps sessions of clients that never come back from piling up.
pub(super) fn resume_seconds(text: &str) -> Result<Duration, Remedy> {
    decimal(text)
        .map(Duration::from_secs_f64)
        .filter(|window| *window <= MAX_RESUME_WINDOW)
        .ok_or_else(|| "give a plain number of seconds, from 0 (none) to 3600".into())
}

/// A number of MiB, returned in bytes.
pub(super) fn mebibytes(text: &str) -> Result<usize, Remedy> {
    let count = text.parse().ok().filter(|count| (1..=1 << 20).contains(count));
    count
        .map(|count: usize| count << 20)
        .ok_or_else(|| "give a whole number of MiB, from 1 to 1048576".into())
}

pub(super) fn path(text: &str) -> Result<PathBuf, Remedy> {
    if text.is_empty() || text.contains('\0') { Err("give a path".into()) } else { Ok(text.into()) }
}

pub(super) fn database_url(text: &str) -> Result<DatabaseUrl, Remedy> {
    text.parse().map_err(|error: InvalidDatabaseUrl| error.to_string().into())
}

pub(super) fn secret_key(text: &str) -> Result<SecretText, Remedy> {
    if text.len() < MIN_SECRET_BYTES {
        return Err(
            "give at least 32 bytes, for example from `openssl rand -base64 48`, or leave it out".into()
        );
    }
    Ok(SecretText::new(text.to_owned()))
}

pub(super) fn log_filter(text: &str) -> Result<LogFilter, Remedy> {
    text.parse().map_err(|error: InvalidLogFilter| error.to_string().into())
}

/// Host names as in a `Host` header, without a port.
pub(super) fn host_names(text: &str) -> Result<Vec<String>, Remedy> {
    list(text, |name| {
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
        let is_name = plain && name.starts_with(|first: char| first.is_ascii_alphanumeric());
        if is_name { Ok(name.to_ascii_lowercase()) } else { Err("give host names without a port".into()) }
    })
}

pub(super) fn turn_secret(text: &str) -> Result<SecretText, Remedy> {
    if text.is_empty() {
        return Err("give the secret of the TURN servers, or leave it out".into());
    }
    Ok(SecretText::new(text.to_owned()))
}

/// Where clients reach the server, so the scheme must be one that they can dial.
pub(super) fn public_origin(text: &str) -> Result<Origin, Remedy> {
    let origin = origin(text)?;
    match origin.scheme() {
        "https" | "http" => Ok(origin),
        _ => Err("give an origin with https or http, such as https://aldis.example".into()),
    }
}

/// The name that people see, also in a QR code.
pub(super) fn name(text: &str) -> Result<String, Remedy> {
    let is_shown = !text.trim().is_empty() && !text.chars().any(char::is_control);
    if is_shown && text.len() <= MAX_NAME_BYTES {
        Ok(text.trim().to_owned())
    } else {
        Err("give a name of 1 to 64 bytes without control characters".into())
    }
}

pub(super) fn origins(text: &str) -> Result<Vec<AllowedOrigin>, Remedy> {
    list(text, allowed_origin)
}

pub(super) fn stun_urls(text: &str) -> Result<Vec<String>, Remedy> {
    list(text, |url| {
        ice_url(url, ice_url::Kind::Stun, "give URLs such as stun:stun.example:3478, separated by commas")
    })
}

pub(super) fn turn_urls(text: &str) -> Result<Vec<String>, Remedy> {
    let remedy = "give one or more URLs such as turn:turn.example:3478?transport=udp, separated by commas";
    let urls = list(text, |url| ice_url(url, ice_url::Kind::Turn, remedy))?;
    if urls.is_empty() { Err(remedy.into()) } else { Ok(urls) }
}

const MIN_TOKEN_LIFETIME: Duration = Duration::from_secs(5);
const MAX_TOKEN_LIFETIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);
const MAX_RESUME_WINDOW: Duration = Duration::from_secs(60 * 60);
const MAX_NAME_BYTES: usize = 64;
/// Each entry is compared with every cross-origin request, or sent to every client.
const MAX_LIST_ITEMS: usize = 64;

/// Digits only: `parse` alone would accept a plus sign.
fn number<T: std::str::FromStr>(text: &str, remedy: &'static str) -> Result<T, Remedy> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or_else(|| remedy.into())
}

/// Digits with at most one point: no sign, exponent, infinity or unit. A very long one becomes a number that is too
/// large.
fn decimal(text: &str) -> Option<f64> {
    let plain = text.len() <= 32 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse().ok().filter(|value: &f64| plain && *value < MAX_DECIMAL)
}

/// Above every accepted duration, and below the limit of `Duration`.
const MAX_DECIMAL: f64 = 1e9;

fn list<T>(text: &str, parse: impl Fn(&str) -> Result<T, Remedy>) -> Result<Vec<T>, Remedy> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    if text.split(',').count() > MAX_LIST_ITEMS {
        return Err("give at most 64 of them".into());
    }
    text.split(',').map(|item| parse(item.trim())).collect()
}

fn allowed_origin(text: &str) -> Result<AllowedOrigin, Remedy> {
    text.parse().map_err(|error: super::InvalidOrigin| error.remedy().into())
}

fn origin(text: &str) -> Result<Origin, Remedy> {
    text.parse().map_err(|error: super::InvalidOrigin| error.remedy().into())
}

fn ice_url(text: &str, kind: ice_url::Kind, remedy: &'static str) -> Result<String, Remedy> {
    match ice_url::check(text, kind) {
        Ok(()) => Ok(text.to_owned()),
        Err(problem) => Err(format!("{problem}; {remedy}").into()),
    }
}
