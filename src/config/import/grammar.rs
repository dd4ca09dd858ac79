//! MMM's grammar: lines → blocks whose values know their places, across all included files.
//!
//! It is MMM's to the letter, save where MMM silently misread: tags must match, and every key must be known.

use std::path::Path;

use super::blocks::{Block, Pages, Repeated, Setting, blank, items, trimmed};
use super::texts::{At, File, Said, Texts};
use super::words::{CHECKS, Kind, Shape};
use super::{Files, Refusal};
use crate::config::diagnostic::{Diagnostic, closest};

/// What the current line stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    Nothing,
    Block(usize),
    /// A block whose tag could not be understood.
    Skipped,
}

/// A line that says something.
enum Line<'l> {
    Open { body: &'l str, empty: bool },
    Close(&'l str),
    Include(&'l str),
    Setting,
}

impl<'l> Line<'l> {
    fn of(content: &'l str) -> Self {
        if let Some(tag) = content.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')) {
            if let Some(word) = tag.trim_start_matches(blank).strip_prefix('/') {
                return Line::Close(word.trim_matches(blank));
            }
            let body = tag.trim_end_matches(blank);
            return match body.strip_suffix('/') {
                Some(body) => Line::Open { body, empty: true },
                None => Line::Open { body, empty: false },
            };
        }
        match content.strip_prefix("include") {
            Some(rest) if rest.starts_with(blank) => Line::Include(rest.trim_start_matches(blank)),
            _ => Line::Setting,
        }
    }
}

/// Findings after which reading stops: so many mean that this is no configuration of MMM.
const MOST_FINDINGS: usize = 100;

/// Files that one import may read.
const MOST_FILES: usize = 200;

/// Reads files with all they include.
pub struct Reader<'t> {
    pub texts: &'t mut Texts,
    pub files: &'t mut dyn Files,
    pub findings: Vec<Diagnostic>,
    said: Pages,
    /// The files being read, from the first to the one included last.
    open: Vec<usize>,
    opened: usize,
}

impl<'t> Reader<'t> {
    /// A reader that has read nothing yet.
    pub fn new(texts: &'t mut Texts, files: &'t mut dyn Files) -> Self {
        let nowhere = At { file: 0, span: 0..0 };
        Self {
            texts,
            files,
            findings: Vec::new(),
            said: Pages {
                top: Block::new(Kind::Top, None, nowhere),
                blocks: Vec::new(),
                repeated: Vec::new(),
                files: Vec::new(),
                jumbled: false,
            },
            open: Vec::new(),
            opened: 0,
        }
    }

    /// Reads one file after those read before; what it says wins over them.
    pub fn read(&mut self, file: File) {
        let (number, broken) = self.texts.keep(file);
        if !self.said.files.contains(&number) {
            self.said.files.push(number);
        }
        self.said.top.at = At {
            file: number,
            span: 0..0,
        };
        if let Some(at) = broken {
            let at = At {
                file: number,
                span: at..at + 1,
            };
            let hint = "save it as UTF-8, for instance with `iconv`";
            self.error(
                &at,
                "the file is not UTF-8 text",
                "the bytes from here on are no characters",
                hint,
            );
            self.said.jumbled = true;
            return;
        }
        self.open.push(number);
        self.page(number);
        self.open.pop();
    }

    /// What was read, and everything that was wrong with it.
    pub fn end(self) -> (Pages, Vec<Diagnostic>) {
        (self.said, self.findings)
    }

    fn error(
        &mut self,
        at: &At,
        what: impl Into<String>,
        because: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let finding = self.texts.error(at, what, because, hint);
        // A file that two programs of MMM include is read for each.
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    fn page(&mut self, file: usize) {
        let text = self.texts.text(file);
        let mut start = usize::from(text.starts_with('\u{feff}')) * '\u{feff}'.len_utf8();
        let mut inside = Inside::Nothing;
        let mut opened = At { file, span: 0..0 };
        for line in text[start..].split_inclusive('\n') {
            if self.findings.len() >= MOST_FINDINGS {
                self.said.jumbled = true;
                return;
            }
            let span = trimmed(&text, start..start + line.len());
            start += line.len();
            let content = &text[span.clone()];
            if content.is_empty() || content.starts_with('#') {
                continue;
            }
            let at = At { file, span };
            match Line::of(content) {
                Line::Close(word) => {
                    self.close(word, &at, inside);
                    inside = Inside::Nothing;
                }
                Line::Open { body, empty } => {
                    if inside != Inside::Nothing {
                        self.unclosed(&opened, Some(&at));
                    }
                    inside = self.open_block(body, &at).map_or(Inside::Skipped, Inside::Block);
                    if empty {
                        inside = Inside::Nothing;
                    }
                    opened = at;
                }
                _ if inside == Inside::Skipped => {}
                Line::Include(name) if inside == Inside::Nothing => self.include(name, &at),
                Line::Include(_) => {
                    let hint = "move it out of the block";
                    self.error(&at, "`include` inside a block", "MMM died of that", hint);
                }
                Line::Setting => self.setting(inside, &at, content),
            }
        }
        if inside != Inside::Nothing {
            self.unclosed(&opened, None);
        }
    }

    /// The block of a tag, made or found; `None` for a tag that cannot be understood.
    fn open_block(&mut self, body: &str, at: &At) -> Option<usize> {
        let index = self.understood(body, at);
        // What was meant by the tag may be missed elsewhere; that is not said again.
        self.said.top.broken |= index.is_none();
        index
    }

    fn understood(&mut self, body: &str, at: &At) -> Option<usize> {
        let mut words = body.split_ascii_whitespace();
        let word = words.next().unwrap_or_default().to_owned();
        let name: Vec<&str> = words.collect();
        let Some(kind) = Kind::BLOCKS.into_iter().find(|kind| kind.word() == word) else {
            let all = Kind::BLOCKS.map(Kind::word);
            let near = closest(&word, all).map_or_else(
                || format!("blocks are {}", all.map(|word| format!("`<{word}>`")).join(", ")),
                |near| format!("did you mean `<{near}>`?"),
            );
            self.error(
                at,
                format!("`<{word}>` is no block"),
                "MMM has no block of that name",
                near,
            );
            return None;
        };
        let name = match (kind.is_named(), name.as_slice()) {
            (false, []) => None,
            (false, _) => {
                let hint = format!("write `<{word}>`");
                self.error(at, format!("`<{word}>` takes no name"), "there is only one", hint);
                return None;
            }
            (true, [name]) => {
                let said = self.part(at, name);
                Some(self.check_name(kind, &said).then_some(said)?)
            }
            (true, found) => {
                let (what, because) = if found.is_empty() {
                    (
                        format!("this `<{word}>` has no name"),
                        "there can be several, told apart by their names",
                    )
                } else {
                    (
                        format!("this `<{word}>` has more than one name"),
                        "a name has no blanks in it",
                    )
                };
                self.error(at, what, because, format!("write `<{word} NAME>`"));
                return None;
            }
        };
        let known = |block: &Block| {
            block.kind == kind
                && block.name.as_ref().map(|name| &name.text) == name.as_ref().map(|name| &name.text)
        };
        let index = self.said.blocks.iter().position(known).unwrap_or_else(|| {
            self.said.blocks.push(Block::new(kind, name, at.clone()));
            self.said.blocks.len() - 1
        });
        Some(index)
    }

    fn check_name(&mut self, kind: Kind, name: &Said) -> bool {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if !name.text.chars().all(allowed) {
            let because = "MMM's names are letters, digits, `_` and `-`; a dot was no part of one";
            let hint = "name it as MMM knows it";
            self.error(
                &name.at,
                format!("`{}` cannot be a name", name.text),
                because,
                hint,
            );
            return false;
        }
        if kind == Kind::Check && !CHECKS.contains(&name.text.as_str()) {
            let hint = closest(&name.text, CHECKS).map_or_else(
                || {
                    format!(
                        "checks are {}",
                        CHECKS.map(|check| format!("`{check}`")).join(", ")
                    )
                },
                |near| format!("did you mean `{near}`?"),
            );
            self.error(
                &name.at,
                format!("there is no check `{}`", name.text),
                "MMM refused it too",
                hint,
            );
            return false;
        }
        true
    }

    fn close(&mut self, word: &str, at: &At, inside: Inside) {
        let open = match inside {
            Inside::Skipped => return,
            Inside::Block(index) => self.said.blocks.get(index).map(|block| block.kind.word()),
            Inside::Nothing => None,
        };
        match open {
            Some(open) if open == word => return,
            Some(open) => {
                let because = "MMM took any closing tag for the open block's";
                let what = format!("`</{word}>` closes `<{open}>`");
                self.error(at, what, because, format!("write `</{open}>`"));
            }
            None => {
                let because =
                    "no block is open here; MMM stopped reading the file at this line, and said nothing";
                let hint = "remove it, or find its opening tag";
                self.error(at, format!("`</{word}>` closes nothing"), because, hint);
            }
        }
        self.said.jumbled = true;
    }

    fn unclosed(&mut self, opened: &At, by: Option<&At>) {
        let because = match by {
            Some(next) => format!("another block begins before its end ({})", self.texts.place(next)),
            None => "the file ends first".to_owned(),
        };
        self.error(opened, "this block is not closed", because, "add its closing tag");
        self.said.jumbled = true;
    }

    fn include(&mut self, name: &str, at: &At) {
        let said = self.part(at, name);
        let from = self.texts.path(at.file).to_owned();
        self.opened += 1;
        if self.opened > MOST_FILES {
            let because = format!("more than {MOST_FILES} files have been included");
            self.error(&said.at, "too many includes", because, "untangle them");
            self.said.jumbled = true;
            return;
        }
        let file = match self.files.include(name, &from) {
            Ok(file) => file,
            Err(Refusal { because, hint }) => {
                self.error(&said.at, format!("`{name}` cannot be included"), because, hint);
                self.said.jumbled = true;
                return;
            }
        };
        if let Some(known) = self.texts.numbered(&file.identity)
            && self.open.contains(&known)
        {
            let hint = "remove one of the includes";
            let because = "it is being read already, so there would be no end";
            self.error(&said.at, format!("`{name}` includes itself"), because, hint);
            self.said.jumbled = true;
            return;
        }
        let top = self.said.top.at.clone();
        self.read(file);
        self.said.top.at = top;
    }

    fn setting(&mut self, inside: Inside, at: &At, content: &str) {
        let key_end = content.find(|c: char| blank(c)).unwrap_or(content.len());
        let key_at = self.part(at, &content[..key_end]).at;
        let value_start = content.len() - content[key_end..].trim_start_matches(blank).len();
        let value = Said {
            text: content[value_start..].to_owned(),
            at: At {
                file: at.file,
                span: at.span.start + value_start..at.span.end,
            },
        };
        let kind = self.block(inside).kind;
        let Some((key, shape, _)) = kind.keys().iter().find(|(key, ..)| *key == &content[..key_end]) else {
            self.unknown(kind, &content[..key_end], &key_at);
            self.block(inside).broken = true;
            return;
        };
        if value.text.is_empty() {
            self.error(
                &key_at,
                format!("`{key}` has no value"),
                "a key stands with its value on one line",
                "write one, or remove the key",
            );
            self.block(inside).broken = true;
            return;
        }
        if !self.fits(key, *shape, &value) {
            self.block(inside).broken = true;
            return;
        }
        let into = self.block(inside);
        let setting = Setting { key, key_at, value };
        match into.settings.iter_mut().find(|known| known.key == *key) {
            None => into.settings.push(setting),
            Some(known) => {
                let first = std::mem::replace(known, setting.clone());
                if first.value.text != setting.value.text {
                    self.said.repeated.push(Repeated {
                        key,
                        first: first.value.at,
                        last: setting.value.at,
                    });
                }
            }
        }
    }

    fn block(&mut self, inside: Inside) -> &mut Block {
        match inside {
            Inside::Block(index) if index < self.said.blocks.len() => &mut self.said.blocks[index],
            _ => &mut self.said.top,
        }
    }

    fn fits(&mut self, key: &str, shape: Shape, value: &Said) -> bool {
        let mut fits = true;
        let hidden = self.texts.hides(&value.at);
        for item in items(value, shape) {
            let quoted = |item: &Said| {
                if hidden {
                    "this".to_owned()
                } else {
                    format!("`{}`", item.text)
                }
            };
            if item.text.chars().any(char::is_control) {
                let because = "it has tabs or control characters in it";
                let hint = "write it with plain characters";
                self.error(
                    &item.at,
                    format!("{} cannot be `{key}`", quoted(&item)),
                    because,
                    hint,
                );
                fits = false;
            } else if item.text.is_empty() {
                self.error(
                    &item.at,
                    format!("`{key}` has an empty item"),
                    "nothing stands between two commas",
                    "remove one comma",
                );
                fits = false;
            } else if let Some(misfit) = shape.misfit(&item.text) {
                let what = format!("{} is not {}", quoted(&item), misfit.wanted);
                self.error(&item.at, what, misfit.because, misfit.hint);
                fits = false;
            }
        }
        fits
    }

    fn unknown(&mut self, kind: Kind, key: &str, at: &At) {
        let hidden = self.texts.hides(at);
        let homes: Vec<String> = std::iter::once(Kind::Top)
            .chain(Kind::BLOCKS)
            .filter(|other| other.keys().iter().any(|(known, ..)| *known == key))
            .map(Kind::place)
            .collect();
        let what = match hidden {
            true => "unknown key".to_owned(),
            false => format!("unknown key `{key}`"),
        };
        let because = format!("no key of that name exists {}", kind.place());
        let hint = if Kind::BLOCKS.iter().any(|block| block.word() == key) {
            format!("it is a block: write `<{key}…>` and `</{key}>` on lines of their own")
        } else if key.starts_with('<') {
            "a tag stands alone on its line, from `<` to `>`".to_owned()
        } else if !homes.is_empty() {
            format!("it belongs {}", homes.join(" or "))
        } else if let Some(near) = closest(key, kind.keys().iter().map(|(known, ..)| *known)) {
            format!("did you mean `{near}`?")
        } else {
            "remove it, or look it up in MMM's manual".to_owned()
        };
        self.error(at, what, because, hint);
    }

    /// A part of a line, which must have been cut out of it.
    fn part(&self, at: &At, part: &str) -> Said {
        let text = self.texts.text(at.file);
        let found = text[at.span.clone()].rfind(part).unwrap_or(0);
        // A key is looked for from the front: its value may repeat it.
        let found = if text[at.span.clone()].starts_with(part) {
            0
        } else {
            found
        };
        let start = at.span.start + found;
        Said {
            text: part.to_owned(),
            at: At {
                file: at.file,
                span: start..start + part.len(),
            },
        }
    }
}

/// The file of that name as MMM would spell it: with `.conf` at its end.
pub fn file_name(name: &str) -> String {
    match Path::new(name).extension() {
        Some(extension) if extension == "conf" => name.to_owned(),
        _ => format!("{name}.conf"),
    }
}
