//! Merges the layers: flags over environment over file over defaults.

use std::{borrow::Cow, collections::BTreeMap, path::Path};

use zeroize::Zeroizing;

use super::{ConfigError, Place, SecretText, file::read_text, setting, setting::Setting};

/// The values of one layer, by variable; the `…_FILE` forms are stored with their settings.
pub(super) type Layer = BTreeMap<String, Given>;

/// A value and where it was set.
pub(super) struct Given {
    text: Zeroizing<String>,
    place: Place,
}

impl Given {
    /// A line break at the end belongs to the file that contained the value, not to the value.
    pub(super) fn new(mut text: String, place: Place) -> Self {
        text.truncate(text.trim_end_matches(['\r', '\n']).len());
        Self { text: Zeroizing::new(text), place }
    }

    /// The value, unless it contains a control character: no setting needs one, and a terminal does not show them.
    pub(super) fn checked(&self, variable: &'static str) -> Result<&Self, ConfigError> {
        match self.text.chars().find(|character| character.is_control()) {
            None => Ok(self),
            Some(character) => Err(ConfigError::ControlCharacter {
                variable,
                place: self.place.clone(),
                character: character.into(),
            }),
        }
    }

    pub(super) fn path(&self) -> &Path {
        Path::new(self.text.as_str())
    }
}

/// The text of each setting that was given, by variable.
pub(crate) type Texts = BTreeMap<&'static str, SecretText>;

/// What to write instead of a refused value.
pub(super) type Remedy = Cow<'static, str>;

/// The merged values of all layers, as texts.
pub(super) struct Settings(BTreeMap<&'static str, Given>);

impl Settings {
    /// Takes each setting from the first layer that has it.
    pub(super) fn merge(mut layers: Vec<Layer>) -> Result<Self, ConfigError> {
        let mut settings = BTreeMap::new();
        for setting in setting::ALL {
            for layer in &mut layers {
                if let Some(given) = take(setting, layer)? {
                    given.checked(setting.variable)?;
                    settings.insert(setting.variable, given);
                    break;
                }
            }
        }
        Ok(Self(settings))
    }

    /// The value of a setting that has a default.
    pub(super) fn value<T>(
        &self,
        setting: &'static Setting,
        parse: impl FnOnce(&str) -> Result<T, Remedy>,
    ) -> Result<T, ConfigError> {
        let text = self.text(setting).unwrap_or(setting.default);
        parse(text).map_err(|remedy| ConfigError::BadValue {
            variable: setting.variable,
            place: self.place(setting).clone(),
            value: setting.shown(text),
            remedy: remedy.into_owned(),
        })
    }

    /// The value of a setting that may be left out.
    pub(super) fn optional<T>(
        &self,
        setting: &'static Setting,
        parse: impl FnOnce(&str) -> Result<T, Remedy>,
    ) -> Result<Option<T>, ConfigError> {
        self.text(setting).map(|_| self.value(setting, parse)).transpose()
    }

    /// The values of two settings that only work together.
    pub(super) fn pair<A, B>(
        (first, a): (&'static Setting, Option<A>),
        (second, b): (&'static Setting, Option<B>),
    ) -> Result<Option<(A, B)>, ConfigError> {
        match (a, b) {
            (Some(a), Some(b)) => Ok(Some((a, b))),
            (None, None) => Ok(None),
            (Some(_), None) => Err(ConfigError::Half { given: first.variable, missing: second.variable }),
            (None, Some(_)) => Err(ConfigError::Half { given: second.variable, missing: first.variable }),
        }
    }

    /// All texts, to compare with those of a later reading.
    pub(super) fn texts(&self) -> Texts {
        let of = |given: &Given| SecretText::new(given.text.to_string());
        self.0.iter().map(|(variable, given)| (*variable, of(given))).collect()
    }

    pub(super) fn text(&self, setting: &Setting) -> Option<&str> {
        self.0.get(setting.variable).map(|given| given.text.as_str())
    }

    pub(super) fn place(&self, setting: &Setting) -> &Place {
        self.0.get(setting.variable).map_or(&Place::Default, |given| &given.place)
    }
}

/// Far longer than any password or key.
const MAX_SECRET_BYTES: u64 = 16 * 1024;

fn take(setting: &'static Setting, layer: &mut Layer) -> Result<Option<Given>, ConfigError> {
    let value = layer.remove(setting.variable);
    let file_variable = setting.file_variable();
    match (value, layer.remove(&file_variable)) {
        (Some(_), Some(_)) => Err(ConfigError::BothForms { variable: setting.variable }),
        (Some(value), None) => Ok(Some(value)),
        (None, Some(file)) => {
            let text = read_text(&file_variable, file.path(), MAX_SECRET_BYTES)?;
            let place = Place::Variable(file_variable);
            Ok(Some(Given::new(text.to_string(), place)))
        }
        (None, None) => Ok(None),
    }
}
