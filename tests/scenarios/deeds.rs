//! How what the monitor started ends, and what it leaves on the hosts: what the operations do, in a few words. The lab
//! shows that they do it.

use mmm::core::cluster::HostName;
use mmm::core::engine::{Effect, Input};
use mmm::core::evidence::Rung;
use mmm::core::facts::Reach;
use mmm::core::guard;
use mmm::core::maintenance::Automatic;
use mmm::core::repair::Fix;
use mmm::core::standing::{Mode, Owed, Return};
use mmm::core::trouble::{Kind, Trouble};

use crate::hosts::Stage;
use crate::story::{Lines, Story};

impl Story {
    /// The start of what is under way, which must be what the story says it is.
    fn ends(&mut self, what: &str) -> Result<Effect, String> {
        let effect = self.under_way.clone().ok_or("nothing is under way")?;
        let name = match &effect {
            Effect::FailOver { .. } => "failover",
            Effect::Reopen(_) => "reopening",
            Effect::Adopt => "adoption",
            Effect::Quarantine(_) => "quarantine",
            Effect::Repair => "repair",
            Effect::Rejoin(_) => "return",
            Effect::AskEvidence(_) => "gathering",
            Effect::SwitchOver(_) => "switchover",
            Effect::Activate { .. } => "activation",
            Effect::Remember(_) | Effect::Tell(_) => "talk",
        };
        if name != what {
            return Err(format!("a {name} is under way"));
        }
        self.under_way = None;
        Ok(effect)
    }

    /// What is under way comes to nothing.
    pub fn fails(&mut self, what: &str, because: String, lines: &mut Lines) -> Result<(), String> {
        self.ends(what)?;
        let trouble = Trouble::new(Kind::Refused, format!("the {what} failed"), because);
        self.give(Input::Failed(trouble), lines, None);
        self.finished(lines);
        Ok(())
    }

    fn finished(&mut self, lines: &mut Lines) {
        self.standing.touch();
        self.give(Input::Stands(self.standing.clone()), lines, None);
        self.give(Input::Finished, lines, None);
    }

    /// The comparison finds transactions that only the returning host has.
    pub fn kept_out(&mut self, surplus: String, lines: &mut Lines) -> Result<(), String> {
        let Effect::Rejoin(host) = self.ends("return")? else {
            return Ok(());
        };
        self.progress(
            &host,
            Return::KeptOut {
                surplus: surplus.clone(),
                rows: None,
            },
        );
        if let Some(stage) = self.hosts.get_mut(&host) {
            stage.quarantine();
        }
        let because = format!("it has transactions that the writer has not: {surplus}");
        let trouble = Trouble::new(Kind::Refused, format!("{host} did not rejoin"), because);
        self.give(Input::Failed(trouble), lines, None);
        self.finished(lines);
        Ok(())
    }

    fn progress(&mut self, host: &HostName, progress: Return) {
        if let Some(owed) = self.standing.owed.get_mut(host) {
            owed.progress = progress;
        }
    }

    /// What is under way does to the hosts and the standing what its operation does.
    pub fn succeeds(&mut self, what: &str, lines: &mut Lines) -> Result<(), String> {
        match self.ends(what)? {
            Effect::FailOver {
                outgoing,
                incoming,
                rung,
                ..
            } => self.failed_over(&outgoing, &incoming, rung)?,
            Effect::SwitchOver(incoming) => self.switched_over(&incoming)?,
            Effect::Activate { because } => {
                let by = format!("the monitor, since {because}");
                self.standing.enter(Mode::Active, &by, Vec::new());
            }
            Effect::Reopen(host) => self.reopened(&host)?,
            Effect::Adopt => {
                self.standing.writer = guard::observed_writer(&self.setting.cluster, &self.seen())
            }
            Effect::Quarantine(host) => self.quarantined(&host)?,
            Effect::Repair => self.repaired()?,
            Effect::Rejoin(host) => {
                self.standing.owed.remove(&host);
                // A server that was kept stopped is started.
                self.stage(&host)?.mute = None;
                self.follow_writer(&host)?;
            }
            Effect::AskEvidence(_) | Effect::Remember(_) | Effect::Tell(_) => {}
        }
        self.finished(lines);
        Ok(())
    }

    fn quarantined(&mut self, host: &HostName) -> Result<(), String> {
        self.stage(host)?.quarantine();
        if self
            .standing
            .owed
            .get(host)
            .is_some_and(|owed| owed.progress == Return::Awaited)
        {
            self.progress(host, Return::Quarantined);
        }
        Ok(())
    }

    pub fn stage(&mut self, host: &HostName) -> Result<&mut Stage, String> {
        self.hosts.get_mut(host).ok_or_else(|| format!("no host {host}"))
    }

    pub fn follow_writer(&mut self, host: &HostName) -> Result<(), String> {
        let writer = self.standing.writer.clone().ok_or("nobody is the writer")?;
        let source = self
            .setting
            .cluster
            .host(&writer)
            .ok_or("no such writer")?
            .clone();
        let stage = self.stage(host)?;
        stage.server.read_only = true;
        stage.follow(&source);
        Ok(())
    }

    fn reopened(&mut self, host: &HostName) -> Result<(), String> {
        let address = self.setting.cluster.writer_address().ok_or("no writer address")?;
        let writer = self.stage(host)?;
        writer.server.read_only = false;
        if !writer.holds.contains(&address) {
            writer.holds.push(address);
        }
        Ok(())
    }

    /// A planned switchover to this host.
    pub fn switched_over(&mut self, incoming: &HostName) -> Result<(), String> {
        let address = self.setting.cluster.writer_address().ok_or("no writer address")?;
        let outgoing = self
            .standing
            .writer
            .replace(incoming.clone())
            .ok_or("nobody is the writer")?;
        self.stage(&outgoing)?.holds.retain(|ip| *ip != address);
        let new = self.stage(incoming)?;
        new.server.read_only = false;
        new.holds.push(address);
        let others = self.hosts.keys().filter(|name| *name != incoming).cloned();
        for other in others.collect::<Vec<_>>() {
            self.follow_writer(&other)?;
        }
        Ok(())
    }

    fn failed_over(&mut self, outgoing: &HostName, incoming: &HostName, rung: Rung) -> Result<(), String> {
        let address = self.setting.cluster.writer_address().ok_or("no writer address")?;
        if rung == Rung::Demote {
            let old = self.stage(outgoing)?;
            old.mute = Some(Reach::Down("connection refused".to_owned()));
            old.holds.retain(|ip| *ip != address);
        }
        let new = self.stage(incoming)?;
        new.server.read_only = false;
        new.holds.push(address);
        self.standing.writer = Some(incoming.clone());
        self.standing.automatic = Some(Automatic {
            run: "run".to_owned(),
            at: self.now,
        });
        let owed = Owed::now(self.now, "run", rung);
        self.standing.owed.insert(outgoing.clone(), owed);
        let well = |stage: &Stage| stage.mute.is_none() && stage.deaf.is_none();
        let others = self
            .hosts
            .iter()
            .filter(|(name, stage)| *name != incoming && *name != outgoing && well(stage));
        let others: Vec<HostName> = others.map(|(name, _)| name.clone()).collect();
        for other in others {
            self.follow_writer(&other)?;
        }
        Ok(())
    }

    fn repaired(&mut self) -> Result<(), String> {
        for fix in self.fixes() {
            let stage = self.stage(&fix.host().clone())?;
            match fix {
                Fix::Quarantine(host) => self.quarantined(&host)?,
                Fix::DenyWrites(_) => stage.server.read_only = true,
                Fix::RemoveAddress(_, ip) => stage.holds.retain(|held| *held != ip),
                Fix::AddAddress(_, ip) | Fix::AddAddressIfFree(_, ip) => stage.holds.push(ip),
                Fix::Announce(..) => {}
                Fix::StopReceiving(..) => stage.stop_replicating(),
                Fix::Follow(host, _) => self.follow_writer(&host)?,
            }
        }
        Ok(())
    }
}
