//! A plan as it is shown, kept in a file, and held against what is found when it is carried out.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::basis::Basis;
use super::cluster::HostName;
use super::evidence::{EvidenceRule, Rung};
use super::guard::Guard;
use super::moment::Moment;
use super::playbook::{Seat, Section};
use super::run::Stage;
use super::script::{Act, Expected, Language, Looking, Script, ScriptStep};
use super::site::{Occasion, SiteAct, SiteSteps};
use super::trouble::Trouble;

/// The version of a plan's written form.
pub const PLAN_VERSION: u32 = 1;

/// What is asked for, with everything decided that was left open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "operation", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Wish {
    /// Hand the writer role over.
    Switchover {
        /// To whom.
        to: HostName,
        /// For how long writes may be refused, when that is not what the inventory says.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        write_refused_max_ms: Option<u64>,
        /// First it is let catch up, while clients go on writing.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        catch_up_first: bool,
    },
    /// Replace a dead writer.
    Failover {
        /// By whom.
        to: HostName,
        /// Go on without what cannot be had.
        allow_loss: bool,
        /// Go on although the writer is not fenced, while this rule is what the evidence says: another one may mean that it
        /// lives.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        allow_unfenced: Option<EvidenceRule>,
    },
    /// Open the writer, which came back read-only.
    Reopen,
    /// Let a replaced writer follow again.
    Rejoin {
        /// Which.
        host: HostName,
        /// It is rebuilt first, and loses just these transactions, which only it has.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        discards: Option<String>,
    },
    /// Move an address other than the writer's.
    MoveAddress {
        /// Which.
        address: IpAddr,
        /// To whom.
        to: HostName,
    },
    /// Take a host out of service.
    SetOffline {
        /// Which.
        host: HostName,
    },
    /// Let a host back in.
    SetOnline {
        /// Which.
        host: HostName,
    },
    /// Perform a single duty.
    Duty {
        /// Its name.
        duty: String,
        /// Where, or about which host when it is performed on the box.
        at: HostName,
        /// It is performed on the box.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        on_box: bool,
        /// The values given for it, as they were said.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        set: BTreeMap<String, String>,
        /// It has ended after so long.
        within_ms: u64,
    },
}

/// A plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proposal {
    /// The version of this form.
    pub mmm_plan: u32,
    /// The program that made it.
    pub program: String,
    /// When it was made.
    pub made_at: Moment,
    /// The cluster.
    pub cluster: String,
    /// Of the inventory's text, SHA-1 in hexadecimal.
    pub inventory_hash: String,
    /// Of the playbooks in use, likewise.
    pub playbooks_hash: String,
    /// What was asked for.
    pub wish: Wish,
    /// The operation's name in the playbooks; the duty's for a single one.
    pub operation: String,
    /// The host that gives the role away.
    pub outgoing: Option<HostName>,
    /// The host that takes it.
    pub incoming: Option<HostName>,
    /// What holds the outgoing host down, in a failover.
    pub rung: Option<Rung>,
    /// Nobody can write for so long at most, in a failover from its beginning; none where nothing refuses writes.
    pub write_refused_at_most_ms: Option<u64>,
    /// The same when it is undone right before its commit, its tries to undo included; none in a failover, which has
    /// refused nothing.
    #[serde(default)]
    pub write_refused_if_undone_ms: Option<u64>,
    /// Every stage, in order.
    pub stages: Vec<PlannedStage>,
    /// The site's own steps around it.
    pub site_steps: Vec<PlannedSiteStep>,
    /// What is known beforehand of transactions, in words.
    pub transactions: Vec<String>,
    /// What it rests on.
    pub rests_on: Basis,
    /// Why it would be refused now.
    pub refused: Option<Refused>,
}

/// A step of the site around the operation. What the inventory says of them is in its hash, so they are not compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedSiteStep {
    /// When it is performed.
    pub occasion: Occasion,
    /// What people see.
    pub name: String,
    /// What it does.
    pub act: SiteAct,
    /// It has ended after so long.
    pub within_ms: u64,
    /// Its failure stops the operation.
    pub stops: bool,
}

/// The steps of the site around an operation, in order.
pub fn around(site: &SiteSteps, operation: &str) -> Vec<PlannedSiteStep> {
    let at = |occasion: Occasion| {
        let steps = site.of(operation, occasion).iter();
        steps.map(move |step| PlannedSiteStep {
            occasion,
            name: step.name.clone(),
            act: step.act.clone(),
            within_ms: u64::try_from(step.within.as_millis()).unwrap_or(u64::MAX),
            stops: step.stops(operation, occasion),
        })
    };
    Occasion::ALL.into_iter().flat_map(at).collect()
}

/// Why a plan would be refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    /// The guard that blocks.
    pub guard: Option<Guard>,
    /// Why.
    pub because: String,
    /// What lifts it.
    pub hint: String,
}

impl From<&Trouble> for Refused {
    fn from(trouble: &Trouble) -> Self {
        Refused {
            guard: trouble.guard,
            because: trouble.because.clone(),
            hint: trouble.hint.clone(),
        }
    }
}

/// One stage of a plan: a duty at a seat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedStage {
    /// The section it stands in; none for what comes before the run itself, and for a single duty.
    pub section: Option<Section>,
    /// What it does.
    pub name: String,
    /// The duty.
    pub duty: String,
    /// The seat; none outside of an operation.
    pub seat: Option<Seat>,
    /// The hosts that perform it, or that it is about when the box does; at once when there are several.
    pub hosts: Vec<HostName>,
    /// The host that it follows, waits for, or asks about.
    pub source: Option<HostName>,
    /// The whole stage has ended after so long.
    pub within_ms: u64,
    /// A failure is reported and passed over.
    pub if_possible: bool,
    /// It changes nothing.
    pub only_asks: bool,
    /// What each host is sent.
    pub scripts: Vec<PlannedScript>,
    /// The duty that takes it back, and its scripts; none when nothing does.
    pub undo: Option<PlannedUndo>,
}

impl PlannedStage {
    /// The stage as it is written down and performed, in that section.
    pub fn performed_in(&self, section: Section) -> Stage {
        Stage {
            section,
            name: self.name.clone(),
            seat: self.seat.unwrap_or(Seat::Outgoing),
            hosts: self.hosts.clone(),
            duty: self.duty.clone(),
            source: self.source.clone(),
            with: BTreeMap::new(),
            within: Duration::from_millis(self.within_ms),
            undo: self.undo.as_ref().map(|undo| undo.duty.clone()),
            undo_if_possible: false,
            only_asks: self.only_asks,
            if_possible: self.if_possible,
        }
    }
}

/// What takes a stage back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedUndo {
    /// The duty.
    pub duty: String,
    /// What each host is sent.
    pub scripts: Vec<PlannedScript>,
}

/// Who runs a script.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Runner {
    /// Where it runs; none on the box.
    pub host: Option<HostName>,
    /// The user of the shell.
    pub user: String,
    /// The account on the server, for SQL.
    pub sql_user: String,
}

/// A duty made ready for one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedScript {
    /// Who runs it.
    pub by: Runner,
    /// In order.
    pub steps: Vec<PlannedStep>,
}

/// One step. Secrets are masked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedStep {
    /// What people see.
    pub name: String,
    /// What it does.
    pub does: Deed,
    /// The exact command or statement, secrets masked; empty for a mere wait.
    pub command: String,
    /// What it is written in; none for a mere wait.
    pub language: Option<Tongue>,
    /// What the answer must be.
    pub expect: Option<String>,
    /// When this holds, the step is done already.
    pub unless: Option<PlannedLook>,
    /// It is repeated until this holds.
    pub until: Option<PlannedLook>,
    /// It has ended after so long.
    pub within_ms: u64,
    /// Exit statuses, or error codes of SQL, that count as done.
    pub tolerate: Vec<u16>,
    /// Names under which later stages see parts of the answer.
    pub registers: Vec<String>,
    /// What is only known at that moment.
    pub known_then: Vec<String>,
}

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deed {
    /// Performs the command and waits for its end.
    Perform,
    /// Asks for rows and performs the first column of each.
    PerformRows,
    /// Starts the command and does not wait.
    Start,
    /// Looks; what is expected must hold.
    Verify,
    /// Looks; when what is expected holds, the next steps are left out.
    SkipIf {
        /// So many.
        steps: usize,
    },
    /// Waits for `until`.
    Wait,
}

/// A look that changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedLook {
    /// The command or statement.
    pub command: String,
    /// What it is written in.
    pub language: Tongue,
    /// What must be seen.
    pub expect: Option<String>,
}

/// What a command is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tongue {
    /// POSIX shell.
    Shell,
    /// SQL.
    Sql,
}

impl From<Language> for Tongue {
    fn from(language: Language) -> Self {
        match language {
            Language::Shell => Tongue::Shell,
            Language::Sql => Tongue::Sql,
        }
    }
}

impl PlannedScript {
    /// A script as it is shown. `later` are the texts that stand for what is only known at that moment, by name.
    pub fn of(by: Runner, script: &Script, later: &BTreeMap<String, String>) -> PlannedScript {
        PlannedScript {
            by,
            steps: script.steps.iter().map(|step| shown(step, later)).collect(),
        }
    }
}

fn shown(step: &ScriptStep, later: &BTreeMap<String, String>) -> PlannedStep {
    let look = |looking: &Looking| PlannedLook {
        command: looking.command.to_string(),
        language: looking.command.language.into(),
        expect: looked_for(looking),
    };
    let does = match &step.act {
        Act::Perform(_) => Deed::Perform,
        Act::PerformRows(_) => Deed::PerformRows,
        Act::Start(_) => Deed::Start,
        Act::Verify(_) => Deed::Verify,
        Act::SkipIf(_, steps) => Deed::SkipIf { steps: *steps },
        Act::Wait => Deed::Wait,
    };
    let expect = match &step.act {
        Act::Verify(looking) | Act::SkipIf(looking, _) => looked_for(looking),
        _ => expectation(&step.expect),
    };
    let command = step.act.command().map(ToString::to_string).unwrap_or_default();
    let (unless, until) = (step.unless.as_ref().map(look), step.until.as_ref().map(look));
    let looks = unless.iter().chain(&until);
    let said: Vec<&str> = [Some(command.as_str()), expect.as_deref()]
        .into_iter()
        .flatten()
        .chain(looks.flat_map(|look| {
            [Some(look.command.as_str()), look.expect.as_deref()]
                .into_iter()
                .flatten()
        }))
        .collect();
    let known_then = later
        .iter()
        .filter(|(_, stands)| said.iter().any(|text| text.contains(stands.as_str())))
        .map(|(name, _)| name.clone())
        .collect();
    PlannedStep {
        name: step.name.clone(),
        does,
        language: step.act.language().map(Into::into),
        within_ms: u64::try_from(step.within.as_millis()).unwrap_or(u64::MAX),
        tolerate: step.tolerate.clone(),
        registers: step.register.keys().cloned().collect(),
        known_then,
        command,
        expect,
        unless,
        until,
    }
}

/// What a look must see, in words.
fn looked_for(looking: &Looking) -> Option<String> {
    let expected = expectation(&looking.expect)?;
    Some(match &looking.or_none {
        Some(_) => format!("{expected}, or nothing"),
        None => expected,
    })
}

/// What must be seen, in words; none when only an error counts.
fn expectation(expected: &Expected) -> Option<String> {
    match expected {
        Expected::Anything => None,
        Expected::Answer(answer) if answer.is_empty() => Some("nothing".to_owned()),
        Expected::Answer(answer) => Some(format!("`{answer}`")),
        Expected::Columns { values, same } => {
            let values = values.iter().map(|(column, value)| format!("{column} `{value}`"));
            let same = same.iter().map(|(left, right)| format!("{left} = {right}"));
            Some(values.chain(same).collect::<Vec<_>>().join(", "))
        }
    }
}

impl Proposal {
    /// Why `now`, planned anew from what is found now, is not this plan; none when it is.
    pub fn differences(&self, now: &Proposal) -> Vec<String> {
        let mut found = Vec::new();
        let mut differs = |name: &str, was: &str, is: &str| {
            if was != is {
                found.push(format!("{name} was `{was}` and is `{is}`"));
            }
        };
        differs("the program", &self.program, &now.program);
        differs("the inventory's hash", &self.inventory_hash, &now.inventory_hash);
        differs("the playbooks' hash", &self.playbooks_hash, &now.playbooks_hash);
        let seat = |host: &Option<HostName>| host.as_ref().map_or("none".to_owned(), ToString::to_string);
        differs("the outgoing host", &seat(&self.outgoing), &seat(&now.outgoing));
        differs("the incoming host", &seat(&self.incoming), &seat(&now.incoming));
        let rung = |rung: Option<Rung>| rung.map_or("none".to_owned(), |rung| rung.to_string());
        differs("what holds the writer down", &rung(self.rung), &rung(now.rung));
        found.extend(self.rests_on.differences(&now.rests_on));
        // With all that the same, the steps are; unless something is amiss, and then nothing is done.
        if found.is_empty() && self.stages != now.stages {
            let place = self
                .stages
                .iter()
                .zip(&now.stages)
                .position(|(was, is)| was != is);
            let place = place.unwrap_or(self.stages.len().min(now.stages.len()));
            let name = self.stages.get(place).or(now.stages.get(place));
            let name = name.map_or("", |stage| stage.name.as_str());
            found.push(format!("step {} (`{name}`) would be another one now", place + 1));
        }
        found
    }
}
