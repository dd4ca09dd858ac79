//! What a remote command wrote, bounded, and the line by which it tells its process group.

use std::collections::VecDeque;

/// The end of some output: what exceeds the bound is dropped from the front and counted.
#[derive(Debug, Default)]
pub(super) struct Output {
    pub bytes: VecDeque<u8>,
    pub dropped: u64,
}

impl Output {
    pub(super) fn keep_tail(&mut self, data: &[u8], limit: usize) {
        let data_start = data.len().saturating_sub(limit);
        let excess = (self.bytes.len() + data.len() - data_start).saturating_sub(limit);
        self.bytes.drain(..excess);
        self.bytes.extend(&data[data_start..]);
        self.dropped += (excess + data_start) as u64;
    }
}

/// What a command says of itself, on a line of standard error.
const ANNOUNCEMENT: &str = "mmm-process-group:";

/// The command as `sh` runs it. sshd gives each command a session of its own, so the shell's pid is its group.
pub(super) fn announcing(command: &str) -> String {
    let quoted = command.replace('\'', r"'\''");
    format!("exec sh -c 'echo \"{ANNOUNCEMENT}$$\" >&2; eval \"$1\"' sh '{quoted}'")
}

/// Takes the announcement out of standard error; start-up files of a login shell may have written before it.
pub(super) fn take_announcement(stderr: &mut VecDeque<u8>) -> Option<u32> {
    let bytes = stderr.make_contiguous();
    let at = bytes
        .windows(ANNOUNCEMENT.len())
        .position(|w| w == ANNOUNCEMENT.as_bytes())?;
    let number = at + ANNOUNCEMENT.len();
    let end = number + bytes[number..].iter().position(|b| *b == b'\n')?;
    let group = std::str::from_utf8(&bytes[number..end]).ok()?.parse().ok()?;
    stderr.drain(at..=end);
    Some(group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_keeps_the_end_and_counts_the_rest() {
        let mut output = Output::default();
        output.keep_tail(b"abc", 4);
        assert_eq!(
            (output.bytes.make_contiguous() as &[u8], output.dropped),
            (&b"abc"[..], 0)
        );
        output.keep_tail(b"def", 4);
        assert_eq!(
            (output.bytes.make_contiguous() as &[u8], output.dropped),
            (&b"cdef"[..], 2)
        );
        output.keep_tail(b"0123456789", 4);
        assert_eq!(
            (output.bytes.make_contiguous() as &[u8], output.dropped),
            (&b"6789"[..], 12)
        );
    }

    #[test]
    fn an_announcement_is_taken_out_of_standard_error() {
        let mut bytes: VecDeque<u8> = b"rc noise mmm-process-group:12".to_vec().into();
        assert_eq!(take_announcement(&mut bytes), None);
        bytes.extend(b"34\nwarning\n");
        assert_eq!(take_announcement(&mut bytes), Some(1234));
        assert_eq!(bytes.make_contiguous(), b"rc noise warning\n");
    }
}
