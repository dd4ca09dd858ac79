//! How a story begins: the hosts as they are, and a monitor that starts, or starts again.

use mmm::core::cluster::{HostName, StartMode};
use mmm::core::engine::{Effect, Engine};
use mmm::core::evidence::Rung;
use mmm::core::mode::Deed;
use mmm::core::standing::{Mode, Owed};
use mmm::core::startup::{self, Verdict};

use crate::hosts::Stage;
use crate::story::{LONG_ROUND, Lines, Story};

/// All has been well for so many long rounds when a story begins.
const SINCE_ROUNDS: usize = 30;

impl Story {
    /// Puts the hosts on the stage.
    pub fn raise(&mut self) {
        for host in &self.setting.cluster.hosts {
            self.hosts
                .entry(host.name.clone())
                .or_insert_with(|| Stage::new(&self.setting.cluster, host, self.now));
        }
    }

    /// A monitor begins as the real one does: with the mode that the inventory wants, and with a look at who claims to
    /// be the writer.
    pub fn start(&mut self, lines: &mut Lines) {
        self.raise();
        if let StartMode::Always(mode) = self.setting.cluster.start.mode {
            self.standing.enter(mode, "the inventory", Vec::new());
        }
        if self.standing.mode.allows(Deed::Settle) && self.standing.hands_off.is_none() {
            self.find_writer(lines);
        }
        let engine = Engine::new(
            self.setting.cluster.clone(),
            self.setting.means(),
            self.standing.clone(),
        );
        let records = self
            .written
            .as_ref()
            .map(|written| serde_json::from_str(written).unwrap());
        self.engine = Some(match records {
            Some(records) => engine.resume(records),
            None => engine,
        });
        self.under_way = None;
    }

    fn find_writer(&mut self, lines: &mut Lines) {
        let (cluster, seen) = (&self.setting.cluster, self.seen());
        let claims = startup::claims(cluster, &self.standing, &seen);
        let (rule, verdict) = startup::decide(&claims, cluster.start.careful);
        self.rules.insert(rule.to_string());
        match verdict {
            Verdict::Keep if !rule.is_conflict() => {}
            Verdict::Keep => lines.push(format!("{rule}: the record stands as it is")),
            Verdict::Adopt(writer) => {
                lines.push(format!("{rule}: {writer} is taken for the writer"));
                for host in startup::to_compare(cluster, &self.standing, &seen, &writer) {
                    lines.push(format!("{host} must be compared"));
                    let owed = Owed::now(self.now, "start", Rung::Demote);
                    self.standing.owed.insert(host, owed);
                }
                self.standing.writer = Some(writer);
            }
            Verdict::Conflict => {
                let table = startup::table(rule, &claims);
                lines.extend(table.iter().cloned());
                self.standing
                    .enter(Mode::Passive, "the start of the monitor", table);
            }
        }
    }

    /// A new monitor that knows what the old one left on disk.
    pub fn restart(&mut self, lines: &mut Lines) -> Result<(), String> {
        let written = serde_json::to_string(&self.standing).map_err(|error| error.to_string())?;
        self.standing = serde_json::from_str(&written).map_err(|error| error.to_string())?;
        self.start(lines);
        self.round(lines, None);
        Ok(())
    }

    /// This host is the writer, and the others follow it.
    pub fn writes(&mut self, writer: HostName) -> Result<(), String> {
        self.raise();
        let address = self.setting.cluster.writer_address().ok_or("no writer address")?;
        let stage = self.hosts.get_mut(&writer).ok_or("no such host")?;
        stage.server.read_only = false;
        stage.holds.push(address);
        self.standing.writer = Some(writer.clone());
        let source = self.setting.cluster.host(&writer).ok_or("no such host")?.clone();
        for (name, stage) in &mut self.hosts {
            if *name != writer {
                stage.follow(&source);
            }
        }
        Ok(())
    }

    /// The usual beginning. What the monitor mends by itself first is not part of the story.
    pub fn all_is_well(&mut self, writer: HostName, lines: &mut Lines) -> Result<(), String> {
        self.writes(writer)?;
        self.start(&mut Lines::new());
        let mut aside = Lines::new();
        self.round(&mut aside, None);
        for _ in 0..SINCE_ROUNDS {
            if matches!(self.under_way, Some(Effect::Repair)) {
                self.succeeds("repair", &mut aside)?;
            }
            self.now = self.now.after(LONG_ROUND);
            self.round(&mut aside, None);
        }
        if self.under_way.is_some() {
            lines.append(&mut aside);
        }
        Ok(())
    }
}
