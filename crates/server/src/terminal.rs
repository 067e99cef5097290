//! Reads a secret from standard input. It is never an argument, because other users of the machine can see arguments.

use std::{
    io::{self, BufRead, IsTerminal, Read, StdinLock, Write},
    os::fd::{AsFd, BorrowedFd},
};

use aldis_auth::MAX_PASSWORD_BYTES;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputError {
    /// Standard input cannot be read.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// It was typed differently the second time.
    #[error("the two differ")]
    Differ,
}

/// Reads a new secret: from a terminal twice and without echo, otherwise from the first line of standard input.
pub(crate) fn read_new(name: &str) -> Result<Zeroizing<String>, InputError> {
    let input = io::stdin();
    if !input.is_terminal() {
        return Ok(line(&mut input.lock())?);
    }
    let terminal = &mut input.lock();
    let first = ask(terminal, &format!("{name}: "))?;
    let second = ask(terminal, "The same again: ")?;
    if first == second { Ok(first) } else { Err(InputError::Differ) }
}

/// Reads a known secret: from a terminal without echo, otherwise from the first line of standard input.
pub(crate) fn read_known(name: &str) -> Result<Zeroizing<String>, InputError> {
    let input = io::stdin();
    if !input.is_terminal() {
        return Ok(line(&mut input.lock())?);
    }
    Ok(ask(&mut input.lock(), &format!("{name}: "))?)
}

fn ask(terminal: &mut StdinLock<'_>, prompt: &str) -> io::Result<Zeroizing<String>> {
    let handle = io::stdin();
    // Before the prompt, because this drops what was typed until now.
    let _quiet = Quiet::new(handle.as_fd())?;
    // Standard output is for scripts.
    let _ = io::stderr().write_all(prompt.as_bytes());
    line(terminal)
}

/// A line without its end. A line that is too long for a password is read only as far as needed to see that.
fn line(input: &mut impl BufRead) -> io::Result<Zeroizing<String>> {
    let longest = MAX_PASSWORD_BYTES as u64 + 2;
    let mut text = Zeroizing::new(String::with_capacity(MAX_PASSWORD_BYTES + 2));
    input.by_ref().take(longest).read_line(&mut text)?;
    let length = text.trim_end_matches(['\n', '\r']).len();
    text.truncate(length);
    Ok(text)
}

/// A terminal that does not echo what is typed, except the end of the line, until this is dropped.
struct Quiet<'a> {
    terminal: BorrowedFd<'a>,
    before: Termios,
}

impl<'a> Quiet<'a> {
    fn new(terminal: BorrowedFd<'a>) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        quiet.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(terminal, OptionalActions::Flush, &quiet)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        // If the terminal is gone, its echo no longer matters.
        let _ = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        line(&mut text.as_bytes()).unwrap().to_string()
    }

    #[test]
    fn a_password_is_the_first_line_of_the_input() {
        assert_eq!(read("correct horse\nbattery\n"), "correct horse");
        assert_eq!(read(" correct horse \r\n"), " correct horse ");
        assert_eq!(read("correct horse"), "correct horse");
        assert_eq!(read(""), "");
    }

    #[test]
    fn an_endless_line_is_not_read_to_its_end() {
        assert_eq!(read(&"x".repeat(5_000)).len(), MAX_PASSWORD_BYTES + 2);
        assert_eq!(read(&format!("{}\n", "x".repeat(MAX_PASSWORD_BYTES))).len(), MAX_PASSWORD_BYTES);
        assert!(line(&mut &b"\xff\n"[..]).is_err());
    }
}
