//! The objects of a file, field by field, each with its place: what is missing or of the wrong type
//! is told in the words of a path.

use std::collections::BTreeSet;

use ropewalk_broker::{Definitions, Table, Value as BrokerValue};
use serde_json::{Map, Value};

use super::{Error, Reading};

/// A limit; a negative one is none.
pub(super) fn limit(place: &str, value: &Value) -> Result<Option<usize>, Error> {
    match (value.as_u64(), value.as_i64()) {
        (Some(limit), _) => Ok(Some(usize::try_from(limit).unwrap_or(usize::MAX))),
        (None, Some(_)) => Ok(None),
        (None, None) => Err(wrong_type(place, "a whole number", value)),
    }
}

/// What gathers up on the way through a file.
#[derive(Default)]
pub(super) struct Reader {
    /// Keys that nothing is known of, without the numbers of their items.
    pub(super) unknown: BTreeSet<String>,
    pub(super) warnings: Vec<String>,
}

impl Reader {
    /// The objects of a list; none if it is not there.
    pub(super) fn items<'a>(
        &self,
        file: &'a Map<String, Value>,
        key: &str,
    ) -> Result<Vec<Item<'a>>, Error> {
        let list = match file.get(key) {
            None | Some(Value::Null) => return Ok(Vec::new()),
            Some(Value::Array(list)) => list,
            Some(other) => return Err(wrong_type(key, "a list", other)),
        };
        let items = list.iter().enumerate().map(|(index, value)| {
            let place = format!("{key}[{index}]");
            match value {
                Value::Object(fields) => Ok(Item { place, fields }),
                other => Err(wrong_type(&place, "an object", other)),
            }
        });
        items.collect()
    }

    /// Notes the keys of an item that are not among these.
    pub(super) fn know(&mut self, item: &Item<'_>, known: &[&str]) {
        for key in item.fields.keys().filter(|key| !known.contains(&key.as_str())) {
            self.unknown.insert(generic(&format!("{}.{key}", item.place)));
        }
    }

    /// A list of which nothing is kept.
    pub(super) fn leave_out(
        &mut self,
        file: &Map<String, Value>,
        key: &str,
        why: &str,
    ) -> Result<(), Error> {
        let items = self.items(file, key)?;
        if items.is_empty() {
            return Ok(());
        }
        let names = items.iter().map(|item| item.text_or("name", "?"));
        let names = names.collect::<Result<Vec<_>, _>>()?.join(", ");
        self.warnings.push(format!("{key}: left out, {why}: {names}"));
        Ok(())
    }

    pub(super) fn finish(mut self, definitions: Definitions) -> Reading {
        if !self.unknown.is_empty() {
            let keys = self.unknown.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            self.warnings.push(format!("keys that nothing is known of: {keys}"));
        }
        Reading { definitions, warnings: self.warnings }
    }
}

/// One object of the file.
pub(super) struct Item<'a> {
    pub(super) place: String,
    pub(super) fields: &'a Map<String, Value>,
}

impl<'a> Item<'a> {
    /// A field that is there; RabbitMQ writes what it does not know as `null`.
    fn get(&self, key: &str) -> Option<&'a Value> {
        self.fields.get(key).filter(|value| !value.is_null())
    }

    fn at(&self, key: &str) -> String {
        format!("{}.{key}", self.place)
    }

    fn missing(&self, key: &str) -> Error {
        Error::new(&self.place, format!("`{key}` is missing"))
    }

    pub(super) fn text(&self, key: &str) -> Result<String, Error> {
        match self.get(key) {
            None => Err(self.missing(key)),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(other) => Err(wrong_type(&self.at(key), "a string", other)),
        }
    }

    pub(super) fn text_or(&self, key: &str, default: &str) -> Result<String, Error> {
        match self.get(key) {
            None => Ok(default.to_owned()),
            Some(_) => self.text(key),
        }
    }

    pub(super) fn flag(&self, key: &str) -> Result<bool, Error> {
        match self.get(key) {
            None => Err(self.missing(key)),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(wrong_type(&self.at(key), "true or false", other)),
        }
    }

    pub(super) fn flag_or(&self, key: &str, default: bool) -> Result<bool, Error> {
        match self.get(key) {
            None => Ok(default),
            Some(_) => self.flag(key),
        }
    }

    pub(super) fn object(&self, key: &str) -> Result<Option<Item<'a>>, Error> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Object(fields)) => Ok(Some(Item { place: self.at(key), fields })),
            Some(other) => Err(wrong_type(&self.at(key), "an object", other)),
        }
    }

    /// A list of strings, or one string with commas, as older versions write it.
    pub(super) fn list_of_words(&self, key: &str) -> Result<Vec<String>, Error> {
        let words = match self.get(key) {
            None => Vec::new(),
            Some(Value::String(words)) => words.split(',').map(|it| it.trim().to_owned()).collect(),
            Some(Value::Array(words)) => {
                let texts = words.iter().enumerate().map(|(index, word)| {
                    let place = || format!("{}[{index}]", self.at(key));
                    let text = word.as_str().map(str::to_owned);
                    text.ok_or_else(|| wrong_type(&place(), "a string", word))
                });
                texts.collect::<Result<_, _>>()?
            }
            Some(other) => return Err(wrong_type(&self.at(key), "a list of strings", other)),
        };
        Ok(words.into_iter().filter(|word| !word.is_empty()).collect())
    }

    /// Names and values, each with its place: an object, or a list of pairs, as older versions
    /// write some.
    pub(super) fn pairs(&self, key: &str) -> Result<Vec<(String, &'a str, &'a Value)>, Error> {
        let at = self.at(key);
        match self.get(key) {
            None => Ok(Vec::new()),
            Some(Value::Object(fields)) => {
                let pair =
                    |(name, value): (&'a String, _)| (format!("{at}.{name}"), name.as_str(), value);
                Ok(fields.iter().map(pair).collect())
            }
            Some(Value::Array(list)) => {
                let pairs = list.iter().map(|pair| match pair.as_array().map(Vec::as_slice) {
                    Some([Value::String(name), value]) => {
                        Ok((format!("{at}.{name}"), name.as_str(), value))
                    }
                    _ => Err(wrong_type(&at, "a list of pairs", pair)),
                });
                pairs.collect()
            }
            Some(other) => Err(wrong_type(&at, "an object", other)),
        }
    }

    /// Arguments; an empty list stands for none.
    pub(super) fn arguments(&self) -> Result<Table, Error> {
        match self.get("arguments") {
            None => Ok(Table::new()),
            Some(Value::Array(list)) if list.is_empty() => Ok(Table::new()),
            Some(Value::Object(fields)) => Ok(table(fields)),
            Some(other) => Err(wrong_type(&self.at("arguments"), "an object", other)),
        }
    }
}

fn table(fields: &Map<String, Value>) -> Table {
    fields.iter().map(|(name, found)| (name, value(found))).collect()
}

/// As RabbitMQ takes them: whole numbers are 64 bits long.
fn value(json: &Value) -> BrokerValue {
    match json {
        Value::Null => BrokerValue::Void,
        Value::Bool(value) => BrokerValue::Bool(*value),
        Value::Number(number) => match number.as_i64() {
            Some(number) => BrokerValue::I64(number),
            None => BrokerValue::F64(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => BrokerValue::text(text),
        Value::Array(values) => BrokerValue::Array(values.iter().map(value).collect()),
        Value::Object(fields) => BrokerValue::Table(table(fields)),
    }
}

fn wrong_type(place: &str, wanted: &str, found: &Value) -> Error {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    Error::new(place, format!("expected {wanted}, found {found}"))
}

/// A place without the numbers: `queues[3].nope` is `queues[].nope`.
pub(super) fn generic(place: &str) -> String {
    let mut inside = false;
    let keep = |letter: &char| match letter {
        '[' => {
            inside = true;
            true
        }
        ']' => {
            inside = false;
            true
        }
        _ => !inside,
    };
    place.chars().filter(keep).collect()
}
