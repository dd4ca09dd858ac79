//! Templates of playbooks: filled strictly, every value quoted for the language it lands in, secrets kept apart.
//!
//! The formatter writes values between control characters that cannot occur in a template or in a value, and the
//! rendered text is then split there. So no value reaches a command without being quoted, whatever it holds.

use std::collections::{BTreeMap, BTreeSet};

use minijinja::value::ValueKind;
use minijinja::{AutoEscape, Environment, ErrorKind, Output, UndefinedBehavior, Value};
use secrecy::{ExposeSecret, SecretString};

use crate::core::script::{Command, Language, Part};

/// Begins a value in a rendered text.
const VALUE: char = '\u{2}';
/// Begins the name of a secret, in a rendered text and in the context's values.
const SECRET: char = '\u{1}';
/// Ends either.
const END: char = '\u{3}';

/// What templates can name.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// Names and their values.
    values: BTreeMap<String, Value>,
    /// Values nobody may see, by path.
    secrets: BTreeMap<String, SecretString>,
}

impl Context {
    /// Makes `name` known with one value or a tree of them.
    pub fn set(&mut self, name: &str, value: impl serde::Serialize) -> &mut Self {
        self.values
            .insert(name.to_owned(), Value::from(minijinja::value::Serde(value)));
        self
    }

    /// Puts a secret into the group `group` (set before) as `group.name`.
    pub fn set_secret(&mut self, group: &str, name: &str, secret: SecretString) -> &mut Self {
        let path = format!("{group}.{name}");
        let mark = Value::from(format!("{SECRET}{path}{END}"));
        let old = self.values.get(group).cloned().unwrap_or_default();
        let pairs = old.try_iter().into_iter().flatten().filter_map(|key| {
            let value = old.get_item(&key).ok()?;
            Some((key.to_string(), value))
        });
        let merged: BTreeMap<String, Value> = pairs.chain([(name.to_owned(), mark)]).collect();
        self.values.insert(group.to_owned(), Value::from(merged));
        self.secrets.insert(path, secret);
        self
    }

    fn root(&self) -> Value {
        Value::from(self.values.clone())
    }
}

/// Why a template cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// It is no template.
    #[error("the template cannot be read: {0}")]
    Syntax(String),
    /// A value it needs is not there.
    #[error("a name in it has no value here: {0}")]
    Undefined(String),
    /// A value cannot be written into a command.
    #[error("{0}")]
    Unquotable(String),
    /// A secret where it would be seen.
    #[error("the secret `{0}` would be seen here; secrets travel in SQL only")]
    Exposed(String),
}

impl From<minijinja::Error> for TemplateError {
    fn from(error: minijinja::Error) -> Self {
        let detail = error
            .detail()
            .map_or_else(|| error.kind().to_string(), str::to_owned);
        match error.kind() {
            ErrorKind::UndefinedError => TemplateError::Undefined(detail),
            ErrorKind::BadSerialization => TemplateError::Unquotable(detail),
            _ => TemplateError::Syntax(detail),
        }
    }
}

/// Fills a command's template.
///
/// # Errors
/// When the template is malformed, names what the context lacks, or a value cannot be quoted.
pub fn command(language: Language, text: &str, context: &Context) -> Result<Command, TemplateError> {
    let rendered = environment(language).render_str(text, context.root())?;
    let mut parts = Vec::new();
    let mut rest = rendered.as_str();
    while let Some(at) = rest.find([VALUE, SECRET]) {
        let (before, marked) = rest.split_at(at);
        push_plain(&mut parts, before);
        let end = marked
            .find(END)
            .ok_or_else(|| TemplateError::Unquotable("a value has no end".to_owned()))?;
        let value = &marked[1..end];
        if marked.starts_with(VALUE) {
            parts.push(Part::Quoted(value.to_owned()));
        } else {
            let secret = context.secrets.get(value);
            match (secret, language) {
                (Some(secret), Language::Sql) => parts.push(Part::Secret(secret.expose_secret().to_owned())),
                _ => return Err(TemplateError::Exposed(value.to_owned())),
            }
        }
        rest = &marked[end + 1..];
    }
    push_plain(&mut parts, rest);
    Ok(Command { language, parts })
}

fn push_plain(parts: &mut Vec<Part>, text: &str) {
    if !text.is_empty() {
        parts.push(Part::Plain(text.to_owned()));
    }
}

/// Fills a template for people, or one whose result is compared; values stand in it as they are.
///
/// # Errors
/// As [`command`]; a secret is always an error here.
pub fn text(text: &str, context: &Context) -> Result<String, TemplateError> {
    let rendered = environment(Language::Shell).render_str(text, context.root())?;
    if let Some(at) = rendered.find(SECRET) {
        let name = rendered[at + 1..].split(END).next().unwrap_or_default();
        return Err(TemplateError::Exposed(name.to_owned()));
    }
    Ok(rendered.replace([VALUE, END], ""))
}

/// Whether an expression holds, for instance `replication.gtid and address.version == 4`.
///
/// # Errors
/// When it is malformed or names what the context lacks.
pub fn holds(expression: &str, context: &Context) -> Result<bool, TemplateError> {
    let environment = environment(Language::Shell);
    Ok(environment
        .compile_expression(expression)?
        .eval(context.root())?
        .is_true())
}

/// The names a template uses, dotted as far as they are plain: `address.ip`.
///
/// # Errors
/// When it is no template.
pub fn variables(text: &str) -> Result<BTreeSet<String>, TemplateError> {
    let environment = environment(Language::Shell);
    let template = environment.template_from_str(text)?;
    Ok(template.undeclared_variables(true).into_iter().collect())
}

/// The names an expression uses.
///
/// # Errors
/// When it is no expression.
pub fn expression_variables(expression: &str) -> Result<BTreeSet<String>, TemplateError> {
    let environment = environment(Language::Shell);
    let compiled = environment.compile_expression(expression)?;
    Ok(compiled.undeclared_variables(true).into_iter().collect())
}

/// The byte where a `{{ … }}` stands directly inside quotes, which would quote it twice.
pub fn quoted_placeholder(text: &str) -> Option<usize> {
    ["\"{{", "'{{", "`{{"]
        .iter()
        .filter_map(|needle| text.find(needle))
        .min()
}

fn environment(language: Language) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.add_filter("int", int);
    environment.set_formatter(move |output, _state, value| write_value(language, output, value));
    environment
}

/// What stands in a plan where a value is only known when the step runs: `<position at that moment>`.
pub fn not_known_yet(name: &str) -> String {
    format!("<{name} at that moment>")
}

/// A number out of a registered value, so that it is written without quotes; a value that a plan does not know yet stays
/// as it is.
fn int(value: &Value) -> Result<Value, minijinja::Error> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if text.starts_with('<') && text.ends_with(" at that moment>") {
        return Ok(Value::from(text));
    }
    // Limits come as seconds with a fraction; a registered value must be a whole number.
    if value.kind() == ValueKind::Number {
        return Ok(Value::from(f64::try_from(value.clone())?.trunc() as u64));
    }
    text.parse::<u64>().map(Value::from).map_err(|_| {
        minijinja::Error::new(
            ErrorKind::BadSerialization,
            format!("`{text}` is not a whole number"),
        )
    })
}

fn write_value(language: Language, output: &mut Output<'_>, value: &Value) -> Result<(), minijinja::Error> {
    let refuse = |what: String| Err(minijinja::Error::new(ErrorKind::BadSerialization, what));
    match value.kind() {
        ValueKind::Number => output
            .write_str(&value.to_string())
            .map_err(minijinja::Error::from),
        ValueKind::String => {
            let text = value.as_str().unwrap_or_default();
            if is_secret_mark(text) {
                return output.write_str(text).map_err(minijinja::Error::from);
            }
            if let Some(control) = text.chars().find(|c| matches!(*c, '\0'..='\u{3}')) {
                return refuse(format!(
                    "a value holds the control character {}",
                    control.escape_default()
                ));
            }
            write!(output, "{VALUE}{text}{END}").map_err(minijinja::Error::from)
        }
        ValueKind::Seq => {
            for (at, item) in value.try_iter()?.enumerate() {
                if at > 0 {
                    output.write_str(if language == Language::Sql { ", " } else { " " })?;
                }
                write_value(language, output, &item)?;
            }
            Ok(())
        }
        ValueKind::Undefined => Err(minijinja::Error::new(
            ErrorKind::UndefinedError,
            "it is undefined".to_owned(),
        )),
        kind => refuse(format!(
            "a value of the kind `{kind}` cannot be written into a command"
        )),
    }
}

fn is_secret_mark(text: &str) -> bool {
    let inner = text.strip_prefix(SECRET).and_then(|text| text.strip_suffix(END));
    inner.is_some_and(|name| {
        !name.is_empty()
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "._".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> Context {
        let mut context = Context::default();
        context
            .set("address", BTreeMap::from([("ip", "10.0.0.1; rm -rf /")]))
            .set("position", "it's \\ here")
            .set("port", 3306)
            .set("users", ["a", "o'b"])
            .set("replication", BTreeMap::from([("user", "repl")]))
            .set_secret("replication", "password", SecretString::from("p'w\\1".to_owned()));
        context
    }

    #[test]
    fn shell_values_are_always_quoted() {
        let command = command(Language::Shell, "ip a to {{ address.ip }}/{{ port }}", &context()).unwrap();
        assert_eq!(command.wire(), "ip a to '10.0.0.1; rm -rf /'/3306");
    }

    #[test]
    fn sql_values_are_quoted_numbers_plain_and_lists_joined() {
        let text = "SELECT {{ position }}, {{ port }} WHERE user NOT IN ({{ users }})";
        let command = command(Language::Sql, text, &context()).unwrap();
        assert_eq!(
            command.wire(),
            r"SELECT 'it''s \\ here', 3306 WHERE user NOT IN ('a', 'o''b')"
        );
    }

    #[test]
    fn secrets_travel_and_are_never_shown() {
        let text =
            "CHANGE MASTER TO MASTER_USER={{ replication.user }}, MASTER_PASSWORD={{ replication.password }}";
        let sql = command(Language::Sql, text, &context()).unwrap();
        assert_eq!(
            sql.to_string(),
            "CHANGE MASTER TO MASTER_USER='repl', MASTER_PASSWORD=***"
        );
        assert!(sql.wire().ends_with(r"MASTER_PASSWORD='p''w\\1'"));
        assert!(!format!("{sql:?} {:?}", context()).contains("p'w"));
        let shell = command(Language::Shell, "echo {{ replication.password }}", &context());
        assert_eq!(
            shell,
            Err(TemplateError::Exposed("replication.password".to_owned()))
        );
        assert!(matches!(
            super::text("{{ replication.password }}", &context()),
            Err(TemplateError::Exposed(_))
        ));
        assert!(command(Language::Sql, "{{ replication.password ~ 'x' }}", &context()).is_err());
        assert!(command(Language::Sql, "{{ replication.password|upper }}", &context()).is_err());
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        let missing = command(Language::Shell, "{{ source.address }}", &context());
        assert!(matches!(missing, Err(TemplateError::Undefined(_))), "{missing:?}");
        assert!(command(Language::Shell, "{{ address }}", &context()).is_err());
        let mut context = context();
        context.set("bad", "a\u{2}b");
        assert!(matches!(
            command(Language::Shell, "{{ bad }}", &context),
            Err(TemplateError::Unquotable(_))
        ));
    }

    #[test]
    fn names_are_known_without_running() {
        let names = variables("{% if source.port %}{{ address.ip }}{% endif %}").unwrap();
        assert_eq!(
            names.into_iter().collect::<Vec<_>>(),
            ["address.ip", "source.port"]
        );
        assert!(variables("{{ a").is_err());
        assert!(holds("port == 3306 and 'a' in users", &context()).unwrap());
        assert!(holds("nothing.there", &context()).is_err());
        assert_eq!(quoted_placeholder("echo \"{{ x }}\""), Some(5));
    }
}
