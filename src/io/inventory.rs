//! Reads the inventory file. What it means is decided in `config::inventory`.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::config::diagnostic::Diagnostic;
use crate::config::inventory::{self, Inventory, Surroundings};

/// Bytes an inventory may have at most.
const MOST_BYTES: u64 = 4 * 1024 * 1024;

/// Reads and resolves an inventory.
///
/// # Errors
/// Everything found wrong with the file or in it, at once.
pub fn load(path: &Path) -> Result<Inventory, Vec<Diagnostic>> {
    let (bytes, mode) = read(path)?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|error| vec![inventory::not_text(&bytes, error.valid_up_to(), path)])?;
    let home = std::env::var_os("HOME")
        .map(PathBuf::from)
        .filter(|home| home.is_absolute());
    inventory::parse(
        text,
        path,
        &Surroundings {
            mode: Some(mode),
            home,
        },
    )
}

fn read(path: &Path) -> Result<(Vec<u8>, u32), Vec<Diagnostic>> {
    let about = |because: String, hint: &str| {
        let what = format!("cannot use the inventory `{}`", path.display());
        vec![Diagnostic::about_file(path, what, because, hint.to_owned())]
    };
    let failed = |error: std::io::Error| {
        about(
            error.to_string(),
            "check the path, and that this user may read it",
        )
    };
    let not_a_file = || about("it is not a regular file".to_owned(), "name a file");
    // Asked before opening: opening a pipe waits for its writer.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(not_a_file());
    }
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
    if mode & 0o002 != 0 {
        let because = format!("everyone may write it (mode {mode:04o}), and it names commands that run here");
        return Err(about(because, "`chmod 600` it, after checking what it says"));
    }
    let mut bytes = Vec::new();
    file.take(MOST_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(about(
            "it is larger than 4 MiB".to_owned(),
            "check that it is the right file",
        ));
    }
    Ok((bytes, mode))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::diagnostic::render_all;

    fn findings(mode: u32, content: &[u8]) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        render_all(&load(file.path()).unwrap_err())
    }

    #[test]
    fn the_file_itself_is_judged_first() {
        assert!(findings(0o602, b"clusters: {}\n").contains("everyone may write it (mode 0602)"));
        let found = findings(0o600, b"a: 1\npassword: hunter2\xff\n");
        assert!(
            found.contains(":2:18\n") && found.contains("not UTF-8") && !found.contains("hunter2"),
            "{found}"
        );
        assert!(findings(0o600, b"").contains("the inventory is empty"));
        let found = render_all(&load(Path::new("/nonexistent/inventory.yaml")).unwrap_err());
        assert!(found.contains("No such file"), "{found}");
        assert!(render_all(&load(Path::new("/tmp")).unwrap_err()).contains("not a regular file"));
    }
}
