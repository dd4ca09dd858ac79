//! What scenarios do to a cluster, where that takes more than a line.

use anyhow::Result;

use super::Stage;
use super::stage::SOON;
use crate::host::Restart;
use crate::wait;

pub fn healed(stage: &Stage<'_>) -> Result<()> {
    stage.lab.heal()
}

/// A person has looked after a run that got stuck.
pub fn cleared(stage: &Stage<'_>) -> Result<()> {
    stage.lab.box_().mmm(["clear"]).map(drop)
}

pub fn killed(stage: &Stage<'_>, restart: Restart) -> Result<()> {
    stage.db1().set_restart(restart)?;
    stage.db1().kill_mysqld()
}

/// A shell line that runs statements on this host as the application would, through the network.
pub fn as_app(stage: &Stage<'_>, statements: &str) -> Result<String> {
    let password = stage.lab.password("app")?;
    stage.db1().write(
        "/root/scene.cnf",
        &format!("[client]\nuser=app\npassword={password}\n"),
    )?;
    Ok(format!(
        "mariadb --defaults-file=/root/scene.cnf -h 127.0.0.1 app -e \"{statements}\""
    ))
}

/// Clients take every connection there is, and our own are ended once.
pub fn exhausted(stage: &Stage<'_>) -> Result<()> {
    let line = as_app(stage, "DO SLEEP(300)")?;
    // Our own session is ended once all others are taken; whoever comes again is refused.
    stage.set_going(stage.db1(), "mariadb -e \"DO SLEEP(4); KILL USER mmm_monitor\"")?;
    stage.db1().sql("SET GLOBAL max_connections = 20")?;
    for _ in 0..30 {
        stage.set_going(
            stage.db1(),
            &format!("while :; do {line} 2>/dev/null; sleep 0.05; done"),
        )?;
    }
    wait::until(SOON, "connections to be refused", || {
        stage
            .db1()
            .sql("SELECT 1")
            .is_err_and(|error| format!("{error:#}").contains("Too many connections"))
    })
}

/// Changes the monitor's password on the writer alone and ends its sessions.
pub fn password(stage: &Stage<'_>, to: &str) -> Result<()> {
    stage.db1().sql(&format!(
        "SET SESSION sql_log_bin = 0; ALTER USER 'mmm_monitor'@'%' IDENTIFIED BY '{to}'; KILL USER mmm_monitor"
    ))?;
    Ok(())
}

/// Nobody's write comes through, as in a night without any, until the scenario is over: replication has nothing to receive.
pub fn writes_wait(stage: &Stage<'_>) -> Result<()> {
    let lock = "FLUSH TABLES WITH READ LOCK; DO SLEEP(300)";
    stage.set_going(stage.db1(), &format!("mariadb -e \"{lock}\""))?;
    let held = "SELECT COUNT(*) FROM information_schema.processlist WHERE info = 'DO SLEEP(300)'";
    stage.until_more_than(stage.db1(), held, 0)
}

/// A table for those whom `read_only` does not stop.
pub fn slips(stage: &Stage<'_>) -> Result<()> {
    let table = "CREATE TABLE app.slips (id BIGINT AUTO_INCREMENT PRIMARY KEY, who VARCHAR(20), server INT)";
    stage.db1().sql(table).map(drop)
}

/// An event whose definer is root: it writes a row about every 2 ms, and `read_only` does not stop it.
pub const EVENT: &str = "DELIMITER //
CREATE DEFINER = root@localhost EVENT app.tick ON SCHEDULE EVERY 1 SECOND DO
BEGIN
  DECLARE n INT DEFAULT 0;
  WHILE n < 400 DO
    INSERT INTO app.slips (who, server) VALUES ('event', @@server_id);
    DO SLEEP(0.002);
    SET n = n + 1;
  END WHILE;
END//
DELIMITER ;";

/// Sessions that have waited long for a semi-synchronous acknowledgement.
pub const WAITING: &str = "SELECT COUNT(*) FROM information_schema.processlist \
                           WHERE state LIKE 'Waiting for semi-sync ACK%' AND time >= 2";
/// Replicas that acknowledge.
const ACKNOWLEDGING: &str = "SELECT variable_value FROM information_schema.global_status \
                             WHERE variable_name = 'Rpl_semi_sync_master_clients'";

/// Turns semi-synchronous replication on or off everywhere; on, the writer waits for an hour.
pub fn semi_sync(stage: &Stage<'_>, on: bool) -> Result<()> {
    let word = if on { "ON" } else { "OFF" };
    // Acknowledged first, in either case: whoever waits must be let go.
    for replica in [stage.db2(), stage.db3()] {
        replica.sql(
            "SET GLOBAL rpl_semi_sync_slave_enabled = ON; STOP SLAVE IO_THREAD; START SLAVE IO_THREAD",
        )?;
    }
    let master = format!(
        "SET GLOBAL rpl_semi_sync_master_timeout = 3600000; SET GLOBAL rpl_semi_sync_master_enabled = {word}"
    );
    for host in [stage.db1(), stage.db2()] {
        wait::until(SOON, "a connection to be free", || host.sql(&master).is_ok())?;
    }
    if on {
        stage.until_more_than(stage.db1(), ACKNOWLEDGING, 1)?;
    }
    wait::until(SOON, "replication to run", || stage.lab.replication_runs())
}
