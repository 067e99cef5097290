//! Lines typed and lines shown.

use std::{
    fmt,
    io::{self, BufRead, Write},
    thread,
};

use tokio::sync::mpsc;

/// How many typed lines may wait.
const TYPED_LINES: usize = 16;

/// The lines of the standard input, until it ends.
///
/// A thread reads them, and is left where it waits when the program ends: such a read cannot be taken back.
#[must_use]
pub fn typed_lines() -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(TYPED_LINES);
    thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// Writes a line. A terminal that has gone away is no reason to stop talking.
pub fn show(line: impl fmt::Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Somebody else's text as it may be shown: without characters that would steer the terminal.
#[must_use]
pub fn harmless(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_cannot_steer_the_terminal() {
        assert_eq!(harmless("\u{1b}[2Jgrüß dich\u{9b}\r\n"), "[2Jgrüß dich");
    }
}
