//! `mmm sudoers`: prints the rules that let the SSH user of each host run just what the playbooks in use run as root.

use futures_util::future::join_all;

use super::args::{Settings, SudoersArguments};
use super::setting;
use crate::core::cluster::HostName;
use crate::core::trouble::{Kind, Trouble};
use crate::io::preflight::{RootCommands, root_commands};
use crate::report::reporter::{Output, out, talk};
use crate::report::sudoers;

/// Prints them; 3 when a host could not be asked, or has a command that no rule could be made of.
pub async fn run(settings: &Settings, what: &SudoersArguments) -> Result<u8, Trouble> {
    let inventory = setting::inventory(settings)?;
    let entry = setting::cluster(settings, &inventory, what.name.as_deref())?;
    let wanted: Vec<HostName> = match &what.host {
        Some(host) => {
            let host = HostName::from(host.as_str());
            setting::host(entry, &host)?;
            vec![host]
        }
        None => entry.cluster.hosts.iter().map(|host| host.name.clone()).collect(),
    };
    let fleet = setting::fleet(entry).await?;
    let asked = wanted.iter().map(|host| root_commands(&fleet, host));
    let mut code = 0;
    for (host, found) in wanted.iter().zip(join_all(asked).await) {
        match found {
            Ok(found) => {
                if !print(settings, host, &found) {
                    code = Kind::Wrong.exit_code();
                }
            }
            Err(trouble) => {
                code = Kind::Wrong.exit_code();
                match settings.output {
                    Output::Text => talk(&format!("{host}: {trouble}")),
                    Output::Json => out(&setting::json(
                        &serde_json::json!({ "host": host, "error": trouble }),
                    )),
                }
            }
        }
    }
    Ok(code)
}

/// Prints one host's; false when something had to be left out.
fn print(settings: &Settings, host: &HostName, found: &RootCommands) -> bool {
    let mut rules = sudoers::rules(&found.user, &found.commands, &found.paths);
    if found.user == "root" {
        rules = sudoers::Rules::default();
    }
    let unready = found
        .unready
        .iter()
        .map(|(duty, why)| format!("the duty `{duty}` cannot be made ready: {why}"));
    rules.left_out.extend(unready);
    match settings.output {
        Output::Text => {
            out(&format!(
                "# {host}: what the playbooks run there as root. Its place is /etc/sudoers.d/mmm; `visudo -c` reads it over."
            ));
            if found.user == "root" {
                out("# It is managed as root, which needs no rules.");
            }
            for why in &rules.left_out {
                out(&format!("# left out: {why}"));
            }
            for line in &rules.lines {
                out(line);
            }
        }
        Output::Json => out(&setting::json(&serde_json::json!({
            "host": host, "user": found.user, "rules": rules.lines, "left_out": rules.left_out
        }))),
    }
    rules.left_out.is_empty()
}
