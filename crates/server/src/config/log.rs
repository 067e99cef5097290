//! The log filter: a level, or levels by module.

use std::{fmt, str::FromStr};

use tracing_subscriber::filter::LevelFilter;

/// Levels, for everything or by module: `info`, or `warn,aldis_server::session=debug`. Other syntax of the filter
/// library is refused, because the library takes any word for the name of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter(String);

/// The text is not a list of levels.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "give off, error, warn, info, debug or trace, or such levels by module, separated by commas, as \
     info,aldis_server::store=debug"
)]
pub struct InvalidLogFilter;

impl FromStr for LogFilter {
    type Err = InvalidLogFilter;

    fn from_str(text: &str) -> Result<Self, InvalidLogFilter> {
        let text = text.to_ascii_lowercase();
        let directives: Vec<&str> = text.split(',').map(str::trim).collect();
        let valid = directives.iter().all(|directive| match directive.split_once('=') {
            None => is_level(directive),
            Some((module, level)) => is_module(module) && is_level(level),
        });
        if valid { Ok(Self(directives.join(","))) } else { Err(InvalidLogFilter) }
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A level by its name, or `off`; the library also accepts numbers.
fn is_level(word: &str) -> bool {
    word.starts_with(|first: char| first.is_ascii_alphabetic()) && word.parse::<LevelFilter>().is_ok()
}

/// A path of Rust modules: names of letters, digits and underscores, separated by double colons.
fn is_module(path: &str) -> bool {
    path.split("::").all(|name| {
        name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<String> {
        text.parse::<LogFilter>().ok().map(|filter| filter.to_string())
    }

    #[test]
    fn a_filter_has_a_level_or_levels_by_module() {
        for (text, filter) in [
            ("info", "info"),
            ("WARN", "warn"),
            ("off", "off"),
            ("info, aldis_server::store=debug", "info,aldis_server::store=debug"),
            ("warn,hyper=trace,_x=off", "warn,hyper=trace,_x=off"),
        ] {
            assert_eq!(parsed(text).as_deref(), Some(filter), "{text}");
        }
    }

    #[test]
    fn an_unknown_level_silenced_everything() {
        for text in
            ["warning", "", "verbose", "info,", "aldis_server", "store=loud", "=info", "a b=info", "1"]
        {
            assert_eq!(parsed(text), None, "{text:?}");
        }
    }
}
