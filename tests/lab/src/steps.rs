//! Steps of operations that go wrong: playbooks laid over the shipped ones on the box, in which a step begins with a
//! command of the lab's. The program, its shells and everything else of the step are the real ones.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::inventory::PLAYBOOKS;
use crate::lab::Lab;

const INVENTORY: &str = "/etc/mmm/inventory.yaml";
/// Before it stands the key that names the box's own playbooks.
const CLUSTER_KEY: &str = "    writer_role:";
/// What the names of changed duties begin with.
const MARK: &str = "faulty-";

/// What goes wrong with a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mishap {
    Fails,
    TakesTooLong,
    LosesItsConnection,
}

impl Mishap {
    pub const ALL: [Mishap; 3] = [Mishap::Fails, Mishap::TakesTooLong, Mishap::LosesItsConnection];

    /// The fault's name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Mishap::Fails => "step-fails",
            Mishap::TakesTooLong => "step-hangs",
            Mishap::LosesItsConnection => "step-cut",
        }
    }

    /// What does it, on the step's own host. The shell's parent is the server's end of the connection.
    fn command(self) -> &'static str {
        match self {
            Mishap::Fails => "false",
            Mishap::TakesTooLong => "sleep 100",
            Mishap::LosesItsConnection => "kill -9 $PPID; sleep 20",
        }
    }
}

impl fmt::Display for Mishap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mishap::Fails => "fails",
            Mishap::TakesTooLong => "takes too long",
            Mishap::LosesItsConnection => "loses its connection",
        })
    }
}

/// A step as the file of its operation has it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    /// Its place among the steps of its operation, counted from 1.
    number: usize,
    seat: String,
    name: String,
    duty: String,
}

impl Lab {
    /// Lets a step go wrong at that host from now on, each time it is performed there. Steps are named as
    /// `OPERATION/DUTY`, or `OPERATION/NUMBER` where one of several with the same duty is meant. A monitor that runs
    /// already knows of it after its next start.
    ///
    /// # Errors
    /// There is no such step: those that there are.
    pub fn step_goes_wrong(&self, host: &str, step: &str, mishap: Mishap) -> Result<()> {
        let host = self.host(host)?.name();
        let command = format!(
            "if [ {{{{ host.name }}}} = {host} ]; then {}; fi",
            mishap.command()
        );
        self.step_begins_with(step, &command)
    }

    /// Lets a step begin with that command from now on, which holds no single quotes. Whatever another step with the
    /// same duty in the same operation began with no longer counts.
    ///
    /// # Errors
    /// There is no such step: those that there are.
    pub fn step_begins_with(&self, step: &str, command: &str) -> Result<()> {
        let (operation, wanted) = step
            .split_once('/')
            .with_context(|| format!("`{step}` is no step: name it as `OPERATION/DUTY`"))?;
        let text = self.operation_in_use(operation)?;
        let steps = chosen(operation, &without_mark(&text), wanted)?;
        let Some(duty) = steps.first().map(|step| step.duty.clone()) else {
            return Ok(());
        };
        self.use_own_playbooks()?;
        let faulty = format!("{MARK}{operation}-{duty}");
        let plain = text.replace(&format!("duty: {faulty},"), &format!("duty: {duty},"));
        let text = edit(&plain, |number, line| {
            let is_chosen = steps.iter().any(|step| step.number == number);
            let (old, new) = (format!("duty: {duty},"), format!("duty: {faulty},"));
            if is_chosen {
                line.replace(&old, &new)
            } else {
                line.to_owned()
            }
        });
        let duty = begins_with(
            &self.playbook_in_use(&format!("duties/{duty}.yaml"))?,
            &duty,
            &faulty,
        );
        self.write_playbook(&format!("duties/{faulty}.yaml"), &with_command(&duty, command))?;
        self.write_playbook(&operation_file(operation), &text)
    }

    /// Lets a shipped duty begin with that command from now on, whoever has it performed. The command holds no single
    /// quotes.
    pub fn duty_begins_with(&self, duty: &str, command: &str) -> Result<()> {
        let file = format!("duties/{duty}.yaml");
        let text = begins_with(&shipped(&file)?, duty, duty);
        self.use_own_playbooks()?;
        self.write_playbook(&file, &with_command(&text, command))
    }

    /// Lets that duty be the shipped one again.
    pub fn duty_as_shipped(&self, duty: &str) -> Result<()> {
        let path = format!("{PLAYBOOKS}/duties/{duty}.yaml");
        fs::remove_file(self.box_().path(&path)?).with_context(|| format!("cannot remove `{path}`"))
    }

    /// Lets every step go well again. The changed duties stay, with nothing in them that goes wrong: a run that was begun
    /// with one is settled with it.
    pub fn mend_steps(&self) -> Result<()> {
        for file in self.own_playbooks("operations")? {
            let path = format!("{PLAYBOOKS}/operations/{file}");
            let text = self.box_().read(&path)?;
            let plain = without_mark(&text);
            if plain == text {
                continue;
            }
            if shipped(&format!("operations/{file}")).is_ok_and(|shipped| shipped == plain) {
                fs::remove_file(self.box_().path(&path)?)
                    .with_context(|| format!("cannot remove `{path}`"))?;
            } else {
                self.box_().write(&path, &plain)?;
            }
        }
        for file in self.own_playbooks("duties")? {
            if file.starts_with(MARK) {
                let path = format!("{PLAYBOOKS}/duties/{file}");
                let text = self.box_().read(&path)?;
                self.box_().write(&path, &with_command(&text, "true"))?;
            }
        }
        Ok(())
    }

    /// Makes the box's own directory of playbooks, and has its inventory name it.
    pub fn use_own_playbooks(&self) -> Result<()> {
        let yaml = self.box_().read(INVENTORY)?;
        let key = format!("    playbooks: {PLAYBOOKS}");
        if !yaml.lines().any(|line| line == key) {
            if yaml.contains("    playbooks:") || !yaml.contains(CLUSTER_KEY) {
                bail!("the inventory on the box must name `{PLAYBOOKS}` as its cluster's `playbooks`");
            }
            self.write_inventory(&yaml.replacen(CLUSTER_KEY, &format!("{key}\n{CLUSTER_KEY}"), 1))?;
        }
        for folder in ["duties", "operations"] {
            fs::create_dir_all(self.box_().path(&format!("{PLAYBOOKS}/{folder}"))?)
                .context("cannot make the box's playbooks")?;
        }
        Ok(())
    }

    /// Writes a file of the box's own playbooks.
    pub fn write_playbook(&self, file: &str, text: &str) -> Result<()> {
        self.box_().write(&format!("{PLAYBOOKS}/{file}"), text)
    }

    /// The names of the box's own files in that folder.
    fn own_playbooks(&self, folder: &str) -> Result<Vec<String>> {
        let path = self.box_().path(&format!("{PLAYBOOKS}/{folder}"))?;
        if !path.exists() {
            return Ok(Vec::new());
        }
        let entries = fs::read_dir(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
        entries
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    /// The box's own file, or else the shipped one.
    fn playbook_in_use(&self, file: &str) -> Result<String> {
        let own = format!("{PLAYBOOKS}/{file}");
        if self.box_().path(&own)?.exists() {
            self.box_().read(&own)
        } else {
            shipped(file)
        }
    }

    fn operation_in_use(&self, operation: &str) -> Result<String> {
        self.playbook_in_use(&operation_file(operation))
            .with_context(|| format!("no operation is called `{operation}`"))
    }
}

fn operation_file(operation: &str) -> String {
    format!("operations/{operation}.yaml")
}

/// A shipped playbook, as the program was built with it.
pub fn shipped(file: &str) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../playbooks")
        .join(file);
    fs::read_to_string(&path).with_context(|| format!("cannot read the shipped playbook `{file}`"))
}

/// The text with each line of a step, counted from 1, changed.
pub fn edit(operation: &str, change: impl Fn(usize, &str) -> String) -> String {
    let mut number = 0;
    let mut text = String::new();
    for line in operation.lines() {
        if line.starts_with("  - {") {
            number += 1;
            text.push_str(&change(number, line));
        } else {
            text.push_str(line);
        }
        text.push('\n');
    }
    text
}

fn steps(operation: &str) -> Vec<Step> {
    let value = |line: &str, key: &str| {
        let rest = line.split_once(&format!("{key}: "))?.1;
        Some(rest.split([',', '}']).next()?.trim().to_owned())
    };
    let lines = operation.lines().filter(|line| line.starts_with("  - {"));
    let read = lines.enumerate().map(|(before, line)| {
        Some(Step {
            number: before + 1,
            seat: value(line, "at")?,
            name: value(line, "name")?,
            duty: value(line, "duty")?,
        })
    });
    read.flatten().collect()
}

/// The steps that these words mean.
fn chosen(operation: &str, text: &str, wanted: &str) -> Result<Vec<Step>> {
    let every = steps(text);
    let is_meant = |step: &&Step| step.duty == wanted || step.number.to_string() == wanted;
    let meant: Vec<Step> = every.iter().filter(is_meant).cloned().collect();
    if meant.is_empty() {
        let line = |step: &Step| {
            format!(
                "\n  {:>2}  {:20} {:9} {}",
                step.number, step.duty, step.seat, step.name
            )
        };
        let known: String = every.iter().map(line).collect();
        bail!("{operation} has no step `{wanted}`; it has:{known}");
    }
    Ok(meant)
}

/// No step is changed in it any more.
fn without_mark(operation: &str) -> String {
    let of = operation
        .lines()
        .find_map(|line| line.strip_prefix("operation: "));
    operation.replace(
        &format!("duty: {MARK}{}-", of.unwrap_or_default().trim()),
        "duty: ",
    )
}

/// The duty under another name, with a step in front of its own, which are performed even if there is nothing to do.
fn begins_with(duty: &str, name: &str, new: &str) -> String {
    let mut text = duty.replace(&format!("duty: {name}\n"), &format!("duty: {new}\n"));
    if text.contains("\nunless: &") {
        let is_the_same = |line: &&str| line.starts_with("verify: *");
        text = text
            .lines()
            .filter(|line| !is_the_same(line))
            .fold(String::new(), |text, line| text + line + "\n");
        text = text.replacen("\nunless: &", "\nverify: &", 1);
    }
    text.replacen(
        "steps:\n",
        "steps:\n  - { name: Wait, run: 'true', within: 60s }\n",
        1,
    )
}

/// What a changed duty begins with, changed.
fn with_command(duty: &str, command: &str) -> String {
    let mut text = String::new();
    for line in duty.lines() {
        if line.starts_with("  - { name: Wait, run: '") {
            text.push_str(&format!("  - {{ name: Wait, run: '{command}', within: 60s }}"));
        } else {
            text.push_str(line);
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn switchover() -> String {
        shipped("operations/switchover.yaml").unwrap()
    }

    #[test]
    fn every_step_of_every_shipped_operation_can_be_named() {
        for entry in
            fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../playbooks/operations")).unwrap()
        {
            let text = fs::read_to_string(entry.unwrap().path()).unwrap();
            let read = steps(&text);
            assert_eq!(
                read.len(),
                text.lines().filter(|line| line.contains("duty: ")).count(),
                "{text}"
            );
            for step in read {
                let duty = shipped(&format!("duties/{}.yaml", step.duty)).unwrap();
                let changed = with_command(&begins_with(&duty, &step.duty, "faulty-x"), "false");
                assert!(
                    changed.contains("duty: faulty-x\n") && changed.contains("run: 'false'"),
                    "{changed}"
                );
                let verified = changed.lines().filter(|line| line.starts_with("verify:")).count();
                assert!(verified <= 1, "{changed}");
            }
        }
    }

    #[test]
    fn a_step_is_named_by_its_duty_or_its_number_and_an_unknown_one_lists_those_there_are() {
        let numbers = |wanted: &str| -> Vec<usize> {
            let steps = chosen("switchover", &switchover(), wanted).unwrap();
            steps.iter().map(|step| step.number).collect()
        };
        assert_eq!(numbers("can-move-address"), [1, 2]);
        assert_eq!(numbers("3"), [3]);
        let refused = chosen("switchover", &switchover(), "deny")
            .unwrap_err()
            .to_string();
        assert!(
            refused.contains("switchover has no step `deny`")
                && refused.contains(" 5  add-address          incoming  Bring the address up\n"),
            "{refused}"
        );
        assert!(shipped("operations/nonsense.yaml").is_err());
    }

    #[test]
    fn a_changed_operation_can_be_taken_back() {
        let plain = switchover();
        let changed = plain.replace("duty: announce,", "duty: faulty-switchover-announce,");
        assert_ne!(changed, plain);
        assert_eq!(without_mark(&changed), plain);
    }
}
