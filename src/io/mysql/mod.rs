//! Asks database servers over the MySQL protocol: one long-lived connection a server and purpose, a deadline on
//! everything. A hung server costs the deadline and nothing else.

mod conversation;
mod lock;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use secrecy::SecretString;
use tokio::time::Instant;

pub use lock::{Dialled, FORGOTTEN_AFTER_S, Holder, Lock, Taking};

use crate::core::checks;
use crate::core::facts::{MysqlFacts, Reach, Refusal, ReplicationFacts, Version};
use crate::core::gtid::{BinlogPosition, MysqlSet};
use crate::core::latch::CheckResult;
use crate::core::preflight::Settings;
use crate::core::reach::{Failure, Mishap, Stage, judge, refusal};
use crate::sql::preflight;
use crate::sql::probe::{self, Answers};
use crate::sql::replication;
use crate::sql::row::{Misread, Row};
use crate::sql::tail::{self, Found};
use crate::sql::version;

use conversation::Conversation;

/// An account on a database server.
#[derive(Debug, Clone)]
pub struct Login {
    /// User name without host part.
    pub user: String,
    /// Its password.
    pub password: SecretString,
}

/// One database server, asked for one purpose. Connects on first use and again after whatever broke the connection.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    login: Login,
    /// The replication channel that is managed; empty for the one without a name.
    channel: String,
    /// Taken out while a question is on its way, so that an abandoned question takes its connection with it.
    kept: Option<Conversation>,
}

impl Server {
    /// Nothing is sent before the first question.
    pub fn new(address: IpAddr, port: u16, login: Login) -> Self {
        Server {
            address: SocketAddr::new(address, port),
            login,
            channel: String::new(),
            kept: None,
        }
    }

    /// The same, whose managed replication channel has that name.
    #[must_use]
    pub fn managing(mut self, channel: &str) -> Self {
        channel.clone_into(&mut self.channel);
        self
    }

    /// One that goes on with an open conversation.
    fn carrying(address: SocketAddr, login: Login, kept: Conversation) -> Self {
        Server {
            address,
            login,
            channel: String::new(),
            kept: Some(kept),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Asks for rows. When the kept connection turns out dead the question is asked once more on a new one, so it must
    /// be one that may be asked twice.
    ///
    /// # Errors
    /// The server could not be asked in time, or it answered with an error.
    pub async fn query(&mut self, sql: &str, timeout: Duration) -> Result<Vec<Row>, Failure> {
        self.ask(sql, Instant::now() + timeout).await
    }

    /// The server's version, asked once a connection.
    ///
    /// # Errors
    /// The server could not be asked in time, or its version could not be read.
    pub async fn version(&mut self, timeout: Duration) -> Result<Version, Failure> {
        self.version_by(Instant::now() + timeout).await
    }

    /// Everything the server says of itself, in one deadline.
    pub async fn facts(&mut self, timeout: Duration) -> Reach<MysqlFacts> {
        reach(self.facts_by(Instant::now() + timeout).await)
    }

    /// Its replication channels alone, the managed one first; none when there is no such one.
    pub async fn replication(&mut self, timeout: Duration) -> Reach<Vec<ReplicationFacts>> {
        reach(self.replication_by(Instant::now() + timeout).await)
    }

    /// Whether it answers at all.
    pub async fn answers(&mut self, timeout: Duration) -> Reach<()> {
        reach(self.ask("SELECT 1", Instant::now() + timeout).await.map(drop))
    }

    /// The check `mysql`.
    pub async fn check_mysql(&mut self, timeout: Duration) -> CheckResult {
        checks::mysql(&self.answers(timeout).await)
    }

    /// The check `rep_threads`.
    pub async fn check_rep_threads(&mut self, timeout: Duration) -> CheckResult {
        checks::rep_threads(&self.replication(timeout).await)
    }

    /// The check `rep_backlog`.
    pub async fn check_rep_backlog(&mut self, timeout: Duration, max_backlog: Duration) -> CheckResult {
        checks::rep_backlog(&self.replication(timeout).await, max_backlog)
    }

    /// The settings that the servers of a cluster must agree on.
    ///
    /// # Errors
    /// The server could not be asked in time, or a value could not be read.
    pub async fn settings(&mut self, timeout: Duration) -> Result<Settings, Failure> {
        let deadline = Instant::now() + timeout;
        let questions = probe::questions(self.version_by(deadline).await?);
        let variables = self.ask(preflight::SETTINGS, deadline).await?;
        let replicas = unless_forbidden(self.ask(questions.replicas, deadline).await)?.unwrap_or_default();
        let binlog = unless_forbidden(self.ask(questions.binlog, deadline).await)?.unwrap_or_default();
        let managed: Vec<Row> = replication::row_of(&replicas, &self.channel)
            .cloned()
            .into_iter()
            .collect();
        preflight::settings(&variables, &managed, &binlog).map_err(|misread| self.unintelligible(misread))
    }

    /// The global privileges of the account that asks, as the server names them.
    ///
    /// # Errors
    /// The server could not be asked in time.
    pub async fn privileges(&mut self, timeout: Duration) -> Result<Vec<String>, Failure> {
        Ok(preflight::privileges(
            &self.query(preflight::PRIVILEGES, timeout).await?,
        ))
    }

    /// The first transaction in its binary log behind that place that did not come from the server with the id `writer`,
    /// as `FILE:POSITION`; `None` when there is none.
    ///
    /// # Errors
    /// The log could not be read to its end in time.
    pub async fn logged_since(
        &mut self,
        place: &BinlogPosition,
        writer: u32,
        timeout: Duration,
    ) -> Result<Option<String>, Failure> {
        let deadline = Instant::now() + timeout;
        let listed = self.ask(tail::FILES, deadline).await?;
        let Some(files) = tail::files(&listed, place) else {
            return Err(Failure {
                stage: Stage::Asking,
                mishap: Mishap::Unintelligible,
                text: format!("`{}` has been purged from its binary log", place.file()),
            });
        };
        for (file, mut from) in files {
            loop {
                let events = self.ask(&tail::events(&file, from), deadline).await?;
                match tail::look(&events, writer).map_err(|misread| self.unintelligible(misread))? {
                    Found::Transaction(position) => return Ok(Some(format!("{file}:{position}"))),
                    Found::More(next) => from = next,
                    Found::Nothing => break,
                }
            }
        }
        Ok(None)
    }

    /// The newest file of a MySQL server's binary log before which none of these transactions stands: there the first of
    /// them is found.
    ///
    /// # Errors
    /// Its files could not be asked in time, or none of them goes back so far.
    pub async fn file_with(&mut self, set: &MysqlSet, timeout: Duration) -> Result<String, Failure> {
        let deadline = Instant::now() + timeout;
        let listed = self.ask(tail::FILES, deadline).await?;
        for file in listed.iter().rev().filter_map(|row| row.get(&["Log_name"])) {
            let events = self.ask(&tail::before(file), deadline).await?;
            let before = tail::set_before(&events).map_err(|misread| self.unintelligible(misread))?;
            if before.is_some_and(|before| set.difference(&before) == *set) {
                return Ok(file.to_owned());
            }
        }
        Err(Failure {
            stage: Stage::Asking,
            mishap: Mishap::Unintelligible,
            text: format!("no file of its binary log begins before {set}"),
        })
    }

    /// Who holds the named lock on this server.
    ///
    /// # Errors
    /// The server could not be asked in time.
    pub async fn lock_holder(&mut self, name: &str, timeout: Duration) -> Result<Option<Holder>, Failure> {
        lock::holder(self, name, timeout).await
    }

    /// Says goodbye. The next question connects anew.
    pub async fn hang_up(&mut self, timeout: Duration) {
        if let Some(kept) = self.kept.take() {
            kept.hang_up(Instant::now() + timeout).await;
        }
    }

    async fn ask(&mut self, sql: &str, deadline: Instant) -> Result<Vec<Row>, Failure> {
        if let Some(kept) = self.kept.take() {
            let (kept, answer) = kept.ask(sql, deadline).await;
            self.kept = kept;
            let died = matches!(&answer, Err(failure) if failure.mishap == Mishap::Lost);
            if !died {
                return answer;
            }
        }
        let fresh = Conversation::open(self.address, &self.login, deadline).await?;
        let (kept, answer) = fresh.ask(sql, deadline).await;
        self.kept = kept;
        answer
    }

    async fn version_by(&mut self, deadline: Instant) -> Result<Version, Failure> {
        if let Some(version) = self.kept.as_ref().and_then(|kept| kept.version) {
            return Ok(version);
        }
        let rows = self.ask(version::ASK, deadline).await?;
        let row = rows.first().cloned().unwrap_or_default();
        let found = row
            .need(&["version"])
            .and_then(|text| version::parse(text, row.get(&["comment"]).unwrap_or_default()))
            .map_err(|misread| self.unintelligible(misread))?;
        if let Some(kept) = &mut self.kept {
            kept.version = Some(found);
        }
        Ok(found)
    }

    async fn replication_by(&mut self, deadline: Instant) -> Result<Vec<ReplicationFacts>, Failure> {
        let version = self.version_by(deadline).await?;
        let rows = self.ask(version::replica_status(version), deadline).await?;
        let channels = replication::channels(version, &rows, &self.channel)
            .map_err(|misread| self.unintelligible(misread))?;
        let mut all = channels.managed;
        if !all.is_empty() {
            all.extend(channels.foreign);
        }
        Ok(all)
    }

    async fn facts_by(&mut self, deadline: Instant) -> Result<MysqlFacts, Failure> {
        let (version, answers) = self.answers_by(deadline).await?;
        probe::facts(version, &answers, &self.channel).map_err(|misread| self.unintelligible(misread))
    }

    async fn answers_by(&mut self, deadline: Instant) -> Result<(Version, Answers), Failure> {
        let version = self.version_by(deadline).await?;
        let variables = self.ask(probe::VARIABLES, deadline).await?;
        // It has just answered, so whatever now takes too long does not mean that the server hangs.
        let answers = self
            .further_answers_by(version, variables, deadline)
            .await
            .map_err(waiting)?;
        Ok((version, answers))
    }

    async fn further_answers_by(
        &mut self,
        version: Version,
        variables: Vec<Row>,
        deadline: Instant,
    ) -> Result<Answers, Failure> {
        let questions = probe::questions(version);
        Ok(Answers {
            variables,
            status: self.ask(probe::STATUS, deadline).await?,
            gtids: match questions.gtids {
                Some(sql) => self.ask(sql, deadline).await?,
                None => Vec::new(),
            },
            replicas: self.ask(questions.replicas, deadline).await?,
            binlog: unless_forbidden(self.ask(questions.binlog, deadline).await)?,
            prepared_xa: unless_forbidden(self.ask(probe::PREPARED_XA, deadline).await)?,
        })
    }

    fn unintelligible(&self, misread: Misread) -> Failure {
        Failure {
            stage: Stage::Asking,
            mishap: Mishap::Unintelligible,
            text: format!("`{}` answered, but {misread}", self.address),
        }
    }
}

/// Facts that a missing privilege hides are left open; anything else that goes wrong is wrong for all of them.
fn unless_forbidden(answer: Result<Vec<Row>, Failure>) -> Result<Option<Vec<Row>>, Failure> {
    match answer {
        Ok(rows) => Ok(Some(rows)),
        Err(Failure { mishap: Mishap::Server(number), .. })
            // MySQL 8 has an error of its own for `XA RECOVER`.
            if number == 1401 || refusal(number) == Refusal::Privilege =>
        {
            Ok(None)
        }
        Err(failure) => Err(failure),
    }
}

/// A question that ran out of time on a server that answered a moment ago.
fn waiting(failure: Failure) -> Failure {
    match (failure.stage, &failure.mishap) {
        (Stage::Asking, Mishap::TimedOut) => Failure {
            mishap: Mishap::Waiting,
            ..failure
        },
        _ => failure,
    }
}

fn reach<T>(answer: Result<T, Failure>) -> Reach<T> {
    match answer {
        Ok(value) => Reach::Up(value),
        Err(failure) => judge(failure),
    }
}
