//! `mmm mode`, `set-active`, `set-manual`, `set-passive`, `clear`: what the monitor may do. Written under the cluster's lock;
//! a running monitor is told at once.

use std::time::Duration;

use super::args::Settings;
use super::setting;
use crate::core::standing::{Mode, Standing};
use crate::core::trouble::Trouble;
use crate::io::clock;
use crate::io::lock::LocalLock;
use crate::io::socket::nudge;
use crate::io::standing::StateDir;
use crate::report::reporter::{Output, out};

/// How long another operation is waited for.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// Prints the mode, of each cluster where there are several and none is named.
pub async fn show(settings: &Settings, named: Option<&str>) -> Result<u8, Trouble> {
    let inventory = setting::inventory(settings)?;
    let wanted = setting::clusters(settings, &inventory, named)?;
    for entry in &wanted {
        let name = &entry.cluster.name;
        let standing = StateDir::of(&inventory.monitor.state_dir, name).load()?;
        let mode = standing.mode.to_string().to_uppercase();
        match settings.output {
            Output::Text if wanted.len() == 1 => out(&mode),
            Output::Text => out(&format!("{name}: {mode}")),
            Output::Json => out(&setting::json(&serde_json::json!({
                "cluster": name,
                "mode": standing.mode,
                "by": standing.mode_by,
                "because": standing.mode_because,
            }))),
        }
    }
    Ok(0)
}

/// Sets the mode. Whatever the mode rested on before is forgotten: a person has decided.
pub async fn set(settings: &Settings, named: Option<&str>, mode: Mode) -> Result<u8, Trouble> {
    let by = person();
    let because = match mode {
        Mode::Passive => vec![format!("{by} chose it at {}", clock::now())],
        Mode::Active | Mode::Manual | Mode::Wait => Vec::new(),
    };
    let words = [
        format!("switched into {mode} mode"),
        format!("nothing to do: already in {mode} mode"),
    ];
    change(settings, named, &words, |standing| {
        standing.enter(mode, &by, because.clone())
    })
    .await
}

/// Whoever runs this command, also through sudo.
pub fn person() -> String {
    ["SUDO_USER", "USER", "LOGNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()))
        .unwrap_or_else(|| format!("user {}", rustix::process::getuid().as_raw()))
}

/// Says that a person has looked after a stuck operation, and brings that operation to its end.
pub async fn clear(settings: &Settings, named: Option<&str>) -> Result<u8, Trouble> {
    let words = [
        "operations may act again".to_owned(),
        "nothing to do: operations may act already".to_owned(),
    ];
    let inventory = setting::inventory(settings)?;
    let entry = setting::cluster(settings, &inventory, named)?;
    let dir = StateDir::of(&inventory.monitor.state_dir, &entry.cluster.name);
    let was_stuck = dir.load()?.hands_off.is_some();
    let code = change(settings, named, &words, |standing| standing.get_unstuck()).await?;
    let fleet = setting::fleet(entry).await?;
    let (teller, reporting) = setting::telling(settings, &entry.cluster.name);
    let performer = setting::performer(settings, &inventory, &fleet, teller, LOCK_WAIT);
    // Who was told to look who takes writes has not looked after anything else.
    let settled = match performer.adopt().await {
        Ok(_) if !was_stuck => performer.look_after().await,
        Ok(_) => Ok(()),
        Err(trouble) => Err(trouble),
    };
    drop(performer);
    setting::all_told(reporting).await;
    settled.map(|()| code)
}

/// Changes the standing under the lock; the words are for when something changed, and for when nothing did.
async fn change(
    settings: &Settings,
    named: Option<&str>,
    words: &[String; 2],
    apply: impl Fn(&mut Standing) -> bool,
) -> Result<u8, Trouble> {
    let inventory = setting::inventory(settings)?;
    let entry = setting::cluster(settings, &inventory, named)?;
    let dir = StateDir::of(&inventory.monitor.state_dir, &entry.cluster.name);
    dir.prepare()?;
    let lock = LocalLock::take(&dir, "a change of mode", LOCK_WAIT).await?;
    let mut standing = dir.load()?;
    let changed = apply(&mut standing);
    if changed {
        standing.touch();
        dir.save(&standing)?;
    }
    drop(lock);
    if changed {
        nudge(
            &inventory.monitor.socket,
            &entry.cluster.name,
            standing.generation,
        )
        .await;
    }
    let [done, as_it_was] = words;
    let said = if changed { done } else { as_it_was };
    match settings.output {
        Output::Text => out(&format!("{}: {said}", entry.cluster.name)),
        Output::Json => out(&setting::json(
            &serde_json::json!({ "cluster": entry.cluster.name, "changed": changed, "mode": standing.mode }),
        )),
    }
    Ok(0)
}
