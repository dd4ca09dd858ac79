//! How a warm shell is spoken to: the command that starts it, the prelude that teaches it, a script as shell text, and
//! the framed lines that come back. Pure text; `io::shell` carries it.
//!
//! A whole duty is one `{ … }` group, so a script that was cut on the way never begins. Each step is announced on a
//! line behind a marker that outputs cannot know.

mod decoder;

use std::fmt::Write as _;
use std::time::Duration;

use super::script::{Act, Command, Expected, Field, Language, Looking, Script, ScriptStep};

pub use decoder::{Decoder, Ending, Frame};

/// What the shell is taught when it opens.
const PRELUDE: &str = include_str!("prelude.sh");

/// Hundredths of a second on a host's own clock since it started, as `/proc/uptime` tells them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Uptime(pub u64);

impl Uptime {
    /// This moment and so much time; rounded down, so that nothing starts too late.
    pub fn plus(self, time: Duration) -> Uptime {
        Uptime(
            self.0
                .saturating_add(u64::try_from(time.as_millis() / 10).unwrap_or(u64::MAX)),
        )
    }
}

/// How a client signs in to the database server of the host it runs on.
#[derive(Clone)]
pub struct SqlLogin {
    /// Account without host part.
    pub user: String,
    /// Its password.
    pub password: String,
    /// The server's socket, when the client's own configuration does not name the right one.
    pub socket: Option<String>,
    /// Another host's server, as address and port, instead of the host's own.
    pub server: Option<(std::net::IpAddr, u16)>,
    /// A statement each new connection is given first.
    pub session: Option<String>,
}

impl std::fmt::Debug for SqlLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SqlLogin({} through {:?})", self.user, self.socket)
    }
}

/// The command that starts a warm shell on a host. It makes the two pipes of the SQL client (descriptors 4 and 5)
/// out of pipelines, because a shell has no other way to get one without a name in a file system. `tag` (letters and
/// digits) marks everything the shell starts, so that it can be found later; it is no secret.
pub fn remote_command(tag: &str) -> String {
    remote_command_for("/bin/sh", tag)
}

/// As [`remote_command`], with a shell of one's choice.
pub fn remote_command_for(shell: &str, tag: &str) -> String {
    let pipes = format!(
        "{{ : | {{ exec 9<&0; : | {{ exec 4<>/dev/fd/9 5<>/dev/fd/0 0<&8 8<&- 9<&-; exec {shell}; }}; }}; }} 8<&0"
    );
    // The account's own shell may be any; only this much of it is used.
    format!("exec env MMM_SHELL={tag} {shell} -c '{pipes}'")
}

/// The first thing sent: who we are, the prelude, and a question for its greeting.
pub fn opening(marker: &str, login: &SqlLogin) -> Vec<u8> {
    let socket = login.socket.as_deref().unwrap_or("");
    let (host, port) = login
        .server
        .map(|(host, port)| (host.to_string(), port.to_string()))
        .unwrap_or_default();
    let session = login.session.as_deref().unwrap_or("");
    let values = [
        ("m_mark", marker.to_owned()),
        ("m_user", option_value(&login.user)),
        ("m_password", option_value(&login.password)),
        ("m_socket", socket.to_owned()),
        ("m_host", host),
        ("m_port", port),
        ("m_session", session.to_owned()),
    ];
    let mut text = String::from("{\n");
    for (name, value) in values {
        // Writing into a `String` cannot fail, here and below.
        let _ = writeln!(text, "{name}={}", word(&value));
    }
    text.push_str(PRELUDE);
    text.push_str("m_hello\n}\n");
    text.into_bytes()
}

/// A value between double quotes in an option file.
fn option_value(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"")
}

/// What a client reads as its options to sign in.
pub fn login_options(user: &str, password: &str) -> String {
    format!(
        "[client]\nuser=\"{}\"\npassword=\"{}\"\n",
        option_value(user),
        option_value(password)
    )
}

/// Opens the SQL client ahead of its first statement.
pub fn warming(id: u64) -> Vec<u8> {
    let limit = u64::MAX / 4;
    format!("{{ m_duty {id} {limit}; m_i=0; m_say begin 0; if m_open; then m_end ok; else m_fail sql \"$m_err\"; fi; m_done; }}\n")
        .into_bytes()
}

/// A script as what is sent. No step of it starts after `limit`.
pub fn script(script: &Script, id: u64, limit: Uptime) -> Vec<u8> {
    let mut text = format!("{{ m_duty {id} {}\n", limit.0);
    for (at, step) in script.steps.iter().enumerate() {
        write_step(&mut text, at, step);
    }
    text.push_str("m_done; }\n");
    text.into_bytes()
}

fn write_step(text: &mut String, at: usize, step: &ScriptStep) {
    let hundredths = (step.within.as_millis() / 10).max(1);
    let _ = writeln!(text, "if m_begin {at} {hundredths}; then");
    match &step.act {
        Act::SkipIf(looking, covered) => {
            let _ = writeln!(
                text,
                "if {}; then m_skip={covered}; m_end already; else m_end ok; fi",
                look(looking)
            );
        }
        Act::Verify(looking) => {
            let _ = writeln!(
                text,
                "if {}; then m_end ok; else {}; fi",
                look(looking),
                unexpected(looking.command.language)
            );
        }
        act => write_action(text, step, act),
    }
    text.push_str("fi\n");
}

fn write_action(text: &mut String, step: &ScriptStep, act: &Act) {
    let unless = step.unless.as_ref().map_or_else(|| "false".to_owned(), look);
    let until = step.until.as_ref().map_or_else(|| ":".to_owned(), look);
    let language = act.language().unwrap_or(Language::Shell);
    let mut action = act_call(step, act);
    if step.expect != Expected::Anything {
        let _ = write!(
            action,
            " && {{ {} || {}; }}",
            expectation(&step.expect, language),
            unexpected(language)
        );
    }
    let mut ending = String::new();
    for (name, field) in &step.register {
        let _ = write!(ending, "{} && ", register(name, field, language));
    }
    let _ = writeln!(
        text,
        "if {unless}; then m_end already; else\nwhile :; do\n{action} || break\nif {until}; then {ending}m_end ok; break; fi\nm_pause || break\ndone\nfi"
    );
}

fn act_call(step: &ScriptStep, act: &Act) -> String {
    let call = |name: &str, command: &Command| {
        format!(
            "{name} {} {}",
            word(&command.wire()),
            word(&numbers(&step.tolerate))
        )
    };
    let keeps = !step.register.is_empty() || step.expect != Expected::Anything;
    match act {
        Act::Perform(command) => match (command.language, keeps) {
            (Language::Sql, _) => call("m_tell", command),
            (Language::Shell, false) => call("m_run", command),
            (Language::Shell, true) => call("m_take", command),
        },
        Act::PerformRows(command) => call("m_rows", command),
        Act::Start(command) => call("m_start", command),
        Act::Verify(_) | Act::SkipIf(..) | Act::Wait => ":".to_owned(),
    }
}

/// A look as a condition.
fn look(looking: &Looking) -> String {
    let text = word(&looking.command.wire());
    match (looking.command.language, &looking.expect) {
        (Language::Shell, Expected::Anything) => format!("m_test {text}"),
        (Language::Shell, expect) => {
            format!("{{ m_get {text}; {}; }}", expectation(expect, Language::Shell))
        }
        (Language::Sql, expect) => {
            let expected = expectation(expect, Language::Sql);
            match &looking.or_none {
                None => format!("{{ m_ask {text} && {expected}; }}"),
                Some(errors) => {
                    let errors = word(&numbers(errors));
                    format!("{{ m_ask_any {text} {errors} && {{ m_rowless || {{ {expected}; }}; }}; }}")
                }
            }
        }
    }
}

fn expectation(expect: &Expected, language: Language) -> String {
    match (expect, language) {
        (Expected::Anything, _) => ":".to_owned(),
        (Expected::Answer(answer), Language::Shell) => format!("m_answers {}", word(answer)),
        (Expected::Answer(answer), Language::Sql) if answer.is_empty() => "m_none".to_owned(),
        (Expected::Answer(answer), Language::Sql) => format!("m_is {}", word(&escaped(answer))),
        (Expected::Columns { values, same }, _) => {
            let has = values
                .iter()
                .map(|(column, value)| format!("m_has {} {}", word(column), word(&escaped(value))));
            let equal = same
                .iter()
                .map(|(left, right)| format!("m_same {} {}", word(left), word(right)));
            let all: Vec<String> = has.chain(equal).collect();
            if all.is_empty() {
                ":".to_owned()
            } else {
                all.join(" && ")
            }
        }
    }
}

/// What says that an answer was not the expected one.
fn unexpected(language: Language) -> &'static str {
    match language {
        Language::Shell => r#"m_unexpected "${m_val%%"$m_nl"*}""#,
        Language::Sql => r#"m_unexpected "$m_row""#,
    }
}

fn register(name: &str, field: &Field, language: Language) -> String {
    let name = word(name);
    match (field, language) {
        (Field::Answer, Language::Shell) => format!("m_value {name} raw \"$m_val\""),
        (Field::Answer, Language::Sql) => format!("m_reg_sql {name}"),
        (Field::Status, _) => format!("m_value {name} raw \"$m_rc\""),
        (Field::Column(column), _) => format!("m_reg_col {name} {}", word(column)),
    }
}

/// A value as the batch mode of the SQL client writes it.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('\t', "\\t")
        .replace('\n', "\\n")
        .replace('\0', "\\0")
}

/// Numbers of errors, as the words of one text.
fn numbers(errors: &[u16]) -> String {
    let errors: Vec<String> = errors.iter().map(u16::to_string).collect();
    errors.join(" ")
}

/// One word of shell text, always quoted.
fn word(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::script::Part;

    #[test]
    fn a_script_is_one_group_and_quotes_everything() {
        let step = ScriptStep {
            name: "Say".to_owned(),
            within: Duration::from_millis(2500),
            unless: None,
            act: Act::Perform(Command {
                language: Language::Shell,
                parts: vec![Part::Plain("echo ".to_owned()), Part::Quoted("it's }".to_owned())],
            }),
            until: None,
            expect: Expected::Anything,
            tolerate: Vec::new(),
            register: Default::default(),
        };
        let text = script(
            &Script {
                duty: "d".to_owned(),
                says: String::new(),
                steps: vec![step],
            },
            7,
            Uptime(99),
        );
        let text = String::from_utf8_lossy(&text);
        assert!(
            text.starts_with("{ m_duty 7 99\nif m_begin 0 250; then\n"),
            "{text}"
        );
        assert!(
            text.contains(r"m_run 'echo '\''it'\''\'\'''\''s }'\''' ''"),
            "{text}"
        );
        assert!(text.ends_with("m_done; }\n"));
    }

    #[test]
    fn uptimes_round_down() {
        assert_eq!(Uptime(100).plus(Duration::from_millis(19)), Uptime(101));
        assert_eq!(Uptime(u64::MAX).plus(Duration::MAX), Uptime(u64::MAX));
    }
}
