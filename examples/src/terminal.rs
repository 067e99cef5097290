//! Reads and shows lines.

use std::{
    fmt,
    io::{self, BufRead, Write},
    thread,
};

use tokio::sync::mpsc;

/// How many typed lines can wait.
const TYPED_LINES: usize = 16;

/// The lines of standard input, until it ends.
///
/// A thread reads them. When the program ends, the thread is left in its read, which cannot be interrupted.
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

/// Shows a line. If the terminal is gone, the conversation continues.
pub fn show(line: impl fmt::Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// A text of another user that is safe to show: without control characters for the terminal.
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
