//! `mmm history [RUN]`: the cluster's runs, or how one of them went; in words, as JSON, or as a page.

use std::fs;
use std::path::Path;

use super::args::{HistoryArguments, Settings};
use super::setting;
use crate::core::guard::Guard;
use crate::core::history::{self, History};
use crate::core::trouble::{Kind, Trouble};
use crate::io::standing::StateDir;
use crate::io::{journal, resume};
use crate::report::history as words;
use crate::report::reporter::{Output, out};

/// Prints or writes; asks no host.
pub fn run(settings: &Settings, what: &HistoryArguments) -> Result<u8, Trouble> {
    let inventory = setting::inventory(settings)?;
    let wanted = match &what.run {
        Some(_) => vec![setting::cluster(settings, &inventory, None)?],
        None => setting::clusters(settings, &inventory, None)?,
    };
    for entry in wanted {
        let cluster = &entry.cluster.name;
        let dir = StateDir::of(&inventory.monitor.state_dir, cluster);
        match &what.run {
            Some(run) => {
                let told = history::of(&resume::find(&dir, run)?.record());
                one(settings, cluster, &told, what.html.as_deref())?;
            }
            None => {
                let runs = journal::runs(&dir).map_err(|error| {
                    Trouble::refused(Guard::G05, "the journals of earlier runs cannot be read", error)
                })?;
                let told: Vec<History> = runs.iter().map(|run| history::of(&run.record())).collect();
                match settings.output {
                    Output::Text => out(words::list(cluster, &told).trim_end()),
                    Output::Json => out(&setting::json(
                        &serde_json::json!({ "cluster": cluster, "runs": told }),
                    )),
                }
            }
        }
    }
    Ok(0)
}

fn one(settings: &Settings, cluster: &str, told: &History, html: Option<&Path>) -> Result<(), Trouble> {
    match (html, settings.output) {
        (Some(path), _) if path == Path::new("-") => out(words::page(cluster, told).trim_end()),
        (Some(path), _) => {
            fs::write(path, words::page(cluster, told)).map_err(|error| {
                Trouble::new(
                    Kind::Usage,
                    format!("the page `{}` cannot be written", path.display()),
                    error,
                )
            })?;
            out(&format!("`{}` is written", path.display()));
        }
        (None, Output::Text) => out(words::timeline(cluster, told).trim_end()),
        (None, Output::Json) => out(&setting::json(
            &serde_json::json!({ "cluster": cluster, "run": told }),
        )),
    }
    Ok(())
}
