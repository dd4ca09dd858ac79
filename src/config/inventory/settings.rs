//! Reads what may be set for all clusters, for a cluster and for a host: how to reach it, and what is done with it.

use std::collections::BTreeMap;

use secrecy::SecretString;

use super::mask;
use super::reader::{Given, Reader, Section};
use super::resolved::{SecretSource, Service};
use super::said::{Account, Fence, Mysql, Settings, Ssh};
use super::tree::{Node, Value};

/// How hosts are reached.
pub fn settings(r: &mut Reader<'_>, section: &mut Section<'_>) -> Settings {
    let mut settings = Settings::default();
    let interface = section.get("interface").and_then(|node| interface(r, node));
    settings.interface = settings.kept(interface, section, "interface");
    if let Some(section) = r.section(section, "ssh") {
        settings.ssh = ssh(r, section);
    }
    if let Some(mut mysql) = r.section(section, "mysql") {
        settings.mysql = Mysql {
            port: mysql.get("port").and_then(|node| r.port(node)),
            client: mysql.get("client").and_then(|node| r.word(node)),
            socket: mysql.get("socket").and_then(|node| r.remote_path(node)),
            channel: mysql.get("channel").and_then(|node| channel(r, node)),
        };
        r.close(mysql);
    }
    if let Some(mut accounts) = r.section(section, "credentials") {
        settings.monitor = account(r, &mut accounts, "monitor", &mut settings);
        settings.agent = account(r, &mut accounts, "agent", &mut settings);
        settings.replication = account(r, &mut accounts, "replication", &mut settings);
        r.close(accounts);
    } else {
        settings.kept(None::<()>, section, "credentials");
    }
    settings
}

/// What is done with hosts beyond the shipped playbooks.
pub fn duties(r: &mut Reader<'_>, section: &mut Section<'_>, settings: &mut Settings) {
    let service = section.get("service").and_then(|node| service(r, node, section));
    settings.service = settings.kept(service, section, "service");
    if let Some(node) = section.get("fence") {
        settings.fence = fence(r, node, section, "fence");
    }
    if let Some(node) = section.get("rebuild") {
        settings.rebuild = fence(r, node, section, "rebuild");
    }
    settings.vars = r.text_map(section, "vars");
}

fn ssh(r: &mut Reader<'_>, mut section: Section<'_>) -> Ssh {
    let ssh = Ssh {
        address: section.get("address").and_then(|node| r.word(node)),
        port: section.get("port").and_then(|node| r.port(node)),
        user: section.get("user").and_then(|node| r.word(node)),
        identity_file: section.get("identity_file").and_then(|node| r.path(node)),
        identity_passphrase: {
            let node = section.get("identity_passphrase");
            node.and_then(|node| secret(r, node, &section, "identity_passphrase"))
        },
        jump: section.get("jump").and_then(|node| r.word(node)),
        known_hosts: section.get("known_hosts").map(|node| match &node.value {
            Value::Scalar { .. } => r.path(node).into_iter().collect(),
            _ => r
                .list(node, "files", Reader::path)
                .into_iter()
                .flatten()
                .flatten()
                .collect(),
        }),
        use_ssh_config: section.get("use_ssh_config").and_then(|node| r.flag(node)),
        connect_timeout: section.get("connect_timeout").and_then(|node| r.duration(node)),
        keepalive_every: section.get("keepalive_every").and_then(|node| r.duration(node)),
        keepalive_misses: section
            .get("keepalive_misses")
            .and_then(|node| r.number(node, 1, 100)),
        max_channels: section
            .get("max_channels")
            .and_then(|node| r.number(node, 1, 100)),
    };
    r.close(section);
    ssh
}

fn account(
    r: &mut Reader<'_>,
    parent: &mut Section<'_>,
    key: &'static str,
    settings: &mut Settings,
) -> Account {
    let Some(mut section) = r.section(parent, key) else {
        settings.kept(None::<()>, parent, &format!("credentials.{key}"));
        return Account::default();
    };
    let user = section.get("user").and_then(|node| r.text(node));
    let password = section
        .get("password")
        .and_then(|node| secret(r, node, &section, "password"));
    let account = Account {
        user: settings.kept(user, &section, &format!("credentials.{key}.user")),
        password: settings.kept(password, &section, &format!("credentials.{key}.password")),
    };
    r.close(section);
    account
}

/// A secret: text, or exactly one of `env`, `file` and `command`. No message here may quote a value.
fn secret(r: &mut Reader<'_>, node: &Node, parent: &Section<'_>, key: &str) -> Option<Given<SecretSource>> {
    let span = node.span.clone();
    let given = |value| {
        Some(Given {
            value,
            span: span.clone(),
        })
    };
    if let Value::Scalar { text, .. } = &node.value {
        if text.is_empty() {
            let hint = "give the account a password, and name its source here";
            r.error(
                &span,
                format!("`{key}` is empty"),
                "an account without password is open to anyone",
                hint,
            );
            return None;
        }
        r.literal_secrets.push(span.clone());
        return given(SecretSource::Literal(SecretString::from(text.as_str())));
    }
    let mut section = r.section_at(node, parent, key)?;
    let mut sources = Vec::new();
    if let Some(node) = section.get("env") {
        sources.extend(variable(r, node).map(SecretSource::Env));
    }
    if let Some(node) = section.get("file") {
        sources.extend(r.path(node).map(|path| SecretSource::File(path.value)));
    }
    if let Some(node) = section.get("command") {
        sources.extend(r.text(node).map(|command| SecretSource::Command(command.value)));
    }
    let said = ["env", "file", "command"]
        .into_iter()
        .filter(|key| section.get(key).is_some())
        .count();
    if said > 1 || (said == 0 && !["env", "file", "command"].iter().any(|key| section.mentions(key))) {
        r.error(
            &section.owner.clone(),
            format!("`{key}` needs exactly one source, not {said}"),
            "a secret comes from one place",
            "write one of `{ env: NAME }`, `{ file: PATH }` and `{ command: … }`",
        );
    }
    r.close(section);
    if said == 1 {
        sources.pop().and_then(given)
    } else {
        None
    }
}

/// The name of an environment variable. What is none may be the secret itself, so it is not quoted.
fn variable(r: &mut Reader<'_>, node: &Node) -> Option<String> {
    let (text, _) = r.scalar(node, "the name of an environment variable")?;
    if !mask::is_variable(text) {
        let because = "such a name has letters, digits and `_`, and does not begin with a digit";
        r.error(
            &node.span,
            "this cannot name an environment variable",
            because,
            "write the variable's name",
        );
        return None;
    }
    Some(text.to_owned())
}

fn service(r: &mut Reader<'_>, node: &Node, parent: &Section<'_>) -> Option<Given<Service>> {
    let given = |value| {
        Some(Given {
            value,
            span: node.span.clone(),
        })
    };
    if let Value::Scalar { text, .. } = &node.value {
        if text == "none" {
            return given(Service::None);
        }
        r.error(
            &node.span,
            format!("`{text}` is no service"),
            "it must be known who would start a demoted server again",
            "write `{ manager: systemd, unit: mariadb.service }`, or `none` when nothing restarts it",
        );
        return None;
    }
    let mut section = r.section_at(node, parent, "service")?;
    let manager = section.get("manager");
    let unit = section.get("unit").map(|node| (node, r.word(node)));
    let keep_stopped = section.get("keep_stopped").map(|node| (node, r.name(node)));
    let allow_start = section.get("allow_start").map(|node| (node, r.name(node)));
    let systemd = manager.and_then(|node| r.choice(node, &[("systemd", true), ("duties", false)]));
    let needs = |r: &mut Reader<'_>, key: &str, why: &str| {
        let hint = format!("add `{key}: …` to `service`");
        r.missing(&section, key, why, &hint);
        None
    };
    let service = match (&systemd, manager) {
        (None, None) => needs(
            r,
            "manager",
            "it decides which other keys count: `systemd` or `duties`",
        ),
        (None, Some(_)) => None,
        (Some(Given { value: true, .. }), _) => {
            for (node, _) in [&keep_stopped, &allow_start].into_iter().flatten() {
                let hint = "remove it, or write `manager: duties`";
                r.error(
                    &node.span,
                    "this duty would never run",
                    "systemd is told directly",
                    hint,
                );
            }
            match unit {
                None => needs(r, "unit", "systemd must be told which unit to keep stopped"),
                Some((_, unit)) => unit.map(|unit| Service::Systemd { unit: unit.value }),
            }
        }
        (Some(Given { value: false, .. }), _) => {
            if let Some((node, _)) = unit {
                let hint = "remove it, or write `manager: systemd`";
                r.error(
                    &node.span,
                    "this unit has no effect",
                    "the duties decide what is stopped",
                    hint,
                );
            }
            match (keep_stopped, allow_start) {
                (None, _) => needs(
                    r,
                    "keep_stopped",
                    "a demoted server must be kept stopped by something",
                ),
                (_, None) => needs(
                    r,
                    "allow_start",
                    "a server that may return must be let start again",
                ),
                (Some((_, keep)), Some((_, allow))) => keep.zip(allow).map(|(keep, allow)| Service::Duties {
                    keep_stopped: keep.value,
                    allow_start: allow.value,
                }),
            }
        }
    };
    r.close(section);
    service.and_then(given)
}

fn fence(r: &mut Reader<'_>, node: &Node, parent: &Section<'_>, key: &'static str) -> Fence {
    let given = Some(Given {
        value: (),
        span: node.span.clone(),
    });
    if let Value::Scalar { text, .. } = &node.value {
        if text == "none" {
            return Fence {
                duty: Some(None),
                with: BTreeMap::new(),
                given,
            };
        }
        r.error(
            &node.span,
            format!("`{text}` is no {key}"),
            format!("a {key} is a duty with its values"),
            format!("write `{{ duty: {text} }}`, or `none`"),
        );
        return Fence::default();
    }
    let Some(mut section) = r.section_at(node, parent, key) else {
        return Fence::default();
    };
    let duty = section.get("duty").and_then(|node| r.name(node)).map(Some);
    let with = r.text_map(&mut section, "with");
    let fence = Fence {
        duty,
        with,
        given: Some(Given {
            value: (),
            span: section.owner.clone(),
        }),
    };
    r.close(section);
    fence
}

/// A replication channel or connection, as servers take its name.
fn channel(r: &mut Reader<'_>, node: &Node) -> Option<Given<String>> {
    let text = r.text(node)?;
    let is_reserved = text.value.to_ascii_lowercase().starts_with("group_replication_");
    if text.value.chars().count() > 64 || text.value.chars().any(char::is_control) || is_reserved {
        r.error(
            &text.span,
            format!("`{}` cannot be a replication channel", text.value.escape_debug()),
            "servers take at most 64 characters, and keep names that begin with `group_replication_` for themselves",
            "write the name that the replication status shows; leave the key out for the channel without a name",
        );
        return None;
    }
    Some(text)
}

fn interface(r: &mut Reader<'_>, node: &Node) -> Option<Given<String>> {
    let word = r.word(node)?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':');
    if word.value.len() > 15 || !word.value.chars().all(allowed) {
        r.error(
            &word.span,
            format!("`{}` cannot be a network interface", word.value),
            "Linux names them with at most 15 letters, digits, `_`, `-`, `.` and `:`",
            "write the name that `ip link` shows",
        );
        return None;
    }
    Some(word)
}
