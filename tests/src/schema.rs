//! Validates a value by a schema, with the keywords of JSON Schema that the description uses. An unknown keyword fails
//! the scenario, so that nothing passes unchecked.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

use aldis_protocol::{Timestamp, UserId};
use regex::Regex;
use serde_json::{Map, Value};

/// How a value differs from the schema, and where. Members that are not described are errors too.
#[must_use]
pub fn mismatch(document: &Value, schema: &Value, value: &Value) -> Option<String> {
    Checker { document }.check(schema, value, "").err()
}

struct Checker<'a> {
    document: &'a Value,
}

type Checked<T> = Result<T, String>;

impl Checker<'_> {
    fn check(&self, schema: &Value, value: &Value, at: &str) -> Checked<()> {
        let described = self.members(schema, value, at)?;
        let takes_anything = self.takes_anything(schema);
        match value.as_object().into_iter().flatten().find(|(name, _)| !described.contains(*name)) {
            Some((name, _)) if !takes_anything => Err(format!("{at}/{name} is not described")),
            _ => Ok(()),
        }
    }

    /// The members of the value that the schema describes, if the value is valid.
    fn members(&self, schema: &Value, value: &Value, at: &str) -> Checked<BTreeSet<String>> {
        let mut described = BTreeSet::new();
        for (word, rule) in object(schema) {
            match word.as_str() {
                "description" | "contentEncoding" => {}
                "$ref" => described.extend(self.members(self.referred(rule), value, at)?),
                "allOf" => {
                    for part in array(rule) {
                        described.extend(self.members(part, value, at)?);
                    }
                }
                "oneOf" | "anyOf" => described.extend(self.one_of(word, array(rule), value, at)?),
                "properties" => {
                    for (name, schema) in object(rule) {
                        if let Some(member) = value.get(name) {
                            self.check(schema, member, &format!("{at}/{name}"))?;
                            described.insert(name.clone());
                        }
                    }
                }
                "items" => {
                    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.check(rule, item, &format!("{at}/{index}"))?;
                    }
                }
                "patternProperties" => {
                    for (pattern, schema) in object(rule) {
                        for (name, member) in value.as_object().into_iter().flatten() {
                            if matches(pattern, name) {
                                self.check(schema, member, &format!("{at}/{name}"))?;
                                described.insert(name.clone());
                            }
                        }
                    }
                }
                _ if keeps_to(word, rule, value) => {}
                _ => return Err(format!("{at} is {value}, but {word} is {rule}")),
            }
        }
        Ok(described)
    }

    /// Whether a schema accepts anything.
    fn takes_anything(&self, schema: &Value) -> bool {
        let schema = schema.get("$ref").map_or(schema, |reference| self.referred(reference));
        object(schema).keys().all(|word| word == "description")
    }

    fn one_of(&self, word: &str, schemas: &[Value], value: &Value, at: &str) -> Checked<BTreeSet<String>> {
        let tried = schemas.iter().map(|schema| self.members(schema, value, at));
        let (fitting, others): (Vec<_>, Vec<_>) = tried.partition(Result::is_ok);
        let fits = if word == "oneOf" { fitting.len() == 1 } else { !fitting.is_empty() };
        if fits {
            Ok(fitting.into_iter().flatten().flatten().collect())
        } else {
            Err(format!("{word}: {others:?}"))
        }
    }

    fn referred(&self, reference: &Value) -> &Value {
        let pointer = reference.as_str().and_then(|reference| reference.strip_prefix('#')).unwrap();
        self.document.pointer(pointer).unwrap_or_else(|| panic!("{reference} leads nowhere"))
    }
}

/// Whether a value satisfies a rule that concerns it alone. Rules for other types are satisfied.
fn keeps_to(word: &str, rule: &Value, value: &Value) -> bool {
    let length = || value.as_str().map(|text| text.chars().count() as u64);
    match word {
        "type" => one_or_many(rule).iter().any(|name| is_of_type(name.as_str().unwrap(), value)),
        "const" => rule == value,
        "maxItems" => value.as_array().is_none_or(|items| items.len() as u64 <= rule.as_u64().unwrap()),
        "enum" => array(rule).contains(value),
        "required" => array(rule).iter().all(|name| value.get(name.as_str().unwrap()).is_some()),
        "pattern" => value.as_str().is_none_or(|text| matches(rule.as_str().unwrap(), text)),
        "minLength" => length().is_none_or(|length| length >= rule.as_u64().unwrap()),
        "maxLength" => length().is_none_or(|length| length <= rule.as_u64().unwrap()),
        "minimum" => value.as_u64().is_none_or(|number| number >= rule.as_u64().unwrap()),
        "maximum" => value.as_u64().is_none_or(|number| number <= rule.as_u64().unwrap()),
        "format" => value.as_str().is_none_or(|text| is_of_format(rule.as_str().unwrap(), text)),
        other => panic!("`{other}` is not known here"),
    }
}

/// A description has few patterns, and scenarios have many texts.
fn matches(pattern: &str, text: &str) -> bool {
    thread_local! {
        static PATTERNS: RefCell<HashMap<String, Regex>> = RefCell::default();
    }
    PATTERNS.with_borrow_mut(|patterns| {
        let known = patterns.entry(pattern.to_owned()).or_insert_with(|| Regex::new(pattern).unwrap());
        known.is_match(text)
    })
}

fn one_or_many(rule: &Value) -> Vec<&Value> {
    rule.as_array().map_or_else(|| vec![rule], |rules| rules.iter().collect())
}

fn is_of_type(name: &str, value: &Value) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("type `{other}` is not known here"),
    }
}

fn is_of_format(name: &str, text: &str) -> bool {
    match name {
        "uuid" => text.parse::<UserId>().is_ok(),
        "date-time" => text.parse::<Timestamp>().is_ok_and(|time| time.to_string() == text),
        "password" => true,
        other => panic!("format `{other}` is not known here"),
    }
}

#[track_caller]
fn array(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("no list: {value}"))
}

#[track_caller]
fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap_or_else(|| panic!("no object: {value}"))
}
