//! What each line of a story means, and the monitor it is told to.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mmm::core::cluster::{CheckKind, HostName};
use mmm::core::engine::{Effect, Engine, Input};
use mmm::core::event::Event;
use mmm::core::evidence::Evidence;
use mmm::core::guard;
use mmm::core::latch::CheckResult;
use mmm::core::maintenance::Downtime;
use mmm::core::moment::Moment;
use mmm::core::repair::{self, Fix};
use mmm::core::standing::{Mode, Standing};
use serde_json::json;

use crate::hosts::{Stage, split_quoted};
use crate::setting::Setting;
use crate::words;

/// Rounds of probes and looks are this far apart, and further when a story waits for long.
const ROUND: Duration = Duration::from_secs(1);
/// As [`ROUND`], while a story waits for long.
pub const LONG_ROUND: Duration = Duration::from_secs(10);
const LONG: Duration = Duration::from_secs(120);
const VERY_LONG: Duration = Duration::from_secs(600);
/// A story begins at this moment.
const BEGINNING: Moment = Moment(1_800_000_000_000);

/// A story as far as it has been told.
pub struct Story {
    /// What the inventory says.
    pub setting: Setting,
    /// What stands on disk.
    pub standing: Standing,
    /// The hosts.
    pub hosts: BTreeMap<HostName, Stage>,
    /// The monitor.
    pub engine: Option<Engine>,
    /// What the monitor wrote down about the hosts, as the next one finds it.
    pub written: Option<String>,
    /// What the monitor started and is waiting for.
    pub under_way: Option<Effect>,
    /// The moment that the story has come to.
    pub now: Moment,
    /// The rules met so far.
    pub rules: BTreeSet<String>,
}

impl Default for Story {
    fn default() -> Self {
        Story {
            setting: Setting::default(),
            standing: Standing::default(),
            hosts: BTreeMap::new(),
            engine: None,
            written: None,
            under_way: None,
            now: BEGINNING,
            rules: BTreeSet::new(),
        }
    }
}

/// What came of something.
pub type Lines = Vec<String>;

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
                self.start(lines);
                self.round(lines, None);
            }
            ["the", "network", "falls", "silent"] => {
                self.give(Input::Network { answers: false }, lines, None)
            }
            ["the", "network", "answers"] => self.give(Input::Network { answers: true }, lines, None),
            ["another", "machine", "has", address, "of", host] => self.hear(host, address, true, lines)?,
            ["no", "other", "machine", "has", address, "of", host] => {
                self.hear(host, address, false, lines)?
            }
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

    /// Gives an input to the monitor; what comes of it is put into words.
    pub fn give(&mut self, input: Input, lines: &mut Lines, at_ms: Option<u64>) {
        let Some(engine) = &mut self.engine else {
            return;
        };
        let effects = engine.step(self.now, input);
        self.rules.insert(engine.rule().to_string());
        let hosts = engine.cluster().hosts.iter();
        let records = hosts.filter_map(|host| engine.record(&host.name));
        self.rules.extend(records.map(|record| record.rule.to_string()));
        if let Some(guard) = engine.guard() {
            self.rules.insert(guard.rule.to_string());
        }
        let at = at_ms.map_or(String::new(), |ms| format!("{}: ", words::passed(ms)));
        for effect in effects {
            if let Effect::Remember(records) = &effect {
                self.written = Some(serde_json::to_string(records).unwrap());
                continue;
            }
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
    pub fn fixes(&self) -> Vec<Fix> {
        let Some(engine) = &self.engine else {
            return Vec::new();
        };
        repair::fixes(
            &self.setting.cluster,
            &self.standing,
            &engine.eligible(),
            &self.seen(),
        )
    }

    /// What a look at every host shows.
    pub fn seen(&self) -> guard::Facts {
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

    /// Every host is probed and looked at.
    pub fn round(&mut self, lines: &mut Lines, at_ms: Option<u64>) {
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
        let step = match time {
            time if time > VERY_LONG => LONG_ROUND * 6,
            time if time > LONG => LONG_ROUND,
            _ => ROUND,
        };
        let mut passed = Duration::ZERO;
        while passed < time {
            let step = step.min(time - passed);
            passed += step;
            self.now = self.now.after(step);
            self.round(lines, Some(passed.as_millis() as u64));
        }
    }

    /// Whether another machine answers for an address of a host.
    fn hear(&mut self, host: &str, address: &str, answered: bool, lines: &mut Lines) -> Result<(), String> {
        let input = Input::Heard {
            host: host.into(),
            address: address
                .parse()
                .map_err(|_| format!("`{address}` is no address"))?,
            answered,
        };
        self.give(input, lines, None);
        Ok(())
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
        let circumstances = Default::default();
        let gathered = Input::Evidence {
            suspect,
            evidence,
            circumstances,
        };
        self.give(gathered, lines, None);
        Ok(())
    }

    /// What a person, or a command of theirs, leaves standing.
    fn stand(&mut self, words: &[&str], quoted: Option<String>, lines: &mut Lines) -> Result<(), String> {
        match words {
            ["set-active"] => drop(self.standing.enter(Mode::Active, "a person", Vec::new())),
            ["set-manual"] => drop(self.standing.enter(Mode::Manual, "a person", Vec::new())),
            ["set-passive"] => drop(self.standing.enter(Mode::Passive, "a person", Vec::new())),
            ["place", address, host] => {
                let address = address
                    .parse()
                    .map_err(|_| format!("`{address}` is no address"))?;
                self.standing.placed.insert(address, (*host).into());
            }
            ["switch", "over", "to", host] => {
                self.now.0 += 1;
                self.switched_over(&(*host).into())?;
            }
            ["set-ip", address, host] => {
                let address: std::net::IpAddr = address
                    .parse()
                    .map_err(|_| format!("`{address}` is no address"))?;
                if self.setting.cluster.writer_address() == Some(address) {
                    let cluster = self.setting.cluster.clone();
                    self.standing.name_writer(&cluster, &(*host).into(), self.now);
                } else {
                    self.standing.placed.insert(address, (*host).into());
                }
            }
            ["set-offline", host] => {
                self.standing.offline.insert((*host).into(), self.now);
            }
            ["set-online", host] => {
                let host = HostName::from(*host);
                self.standing.offline.remove(&host);
                self.standing.released.insert(host, self.now);
            }
            ["downtime", rest @ .., "for", time] => {
                let downtime = Downtime {
                    since: self.now,
                    until: self.now.after(words::span(time)?),
                    by: "a person".to_owned(),
                    reason: "maintenance".to_owned(),
                };
                match rest {
                    [host] => drop(self.standing.downtimes.insert((*host).into(), downtime)),
                    _ => self.standing.downtime = Some(downtime),
                }
            }
            ["downtime", "ends"] => {
                self.standing.downtime = None;
                self.standing.downtimes.clear();
            }
            ["ack"] => self.standing.automatic = None,
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
