//! The hosts' disks: ext4 images, copied from cached ones, so that a full disk and `fsync` are real ones.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::command::tool;
use crate::flavour::Server;
use crate::place::{CACHE_ROOT, MEMORY, MachineLock};
use crate::server;

/// Raise it whenever what is in a cached image changes.
const FORMAT: u32 = 2;
const SIZE: &str = "512M";

/// The cached image for a host with this server or with none, made now when there is none yet.
pub fn template(database: Option<Server>) -> Result<PathBuf> {
    let _one_at_a_time = MachineLock::take("template")?;
    let kind = match database {
        Some(server) => server::label(server)?,
        None => "plain".to_owned(),
    };
    let finished = Path::new(CACHE_ROOT).join(format!("{kind}-v{FORMAT}.img"));
    if finished.exists() {
        return Ok(finished);
    }
    // Made aside and renamed: a half-made image is never taken for a whole one.
    let aside = tempfile::Builder::new()
        .prefix("making-")
        .tempdir_in(CACHE_ROOT)
        .context("cannot write the cache")?;
    let image = aside.path().join("image");
    let image_path = image.to_string_lossy().into_owned();
    tool("truncate", ["--size", SIZE, &image_path])?;
    // No blocks are kept for root: the servers would go on writing on a full disk.
    tool(
        "mkfs.ext4",
        [
            "-q",
            "-F",
            "-m",
            "0",
            "-E",
            "lazy_itable_init=1,lazy_journal_init=1",
            &image_path,
        ],
    )?;
    if let Some(server) = database {
        let data = aside.path().join("mysql");
        server::install(server, aside.path(), &data)?;
        fill(&image, aside.path(), &data)?;
    }
    fs::rename(&image, &finished).context("cannot finish the cached disk image")?;
    Ok(finished)
}

/// Copies a directory to the top of an image. Without holes: a server that meets a full disk must not meet it in the
/// middle of a file that it thinks it has.
fn fill(image: &Path, aside: &Path, directory: &Path) -> Result<()> {
    let mount = aside.join("mount");
    fs::create_dir(&mount).context("cannot write the cache")?;
    let _loop_devices = MachineLock::take("loop")?;
    let line = "mount --make-rprivate / && mount -o loop \"$0\" \"$1\" && cp -a --sparse=never \"$2\" \"$1/\" && umount \"$1\"";
    let paths = [image, &mount, directory].map(|path| path.to_string_lossy().into_owned());
    tool(
        "unshare",
        ["--mount", "sh", "-c", line]
            .into_iter()
            .chain(paths.iter().map(String::as_str)),
    )?;
    Ok(())
}

/// A host's own disk out of a template.
pub fn copy(template: &Path, image: &Path) -> Result<()> {
    tool(
        "cp",
        [
            "--sparse=always",
            "--reflink=auto",
            "--",
            &template.to_string_lossy(),
            &image.to_string_lossy(),
        ],
    )?;
    Ok(())
}

/// The loop devices that stand on a file, for example `loop3`.
pub fn loops_on(is_ours: impl Fn(&Path) -> bool) -> Vec<String> {
    let blocks = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let ours = blocks.filter(|block| {
        let backing = fs::read_to_string(block.path().join("loop/backing_file")).unwrap_or_default();
        let named = Path::new(backing.trim_end().trim_end_matches(" (deleted)"));
        // Of a mount in another namespace the kernel names a file from the root of its file system.
        let in_memory = named.strip_prefix("/").map(|named| Path::new(MEMORY).join(named));
        !backing.is_empty() && (is_ours(named) || in_memory.is_ok_and(|path| is_ours(&path)))
    });
    ours.map(|block| block.file_name().to_string_lossy().into_owned())
        .collect()
}

/// The numbers of a user of the machine and of its group.
pub fn user_ids(name: &str) -> Result<(u32, u32)> {
    let passwd = fs::read_to_string("/etc/passwd").context("cannot read `/etc/passwd`")?;
    let entry = passwd.lines().find(|line| line.split(':').next() == Some(name));
    let mut fields = entry
        .with_context(|| format!("the machine has no user `{name}`"))?
        .split(':')
        .skip(2);
    let mut number = || {
        fields
            .next()
            .and_then(|field| field.parse().ok())
            .context("`/etc/passwd` is malformed")
    };
    Ok((number()?, number()?))
}
