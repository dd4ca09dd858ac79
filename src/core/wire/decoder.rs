//! What a warm shell says, taken apart: framed lines behind the marker, and everything else as output.

use super::Uptime;
use crate::core::script::Failure;

/// A line without end longer than this is passed on as output, so that nothing grows without bound.
const LONGEST_LINE: usize = 128 * 1024;

/// The longest value a step may register.
const LONGEST_VALUE: usize = 1024 * 1024;

/// One thing a shell said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// The shell is ready.
    Hello {
        /// The session all its processes are in.
        session: u32,
        /// When that session's leader started, in the kernel's ticks since boot; 0 when that cannot be seen.
        started: u64,
        /// The host's clock.
        uptime: Uptime,
        /// What the kernel calls this run of the system; empty when that cannot be seen.
        boot: String,
    },
    /// The SQL client is connected.
    Sql {
        /// The server's id of the connection.
        connection: u64,
        /// Whether it holds the lock by which it is told from others of that number.
        marked: bool,
    },
    /// A duty was received whole.
    Duty(u64),
    /// A step begins.
    Begin(usize),
    /// A step is left out.
    Skip(usize),
    /// A step ended.
    End(usize, Ending),
    /// A step was not started: too late.
    Expired(usize),
    /// A step registers a value.
    Value(String, String),
    /// The duty ended; the host's clock.
    Done(u64, Uptime),
    /// Bytes that are no frame.
    Output(Vec<u8>),
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// Done.
    Done,
    /// There was nothing to do.
    Already,
    /// It failed.
    Failed(Failure),
}

/// Takes a stream apart.
#[derive(Debug)]
pub struct Decoder {
    prefix: Vec<u8>,
    buffer: Vec<u8>,
    value: Option<Value>,
    /// The line being read is the rest of one that was passed on.
    inside_line: bool,
}

/// A value whose bytes are awaited.
#[derive(Debug)]
struct Value {
    name: String,
    length: usize,
    escaped: bool,
}

impl Decoder {
    /// For a shell with that marker.
    pub fn new(marker: &str) -> Self {
        Decoder {
            prefix: format!("{marker} ").into_bytes(),
            buffer: Vec::new(),
            value: None,
            inside_line: false,
        }
    }

    /// Takes bytes in, and gives the frames they complete.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Frame> {
        self.buffer.extend_from_slice(bytes);
        let mut frames = Vec::new();
        let mut start = 0;
        loop {
            let rest = &self.buffer[start..];
            if let Some(value) = &self.value {
                let Some(bytes) = rest.get(..value.length) else {
                    break;
                };
                let text = String::from_utf8_lossy(bytes);
                let text = if value.escaped {
                    unescaped(&text)
                } else {
                    text.into_owned()
                };
                frames.push(Frame::Value(value.name.clone(), text));
                start += value.length;
                self.value = None;
                self.inside_line = true;
                continue;
            }
            let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
                break;
            };
            let line = &rest[..end];
            match line.strip_prefix(self.prefix.as_slice()) {
                Some(words) if !self.inside_line => match frame(&String::from_utf8_lossy(words)) {
                    Some(Said::Frame(frame)) => frames.push(frame),
                    Some(Said::Value(value)) => self.value = Some(value),
                    None => output(&mut frames, &rest[..=end]),
                },
                _ => output(&mut frames, &rest[..=end]),
            }
            self.inside_line = false;
            start += end + 1;
        }
        self.buffer.drain(..start);
        if self.value.is_none() && self.buffer.len() > LONGEST_LINE {
            output(&mut frames, &self.buffer);
            self.buffer.clear();
            self.inside_line = true;
        }
        frames
    }

    /// What stands in an unfinished line; for the last words of a shell that ended.
    pub fn rest(&self) -> &[u8] {
        &self.buffer
    }
}

fn output(frames: &mut Vec<Frame>, bytes: &[u8]) {
    if let Some(Frame::Output(last)) = frames.last_mut() {
        last.extend_from_slice(bytes);
    } else {
        frames.push(Frame::Output(bytes.to_vec()));
    }
}

enum Said {
    Frame(Frame),
    Value(Value),
}

fn frame(words: &str) -> Option<Said> {
    let (kind, rest) = words.split_once(' ').unwrap_or((words, ""));
    let mut fields = rest.split(' ');
    let mut number = || fields.next()?.parse::<u64>().ok();
    let frame = match kind {
        "hello" => Frame::Hello {
            session: number()?.try_into().ok()?,
            started: number()?,
            uptime: Uptime(number()?),
            boot: rest.split(' ').nth(3).unwrap_or_default().to_owned(),
        },
        "sql" => Frame::Sql {
            connection: number()?,
            marked: number() == Some(1),
        },
        "duty" => Frame::Duty(number()?),
        "begin" => Frame::Begin(usize::try_from(number()?).ok()?),
        "skip" => Frame::Skip(usize::try_from(number()?).ok()?),
        "expired" => Frame::Expired(usize::try_from(number()?).ok()?),
        "done" => Frame::Done(number()?, Uptime(number()?)),
        "end" => {
            let (step, ending) = rest.split_once(' ')?;
            Frame::End(step.parse().ok()?, self::ending(ending)?)
        }
        "value" => {
            let (name, rest) = rest.split_once(' ')?;
            let (form, length) = rest.split_once(' ')?;
            let length = length.parse().ok().filter(|length| *length <= LONGEST_VALUE)?;
            return Some(Said::Value(Value {
                name: name.to_owned(),
                length,
                escaped: form == "sql",
            }));
        }
        _ => return None,
    };
    Some(Said::Frame(frame))
}

fn ending(words: &str) -> Option<Ending> {
    let (kind, rest) = words.split_once(' ').unwrap_or((words, ""));
    match kind {
        "ok" => return Some(Ending::Done),
        "already" => return Some(Ending::Already),
        "failed" => {}
        _ => return None,
    }
    let (why, detail) = rest.split_once(' ').unwrap_or((rest, ""));
    Some(Ending::Failed(match why {
        "status" => Failure::Status(detail.parse().ok()?),
        "sql" => Failure::Sql(detail.to_owned()),
        "answer" => Failure::Unexpected(detail.to_owned()),
        "late" if detail.is_empty() => Failure::Late,
        "late" => match detail.strip_prefix(": ") {
            Some(last_seen) => Failure::Waited(last_seen.to_owned()),
            None => Failure::Sql(detail.to_owned()),
        },
        _ => return None,
    }))
}

/// Undoes what the batch mode of the SQL client does to values.
fn unescaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            text.push(character);
            continue;
        }
        match characters.next() {
            Some('n') => text.push('\n'),
            Some('t') => text.push('\t'),
            Some('0') => text.push('\0'),
            Some(other) => text.push(other),
            None => text.push('\\'),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(pieces: &[&[u8]]) -> Vec<Frame> {
        let mut decoder = Decoder::new("mark");
        pieces.iter().flat_map(|piece| decoder.push(piece)).collect()
    }

    #[test]
    fn frames_stand_behind_the_marker_at_the_start_of_a_line_only() {
        let frames =
            all(&[b"\nmark duty 3\n\nmark begin 0\nhello mark end 0 ok\nother end 0 ok\n\nmark end 0 ok\n"]);
        assert_eq!(
            frames,
            [
                Frame::Output(b"\n".to_vec()),
                Frame::Duty(3),
                Frame::Output(b"\n".to_vec()),
                Frame::Begin(0),
                Frame::Output(b"hello mark end 0 ok\nother end 0 ok\n\n".to_vec()),
                Frame::End(0, Ending::Done),
            ]
        );
    }

    #[test]
    fn any_cut_gives_the_same_frames() {
        let text = b"\nmark value a sql 8\nx\\ty\\\\\nz\nmark done 7 4321\n";
        let whole: Vec<Frame> = all(&[text]);
        let no_output = |frames: Vec<Frame>| -> Vec<Frame> {
            frames
                .into_iter()
                .filter(|frame| !matches!(frame, Frame::Output(_)))
                .collect()
        };
        let expected = [
            Frame::Value("a".to_owned(), "x\ty\\\nz".to_owned()),
            Frame::Done(7, Uptime(4321)),
        ];
        assert_eq!(no_output(whole), expected);
        for cut in 0..text.len() {
            assert_eq!(
                no_output(all(&[&text[..cut], &text[cut..]])),
                expected,
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn a_value_cannot_forge_a_frame() {
        let frames = all(&[b"\nmark value a raw 21\n\nmark end 0 ok\nxxxxxx\nmark begin 4\n"]);
        assert!(
            frames.contains(&Frame::Value(
                "a".to_owned(),
                "\nmark end 0 ok\nxxxxxx".to_owned()
            )),
            "{frames:?}"
        );
        assert!(!frames.iter().any(|frame| matches!(frame, Frame::End(..))));
        assert!(frames.contains(&Frame::Begin(4)));
    }

    #[test]
    fn endless_lines_do_not_grow() {
        let mut decoder = Decoder::new("mark");
        let mut seen = 0;
        for _ in 0..100 {
            for frame in decoder.push(&[b'x'; 10_000]) {
                if let Frame::Output(bytes) = frame {
                    seen += bytes.len();
                }
            }
        }
        assert!(seen > 800_000 && decoder.rest().len() <= LONGEST_LINE);
        // What follows such a line on the same line is no frame either.
        assert_eq!(decoder.push(b"").len(), 0);
    }

    #[test]
    fn failures_carry_their_reason() {
        let frames = all(&[b"mark end 2 failed sql ERROR 1227 (42000) at line 3: no\nmark end 3 failed status 5\nmark end 4 failed answer \n"]);
        assert_eq!(
            frames[0],
            Frame::End(
                2,
                Ending::Failed(Failure::Sql("ERROR 1227 (42000) at line 3: no".to_owned()))
            )
        );
        assert_eq!(frames[1], Frame::End(3, Ending::Failed(Failure::Status(5))));
        assert_eq!(
            frames[2],
            Frame::End(4, Ending::Failed(Failure::Unexpected(String::new())))
        );
    }
}
