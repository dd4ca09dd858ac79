//! A plan in words: every step as it would run, what it rests on, and why it would be refused now.

use super::site;
use crate::core::cluster::HostName;
use crate::core::playbook::Section;
use crate::core::proposal::{Deed, PlannedLook, PlannedScript, PlannedStage, PlannedStep, Proposal, Wish};

/// The whole plan.
pub fn text(plan: &Proposal) -> String {
    let name = |host: &Option<HostName>| host.as_ref().map(ToString::to_string).unwrap_or_default();
    let who = match (&plan.wish, &plan.outgoing, &plan.incoming) {
        (Wish::SetOffline { host } | Wish::SetOnline { host }, _, _) => format!(": {host}"),
        (_, None, None) => String::new(),
        (_, None, Some(only)) => format!(": {only}"),
        (_, _, _) => format!(": {} → {}", name(&plan.outgoing), name(&plan.incoming)),
    };
    let mut text = format!("{}{who}\nnothing is changed by this command\n", plan.operation);
    let mut section = None;
    for (number, stage) in plan.stages.iter().enumerate() {
        if number == 0 || section != stage.section {
            section = stage.section;
            text.push_str(&match section {
                Some(section) => format!("\n  {section:<9} {}\n", meaning(section)),
                None if number > 0 => {
                    "\n  then      what else it holds leaves it, and its replication stops\n".to_owned()
                }
                None if matches!(plan.wish, Wish::Switchover { .. }) => {
                    "\n  first     what lets it catch up, while clients go on writing\n".to_owned()
                }
                None if plan.incoming.is_some() => {
                    "\n  first     what makes it harmless, before it is compared\n".to_owned()
                }
                None => "\n".to_owned(),
            });
        }
        text.push_str(&stage_text(number, stage));
    }
    if plan.stages.is_empty() {
        text.push_str("\n  nothing is done on any host\n");
    }
    text.push_str(&site::planned(&plan.site_steps));
    if let Some(longest) = plan.write_refused_at_most_ms {
        let longest = span(longest);
        text.push_str(&match plan.rung {
            None => format!("\nwrites are refused for at most {longest}\n"),
            Some(_) => format!("\nwrites stay refused for at most {longest} from its beginning\n"),
        });
        if let Some(undone) = plan.write_refused_if_undone_ms {
            let undone = span(undone);
            text.push_str(&format!(
                "if a step fails and it is undone, for at most {undone}, with every try to undo\n"
            ));
        }
    }
    if !plan.transactions.is_empty() {
        text.push_str(&format!(
            "\ntransactions: {}\n",
            plan.transactions.join("\n              ")
        ));
    }
    text.push_str(&basis_text(plan));
    if let Some(refused) = &plan.refused {
        let guard = refused
            .guard
            .map(|guard| format!(" ({guard})"))
            .unwrap_or_default();
        text.push_str(&format!("\nit would be refused now: {}{guard}", refused.because));
    }
    text.trim_end().to_owned()
}

fn stage_text(number: usize, stage: &PlannedStage) -> String {
    let hosts: Vec<&str> = stage.hosts.iter().map(|host| host.as_str()).collect();
    let who = match hosts.as_slice() {
        [] => "nobody".to_owned(),
        hosts => hosts.join(","),
    };
    let source = stage
        .source
        .as_ref()
        .map(|source| format!(", with {source}"))
        .unwrap_or_default();
    let may_fail = if stage.if_possible { ", if possible" } else { "" };
    let mut text = format!(
        "  {:>3}  {who:<10} {:<44} within {}{source}{may_fail}\n",
        number + 1,
        stage.name,
        span(stage.within_ms)
    );
    for script in distinct(&stage.scripts) {
        text.push_str(&script_text(stage, script));
    }
    if let Some(undo) = &stage.undo {
        text.push_str(&format!("            undo    duty `{}`\n", undo.duty));
        for script in distinct(&undo.scripts) {
            for step in &script.steps {
                text.push_str(&step_text(step, "              "));
            }
        }
    }
    text
}

/// Hosts that are sent the same are told of once.
fn distinct(scripts: &[PlannedScript]) -> Vec<&PlannedScript> {
    let mut told: Vec<&PlannedScript> = Vec::new();
    for script in scripts {
        if told.iter().all(|other| other.steps != script.steps) {
            told.push(script);
        }
    }
    told
}

fn script_text(stage: &PlannedStage, script: &PlannedScript) -> String {
    let same = stage.scripts.iter().filter(|other| other.steps == script.steps);
    let hosts: Vec<&str> = same
        .filter_map(|script| script.by.host.as_ref().map(HostName::as_str))
        .collect();
    let place = match hosts.as_slice() {
        [] => "this box".to_owned(),
        hosts => format!("{}@{}", script.by.user, hosts.join(",")),
    };
    let is_sql = |step: &PlannedStep| {
        use crate::core::proposal::Tongue;
        let looks = step.unless.iter().chain(&step.until);
        step.language == Some(Tongue::Sql) || looks.into_iter().any(|look| look.language == Tongue::Sql)
    };
    let sql = if script.steps.iter().any(is_sql) {
        format!(", SQL as {}", script.by.sql_user)
    } else {
        String::new()
    };
    let mut text = format!("            as      {place}{sql}\n");
    for step in &script.steps {
        text.push_str(&step_text(step, "            "));
    }
    text
}

fn step_text(step: &PlannedStep, margin: &str) -> String {
    let mut text = String::new();
    let mut line = |word: &str, said: &str| {
        for (at, part) in said.trim_end().lines().enumerate() {
            text.push_str(&format!(
                "{margin}{:<7} {part}\n",
                if at == 0 { word } else { "" }
            ));
        }
    };
    let with = |command: &str, expect: &Option<String>| match expect {
        Some(expect) => format!("{}   (expects {expect})", command.trim_end()),
        None => command.to_owned(),
    };
    let look = |look: &PlannedLook| with(&look.command, &look.expect);
    if let Some(unless) = &step.unless {
        line("unless", &look(unless));
    }
    match step.does {
        Deed::Perform => line("do", &with(&step.command, &step.expect)),
        Deed::PerformRows => line("do each", &step.command),
        Deed::Start => line("start", &step.command),
        Deed::Verify => line("verify", &with(&step.command, &step.expect)),
        Deed::SkipIf { steps } => {
            line(
                "unless",
                &format!("{}   (leaves out {steps})", with(&step.command, &step.expect)),
            );
        }
        Deed::Wait => {
            if let Some(expect) = &step.expect {
                line(
                    "wait",
                    &format!("until {expect}, for at most {}", span(step.within_ms)),
                );
            }
        }
    }
    if let Some(until) = &step.until {
        line(
            "until",
            &format!("{}, for at most {}", look(until), span(step.within_ms)),
        );
    }
    if !step.known_then.is_empty() {
        line(
            "then",
            &format!("known only at that moment: {}", step.known_then.join(", ")),
        );
    }
    text
}

fn basis_text(plan: &Proposal) -> String {
    let mut text = "\nit rests on\n".to_owned();
    for (subject, facts) in &plan.rests_on.exact {
        let said: Vec<String> = facts
            .iter()
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
        text.push_str(&format!("  {subject:<10} {}\n", said.join(", ")));
    }
    for (host, bound) in &plan.rests_on.bounds {
        if let Some(most) = bound.lag_at_most_ms {
            text.push_str(&format!(
                "  {:<10} lags at most {}, and still has all that it has now\n",
                host.as_str(),
                span(most)
            ));
        }
    }
    text
}

fn meaning(section: Section) -> &'static str {
    match section {
        Section::Prepare => "reversible: a failure here undoes every step, newest first",
        Section::Commit => "forward only",
        Section::Secure => "must come true: retried, otherwise the run is stuck",
        Section::Finish => "best effort: reported, changes nothing above",
    }
}

/// A span in milliseconds as people write it.
pub(super) fn span(ms: u64) -> String {
    match (ms / 1000, ms % 1000) {
        (0, ms) => format!("{ms}ms"),
        (s, 0) if s >= 60 && s % 60 == 0 => format!("{}m", s / 60),
        (s, 0) => format!("{s}s"),
        _ => format!("{ms}ms"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::core::basis::Basis;
    use crate::core::evidence::Rung;
    use crate::core::guard::Guard;
    use crate::core::moment::Moment;
    use crate::core::proposal::{PlannedSiteStep, PlannedUndo, Refused, Runner, Tongue, Wish};
    use crate::core::site::{Occasion, SiteAct};

    fn step(command: &str, does: Deed) -> PlannedStep {
        PlannedStep {
            name: "n".to_owned(),
            does,
            command: command.to_owned(),
            language: Some(Tongue::Sql),
            expect: None,
            unless: None,
            until: None,
            within_ms: 3000,
            tolerate: Vec::new(),
            registers: Vec::new(),
            known_then: Vec::new(),
        }
    }

    fn script(host: &str, steps: Vec<PlannedStep>) -> PlannedScript {
        PlannedScript {
            by: Runner {
                host: Some(host.into()),
                user: "mmm".to_owned(),
                sql_user: "mmm_agent".to_owned(),
            },
            steps,
        }
    }

    #[test]
    fn each_step_says_where_as_whom_what_until_when_and_how_it_is_undone() {
        let mut waits = step("", Deed::Wait);
        waits.until = Some(PlannedLook {
            command: "SELECT 1".to_owned(),
            language: Tongue::Sql,
            expect: Some("`1`".to_owned()),
        });
        waits.known_then = vec!["position".to_owned()];
        let steps = vec![step("SET x", Deed::Perform), waits];
        let stage = PlannedStage {
            section: Some(Section::Prepare),
            name: "Refuse new writes".to_owned(),
            duty: "deny-writes".to_owned(),
            seat: None,
            hosts: vec!["db2".into(), "db3".into()],
            source: Some("db1".into()),
            within_ms: 3000,
            if_possible: true,
            only_asks: false,
            scripts: vec![script("db2", steps.clone()), script("db3", steps)],
            undo: Some(PlannedUndo {
                duty: "reopen-writes".to_owned(),
                scripts: vec![script("db2", vec![step("SET y", Deed::Perform)])],
            }),
        };
        let exact = BTreeMap::from([(
            "cluster".to_owned(),
            BTreeMap::from([("writer".to_owned(), "db1".to_owned())]),
        )]);
        let plan = Proposal {
            mmm_plan: 1,
            program: String::new(),
            made_at: Moment(0),
            cluster: "c".to_owned(),
            inventory_hash: String::new(),
            playbooks_hash: String::new(),
            wish: Wish::Reopen,
            operation: "switchover".to_owned(),
            outgoing: Some("db1".into()),
            incoming: Some("db2".into()),
            rung: None,
            write_refused_at_most_ms: Some(13_000),
            write_refused_if_undone_ms: Some(19_000),
            stages: vec![stage],
            site_steps: vec![PlannedSiteStep {
                occasion: Occasion::Before,
                name: "Tell".to_owned(),
                act: SiteAct::Run("tell --all".to_owned()),
                within_ms: 10_000,
                stops: true,
            }],
            transactions: Vec::new(),
            rests_on: Basis {
                exact,
                bounds: BTreeMap::new(),
            },
            refused: Some(Refused {
                guard: Some(Guard::G08),
                because: "`db3` accepts writes".to_owned(),
                hint: String::new(),
            }),
        };
        let said = text(&plan);
        for line in [
            "switchover: db1 → db2",
            "  prepare   reversible: a failure here undoes every step, newest first",
            "    1  db2,db3    Refuse new writes                            within 3s, with db1, if possible",
            "            as      mmm@db2,db3, SQL as mmm_agent",
            "            do      SET x",
            "            until   SELECT 1   (expects `1`), for at most 3s",
            "            then    known only at that moment: position",
            "            undo    duty `reopen-writes`",
            "if a step fails and it is undone, for at most 19s, with every try to undo",
            "              do      SET y",
            "  before    the site's own, with nothing touched yet; then everything is looked at again",
            "       box        Tell                                         within 10s; its failure stops the operation",
            "            do      tell --all",
            "writes are refused for at most 13s",
            "  cluster    writer db1",
            "it would be refused now: `db3` accepts writes (G08)",
        ] {
            assert!(said.lines().any(|said| said == line), "no `{line}` in\n{said}");
        }
        assert_eq!(said.matches("SET x").count(), 1, "what is the same is said once");
        let failover = Proposal {
            rung: Some(Rung::Demote),
            ..plan
        };
        let said = text(&failover);
        let line = "writes stay refused for at most 13s from its beginning";
        assert!(said.lines().any(|said| said == line), "{said}");
    }
}
