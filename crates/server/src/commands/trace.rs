//! `aldis trace`: the way of a stored message, without its content.

use aldis_protocol::{MessageId, Timestamp};
use serde::Serialize;

use super::{CommandError, print, print_json, with_store};
use crate::config::Config;

#[derive(Serialize)]
struct Trace {
    message_id: String,
    sender: String,
    sender_device: String,
    request: String,
    sender_number: i64,
    recipient: String,
    recipient_number: i64,
    bytes: i64,
    /// When the server accepted it: the time in its id.
    accepted_at: Option<String>,
    /// When it was committed, by the clock of the server that took it. It is pushed right after that to every session of
    /// the recipient.
    stored_at: String,
    /// When a device of the recipient acknowledged it.
    delivered_at: Option<String>,
    read_at: Option<String>,
}

/// Prints what is known about a message.
pub(super) async fn run(config: &Config, message: MessageId, json: bool) -> Result<(), CommandError> {
    let found = with_store(config, async |store| store.trace_message(message).await).await?;
    let found = found.ok_or(CommandError::NoMessage)?;
    let time = |ms| Timestamp::from_ms(ms).to_string();
    let trace = Trace {
        message_id: message.to_string(),
        sender: found.sender().to_string(),
        sender_device: found.sender_device_id.clone(),
        request: found.request_id.clone(),
        sender_number: found.sender_seq,
        recipient: found.recipient().to_string(),
        recipient_number: found.recipient_seq,
        bytes: found.bytes,
        accepted_at: accepted_ms(message).map(time),
        stored_at: time(found.created_at_ms),
        delivered_at: found.delivered_at_ms.map(time),
        read_at: found.read_at_ms.map(time),
    };
    if json {
        print_json(&trace);
    } else {
        print(&lines(&trace));
    }
    Ok(())
}

fn accepted_ms(message: MessageId) -> Option<i64> {
    let (seconds, nanoseconds) = message.as_uuid().get_timestamp()?.to_unix();
    Some(i64::try_from(seconds).ok()? * 1_000 + i64::from(nanoseconds / 1_000_000))
}

fn lines(trace: &Trace) -> String {
    let or_none = |time: &Option<String>| time.clone().unwrap_or_else(|| "-".to_owned());
    let pairs = [
        ("message_id", trace.message_id.clone()),
        ("sender", trace.sender.clone()),
        ("sender_device", trace.sender_device.clone()),
        ("request", trace.request.clone()),
        ("sender_number", trace.sender_number.to_string()),
        ("recipient", trace.recipient.clone()),
        ("recipient_number", trace.recipient_number.to_string()),
        ("bytes", trace.bytes.to_string()),
        ("accepted_at", or_none(&trace.accepted_at)),
        ("stored_at", trace.stored_at.clone()),
        ("delivered_at", or_none(&trace.delivered_at)),
        ("read_at", or_none(&trace.read_at)),
    ];
    pairs.map(|(name, value)| format!("{name}\t{value}\n")).concat()
}
