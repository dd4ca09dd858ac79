//! Ways of speaking that MMM's users know, and what is said about a command line that is none.

use std::ffi::OsString;

use clap::CommandFactory as _;

use super::Arguments;
use crate::core::trouble::{Kind, Trouble};

/// MMM's ways of speaking, turned into ours: `@CLUSTER` first, and verbs with underscores.
pub fn accept_mmm_spelling(words: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let command = Arguments::command();
    let is_verb = |word: &str| command.get_subcommands().any(|verb| verb.get_name() == word);
    let mut said: Vec<OsString> = Vec::new();
    let mut verb_seen = false;
    for (place, word) in words.into_iter().enumerate() {
        let text = word.to_str().unwrap_or_default();
        let ours = text.replace('_', "-");
        if place == 0 || verb_seen {
            said.push(word);
        } else if text.len() > 1 && text.starts_with('@') {
            said.push("--cluster".into());
            said.push(text[1..].into());
        } else if is_verb(&ours) {
            verb_seen = true;
            said.push(ours.into());
        } else {
            said.push(word);
        }
    }
    said
}

/// What is said about a command line that is none, in MMM's words: the line, what is wrong with it, where help is.
pub fn invalid(words: &[OsString], error: &clap::Error) -> Option<String> {
    use clap::error::ErrorKind;
    let is_misspelt = matches!(
        error.kind(),
        ErrorKind::InvalidSubcommand
            | ErrorKind::UnknownArgument
            | ErrorKind::MissingRequiredArgument
            | ErrorKind::TooManyValues
            | ErrorKind::TooFewValues
            | ErrorKind::WrongNumberOfValues
    );
    let line: Vec<_> = words.iter().skip(1).map(|word| word.to_string_lossy()).collect();
    is_misspelt.then(|| format!("Invalid command '{}'\n", line.join(" ")))
}

/// The same for programs, where a command line that is none asks for JSON. Help that was asked for is no mistake.
pub fn invalid_for_programs(words: &[OsString], error: &clap::Error) -> Option<Trouble> {
    let wants_json = words.iter().any(|word| word == "--output=json")
        || words
            .windows(2)
            .any(|pair| pair[0] == "--output" && pair[1] == "json");
    if !wants_json || !error.use_stderr() {
        return None;
    }
    let line: Vec<_> = words.iter().skip(1).map(|word| word.to_string_lossy()).collect();
    let said = error.render().to_string();
    let because = said.split("\n\n").next().unwrap_or_default();
    let because = because.trim_start_matches("error: ").trim_end();
    Some(
        Trouble::new(
            Kind::Usage,
            format!("invalid command `{}`", line.join(" ")),
            because,
        )
        .hint("`mmm help` and `mmm help COMMAND` say how it is written"),
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn spelt(words: &[&str]) -> Vec<String> {
        accept_mmm_spelling(words.iter().map(OsString::from))
            .into_iter()
            .map(|word| word.into_string().unwrap())
            .collect()
    }

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn mmm_users_are_understood() {
        assert_eq!(
            spelt(&["mmm", "@test_mmm", "move_role", "writer", "cluster02"]),
            ["mmm", "--cluster", "test_mmm", "move-role", "writer", "cluster02"]
        );
        assert_eq!(
            spelt(&["mmm", "set_offline", "set_online"]),
            ["mmm", "set-offline", "set_online"]
        );
        assert_eq!(
            spelt(&["mmm", "-v", "@C1", "set_online", "@db1"])[2..],
            ["--cluster", "C1", "set-online", "@db1"].map(String::from)
        );
    }

    #[test]
    fn every_verb_of_mmm_is_one_of_ours_in_both_spellings_and_behind_a_cluster() {
        for line in [
            "help",
            "ping",
            "show",
            "checks",
            "checks all",
            "checks db1",
            "checks db1 rep_backlog",
            "mode",
            "set_active",
            "set_manual",
            "set_passive",
            "set_online db1",
            "set_offline db1",
            "move_role writer db1",
            "move_role --force writer db1",
            "set_ip 10.0.0.101 db1",
        ] {
            for line in [line.to_owned(), line.replacen('_', "-", 1), format!("@C1 {line}")] {
                if line.contains("rep-backlog") {
                    continue;
                }
                let words: Vec<&str> = ["mmm"].into_iter().chain(line.split(' ')).collect();
                match Arguments::try_parse_from(spelt(&words)) {
                    Ok(arguments) => assert_eq!(
                        arguments.settings.cluster.as_deref(),
                        line.starts_with('@').then_some("C1"),
                        "{line}"
                    ),
                    Err(error) => assert_eq!(
                        error.kind(),
                        clap::error::ErrorKind::DisplayHelp,
                        "{line}: {error}"
                    ),
                }
            }
        }
    }

    #[test]
    fn a_wrong_number_of_arguments_is_an_invalid_command() {
        for line in [
            "set_online",
            "set_offline db1 db2",
            "move_role writer",
            "checks a b c",
            "mode a b",
            "nonsense",
        ] {
            let words: Vec<&str> = ["mmm"].into_iter().chain(line.split(' ')).collect();
            let words: Vec<OsString> = words.into_iter().map(OsString::from).collect();
            let error = Arguments::try_parse_from(accept_mmm_spelling(words.clone())).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert_eq!(
                invalid(&words, &error),
                Some(format!("Invalid command '{line}'\n"))
            );
        }
        let help = Arguments::try_parse_from(["mmm", "help"]).unwrap_err();
        assert_eq!(invalid(&["mmm".into(), "help".into()], &help), None);
    }

    #[test]
    fn programs_are_told_of_a_wrong_command_line_in_json() {
        let told = |line: &str| {
            let words: Vec<OsString> = ["mmm"]
                .into_iter()
                .chain(line.split(' '))
                .map(Into::into)
                .collect();
            let error = Arguments::try_parse_from(words.clone()).unwrap_err();
            invalid_for_programs(&words, &error)
        };
        for line in ["--output json nonsense", "set-online --output=json"] {
            let trouble = told(line).unwrap();
            assert_eq!(trouble.kind, Kind::Usage);
            assert!(trouble.what.contains(line), "{trouble}");
            assert!(
                !trouble.because.contains('\n') || trouble.because.contains("HOST"),
                "{trouble}"
            );
        }
        assert_eq!(told("--output text nonsense"), None);
        assert_eq!(told("--output json help"), None);
    }

    #[test]
    fn help_is_a_golden_file() {
        let mut command = Arguments::command();
        let mut text = command.render_long_help().to_string();
        for verb in command.get_subcommands_mut() {
            let name = verb.get_name().to_owned();
            text.push_str(&format!("\n=== {name} ===\n{}", verb.render_long_help()));
        }
        crate::core::golden::check("tests/golden/help.txt", &text);
    }
}
