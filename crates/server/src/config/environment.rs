//! The environment.

use std::ffi::{OsStr, OsString};

use super::{
    CONFIG_VARIABLE, ConfigError, Place,
    layers::{Given, Layer},
    nearest::nearest,
    setting,
};

/// Takes the server's variables and leaves everybody else's. An `ALDIS_` variable that means nothing is a typing error
/// that would otherwise go unnoticed.
pub(super) fn parse(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Layer, ConfigError> {
    let known = known();
    let mut layer = Layer::new();
    for (name, value) in variables {
        let Some(name) = name.to_str() else { continue };
        if known.iter().any(|known| known == name) {
            layer.insert(name.to_owned(), Given::new(text(name, value)?, Place::Variable(name.to_owned())));
        } else if name.starts_with(PREFIX) && !OTHERS.contains(&name) && !is_service_link(name, &value) {
            return Err(unknown(name, &known));
        }
    }
    Ok(layer)
}

const PREFIX: &str = "ALDIS_";
/// Variables that are not settings: what is logged is read before the configuration.
const OTHERS: [&str; 1] = ["ALDIS_LOG"];

fn known() -> Vec<String> {
    let settings = setting::ALL.iter().flat_map(|setting| {
        let file_form = setting.secret.then(|| setting.file_variable());
        [setting.variable.to_owned()].into_iter().chain(file_form)
    });
    settings.chain([CONFIG_VARIABLE.to_owned()]).collect()
}

/// Kubernetes gives `ALDIS_SERVICE_HOST`, `ALDIS_PORT=tcp://…`, `ALDIS_PORT_8000_TCP…` to every pod beside a service
/// that is named "aldis".
fn is_service_link(name: &str, value: &OsStr) -> bool {
    name.starts_with("ALDIS_SERVICE_")
        || name.starts_with("ALDIS_PORT_")
        || (name == "ALDIS_PORT" && value.to_string_lossy().contains("://"))
}

fn text(name: &str, value: OsString) -> Result<String, ConfigError> {
    value.into_string().map_err(|_| ConfigError::NotText { variable: name.to_owned() })
}

fn unknown(name: &str, known: &[String]) -> ConfigError {
    let bare = name.trim_start_matches(PREFIX);
    let nearest = known
        .iter()
        .find(|known| *known == bare)
        .cloned()
        .or_else(|| nearest(name, known.iter().filter(|known| known.starts_with(PREFIX))));
    ConfigError::UnknownVariable { variable: name.to_owned(), nearest }
}
