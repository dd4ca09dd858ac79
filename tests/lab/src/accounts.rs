//! The database accounts of a lab. Those of mmm are made with exactly the statements that `mmm grants` prints for the
//! server; a test of mmm keeps the files equal to what it prints.

use anyhow::{Result, ensure};

use crate::flavour::Server;

/// The accounts that have a password file, by their short names.
pub const ACCOUNTS: [&str; 4] = ["monitor", "agent", "replication", "app"];

/// Of the samplers that watch from inside each database host.
pub const SAMPLER: &str = "lab_sampler";

/// What `mmm grants` prints.
fn grants(server: Server) -> &'static str {
    match server {
        Server::Mariadb10_11 => include_str!("../../golden/grants/mariadb-10.11.sql"),
        Server::Mariadb11_8 => include_str!("../../golden/grants/mariadb-11.8.sql"),
        Server::Mysql5_6 => include_str!("../../golden/grants/mysql-5.6.sql"),
        Server::Mysql9_7 => include_str!("../../golden/grants/mysql-9.7.sql"),
    }
}

/// The statements that make all accounts, not written to the binary log. `password` gives an account's by its name.
pub fn statements(server: Server, password: impl Fn(&str) -> Result<String>) -> Result<String> {
    let mut sql = grants(server).to_owned();
    for account in ["monitor", "agent", "replication"] {
        sql = sql.replace(&format!("<password of {account}>"), &password(account)?);
    }
    ensure!(!sql.contains("<password"), "a password is missing in the grants");
    // The judges' own: it comes through the socket only and may do nothing.
    sql.push_str(&format!(
        "CREATE USER '{SAMPLER}'@'localhost' IDENTIFIED BY '';\n"
    ));
    // What an application has: everything in its own schema, nothing else. Servers of different ages would disagree about
    // the character set.
    sql.push_str(&format!(
        "CREATE DATABASE IF NOT EXISTS app CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci;\nCREATE USER 'app'@'%' IDENTIFIED BY '{}';\n\
         GRANT ALL PRIVILEGES ON app.* TO 'app'@'%';\n",
        password("app")?
    ));
    Ok(sql)
}
