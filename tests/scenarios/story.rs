//! What each line of a story means, and the monitor it is told to.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mmm::core::cluster::{CheckKind, HostName};
use mmm::core::engine::{Effect, Engine, Input};
use mmm::core::event::Event;
use mmm::core::evidence::{Evidence, Rung};
use mmm::core::guard;
use mmm::core::latch::CheckResult;
use mmm::core::moment::Moment;
use mmm::core::repair::{self, Fix};
use mmm::core::standing::{Mode, Owed, Return, Standing};
use mmm::core::trouble::{Kind, Trouble};
use serde_json::json;

use crate::hosts::{Stage, split_quoted};
use crate::setting::Setting;
use crate::words;

/// Rounds of probes and looks are this far apart, and further when a story waits for long.
const ROUND: Duration = Duration::from_secs(1);
const LONG_ROUND: Duration = Duration::from_secs(10);
const LONG: Duration = Duration::from_secs(120);
/// A story begins at this moment.
const BEGINNING: Moment = Moment(1_800_000_000_000);

/// A story as far as it has been told.
pub struct Story {
    setting: Setting,
    standing: Standing,
    hosts: BTreeMap<HostName, Stage>,
    engine: Option<Engine>,
    /// What the monitor started and is waiting for.
    under_way: Option<Effect>,
    now: Moment,
    rules: BTreeSet<String>,
}

impl Default for Story {
    fn default() -> Self {
        Story {
            setting: Setting::default(),
            standing: Standing::default(),
            hosts: BTreeMap::new(),
            engine: None,
            under_way: None,
            now: BEGINNING,
            rules: BTreeSet::new(),
        }
    }
}

type Lines = Vec<String>;

impl Story {
    /// Tells one line; returns what came of it. What makes no sense comes back with `??` in front.
    pub fn tell(&mut self, line: &str) -> Lines {
        self.now.0 += 1;
        let mut lines = Lines::new();
        if let Err(why) = self.take(line, &mut lines) {
            lines.push(format!("?? {why}"));
        }
        lines
    }

    /// The rules that were in force at some moment.
    pub fn rules_met(self) -> BTreeSet<String> {
        self.rules
    }

    fn take(&mut self, line: &str, lines: &mut Lines) -> Result<(), String> {
        if let Some((names, what)) = self.named_hosts(line) {
            return self.hosts_are(&names, what, lines);
        }
        let (words, quoted) = split_quoted(line);
        if self.engine.is_none()
            && let Some(told) = self.setting.tell(&words)
        {
            return told;
        }
        match words.as_slice() {
            ["the", "monitor", "starts"] => {
                self.start();
                self.round(lines, None);
            }
            ["the", "monitor", "starts", "before", "its", "servers"] => self.start(),
            ["restart", "the", "monitor"] => self.restart(lines)?,
            [writer, "writes", "and", "all", "is", "well"] => self.all_is_well((*writer).into(), lines)?,
            [writer, "writes"] => self.writes((*writer).into())?,
            ["after", time] => self.after(words::span(time)?, lines),
            ["check", host, kind, result @ ..] => self.check(host, kind, result, quoted, lines)?,
            ["evidence:", ..] => self.evidence(line, lines)?,
            ["show"] => self.show(lines)?,
            ["the", what, "succeeds"] => self.succeeds(what, lines)?,
            ["the", what, "fails"] => self.fails(what, quoted.unwrap_or_default(), lines)?,
            ["the", "return", "finds", "too", "much"] => {
                self.kept_out(quoted.unwrap_or_default(), lines)?;
            }
            _ => self.stand(&words, quoted, lines)?,
        }
        Ok(())
    }

    /// `db1 …`, `db1 and db2 …`, `all …`: which hosts a line is about, when it is about hosts.
    fn named_hosts<'l>(&self, line: &'l str) -> Option<(Vec<HostName>, &'l str)> {
        let (first, mut rest) = line.split_once(' ')?;
        let names: Vec<HostName> = self
            .setting
            .cluster
            .hosts
            .iter()
            .map(|host| host.name.clone())
            .collect();
        let of = |word: &str| names.iter().find(|name| name.as_str() == word).cloned();
        let mut meant = match first {
            "all" => names.clone(),
            word => vec![of(word)?],
        };
        while let Some((next, after)) = rest.strip_prefix("and ").and_then(|rest| rest.split_once(' ')) {
            meant.push(of(next)?);
            rest = after;
        }
        let is_elsewhere = ["writes", "can be fenced"]
            .iter()
            .any(|word| rest.starts_with(word));
        (!is_elsewhere).then_some((meant, rest))
    }

    fn hosts_are(&mut self, names: &[HostName], what: &str, lines: &mut Lines) -> Result<(), String> {
        self.raise();
        for name in names {
            let stage = self.hosts.get_mut(name).ok_or("no such host")?;
            stage.dictated.clear();
            for clause in what.split(", ") {
                let clause = clause
                    .strip_prefix("is ")
                    .or(clause.strip_prefix("are "))
                    .unwrap_or(clause);
                stage.is(&self.setting.cluster, self.now, clause)?;
            }
        }
        for name in names {
            self.visit(name, lines, None);
        }
        Ok(())
    }

    /// Puts the hosts on the stage.
    fn raise(&mut self) {
        for host in &self.setting.cluster.hosts {
            self.hosts
                .entry(host.name.clone())
                .or_insert_with(|| Stage::new(&self.setting.cluster, host, self.now));
        }
    }

    fn start(&mut self) {
        self.raise();
        let engine = Engine::new(
            self.setting.cluster.clone(),
            self.setting.means(),
            self.standing.clone(),
        );
        self.engine = Some(engine);
        self.under_way = None;
    }

    /// A new monitor that knows what the old one left on disk.
    fn restart(&mut self, lines: &mut Lines) -> Result<(), String> {
        let written = serde_json::to_string(&self.standing).map_err(|error| error.to_string())?;
        self.standing = serde_json::from_str(&written).map_err(|error| error.to_string())?;
        self.start();
        self.round(lines, None);
        Ok(())
    }

    fn writes(&mut self, writer: HostName) -> Result<(), String> {
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
    fn all_is_well(&mut self, writer: HostName, lines: &mut Lines) -> Result<(), String> {
        self.writes(writer)?;
        self.start();
        let mut aside = Lines::new();
        self.round(&mut aside, None);
        while matches!(self.under_way, Some(Effect::Repair)) {
            self.succeeds("repair", &mut aside)?;
            self.now = self.now.after(ROUND);
            self.round(&mut aside, None);
        }
        if self.under_way.is_some() {
            lines.append(&mut aside);
        }
        Ok(())
    }

    /// Gives an input to the monitor; what comes of it is put into words.
    fn give(&mut self, input: Input, lines: &mut Lines, at_ms: Option<u64>) {
        let Some(engine) = &mut self.engine else {
            return;
        };
        let effects = engine.step(self.now, input);
        self.rules.insert(engine.rule().to_string());
        if let Some(guard) = engine.guard() {
            self.rules.insert(guard.rule.to_string());
        }
        let at = at_ms.map_or(String::new(), |ms| format!("{}: ", words::passed(ms)));
        for effect in effects {
            let fixes = self.fixes();
            lines.push(format!("{at}{}", words::deed(&effect, &fixes)));
            if let Effect::Tell(Event::RuleChanged { rule, .. }) = &effect {
                self.rules.insert(rule.clone());
            }
            if matches!(effect, Effect::Tell(_)) {
                continue;
            }
            if let Some(other) = &self.under_way {
                lines.push(format!("?? and {other:?} is still under way"));
            }
            self.under_way = Some(effect);
        }
    }

    /// What a repair finds under the lock.
    fn fixes(&self) -> Vec<Fix> {
        let Some(engine) = &self.engine else {
            return Vec::new();
        };
        repair::fixes(
            &self.setting.cluster,
            &self.standing,
            &engine.online(),
            &self.seen(),
        )
    }

    fn seen(&self) -> guard::Facts {
        let hosts = self.hosts.iter();
        hosts
            .map(|(name, stage)| (name.clone(), stage.facts(self.now)))
            .collect()
    }

    /// Probes a host and looks at it.
    fn visit(&mut self, name: &HostName, lines: &mut Lines, at_ms: Option<u64>) {
        let Some(stage) = self.hosts.get(name).cloned() else {
            return;
        };
        for kind in CheckKind::ALL {
            let result = stage.probe(&self.setting.cluster, kind);
            let host = name.clone();
            self.give(Input::Checked { host, kind, result }, lines, at_ms);
        }
        self.give(
            Input::Looked(name.clone(), Box::new(stage.facts(self.now))),
            lines,
            at_ms,
        );
    }

    fn round(&mut self, lines: &mut Lines, at_ms: Option<u64>) {
        self.give(Input::Tick, lines, at_ms);
        let names: Vec<HostName> = self
            .setting
            .cluster
            .hosts
            .iter()
            .map(|host| host.name.clone())
            .collect();
        for name in names {
            self.visit(&name, lines, at_ms);
        }
    }

    /// Time passes, in rounds; less than a round is a tick.
    fn after(&mut self, time: Duration, lines: &mut Lines) {
        if time < ROUND {
            self.now = self.now.after(time);
            return self.give(Input::Tick, lines, None);
        }
        let step = if time > LONG { LONG_ROUND } else { ROUND };
        let mut passed = Duration::ZERO;
        while passed < time {
            let step = step.min(time - passed);
            passed += step;
            self.now = self.now.after(step);
            self.round(lines, Some(passed.as_millis() as u64));
        }
    }

    fn check(
        &mut self,
        host: &str,
        kind: &str,
        result: &[&str],
        quoted: Option<String>,
        lines: &mut Lines,
    ) -> Result<(), String> {
        let text = quoted.unwrap_or_else(|| "as told".to_owned());
        let result = match result {
            ["ok"] => CheckResult::Ok(text),
            ["fails"] => CheckResult::Error(text),
            ["unknown"] => CheckResult::Unknown(text),
            other => {
                return Err(format!(
                    "a check is ok, fails or unknown, not `{}`",
                    other.join(" ")
                ));
            }
        };
        let kind: CheckKind = serde_json::from_value(json!(kind)).map_err(|error| error.to_string())?;
        let host = HostName::from(host);
        let stage = self.hosts.get_mut(&host).ok_or("no such host")?;
        stage.dictated.insert(kind, result.clone());
        self.give(Input::Checked { host, kind, result }, lines, None);
        Ok(())
    }

    /// `evidence: mysql port_closed, ping answers, host server_gone, witnesses seen`.
    fn evidence(&mut self, line: &str, lines: &mut Lines) -> Result<(), String> {
        let Some(Effect::AskEvidence(suspect)) = self.under_way.clone() else {
            return Err("no evidence is being gathered".to_owned());
        };
        let views = line.trim_start_matches("evidence:").split(',');
        let views: Option<serde_json::Map<String, serde_json::Value>> = views
            .map(|view| {
                view.trim()
                    .split_once(' ')
                    .map(|(who, what)| (who.to_owned(), json!(what)))
            })
            .collect();
        let evidence: Evidence = serde_json::from_value(json!(views)).map_err(|error| error.to_string())?;
        self.under_way = None;
        self.give(Input::Evidence { suspect, evidence }, lines, None);
        Ok(())
    }

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
            Effect::Tell(_) => "talk",
        };
        if name != what {
            return Err(format!("a {name} is under way"));
        }
        self.under_way = None;
        Ok(effect)
    }

    fn fails(&mut self, what: &str, because: String, lines: &mut Lines) -> Result<(), String> {
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

    fn kept_out(&mut self, surplus: String, lines: &mut Lines) -> Result<(), String> {
        let Effect::Rejoin(host) = self.ends("return")? else {
            return Ok(());
        };
        self.progress(
            &host,
            Return::KeptOut {
                surplus: surplus.clone(),
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
    fn succeeds(&mut self, what: &str, lines: &mut Lines) -> Result<(), String> {
        match self.ends(what)? {
            Effect::FailOver {
                outgoing,
                incoming,
                rung,
                ..
            } => self.failed_over(&outgoing, &incoming, rung)?,
            Effect::Reopen(host) => self.stage(&host)?.server.read_only = false,
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
            Effect::AskEvidence(_) | Effect::Tell(_) => {}
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

    fn stage(&mut self, host: &HostName) -> Result<&mut Stage, String> {
        self.hosts.get_mut(host).ok_or_else(|| format!("no host {host}"))
    }

    fn follow_writer(&mut self, host: &HostName) -> Result<(), String> {
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

    fn failed_over(&mut self, outgoing: &HostName, incoming: &HostName, rung: Rung) -> Result<(), String> {
        let address = self.setting.cluster.writer_address().ok_or("no writer address")?;
        if rung == Rung::Demote {
            let old = self.stage(outgoing)?;
            old.mute = Some(mmm::core::facts::Reach::Down("connection refused".to_owned()));
            old.holds.retain(|ip| *ip != address);
        }
        let new = self.stage(incoming)?;
        new.server.read_only = false;
        new.holds.push(address);
        self.standing.writer = Some(incoming.clone());
        let owed = Owed {
            since: self.now,
            run: "run".to_owned(),
            rung,
            progress: Return::Awaited,
        };
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
                Fix::AddAddress(_, ip) => stage.holds.push(ip),
                Fix::Announce(..) => {}
                Fix::Follow(host, _) => self.follow_writer(&host)?,
            }
        }
        Ok(())
    }

    /// What a person, or a command of theirs, leaves standing.
    fn stand(&mut self, words: &[&str], quoted: Option<String>, lines: &mut Lines) -> Result<(), String> {
        match words {
            ["set-active"] => self.standing.mode = Mode::Active,
            ["set-manual"] => self.standing.mode = Mode::Manual,
            ["set-passive"] => self.standing.mode = Mode::Passive,
            ["set-offline", host] => {
                self.standing.offline.insert((*host).into(), self.now);
            }
            ["set-online", host] => {
                let host = HostName::from(*host);
                self.standing.offline.remove(&host);
                self.standing.released.insert(host, self.now);
            }
            ["a", "run", "gets", "stuck"] => self.standing.hands_off = quoted,
            ["clear"] => self.standing.hands_off = None,
            ["rebuilt", host] => {
                self.standing.owed.remove(&HostName::from(*host));
                self.follow_writer(&(*host).into())?;
            }
            other => return Err(format!("`{}` is no command", other.join(" "))),
        }
        self.standing.touch();
        self.give(Input::Stands(self.standing.clone()), lines, None);
        Ok(())
    }

    fn show(&mut self, lines: &mut Lines) -> Result<(), String> {
        let engine = self.engine.as_ref().ok_or("no monitor runs")?;
        let writer = engine
            .standing()
            .writer
            .as_ref()
            .map_or("nobody", HostName::as_str);
        lines.push(format!(
            "{}, {}, the writer is {writer}",
            engine.standing().mode,
            engine.rule()
        ));
        for host in &engine.cluster().hosts {
            let stage = self.hosts.get(&host.name).ok_or("no such host")?;
            let record = engine.record(&host.name);
            let state = record.map_or("not judged".to_owned(), |record| record.state.to_string());
            let because = record.map(|record| record.because.as_str()).unwrap_or_default();
            let mut addresses: Vec<String> = stage.holds.iter().map(ToString::to_string).collect();
            addresses.sort();
            let holds = if addresses.is_empty() {
                "nothing".to_owned()
            } else {
                addresses.join(" ")
            };
            lines.push(format!("{} {state} holds {holds}: {because}", host.name));
        }
        Ok(())
    }
}
