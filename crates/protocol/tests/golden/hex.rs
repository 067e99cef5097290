//! Protobuf bytes as text: one line per field, in hex, with what it says behind `#`.

use std::fmt::Write;

use protox::prost_reflect::{Kind, MessageDescriptor};

pub(crate) fn print(bytes: &[u8], message: &MessageDescriptor) -> String {
    let mut text = String::new();
    print_fields(bytes, message, 0, &mut text);
    text
}

pub(crate) fn parse(text: &str) -> Vec<u8> {
    let digits = text.lines().flat_map(|line| line.split('#').next().unwrap_or_default().split_whitespace());
    digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

fn print_fields(mut bytes: &[u8], message: &MessageDescriptor, level: usize, text: &mut String) {
    while !bytes.is_empty() {
        let whole = bytes;
        let key = varint(&mut bytes);
        let field = message.get_field((key >> 3) as u32).unwrap();
        let value = varint(&mut bytes);
        let start = &whole[..whole.len() - bytes.len()];
        if key & 7 == 0 {
            line(text, level, start, &format!("{}: {value}", field.name()));
            continue;
        }
        let (content, rest) = bytes.split_at(value as usize);
        bytes = rest;
        if let Kind::Message(inner) = field.kind() {
            line(text, level, start, &format!("{}, {value} bytes:", field.name()));
            print_fields(content, &inner, level + 1, text);
        } else {
            line(text, level, &[start, content].concat(), &format!("{}: {}", field.name(), quoted(content)));
        }
    }
}

fn line(text: &mut String, level: usize, bytes: &[u8], comment: &str) {
    let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    writeln!(text, "{}{} # {comment}", "  ".repeat(level), hex.join(" ")).unwrap();
}

fn quoted(content: &[u8]) -> String {
    match std::str::from_utf8(content) {
        Ok(text) if !text.contains(char::is_control) => format!("{text:?}"),
        _ => format!("{} bytes", content.len()),
    }
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}
