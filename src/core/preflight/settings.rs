//! Findings about a server's own settings, and about settings that the servers must share.

use crate::core::cluster::HostMode;

use super::{Asked, Finding, Name, Settings, Severity, Subject, not_asked};

/// What can be judged on one host.
pub(super) fn alone(subject: &Subject, findings: &mut Vec<Finding>) {
    let master = subject.host.mode == HostMode::Master;
    // On a host that can never be the writer most settings matter less.
    let severity = if master {
        Severity::Error
    } else {
        Severity::Warning
    };
    if let Some(facts) = subject.facts() {
        if !facts.log_bin {
            findings.push(subject.finding(
                Name::NoBinaryLog,
                severity,
                "`log_bin` is off".to_owned(),
                "nobody could follow it, and nobody could tell what was written on it",
                "set `log_bin` in its configuration and restart it".to_owned(),
            ));
        } else if !facts.log_slave_updates {
            findings.push(subject.finding(
                Name::ReplicatedWritesNotLogged,
                severity,
                "`log_slave_updates` is off".to_owned(),
                "whoever follows it would miss every write that it replicated itself",
                "set `log_slave_updates` in its configuration and restart it".to_owned(),
            ));
        }
    }
    match &subject.seen.settings {
        Asked::Told(settings) => own(subject, settings, findings),
        // An unreachable server is a finding of its own.
        Asked::NotTold(why) if subject.facts().is_some() => {
            findings.push(not_asked(&subject.host.name, "its variables", why));
        }
        Asked::NotTold(_) => {}
    }
    match &subject.seen.read_only_at_start {
        Asked::Told(Some(true)) => {}
        Asked::Told(said) => findings.push(subject.finding(
            Name::WritableAtStart,
            severity,
            match said {
                None => "its configuration files do not say `read_only`".to_owned(),
                Some(_) => "its configuration files say `read_only` is off".to_owned(),
            },
            "it would come back writable after a crash, next to the writer that replaced it",
            "set `read_only = 1` under `[mysqld]` in its configuration".to_owned(),
        )),
        // That there is no way to look is a finding of its own.
        Asked::NotTold(_) if subject.shell().is_none() => {}
        Asked::NotTold(why) => findings.push(not_asked(&subject.host.name, "its configuration files", why)),
    }
}

fn own(subject: &Subject, settings: &Settings, findings: &mut Vec<Finding>) {
    if !settings.relay_log_recovery {
        findings.push(subject.finding(
            Name::RelayLogNotRecovered,
            Severity::Warning,
            "`relay_log_recovery` is off".to_owned(),
            "after a crash it would go on from a relay log that may be damaged",
            "set `relay_log_recovery = 1` in its configuration and restart it".to_owned(),
        ));
    }
    let flushed = settings.flush_log_at_commit.is_none_or(|value| value == 1);
    if settings.sync_binlog != 1 || !flushed {
        let flush = settings
            .flush_log_at_commit
            .map_or("none".to_owned(), |value| value.to_string());
        findings.push(subject.finding(
            Name::NotCrashSafe,
            Severity::Warning,
            format!("`sync_binlog` is {}, `innodb_flush_log_at_trx_commit` is {flush}", settings.sync_binlog),
            "a power failure could take acknowledged transactions out of its log, and the host could not follow any more",
            "set both to 1, or accept rebuilding it after a power failure".to_owned(),
        ));
    }
}

/// What can be judged only by comparing hosts.
pub(super) fn together(hosts: &[Subject], findings: &mut Vec<Finding>) {
    for (index, subject) in hosts.iter().enumerate() {
        for earlier in &hosts[..index] {
            identity(subject, earlier, findings);
        }
    }
    if let Some(first) = hosts.iter().find(|one| one.facts().is_some()) {
        hosts.iter().for_each(|subject| flavour(subject, first, findings));
    }
    let masters: Vec<&Subject> = hosts
        .iter()
        .filter(|one| one.host.mode == HostMode::Master)
        .collect();
    for (index, subject) in masters.iter().enumerate() {
        for earlier in &masters[..index] {
            auto_increment(subject, earlier, findings);
        }
    }
    let Some((first, reference)) = hosts.iter().find_map(|one| Some((one, one.settings()?))) else {
        return;
    };
    for (subject, settings) in hosts.iter().filter_map(|one| Some((one, one.settings()?))) {
        agreement(subject, settings, first, reference, findings);
    }
}

fn identity(subject: &Subject, earlier: &Subject, findings: &mut Vec<Finding>) {
    let (Some(mine), Some(theirs)) = (subject.facts(), earlier.facts()) else {
        return;
    };
    let other = &earlier.host.name;
    if mine.server_id == theirs.server_id {
        findings.push(subject.finding(
            Name::EqualServerIds,
            Severity::Error,
            format!("it has the same `server_id` {} as `{other}`", mine.server_id),
            "each would skip the other's writes as its own",
            "give every server of the cluster its own `server_id`".to_owned(),
        ));
    }
}

fn flavour(subject: &Subject, first: &Subject, findings: &mut Vec<Finding>) {
    let (Some(mine), Some(theirs)) = (subject.facts(), first.facts()) else {
        return;
    };
    if mine.version.flavour != theirs.version.flavour {
        findings.push(subject.finding(
            Name::MixedFlavours,
            Severity::Error,
            format!(
                "it is {} and `{}` is {}",
                mine.version, first.host.name, theirs.version
            ),
            "they number their transactions in different ways, so nobody could compare them",
            "run one of the two on all hosts of the cluster".to_owned(),
        ));
    }
}

fn auto_increment(subject: &Subject, earlier: &Subject, findings: &mut Vec<Finding>) {
    let (Some(mine), Some(theirs)) = (subject.settings(), earlier.settings()) else {
        return;
    };
    let other = &earlier.host.name;
    let narrow = mine.auto_increment_increment.min(theirs.auto_increment_increment);
    let what = if narrow < 2 {
        format!("`auto_increment_increment` is {narrow} on it or on `{other}`")
    } else if mine.auto_increment_offset == theirs.auto_increment_offset {
        format!(
            "it has the same `auto_increment_offset` {} as `{other}`",
            mine.auto_increment_offset
        )
    } else {
        return;
    };
    findings.push(subject.finding(
        Name::AutoIncrementClashes,
        Severity::Warning,
        what,
        "should both ever take writes, their new rows would get the same keys",
        "set `auto_increment_increment = 2` on both masters, and the offsets 1 and 2".to_owned(),
    ));
}

fn agreement(
    subject: &Subject,
    mine: &Settings,
    first: &Subject,
    theirs: &Settings,
    findings: &mut Vec<Finding>,
) {
    let other = &first.host.name;
    let format = |settings: &Settings| settings.binlog_format.clone().unwrap_or_else(|| "ROW".to_owned());
    if !format(mine).eq_ignore_ascii_case(&format(theirs)) {
        findings.push(subject.finding(
            Name::BinlogFormatsDiffer,
            Severity::Warning,
            format!(
                "its `binlog_format` is {}, that of `{other}` is {}",
                format(mine),
                format(theirs)
            ),
            "what replicates well from one may not replicate from the other",
            "set the same `binlog_format` everywhere, best ROW".to_owned(),
        ));
    }
    if mine.filters != theirs.filters {
        let show = |settings: &Settings| match settings.filters.as_slice() {
            [] => "none".to_owned(),
            filters => format!("`{}`", filters.join("`, `")),
        };
        findings.push(subject.finding(
            Name::FiltersDiffer,
            Severity::Error,
            format!(
                "its replication filters are {}, those of `{other}` are {}",
                show(mine),
                show(theirs)
            ),
            "it does not hold or pass on the same data, so it cannot take the other's place",
            "set the same filters everywhere, best none".to_owned(),
        ));
    }
}
