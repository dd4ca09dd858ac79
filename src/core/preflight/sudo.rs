//! Whether sudo lets the SSH user do what the duties do. Answers of `sudo -l` in, findings out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Finding, Name, Severity, Subject};

/// How many refused commands of one program are spelt out.
const SHOWN: usize = 3;

/// What sudo said about one command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SudoAnswer {
    /// The command as a duty runs it, without `sudo -n`.
    pub command: String,
    /// The exit status of `sudo -n -l -- COMMAND`.
    pub status: i32,
    /// The first line it printed: the command with its path when allowed, otherwise sudo's complaint or nothing.
    pub said: String,
}

impl SudoAnswer {
    fn program(&self) -> &str {
        self.command.split_whitespace().next().unwrap_or_default()
    }
}

/// What stands in the way of the commands, one finding a cause or program. `rules` is what `sudo -n -l -l` printed.
pub(super) fn check(
    subject: &Subject,
    answers: &[SudoAnswer],
    rules: &str,
    missing: &[&str],
    findings: &mut Vec<Finding>,
) {
    if missing.contains(&"sudo") {
        // That sudo is missing is a finding of its own.
        return;
    }
    if let Some(answer) = answers
        .iter()
        .find(|one| one.status != 0 && one.said.contains("must have a tty"))
    {
        findings.push(subject.finding(
            Name::SudoWantsTerminal,
            Severity::Error,
            format!("sudo refuses to work without a terminal: {}", answer.said),
            "duties have none",
            "`Defaults:USER !requiretty` in sudoers, for the SSH user".to_owned(),
        ));
        return;
    }
    let mut refused: BTreeMap<&str, Vec<&SudoAnswer>> = BTreeMap::new();
    let mut asking: BTreeMap<&str, Vec<&SudoAnswer>> = BTreeMap::new();
    for answer in answers.iter().filter(|one| !missing.contains(&one.program())) {
        let wants_password = match answer.status {
            0 => asks_password(rules, &answer.said),
            _ => answer.said.contains("password is required"),
        };
        if wants_password {
            asking.entry(answer.program()).or_default().push(answer);
        } else if answer.status != 0 {
            refused.entry(answer.program()).or_default().push(answer);
        }
    }
    for (program, answers) in refused {
        findings.push(subject.finding(
            Name::SudoRefused,
            Severity::Error,
            format!("sudo does not let the SSH user run {}", list(&answers)),
            "duties need them as root",
            format!(
                "allow them in sudoers: `USER ALL=(root) NOPASSWD: …`, with the full path of `{program}`"
            ),
        ));
    }
    for (_, answers) in asking {
        findings.push(subject.finding(
            Name::SudoWantsPassword,
            Severity::Error,
            format!("sudo wants a password for {}", list(&answers)),
            "nobody is there to type it",
            "add `NOPASSWD:` before these commands in sudoers".to_owned(),
        ));
    }
}

fn list(answers: &[&SudoAnswer]) -> String {
    let mut words: Vec<String> = answers
        .iter()
        .take(SHOWN)
        .map(|answer| format!("`{}`", answer.command))
        .collect();
    if let Some(more) = answers.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        words.push(format!("{more} more"));
    }
    words.join(", ")
}

/// Whether the last rule that fits `command` wants a password. `sudo -l COMMAND` does not tell: one rule without a
/// password is enough for it to answer without one. Rules that are not understood are not held against anybody.
fn asks_password(rules: &str, command: &str) -> bool {
    let (defaults, entries) = rules.split_once("may run the following").unwrap_or(("", rules));
    if defaults
        .split([',', '\n'])
        .any(|word| word.trim() == "!authenticate")
    {
        return false;
    }
    let mut wants = false;
    let (mut as_root, mut free) = (false, false);
    for line in entries.lines() {
        let text = line.trim();
        if let Some(users) = text.strip_prefix("RunAsUsers:") {
            free = false;
            as_root = users.split(',').any(|user| matches!(user.trim(), "root" | "ALL"));
        } else if let Some(options) = text.strip_prefix("Options:") {
            free = options.split(',').any(|option| option.trim() == "!authenticate");
        } else if line.starts_with('\t') && as_root && fits(text, command) {
            wants = !free;
        }
    }
    wants
}

/// Whether a command of a rule covers `command`, both with full paths.
fn fits(rule: &str, command: &str) -> bool {
    if rule == "ALL" {
        return true;
    }
    let rule = rule.replace('\\', "");
    let (path, arguments) = rule
        .split_once(' ')
        .map_or((rule.as_str(), None), |(path, rest)| (path, Some(rest)));
    let (program, given) = command.split_once(' ').unwrap_or((command, ""));
    glob(path.as_bytes(), program.as_bytes())
        && match arguments {
            None => true,
            Some("\"\"") => given.is_empty(),
            Some(pattern) => glob(pattern.as_bytes(), given.as_bytes()),
        }
}

/// `*` and `?` as sudoers means them: in arguments they also match blanks and slashes.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => (0..=text.len()).any(|skip| glob(rest, &text[skip..])),
        (Some((b'?', pattern)), Some((_, text))) => glob(pattern, text),
        (Some((one, pattern)), Some((other, text))) if one == other => glob(pattern, text),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = "Matching Defaults entries for mmm on db1:\n    env_reset, !lecture\n\n\
        User mmm may run the following commands on db1:\n\nSudoers entry:\n    RunAsUsers: root\n    \
        Options: !authenticate\n    Commands:\n\t/usr/sbin/ip address *\n\t/usr/bin/arping *\n\t\
        /usr/bin/systemctl kill --signal\\=KILL db.service\n\nSudoers entry:\n    RunAsUsers: root\n    \
        Commands:\n\t/usr/bin/arping -q *\n";

    #[test]
    fn the_last_fitting_rule_says_whether_a_password_is_wanted() {
        for (command, expected) in [
            ("/usr/sbin/ip address flush to 10.0.0.1/32", false),
            ("/usr/bin/arping -D x", false),
            ("/usr/bin/arping -q -U x", true),
            ("/usr/bin/systemctl kill --signal=KILL db.service", false),
            ("/usr/bin/unknown", false),
        ] {
            assert_eq!(asks_password(RULES, command), expected, "{command}");
        }
        assert!(asks_password(
            "Sudoers entry:\n    RunAsUsers: ALL\n    Commands:\n\tALL\n",
            "/usr/sbin/ip a"
        ));
        let for_all = RULES.replace("env_reset,", "env_reset, !authenticate,");
        assert!(!asks_password(&for_all, "/usr/bin/arping -q x"));
    }
}
