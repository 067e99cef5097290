//! A script: one frame a line. A line may begin with `+` and the milliseconds that pass before it.

/// One line.
pub(crate) struct Step<'a> {
    /// What passes before the frame comes, in milliseconds.
    pub(crate) waits_ms: u64,
    /// The frame.
    pub(crate) bytes: &'a [u8],
}

/// The longest wait of one line: a day.
const MAX_WAIT_MS: u64 = 86_400_000;

/// Reads a script; any bytes are one.
pub(crate) fn steps(data: &[u8]) -> impl Iterator<Item = Step<'_>> {
    data.split(|byte| *byte == b'\n').map(step)
}

fn step(line: &[u8]) -> Step<'_> {
    let Some(rest) = line.strip_prefix(b"+") else { return Step { waits_ms: 0, bytes: line } };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (wait, bytes) = rest.split_at(digits);
    let wait = wait.iter().fold(0_u64, |wait, digit| (wait * 10 + u64::from(digit - b'0')).min(MAX_WAIT_MS));
    Step { waits_ms: wait, bytes }
}
