//! The environment.

use std::ffi::{OsStr, OsString};

use super::{
    BACKUP_PASSPHRASE_VARIABLE, CONFIG_VARIABLE, ConfigError, Place,
    layers::{Given, Layer},
    nearest::nearest,
    setting,
};

/// The server's variables.
pub(super) struct Environment {
    pub(super) layer: Layer,
    /// Variables with the server's prefix that are no settings and not similar to one.
    pub(super) unknown: Vec<String>,
}

/// Takes the server's variables and ignores all others. An `ALDIS_` variable with a name close to a setting's is a
/// typing error that would otherwise go unnoticed. Any other one may belong to other software and is not refused.
pub(super) fn parse(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Environment, ConfigError> {
    let known = known();
    let mut environment = Environment { layer: Layer::new(), unknown: Vec::new() };
    for (name, value) in variables {
        let Some(name) = name.to_str() else { continue };
        if known.iter().any(|known| known == name) {
            let given = Given::new(text(name, value)?, Place::Variable(name.to_owned()));
            environment.layer.insert(name.to_owned(), given);
        } else if name.starts_with(PREFIX) && !is_service_link(name, &value) {
            match meant(name, &known) {
                Some(nearest) => {
                    return Err(ConfigError::UnknownVariable { variable: name.to_owned(), nearest });
                }
                None => environment.unknown.push(name.to_owned()),
            }
        }
    }
    Ok(environment)
}

const PREFIX: &str = "ALDIS_";
/// The suffix of a variable for a secret's file; other settings have none.
const FILE_FORM: &str = "_FILE";

fn known() -> Vec<String> {
    let settings = setting::ALL.iter().flat_map(|setting| {
        let file_form = setting.secret.then(|| setting.file_variable());
        [setting.variable.to_owned()].into_iter().chain(file_form)
    });
    settings.chain([CONFIG_VARIABLE, BACKUP_PASSPHRASE_VARIABLE].map(str::to_owned)).collect()
}

/// Kubernetes sets such variables in each pod for every service of its namespace. A service named `aldis-postgresql`
/// gives `ALDIS_POSTGRESQL_SERVICE_HOST`, `…_SERVICE_PORT`, `…_SERVICE_PORT_<name>`, `ALDIS_POSTGRESQL_PORT=tcp://…`,
/// `ALDIS_POSTGRESQL_PORT_5432_TCP`, `…_PORT_5432_TCP_ADDR` and the like.
fn is_service_link(name: &str, value: &OsStr) -> bool {
    let is_url = value.to_str().is_some_and(|value| value.contains("://"));
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || (name.ends_with("_PORT") && is_url)
        || name.match_indices("_PORT_").any(|(at, port)| begins_with_a_port(&name[at + port.len()..]))
}

/// Whether the text begins with a number and an underscore.
fn begins_with_a_port(rest: &str) -> bool {
    rest.split_once('_')
        .is_some_and(|(port, _)| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
}

fn text(name: &str, value: OsString) -> Result<String, ConfigError> {
    value.into_string().map_err(|_| ConfigError::NotText { variable: name.to_owned() })
}

/// The setting whose name is close to this one. Both have the prefix, so it does not count as similarity.
fn meant(name: &str, known: &[String]) -> Option<String> {
    let bare = name.trim_start_matches(PREFIX);
    let exact = known.iter().find(|known| [Some(bare), name.strip_suffix(FILE_FORM)].contains(&Some(known)));
    exact.cloned().or_else(|| {
        let near = nearest(bare, known.iter().filter_map(|known| known.strip_prefix(PREFIX)))?;
        Some(format!("{PREFIX}{near}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(name: &str, value: &str) -> Result<Environment, ConfigError> {
        parse([(name.into(), value.into())])
    }

    #[test]
    fn a_kubernetes_service_whose_name_begins_with_aldis_stopped_the_start() {
        for (name, value) in [
            ("ALDIS_POSTGRESQL_SERVICE_HOST", "10.96.0.7"),
            ("ALDIS_POSTGRESQL_SERVICE_PORT", "5432"),
            ("ALDIS_POSTGRESQL_SERVICE_PORT_TCP_POSTGRESQL", "5432"),
            ("ALDIS_POSTGRESQL_PORT", "tcp://10.96.0.7:5432"),
            ("ALDIS_POSTGRESQL_PORT_5432_TCP", "tcp://10.96.0.7:5432"),
            ("ALDIS_POSTGRESQL_PORT_5432_TCP_PROTO", "tcp"),
            ("ALDIS_PORT", "tcp://10.96.0.8:8000"),
            ("ALDIS_PORT_8000_TCP_ADDR", "10.96.0.8"),
            ("ALDIS_SERVICE_HOST", "10.96.0.8"),
            ("ALDIS_TURN_URL_SERVICE_HOST", "10.96.0.9"),
        ] {
            let environment = parsed(name, value).unwrap();
            assert!(environment.unknown.is_empty() && environment.layer.is_empty(), "{name}");
        }
    }

    #[test]
    fn an_unknown_name_is_an_error_only_near_a_setting() {
        for (name, expected) in [
            ("ALDIS_RUTING", "ALDIS_ROUTING"),
            ("ALDIS_PORT", "PORT"),
            ("ALDIS_DATABASE_URL", "DATABASE_URL"),
            ("ALDIS_LOGS", "ALDIS_LOG"),
            ("ALDIS_TURN_URL", "ALDIS_TURN_URLS"),
            ("ALDIS_ROUTING_FILE", "ALDIS_ROUTING"),
        ] {
            match parsed(name, "8000") {
                Err(ConfigError::UnknownVariable { nearest, .. }) => assert_eq!(nearest, expected, "{name}"),
                other => panic!("{name}: {:?}", other.map(|environment| environment.unknown)),
            }
        }
        for name in ["ALDIS_IMAGE", "ALDIS_HELM_RELEASE", "ALDIS_"] {
            assert_eq!(parsed(name, "x").unwrap().unknown, [name]);
        }
    }
}
