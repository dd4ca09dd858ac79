//! Story files: paragraphs of commands, `----`, and what came of them.

/// A paragraph of a story.
pub struct Paragraph {
    /// Where its first command stands, counted from 1.
    pub line: usize,
    /// What happens, one thing a line.
    pub commands: Vec<String>,
    /// What should come of it.
    pub expected: Vec<String>,
    /// What came of it.
    pub came: Vec<String>,
    /// The lines of the file below `----` that `expected` takes, counted from 0.
    below: std::ops::Range<usize>,
}

/// The paragraphs of a file. A line with `#` at its start is for the reader.
pub fn read(file: &str, text: &str) -> Vec<Paragraph> {
    let lines: Vec<&str> = text.lines().collect();
    let mut paragraphs = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        if lines[at].is_empty() || lines[at].starts_with('#') {
            at += 1;
            continue;
        }
        let first = at;
        let rest = |from: usize, is_end: &dyn Fn(&str) -> bool| {
            lines[from..]
                .iter()
                .position(|line| is_end(line))
                .map_or(lines.len(), |length| from + length)
        };
        let dashes = rest(at, &|line| line == "----" || line.is_empty());
        assert!(
            lines.get(dashes) == Some(&"----"),
            "{file}:{}: a paragraph without `----`",
            first + 1
        );
        at = rest(dashes, &str::is_empty);
        let commands = lines[first..dashes].iter().filter(|line| !line.starts_with('#'));
        paragraphs.push(Paragraph {
            line: first + 1,
            commands: commands.map(ToString::to_string).collect(),
            expected: lines[dashes + 1..at].iter().map(ToString::to_string).collect(),
            came: Vec::new(),
            below: dashes + 1..at,
        });
    }
    paragraphs
}

/// The file with what came in place of what was expected.
pub fn write(text: &str, paragraphs: &[Paragraph]) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut written: Vec<&str> = Vec::new();
    let mut at = 0;
    for paragraph in paragraphs {
        written.extend(&lines[at..paragraph.below.start]);
        written.extend(paragraph.came.iter().map(String::as_str));
        at = paragraph.below.end;
    }
    written.extend(&lines[at..]);
    written.join("\n") + "\n"
}
