//! Rules for sudo, as `mmm sudoers` prints them: each command of the duties as one rule, with the program's full path and
//! with nothing left open.

use std::collections::{BTreeMap, BTreeSet};

/// The rules of one host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules {
    /// One rule a line, as sudoers wants it.
    pub lines: Vec<String>,
    /// What no rule could be made of, and why.
    pub left_out: Vec<String>,
}

/// The rules that let `user` run these commands as root; `paths` says where each program stands.
pub fn rules(user: &str, commands: &BTreeSet<String>, paths: &BTreeMap<String, String>) -> Rules {
    let mut rules = Rules::default();
    for command in commands {
        match spelt(command, paths) {
            Ok(command) => rules
                .lines
                .push(format!("{} ALL=(root) NOPASSWD: {command}", name(user))),
            Err(why) => rules.left_out.push(format!("`{command}`: {why}")),
        }
    }
    rules
}

fn spelt(command: &str, paths: &BTreeMap<String, String>) -> Result<String, String> {
    let words = words(command).ok_or("it is no simple command")?;
    let (program, arguments) = words.split_first().ok_or("it is empty")?;
    let path = match paths.get(program) {
        Some(path) => path,
        None if program.starts_with('/') => program,
        None => return Err(format!("`{program}` is not installed there")),
    };
    let mut text = escaped(path);
    for argument in arguments {
        text.push(' ');
        text.push_str(&escaped(argument));
    }
    if arguments.is_empty() {
        // Without this any argument would be allowed.
        text.push_str(" \"\"");
    }
    Ok(text)
}

/// The words of a simple command as a POSIX shell reads them; `None` where a shell would do more than take words.
fn words(command: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = command.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '\'' => break,
                        quoted => word.push(quoted),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(chars.next()?),
            '"' | '$' | '`' | '|' | '&' | ';' | '<' | '>' | '(' | ')' | '\n' | '#' => return None,
            plain => word.get_or_insert_default().push(plain),
        }
    }
    words.extend(word.take());
    Some(words)
}

/// What means something to sudoers means itself behind a backslash.
fn escaped(word: &str) -> String {
    let mut text = String::new();
    for c in word.chars() {
        if matches!(c, '\\' | ',' | ':' | '=' | '*' | '?' | '[' | ']' | '!' | '"') {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

fn name(user: &str) -> String {
    let mut text = String::new();
    for c in user.chars() {
        if !c.is_ascii_alphanumeric() && !matches!(c, '_' | '-' | '.') {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(command: &str) -> Result<String, String> {
        let paths = BTreeMap::from([
            ("ip".to_owned(), "/usr/sbin/ip".to_owned()),
            ("systemctl".to_owned(), "/usr/bin/systemctl".to_owned()),
        ]);
        let rules = rules("mmm", &BTreeSet::from([command.to_owned()]), &paths);
        match (rules.lines.as_slice(), rules.left_out.as_slice()) {
            ([line], []) => Ok(line.clone()),
            ([], [why]) => Err(why.clone()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_command_is_allowed_as_it_is_and_no_other() {
        assert_eq!(
            of("ip address flush to 10.0.0.1/32").unwrap(),
            "mmm ALL=(root) NOPASSWD: /usr/sbin/ip address flush to 10.0.0.1/32"
        );
        assert_eq!(
            of("ip address flush to fd00::1/128").unwrap(),
            "mmm ALL=(root) NOPASSWD: /usr/sbin/ip address flush to fd00\\:\\:1/128"
        );
        assert_eq!(
            of("systemctl kill --signal=KILL 'mysql@a*b.service'").unwrap(),
            "mmm ALL=(root) NOPASSWD: /usr/bin/systemctl kill --signal\\=KILL mysql@a\\*b.service"
        );
        assert!(of("ip").unwrap().ends_with("/usr/sbin/ip \"\""));
    }

    #[test]
    fn what_cannot_be_a_rule_is_said() {
        assert!(
            of("ndisc6 -q x")
                .unwrap_err()
                .contains("`ndisc6` is not installed")
        );
        for command in ["ip $x", "ip 'x", "ip \"x\"", "ip a; ip b", "ip a > b"] {
            assert!(of(command).unwrap_err().contains("simple"), "{command}");
        }
    }

    #[test]
    fn a_user_of_a_directory_service_is_one_name() {
        let rules = rules(
            "corp\\mmm x",
            &BTreeSet::from(["/bin/true a".to_owned()]),
            &BTreeMap::new(),
        );
        assert_eq!(rules.lines, ["corp\\\\mmm\\ x ALL=(root) NOPASSWD: /bin/true a"]);
    }
}
