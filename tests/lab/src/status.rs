//! What `cargo lab status` shows: every host with its power, server, replication and addresses.

use crate::host::Host;
use crate::lab::Lab;

/// A table for people.
pub fn text(lab: &Lab) -> String {
    let mut rows = vec![["HOST", "POWER", "SERVER", "WRITES", "REPLICATION", "ADDRESSES"].map(str::to_owned)];
    rows.extend(lab.hosts().map(row));
    let mut text = String::new();
    let widths: Vec<usize> = (0..6)
        .map(|n| rows.iter().map(|row| row[n].len()).max().unwrap_or(0))
        .collect();
    for row in &rows {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, &width)| format!("{cell:width$}"))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn row(host: &Host) -> [String; 6] {
    let frozen = host.group().is_ok_and(|group| group.is_frozen());
    let power = match (host.is_on(), frozen) {
        (true, true) => "frozen",
        (true, false) => "on",
        (false, _) => "off",
    };
    let link = if host.network.port_is_up(host.name()) {
        ""
    } else {
        ", no link"
    };
    let addresses = host
        .addresses()
        .map(|all| all.join(" "))
        .unwrap_or_else(|error| format!("? {error}"));
    let asked = power == "on" && host.is_database();
    let dash = || "-".to_owned();
    let server = if asked {
        host.unit_state(host.unit()).unwrap_or_else(|_| "?".to_owned())
    } else {
        dash()
    };
    let (writes, replication) = if server == "active" {
        (writes(host), replication(host))
    } else {
        (dash(), dash())
    };
    [
        host.name().to_owned(),
        format!("{power}{link}"),
        server,
        writes,
        replication,
        addresses,
    ]
}

fn writes(host: &Host) -> String {
    match host.is_writable() {
        Ok(true) => "writable".to_owned(),
        Ok(false) => "read-only".to_owned(),
        Err(_) => "?".to_owned(),
    }
}

fn replication(host: &Host) -> String {
    match host.replication() {
        Ok(Some(status)) => format!(
            "from {} {}/{}",
            status.source, status.io_running, status.sql_running
        ),
        Ok(None) => "none".to_owned(),
        Err(_) => "?".to_owned(),
    }
}
