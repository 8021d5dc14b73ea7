//! CC and BCC: further routing keys that a publisher gives in the headers.
//!
//! Each must be an array of texts. BCC is taken out of the message before any queue sees it.

use crate::access::Access;
use crate::broker::Broker;
use crate::error::{Result, precondition_failed};
use crate::ids::{ChannelId, ExchangeId};
use crate::message::Publish;
use crate::names::Name;
use crate::seams::PropertyEdit;
use crate::value::{Table, Value};

impl Broker {
    /// The further routing keys of a message, and its properties without BCC if there was any.
    pub(crate) fn copies_of(
        &self,
        channel: ChannelId,
        exchange: ExchangeId,
        publish: &Publish<'_>,
    ) -> Result<(Vec<Name>, Option<Vec<u8>>)> {
        let raw = publish.properties.raw;
        let (cc, bcc) = (self.codec.header(raw, b"CC"), self.codec.header(raw, b"BCC"));
        let mut keys = checked_keys("CC", cc.as_ref())?;
        keys.extend(checked_keys("BCC", bcc.as_ref())?);
        for key in &keys {
            self.permit_topic(channel, Access::Write, exchange, key)?;
        }
        if bcc.is_none() {
            return Ok((keys, None));
        }
        let mut table = self.codec.headers(raw);
        table.remove("BCC");
        let edit = PropertyEdit { headers: Some(&table), ..PropertyEdit::default() };
        Ok((keys, Some(self.codec.edit(raw, &edit))))
    }
}

/// The further routing keys of a message that has been published already.
pub(crate) fn copies(headers: &Table) -> Vec<Name> {
    headers.get("CC").map(keys_of).unwrap_or_default()
}

fn checked_keys(name: &str, header: Option<&Value>) -> Result<Vec<Name>> {
    match header {
        None => Ok(Vec::new()),
        Some(value @ Value::Array(_)) => Ok(keys_of(value)),
        Some(other) => Err(precondition_failed(format!(
            "invalid message: {{unacceptable_type_in_header,\"{name}\",{}}}",
            other.type_name()
        ))),
    }
}

/// The texts of an array; others in it are passed over.
fn keys_of(value: &Value) -> Vec<Name> {
    match value {
        Value::Array(values) => values.iter().filter_map(Value::as_text).map(Name::from).collect(),
        _ => Vec::new(),
    }
}
