//! The configuration file.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};
use zeroize::Zeroizing;

use super::{
    CONFIG_VARIABLE, ConfigError, Place,
    layers::{Given, Layer},
    nearest::nearest,
    setting,
};

/// Reads the settings of the file at `path`.
pub(super) fn read(path: &Path) -> Result<Layer, ConfigError> {
    let text = read_text(CONFIG_VARIABLE, path, MAX_FILE_BYTES)?;
    let table = DeTable::parse(&text).map_err(|error| syntax(path, &text, &error))?;
    let mut reader = Reader { path, text: &text, layer: Layer::new() };
    reader.table("", table.get_ref())?;
    Ok(reader.layer)
}

/// Reads the text file that `setting` names, up to `limit` bytes.
pub(super) fn read_text(setting: &str, path: &Path, limit: u64) -> Result<Zeroizing<String>, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable {
        setting: setting.to_owned(),
        path: path.to_owned(),
        limit,
        source,
    };
    let mut text = Zeroizing::new(String::new());
    let file = File::open(path).map_err(unreadable)?;
    file.take(limit + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > limit {
        return Err(unreadable(io::Error::new(io::ErrorKind::FileTooLarge, "too large")));
    }
    Ok(text)
}

/// Far more than all settings need, each with a page of comments.
const MAX_FILE_BYTES: u64 = 256 * 1024;

/// The parser's message without its excerpt of the file, because that line may contain a secret.
fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let offset = error.span().map_or(0, |span| span.start);
    ConfigError::Syntax {
        path: path.to_owned(),
        line: line_at(text, offset),
        problem: error.message().to_owned(),
    }
}

fn line_at(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    layer: Layer,
}

impl Reader<'_> {
    fn table(&mut self, section: &str, table: &DeTable<'_>) -> Result<(), ConfigError> {
        table.iter().try_for_each(|(name, value)| {
            let key = match section {
                "" => name.get_ref().to_string(),
                section => format!("{section}.{}", name.get_ref()),
            };
            self.entry(key, line_at(self.text, name.span().start), value)
        })
    }

    fn entry(&mut self, key: String, line: usize, value: &Spanned<DeValue<'_>>) -> Result<(), ConfigError> {
        if let (true, Some(table)) = (is_section(&key), value.get_ref().as_table()) {
            return self.table(&key, table);
        }
        let Some((setting, variable)) = by_key(&key) else { return Err(self.unknown(key, line)) };
        let place = Place::File { path: self.path.to_owned(), key, line };
        let text = as_text(value.get_ref()).ok_or_else(|| ConfigError::BadValue {
            variable: setting.variable,
            place: place.clone(),
            value: value.get_ref().type_str().to_owned(),
            remedy: "give a text, a number, true or false, or a list of texts".to_owned(),
        })?;
        self.layer.insert(variable, Given::new(text, place));
        Ok(())
    }

    fn unknown(&self, key: String, line: usize) -> ConfigError {
        let nearest = nearest(&key, setting::ALL.iter().map(|setting| setting.key));
        ConfigError::UnknownKey { path: PathBuf::from(self.path), line, key, nearest }
    }
}

fn is_section(key: &str) -> bool {
    setting::ALL.iter().any(|setting| setting.key.split_once('.').is_some_and(|(section, _)| section == key))
}

/// The setting that this key, or this `…_file` key, belongs to, and the variable with the same meaning.
fn by_key(key: &str) -> Option<(&'static setting::Setting, String)> {
    setting::ALL.iter().find_map(|setting| {
        if setting.key == key {
            Some((*setting, setting.variable.to_owned()))
        } else if setting.secret && setting.file_key() == key {
            Some((*setting, setting.file_variable()))
        } else {
            None
        }
    })
}

/// A value in the form of the environment.
fn as_text(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).ok().map(|n| n.to_string())
        }
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(boolean) => Some(boolean.to_string()),
        DeValue::Array(items) => {
            let texts: Option<Vec<&str>> = items.iter().map(|item| item.get_ref().as_str()).collect();
            texts.map(|texts| texts.join(","))
        }
        DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}
