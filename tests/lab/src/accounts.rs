//! The one list of database accounts and what each may do: no more than its part needs.

/// An account on every database server of a lab.
pub struct Account {
    /// Its short name, which also names its password file.
    pub name: &'static str,
    pub user: &'static str,
    /// Privileges on everything.
    pub global: &'static str,
    /// Privileges on one schema, as `schema.*`.
    pub local: Option<(&'static str, &'static str)>,
}

pub const ACCOUNTS: [Account; 4] = [
    // It looks and never changes anything. It locks by name, which needs no privilege.
    Account {
        name: "monitor",
        user: "mmm_monitor",
        global: "SLAVE MONITOR, BINLOG MONITOR, PROCESS, REPLICATION CLIENT",
        local: None,
    },
    // It does the duties: read_only, sessions, replication, events. The server asks for SUPER to set `event_scheduler`.
    Account {
        name: "agent",
        user: "mmm_agent",
        global: "READ_ONLY ADMIN, SUPER, CONNECTION ADMIN, REPLICATION SLAVE ADMIN, REPLICATION MASTER ADMIN, \
                 BINLOG MONITOR, SLAVE MONITOR, PROCESS, RELOAD, EVENT, SELECT",
        local: None,
    },
    Account {
        name: "replication",
        user: "mmm_repl",
        global: "REPLICATION SLAVE",
        local: None,
    },
    // What an application has: everything in its own schema, nothing else.
    Account {
        name: "app",
        user: "app",
        global: "USAGE",
        local: Some(("app", "ALL PRIVILEGES")),
    },
];

/// The statements that make all accounts, not written to the binary log. `password` gives an account's by its name.
pub fn statements(password: impl Fn(&str) -> anyhow::Result<String>) -> anyhow::Result<String> {
    let mut sql = String::from("SET SESSION sql_log_bin = 0;\nCREATE DATABASE IF NOT EXISTS app;\n");
    for account in ACCOUNTS {
        let user = format!("'{}'@'%'", account.user);
        let password = password(account.name)?;
        sql.push_str(&format!(
            "CREATE OR REPLACE USER {user} IDENTIFIED BY '{password}';\n"
        ));
        sql.push_str(&format!("GRANT {} ON *.* TO {user};\n", account.global));
        if let Some((schema, privileges)) = account.local {
            sql.push_str(&format!("GRANT {privileges} ON {schema}.* TO {user};\n"));
        }
    }
    Ok(sql)
}
