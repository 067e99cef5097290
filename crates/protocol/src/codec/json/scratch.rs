//! A buffer for the members of a frame whose size is not known yet.

use std::io;

/// Enough for the members of nearly every frame, without the payload.
const SMALL: usize = 512;

/// Bytes on the stack, or on the heap if there are more than [`SMALL`].
pub(super) struct Scratch {
    small: [u8; SMALL],
    used: usize,
    large: Vec<u8>,
}

impl Scratch {
    pub(super) const fn new() -> Self {
        Self { small: [0; SMALL], used: 0, large: Vec::new() }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        if self.large.is_empty() { &self.small[..self.used] } else { &self.large }
    }

    #[inline]
    pub(super) fn put(&mut self, bytes: &[u8]) {
        let end = self.used + bytes.len();
        match self.small.get_mut(self.used..end).filter(|_| self.large.is_empty()) {
            Some(free) => {
                free.copy_from_slice(bytes);
                self.used = end;
            }
            None => self.put_large(bytes),
        }
    }

    #[cold]
    fn put_large(&mut self, bytes: &[u8]) {
        if self.large.is_empty() {
            self.large.reserve(self.used + bytes.len() + SMALL);
            self.large.extend_from_slice(&self.small[..self.used]);
        }
        self.large.extend_from_slice(bytes);
    }

    /// A member whose text needs no escapes.
    pub(super) fn put_plain(&mut self, name: &str, text: &str) {
        self.put(b",\"");
        self.put(name.as_bytes());
        self.put(b"\":\"");
        self.put(text.as_bytes());
        self.put(b"\"");
    }

    /// A member of any text.
    pub(super) fn put_text(&mut self, name: &str, text: &str) {
        if text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
            self.put_plain(name, text);
        } else {
            self.put_name(name);
            self.put_value(&text);
        }
    }

    pub(super) fn put_number(&mut self, name: &str, mut number: u64) {
        self.put_name(name);
        let (mut digits, mut start) = ([0; 20], 20);
        loop {
            start -= 1;
            digits[start] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.put(&digits[start..]);
    }

    /// A member of any value.
    pub(super) fn put_member(&mut self, name: &str, value: &impl serde::Serialize) {
        self.put_name(name);
        self.put_value(value);
    }

    /// All members of a value that is an object.
    pub(super) fn put_members(&mut self, object: &impl serde::Serialize) {
        let start = self.as_bytes().len();
        self.put_value(object);
        if self.as_bytes().get(start..).is_none_or(|written| written.len() <= "{}".len()) {
            self.truncate(start);
        } else {
            self.truncate(self.as_bytes().len() - 1);
            self.as_mut_bytes()[start] = b',';
        }
    }

    fn put_name(&mut self, name: &str) {
        self.put(b",\"");
        self.put(name.as_bytes());
        self.put(b"\":");
    }

    fn put_value(&mut self, value: &impl serde::Serialize) {
        let start = self.as_bytes().len();
        // Writing JSON into memory fails for maps with keys that are no strings, and no message has one.
        if serde_json::to_writer(&mut *self, value).is_err() {
            self.truncate(start);
        }
    }

    fn truncate(&mut self, length: usize) {
        if self.large.is_empty() {
            self.used = length;
        } else {
            self.large.truncate(length);
        }
    }

    fn as_mut_bytes(&mut self) -> &mut [u8] {
        if self.large.is_empty() { &mut self.small[..self.used] } else { &mut self.large }
    }
}

impl io::Write for Scratch {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put(bytes);
        Ok(bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.put(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
