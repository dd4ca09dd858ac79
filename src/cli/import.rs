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

/// The files that describe a cluster each, with its name: the monitors', else what their programs have in common.
fn leading<'p>(settings: &Settings, what: &ImportArguments, paths: &'p [PathBuf]) -> Vec<(&'p Path, String)> {
    let of = |wanted: Program| -> Vec<(&'p Path, Option<&'p str>)> {
        let told = paths.iter().map(|path| (path.as_path(), told_by_name(path)));
        told.filter(|(_, (program, _))| *program == wanted)
            .map(|(path, (_, name))| (path, name))
            .collect()
    };
    let mut files = of(Program::Monitor);
    if files.is_empty() {
        files = of(Program::Common);
    }
    // As in MMM, `@NAME` means `mmm_mon_NAME.conf`; a file named on the command line may be called otherwise.
    let wanted = settings.cluster.as_deref();
    let is_there = files.iter().any(|(_, name)| name.is_some() && *name == wanted);
    let unnamed = wanted.filter(|_| !is_there && !what.files.is_empty());
    let plain = what.name.as_deref().or(unnamed).unwrap_or("mmm");
    let named = files
        .into_iter()
        .map(|(path, name)| (path, name.unwrap_or(plain).to_owned()));
    named
        .filter(|(_, name)| wanted.is_none_or(|wanted| wanted == name))
        .collect()
}

/// The clusters asked for, each with its files.
fn asked(settings: &Settings, what: &ImportArguments, paths: &[PathBuf]) -> Result<Vec<Asked>, Trouble> {
    let leading = leading(settings, what, paths);
    if leading.is_empty() {
        return Err(nothing(settings, what));
    }
    let mut asked: Vec<Asked> = Vec::new();
    for (path, name) in &leading {
        if asked.iter().any(|known| known.name == *name) {
            return Err(Trouble::new(
                Kind::Usage,
                format!("`{}` describes the cluster `{name}` again", path.display()),
                "each cluster has one file for its monitor, and `mmm_mon_NAME.conf` names the cluster",
            )
            .hint("import one of them, or say `--name`"));
        }
        // `mmm_common` first: what belongs to one program wins over it.
        let mut aside = Vec::new();
        for wanted in [Program::Common, Program::Other] {
            for other in paths {
                let (program, cluster) = told_by_name(other);
                let mine = cluster.is_none_or(|cluster| cluster == name || leading.len() == 1);
                if program == wanted && mine && !leading.iter().any(|(leading, _)| *leading == other) {
                    aside.push(read(other)?);
                }
            }
        }
        asked.push(Asked {
            name: name.clone(),
            aside,
            monitor: read(path)?,
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

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::args::{Arguments, Verb};

    /// The clusters that a command line leads to, with the files that describe them.
    fn led(words: &[&str]) -> String {
        let words = ["mmm"].iter().chain(words);
        let arguments = Arguments::try_parse_from(words).unwrap();
        let Verb::Import(what) = arguments.verb else {
            panic!("another verb")
        };
        let mut paths = what.files.clone();
        if paths.is_empty() {
            paths = ["/etc/mmm/mmm_mon.conf", "/etc/mmm/mmm_mon_c_1.conf"]
                .map(PathBuf::from)
                .into();
        }
        let led = leading(&arguments.settings, &what, &paths);
        let led = led
            .iter()
            .map(|(path, name)| format!("{name}={}", path.file_name().unwrap().to_string_lossy()));
        led.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn files_tell_the_names_of_their_clusters() {
        assert_eq!(led(&["import"]), "mmm=mmm_mon.conf c_1=mmm_mon_c_1.conf");
        assert_eq!(
            led(&["import", "--name", "shop"]),
            "shop=mmm_mon.conf c_1=mmm_mon_c_1.conf"
        );
        assert_eq!(led(&["--cluster", "c_1", "import"]), "c_1=mmm_mon_c_1.conf");
        assert_eq!(
            led(&["--cluster", "shop", "import"]),
            "",
            "`@shop` is `mmm_mon_shop.conf`"
        );
        assert_eq!(
            led(&["--cluster", "shop", "import", "mmm_mon.conf"]),
            "shop=mmm_mon.conf"
        );
        assert_eq!(
            led(&["import", "mmm_common_a.conf", "mmm_agent_a.conf"]),
            "a=mmm_common_a.conf"
        );
        assert_eq!(
            led(&["import", "mmm_common.conf", "copy-of-mon.conf"]),
            "mmm=copy-of-mon.conf"
        );
        assert_eq!(led(&["import", "mmm_agent.conf"]), "");
    }
}
