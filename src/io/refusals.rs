//! The last refusal of a cluster on disk: `refused.json` beside the standing. Nothing depends on it: what cannot be kept
//! has been told by the command itself.

use std::fs;
use std::io;

use crate::core::refusal::Refusal;
use crate::io::clock;
use crate::io::standing::StateDir;

const FILE: &str = "refused.json";

/// Keeps it in place of the one before.
pub fn keep(dir: &StateDir, refusal: &Refusal) {
    let kept =
        fs::create_dir_all(dir.path()).and_then(|()| dir.replace(FILE, &serde_json::to_vec_pretty(refusal)?));
    if let Err(error) = kept {
        tracing::debug!("the refusal of `{}` cannot be kept: {error}", refusal.asked);
    }
}

/// The one kept, while it is news.
pub fn last(dir: &StateDir) -> Option<Refusal> {
    let text = match fs::read(dir.path().join(FILE)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::debug!("the last refusal cannot be read: {error}");
            return None;
        }
    };
    match serde_json::from_slice::<Refusal>(&text) {
        Ok(refusal) => Some(refusal).filter(|refusal| refusal.is_news(clock::now())),
        // Of another version of this program; the next refusal replaces it.
        Err(error) => {
            tracing::debug!("the last refusal cannot be understood: {error}");
            None
        }
    }
}

/// Something has been done since, so what was refused before is no news.
pub fn forget(dir: &StateDir) {
    match fs::remove_file(dir.path().join(FILE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::debug!("the last refusal cannot be removed: {error}");
        }
        Ok(()) | Err(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::guard::Guard;
    use crate::core::trouble::Trouble;

    #[test]
    fn the_newest_is_kept_until_something_is_done() {
        let room = tempfile::tempdir().unwrap();
        let dir = StateDir::of(room.path(), "c");
        assert_eq!(last(&dir), None);
        for guard in [Guard::G01, Guard::G05] {
            let trouble = Trouble::refused(guard, "it was not begun", "of this");
            let refusal = Refusal::of(clock::now(), "switchover", &trouble).unwrap();
            keep(&dir, &refusal);
            assert_eq!(last(&dir), Some(refusal));
        }
        fs::write(dir.path().join(FILE), "{}").unwrap();
        assert_eq!(last(&dir), None);
        forget(&dir);
        forget(&dir);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
