//! A database account as the lab's own clients use it: the password comes from a file, never from argv.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use mysql_async::OptsBuilder;

/// A user and its password. It has no `Debug`, so that the password cannot reach a log.
#[derive(Clone)]
pub struct Login {
    user: String,
    password: Option<String>,
}

impl Login {
    /// An account that needs no password.
    pub fn without_password(user: &str) -> Login {
        Login {
            user: user.to_owned(),
            password: None,
        }
    }

    /// Reads the password from the first line of `file`, which only its owner may be able to read.
    pub fn from_file(user: &str, file: &Path) -> Result<Login> {
        let place = file.display();
        let mode = std::fs::metadata(file)
            .with_context(|| format!("cannot read the password file `{place}`"))?
            .permissions()
            .mode();
        ensure!(
            mode & 0o077 == 0,
            "the password file `{place}` is open to others (mode {:o}); run `chmod 600` on it",
            mode & 0o777
        );
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read `{place}`"))?;
        Ok(Login {
            user: user.to_owned(),
            password: text.lines().next().map(str::to_owned),
        })
    }

    /// Connection options with this account. The values given for packet size and timeout are the servers'
    /// own defaults; giving them spares each connection a query.
    pub fn options(&self) -> OptsBuilder {
        OptsBuilder::default()
            .user(Some(&self.user))
            .pass(self.password.as_ref())
            .prefer_socket(false)
            .max_allowed_packet(Some(16 * 1024 * 1024))
            .wait_timeout(Some(28_800))
            .stmt_cache_size(0)
    }
}
