//! The writer's log: one line of words and numbers for each thing that happened, appended while it runs.
//! Times are nanoseconds of CLOCK_MONOTONIC.

use std::fmt;
use std::io::{self, BufWriter, Write};
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The log begins.
    Start { at_ns: u64 },
    /// The server said that the row is committed.
    Ack(Attempt),
    /// The server answered with an error: the row was not written.
    Refused(Attempt),
    /// The row was sent and no usable answer came: it may exist or not. Code 0 is a timeout or a broken connection.
    Unknown(Attempt),
    /// No connection could be had, so nothing was sent. The server is 0.
    Unsent(Attempt),
    /// An idle connection of the pool was opened.
    Opened { slot: usize, at_ns: u64, server: u32 },
    /// The idle connection of this slot noticed that it was gone.
    Closed {
        slot: usize,
        opened_ns: u64,
        at_ns: u64,
        server: u32,
    },
    /// The writer was asked to stop. Answers still owed may follow.
    End { at_ns: u64 },
}

/// One attempt to write one row. Its id is never used again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub writer: String,
    pub id: u64,
    /// Just before the statement (or, if none was sent, the connecting) began.
    pub sent_ns: u64,
    /// Just after the answer came or was given up.
    pub done_ns: u64,
    /// `@@server_id` of the connection's server.
    pub server: u32,
    /// The server's error code, 0 when it gave none.
    pub code: u16,
}

impl fmt::Display for Attempt {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Attempt {
            writer,
            id,
            sent_ns,
            done_ns,
            server,
            code,
        } = self;
        write!(out, "{writer} {id} {sent_ns} {done_ns} {server} {code}")
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Entry::Start { at_ns } => write!(out, "start {at_ns}"),
            Entry::Ack(attempt) => write!(out, "ack {attempt}"),
            Entry::Refused(attempt) => write!(out, "refused {attempt}"),
            Entry::Unknown(attempt) => write!(out, "unknown {attempt}"),
            Entry::Unsent(attempt) => write!(out, "unsent {attempt}"),
            Entry::Opened { slot, at_ns, server } => write!(out, "opened {slot} {at_ns} {server}"),
            Entry::Closed {
                slot,
                opened_ns,
                at_ns,
                server,
            } => {
                write!(out, "closed {slot} {opened_ns} {at_ns} {server}")
            }
            Entry::End { at_ns } => write!(out, "end {at_ns}"),
        }
    }
}

impl FromStr for Entry {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> Result<Entry> {
        let mut fields = Fields(line.split(' '));
        let entry = match fields.word()? {
            "start" => Entry::Start {
                at_ns: fields.number()?,
            },
            "ack" => Entry::Ack(fields.attempt()?),
            "refused" => Entry::Refused(fields.attempt()?),
            "unknown" => Entry::Unknown(fields.attempt()?),
            "unsent" => Entry::Unsent(fields.attempt()?),
            "opened" => Entry::Opened {
                slot: fields.number()?,
                at_ns: fields.number()?,
                server: fields.number()?,
            },
            "closed" => Entry::Closed {
                slot: fields.number()?,
                opened_ns: fields.number()?,
                at_ns: fields.number()?,
                server: fields.number()?,
            },
            "end" => Entry::End {
                at_ns: fields.number()?,
            },
            other => bail!("`{other}` begins no line of a writer's log"),
        };
        fields.finish()?;
        Ok(entry)
    }
}

/// The words of one line, read from left to right.
pub(crate) struct Fields<'a>(pub(crate) std::str::Split<'a, char>);

impl<'a> Fields<'a> {
    pub(crate) fn word(&mut self) -> Result<&'a str> {
        self.0.next().context("the line ends too early")
    }

    pub(crate) fn number<N: FromStr>(&mut self) -> Result<N> {
        let word = self.word()?;
        word.parse()
            .ok()
            .with_context(|| format!("`{word}` is not a number that fits here"))
    }

    fn attempt(&mut self) -> Result<Attempt> {
        Ok(Attempt {
            writer: self.word()?.to_owned(),
            id: self.number()?,
            sent_ns: self.number()?,
            done_ns: self.number()?,
            server: self.number()?,
            code: self.number()?,
        })
    }

    pub(crate) fn finish(&mut self) -> Result<()> {
        match self.0.next() {
            None => Ok(()),
            Some(word) => bail!("`{word}` is one word too many"),
        }
    }
}

/// Reads a log. A last line without its newline was cut off by the writer's death and is left out.
pub fn read(text: &str) -> Result<Vec<Entry>> {
    whole_lines(text)
        .enumerate()
        .map(|(index, line)| {
            line.parse()
                .with_context(|| format!("line {} of the writer's log", index + 1))
        })
        .collect()
}

/// The lines of `text` that end in a newline.
pub(crate) fn whole_lines(text: &str) -> impl Iterator<Item = &str> {
    let end = text.rfind('\n').map_or(0, |at| at);
    text[..end].lines()
}

/// An append-only log that several writers share. The first write error is kept until [`Log::flush`].
pub struct Log {
    inner: Mutex<Inner>,
}

struct Inner {
    out: BufWriter<Box<dyn Write + Send>>,
    failed: Option<io::Error>,
}

impl Log {
    pub fn new(out: Box<dyn Write + Send>) -> Log {
        let out = BufWriter::with_capacity(64 * 1024, out);
        Log {
            inner: Mutex::new(Inner { out, failed: None }),
        }
    }

    /// Appends a line to the buffer.
    pub fn add(&self, entry: &impl fmt::Display) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = writeln!(inner.out, "{entry}") {
            inner.failed.get_or_insert(error);
        }
    }

    /// Hands the buffer to the system.
    pub fn flush(&self) -> io::Result<()> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        match inner.failed.take() {
            Some(error) => Err(error),
            None => inner.out.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt() -> Attempt {
        Attempt {
            writer: "keep".into(),
            id: 7,
            sent_ns: 100,
            done_ns: 200,
            server: 2,
            code: 1290,
        }
    }

    #[test]
    fn every_kind_of_line_reads_back_as_it_was() {
        let entries = vec![
            Entry::Start { at_ns: 1 },
            Entry::Ack(attempt()),
            Entry::Refused(attempt()),
            Entry::Unknown(attempt()),
            Entry::Unsent(attempt()),
            Entry::Opened {
                slot: 3,
                at_ns: 5,
                server: 1,
            },
            Entry::Closed {
                slot: 3,
                opened_ns: 5,
                at_ns: 9,
                server: 1,
            },
            Entry::End { at_ns: 10 },
        ];
        let text: String = entries.iter().map(|entry| format!("{entry}\n")).collect();
        assert_eq!(read(&text).unwrap(), entries);
    }

    #[test]
    fn a_line_cut_off_by_a_crash_is_left_out_and_a_broken_one_is_an_error() {
        assert_eq!(
            read("start 1\nack keep 7 1").unwrap(),
            [Entry::Start { at_ns: 1 }]
        );
        assert!(read("start 1\nack keep 7 1\n").is_err());
        assert!(read("start 1 2\n").is_err());
        assert!(read("bogus\n").is_err());
    }
}
