//! `mmm import`: MMM's own configuration becomes an inventory.

use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret as _;

use super::args::{ImportArguments, Settings};
use super::setting::{self, count};
use crate::config::diagnostic::Diagnostic;
use crate::config::import::{self, Asked, File, Imported};
use crate::core::trouble::{Kind, Trouble};
use crate::io::mmm_files::{self, Private, Search};
use crate::report::reporter::{Output, out, talk};

/// Reads MMM's files, and writes the inventory to stdout or into a new file.
pub fn run(settings: &Settings, what: &ImportArguments) -> Result<u8, Trouble> {
    let mut search = Search::new(what.from.clone());
    let paths = if what.files.is_empty() {
        search.monitors()?
    } else {
        what.files.clone()
    };
    let asked = asked(settings, what, &paths)?;
    let secrets_dir = secrets_dir(what)?;
    let imported = import::import(asked, &mut search, secrets_dir.as_deref()).map_err(|findings| {
        let shown: Vec<String> = findings.iter().map(Diagnostic::render).collect();
        Trouble::new(
            Kind::Usage,
            "MMM's configuration cannot be imported",
            format!("{} found\n\n{}", count(findings.len(), "thing"), shown.join("\n")),
        )
    })?;
    guard_stdout(what)?;
    keep(what, &imported)?;
    tell(settings, what, &imported);
    Ok(0)
}

/// Which program of MMM a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Program {
    Monitor,
    Common,
    Other,
}

/// A file's program and the cluster in its name.
fn told_by_name(path: &Path) -> (Program, Option<&str>) {
    let stem = path
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default();
    let Some(rest) = stem.strip_prefix("mmm_") else {
        return (Program::Monitor, None);
    };
    let (program, cluster) = rest
        .split_once('_')
        .map_or((rest, None), |(program, cluster)| (program, Some(cluster)));
    match program {
        "common" => (Program::Common, cluster),
        "agent" | "tools" => (Program::Other, cluster),
        "mon" => (Program::Monitor, cluster),
        _ => (Program::Monitor, None),
    }
}

/// The clusters asked for, each with its files.
fn asked(settings: &Settings, what: &ImportArguments, paths: &[PathBuf]) -> Result<Vec<Asked>, Trouble> {
    let plain = what
        .name
        .as_deref()
        .or(settings.cluster.as_deref())
        .unwrap_or("mmm");
    let told = || paths.iter().map(|path| (path, told_by_name(path)));
    let of = |wanted: Program| told().filter(move |(_, (program, _))| *program == wanted);
    let mut leading: Vec<(&PathBuf, Option<&str>)> = of(Program::Monitor)
        .map(|(path, (_, name))| (path, name))
        .collect();
    if leading.is_empty() {
        leading = of(Program::Common)
            .map(|(path, (_, name))| (path, name))
            .collect();
    }
    leading.retain(|(_, name)| {
        let name = name.unwrap_or(plain);
        settings
            .cluster
            .as_deref()
            .is_none_or(|wanted| wanted == name || what.name.as_deref() == Some(name))
    });
    if leading.is_empty() {
        return Err(nothing(settings, what));
    }
    let mut asked: Vec<Asked> = Vec::new();
    for (path, name) in &leading {
        let name = name.unwrap_or(plain).to_owned();
        if asked.iter().any(|known| known.name == name) {
            return Err(Trouble::new(
                Kind::Usage,
                format!("`{}` describes the cluster `{name}` again", path.display()),
                "each cluster has one file for its monitor, and `mmm_mon_NAME.conf` names the cluster",
            )
            .hint("import one of them, or say `--name`"));
        }
        let is_aside = |path: &Path, program: Program, of: Option<&str>| {
            let mine = of.is_none_or(|of| of == name || leading.len() == 1);
            program != Program::Monitor && mine && !leading.iter().any(|(leading, _)| *leading == path)
        };
        // `mmm_common` first: what belongs to one program wins over it.
        let ordered = of(Program::Common).chain(of(Program::Other));
        let aside = ordered.filter(|(path, (program, of))| is_aside(path, *program, *of));
        asked.push(Asked {
            aside: aside.map(|(path, _)| read(path)).collect::<Result<_, _>>()?,
            monitor: read(path)?,
            name,
        });
    }
    Ok(asked)
}

fn nothing(settings: &Settings, what: &ImportArguments) -> Trouble {
    let wanted = match &settings.cluster {
        Some(cluster) => format!("`mmm_mon_{cluster}.conf`"),
        None => "`mmm_mon.conf` or `mmm_mon_CLUSTER.conf`".to_owned(),
    };
    let because = match (&what.from, what.files.is_empty()) {
        (_, false) => format!("none of the files is {wanted}"),
        (Some(from), _) => format!("there is no {wanted} in `{}`", from.display()),
        (None, _) => format!("there is no {wanted} in /etc, /etc/mmm and /etc/mysql-mmm"),
    };
    Trouble::new(Kind::Usage, "there is nothing to import", because)
        .hint("name the files, or their directory with `--from DIR`")
}

fn read(path: &Path) -> Result<File, Trouble> {
    mmm_files::read(path).map_err(|error| {
        Trouble::new(Kind::Usage, format!("`{}` cannot be read", path.display()), error)
            .hint("check the path, and that this user may read it")
    })
}

/// The directory for passwords, written out: relative paths would start from wherever the inventory ends up.
fn secrets_dir(what: &ImportArguments) -> Result<Option<String>, Trouble> {
    let Some(dir) = &what.secrets_dir else {
        return Ok(None);
    };
    let bad = |because: String| {
        Trouble::new(
            Kind::Usage,
            format!("`{}` cannot be used", dir.display()),
            because,
        )
    };
    let whole = std::path::absolute(dir).map_err(|error| bad(error.to_string()))?;
    match whole.to_str() {
        Some(text) if !text.chars().any(char::is_control) => Ok(Some(text.to_owned())),
        _ => Err(bad("its name is no plain text".to_owned())),
    }
}

/// Refuses to put passwords where others can read them.
fn guard_stdout(what: &ImportArguments) -> Result<(), Trouble> {
    if what.to.is_some() || what.secrets_dir.is_some() {
        return Ok(());
    }
    let unknown = |error: std::io::Error| Trouble::new(Kind::Usage, "stdout cannot be looked at", error);
    let stdout = std::io::stdout().as_fd().try_clone_to_owned().map_err(unknown)?;
    let stdout = std::fs::File::from(stdout).metadata().map_err(unknown)?;
    let mode = stdout.permissions().mode() & 0o7777;
    if stdout.is_file() && mode & 0o044 != 0 {
        return Err(Trouble::new(
            Kind::Refused,
            "the inventory is not written to stdout",
            format!(
                "passwords would stand in it, and stdout is a file that others can read (mode {mode:04o})"
            ),
        )
        .hint("say `--to FILE` instead, or `--secrets-dir DIR`, or `umask 077` first"));
    }
    Ok(())
}

/// Writes what goes into files.
fn keep(what: &ImportArguments, imported: &Imported) -> Result<(), Trouble> {
    let mut private = Private::default();
    if let Some(to) = &what.to {
        private.write(to, &imported.inventory)?;
    }
    if let Some(dir) = &what.secrets_dir {
        private.directory(dir)?;
    }
    for secret in &imported.secrets {
        private.write(&secret.path, secret.value.expose_secret())?;
    }
    Ok(())
}

fn tell(settings: &Settings, what: &ImportArguments, imported: &Imported) {
    let size = format!(
        "{}, {}",
        count(imported.clusters, "cluster"),
        count(imported.hosts, "host")
    );
    if settings.output == Output::Json {
        out(&setting::json(&serde_json::json!({
            "inventory": what.to.is_none().then_some(&imported.inventory),
            "written": what.to,
            "secrets": imported.secrets.iter().map(|secret| &secret.path).collect::<Vec<_>>(),
            "clusters": imported.clusters,
            "hosts": imported.hosts,
            "remarks": imported.remarks,
        })));
        return;
    }
    for remark in &imported.remarks {
        let line = remark.line.map_or_else(String::new, |line| format!(":{line}"));
        talk(&format!(
            "remark: {}{line}: {}",
            remark.file.display(),
            remark.what
        ));
    }
    match &what.to {
        Some(to) => out(&format!(
            "`{}` is written: {size}, {} (as comments too, with reasons)",
            to.display(),
            count(imported.remarks.len(), "remark")
        )),
        None => out(imported.inventory.trim_end()),
    }
}
