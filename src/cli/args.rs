//! What can be said on the command line.

pub mod maintenance;
mod runs;
mod scripting;
mod spelling;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::core::facts::Version;
use crate::report::reporter::Output;
use crate::sql::version;
pub use runs::{HistoryArguments, RunArgument};
pub use scripting::{EnsureWriterArguments, SudoersArguments};
pub use spelling::{accept_mmm_spelling, invalid, invalid_for_programs};

mod planning;
mod playbooks;

pub use planning::{ApplyArguments, DutyArguments, PlanArguments, Planned};
pub use playbooks::{PlaybookArguments, PlaybookVerb, SchemaArguments};

/// Agentless high availability for MySQL and MariaDB master pairs and their replicas.
///
/// One box watches the cluster, keeps its writer and reader addresses on healthy hosts, and moves them over SSH.
#[derive(Debug, Parser)]
#[command(name = "mmm", version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Arguments {
    /// What stays the same for every command.
    #[command(flatten)]
    pub settings: Settings,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What stays the same for every command.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// The inventory file.
    #[arg(
        short,
        long,
        global = true,
        env = "MMM_INVENTORY",
        default_value = "/etc/mmm/inventory.yaml",
        value_name = "FILE"
    )]
    pub inventory: PathBuf,
    /// Words for people, JSON lines on stdout, or for `check` and `plan` a report in JUnit's form.
    #[arg(
        long = "output",
        global = true,
        value_enum,
        default_value = "text",
        value_name = "OUTPUT"
    )]
    pub form: Form,
    /// How to tell, by what was asked for.
    #[arg(skip)]
    pub output: Output,
    /// The cluster meant, where a command names none; `mmm @NAME …` is the short form.
    #[arg(long, global = true, value_name = "CLUSTER")]
    pub cluster: Option<String>,
    /// An operation says nothing while all goes well, as cron wants it; what goes wrong is told, and so is a failover. What
    /// was asked for is printed all the same.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Ask nothing, even on a terminal. Without a terminal nothing is ever asked.
    #[arg(short, long, global = true)]
    pub yes: bool,
    /// Give up after this long: what only looks then ends with 3. An operation that has touched nothing yet is refused
    /// with 4; one that has begun goes on to its own end, each of its steps within its own deadline.
    #[arg(long, global = true, value_name = "SPAN", value_parser = span)]
    pub timeout: Option<Duration>,
    /// More of what happens inside, on stderr; twice for everything.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// What is asked of stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// Words for people.
    Text,
    /// One JSON object a line; `mmm schema` describes each.
    Json,
    /// A report in JUnit's form.
    Junit,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done, or healthy
  1  a bug in mmm
  2  wrong usage or configuration
  3  looked, and something is wrong; a duty by hand (`playbook run`) failed
  4  refused, nothing was touched
  5  failed, and was undone
  6  stuck: it says which hosts it waits for, or that a person is needed
 10  failed over (`failover --if-dead`)";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Read the inventory and the playbooks, and say everything that is wrong with them.
    Validate,
    /// Look at everything an operation will need, and say what stands in the way. Changes nothing.
    ///
    /// With `--readiness` only one question is answered, from a live look: would a failover work now? To whom, how the
    /// writer would be taken out of service, what would be lost, and if not, which guard blocks and what lifts it.
    Check(CheckArguments),
    /// Print the statements that make `mmm`'s accounts on the cluster's servers, each with just what it needs. Sends nothing.
    Grants(GrantsArguments),
    /// Print the sudo rules that the SSH user needs on each host, for just the commands that the playbooks run there as root.
    Sudoers(SudoersArguments),
    /// Show the clusters: who holds which role, and what is wrong.
    Show(ClusterArgument),
    /// Show what the checks of each host say.
    Checks(ChecksArguments),
    /// Print every step of an operation, or of a single duty, without changing anything.
    Plan(PlanArguments),
    /// Carry out a plan that `plan … --save` kept, and just that.
    ///
    /// When what the plan rests on has changed (writer, addresses, read_only, sources, threads, versions, what only one
    /// host has, inventory, playbooks), nothing is done: exit code 4, and each difference is named. Lag and positions may
    /// move within bounds.
    Apply(ApplyArguments),
    /// List, show and check the playbooks, and perform a single duty.
    Playbook(PlaybookArguments),
    /// Print the JSON Schema of a file that `mmm` reads, or of what it prints with `--output json`.
    Schema(SchemaArguments),
    /// Hand the writer role to another host without losing a transaction.
    Switchover(SwitchoverArguments),
    /// Replace a dead writer, or open one that came back and refuses writes.
    Failover(FailoverArguments),
    /// Make sure that a host is the writer: nothing when it is, otherwise a switchover. For scripts that may run twice.
    #[command(name = "ensure-writer")]
    EnsureWriter(EnsureWriterArguments),
    /// Move a role to a host, as MMM's users know it.
    ///
    /// The writer role moves by a switchover. Any other address is brought up at its new place before it leaves the old
    /// one, and stays there while that host may hold it. Of a balanced role, `--address` names the one that moves.
    #[command(name = "move-role")]
    MoveRole(MoveRoleArguments),
    /// Let a host back in that was taken out of service, or that waits for a person's word.
    #[command(name = "set-online")]
    SetOnline(HostArgument),
    /// Take a host out of service: its roles go to others, its replication stops.
    #[command(name = "set-offline")]
    SetOffline(HostArgument),
    /// Say where an address shall be, in passive mode; nothing is done about it until `set-active`.
    #[command(name = "set-ip")]
    SetIp(SetIpArguments),
    /// Compare a replaced writer with the writer now, and let it follow if it has nothing extra.
    Rejoin(RejoinArguments),
    /// Watch the clusters and act: repairs, failover, return of replaced writers.
    Monitor,
    /// Ask a running monitor for a sign of life.
    Ping,
    /// Let the monitor repair and fail over.
    #[command(name = "set-active")]
    SetActive(ClusterArgument),
    /// Let the monitor repair, but not fail over.
    #[command(name = "set-manual")]
    SetManual(ClusterArgument),
    /// Let the monitor only look.
    #[command(name = "set-passive")]
    SetPassive(ClusterArgument),
    /// Show the cluster's mode.
    Mode(ClusterArgument),
    /// Announce maintenance of a host or a cluster; it ends by itself.
    ///
    /// A host in downtime does not take over, is not replaced when it is the writer, and nobody is alarmed about it. To a
    /// cluster in downtime a monitor does nothing by itself, except that a replaced writer that comes back is made harmless.
    /// A person's own commands are not held back, but for a role to a host in downtime.
    Downtime(maintenance::DowntimeArguments),
    /// Say that a person has looked at a failover that took place by itself: another one need not wait any more.
    ///
    /// After a failover by a monitor or by cron, another within `failover.min_interval` waits for this.
    Ack(maintenance::AckArguments),
    /// Say that a person has looked after a stuck operation, or after work by hand that was cut off, so that others may act
    /// again.
    Clear(ClusterArgument),
    /// Go on with a run that was cut off or got stuck, and bring it to its end.
    Resume(RunArgument),
    /// Take back a run that was cut off or got stuck before it opened its new writer.
    Undo(RunArgument),
    /// Show the cluster's runs, or how one of them went.
    History(HistoryArguments),
    /// Explain a rule or a guard by its number.
    Explain(ExplainArguments),
    /// Turn MMM's own configuration into an inventory, with comments about what changed its meaning.
    ///
    /// Without files it takes `mmm_mon.conf` and every `mmm_mon_CLUSTER.conf` of this box, with all they include; each
    /// becomes a cluster of one inventory. `mmm @CLUSTER import` takes that one.
    Import(ImportArguments),
}

impl Verb {
    /// Whether it changes nothing on hosts or on this box, so that it can be given up at any moment.
    pub fn only_looks(&self) -> bool {
        match self {
            Verb::Playbook(what) => what.verb.only_looks(),
            Verb::Validate
            | Verb::Check(_)
            | Verb::Grants(_)
            | Verb::Sudoers(_)
            | Verb::Show(_)
            | Verb::Checks(_)
            | Verb::Plan(_)
            | Verb::Schema(_)
            | Verb::Ping
            | Verb::Mode(_)
            | Verb::History(_)
            | Verb::Explain(_) => true,
            Verb::Apply(_)
            | Verb::Switchover(_)
            | Verb::Failover(_)
            | Verb::EnsureWriter(_)
            | Verb::MoveRole(_)
            | Verb::SetOnline(_)
            | Verb::SetOffline(_)
            | Verb::SetIp(_)
            | Verb::Rejoin(_)
            | Verb::Monitor
            | Verb::SetActive(_)
            | Verb::SetManual(_)
            | Verb::SetPassive(_)
            | Verb::Downtime(_)
            | Verb::Ack(_)
            | Verb::Clear(_)
            | Verb::Resume(_)
            | Verb::Undo(_)
            | Verb::Import(_) => false,
        }
    }
}

/// A cluster, optional where the inventory has only one.
#[derive(Debug, Clone, Args)]
pub struct ClusterArgument {
    /// The cluster.
    #[arg(value_name = "CLUSTER")]
    pub name: Option<String>,
}

/// Arguments of `check`.
#[derive(Debug, Clone, Args)]
pub struct CheckArguments {
    /// The cluster.
    #[arg(value_name = "CLUSTER")]
    pub name: Option<String>,
    /// Would a failover work now? Exit code 0 when it would, 3 when not.
    #[arg(long)]
    pub readiness: bool,
    /// The same as one status line, with Nagios' codes: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.
    #[arg(long, requires = "readiness")]
    pub nagios: bool,
}

/// A host of the cluster.
#[derive(Debug, Clone, Args)]
pub struct HostArgument {
    /// The host.
    pub host: String,
}

/// Arguments of `grants`.
#[derive(Debug, Clone, Args)]
pub struct GrantsArguments {
    /// The cluster.
    #[arg(value_name = "CLUSTER")]
    pub name: Option<String>,
    /// The server that the hosts run, for instance `mysql-8.4` or `mariadb-11.8`, while none can be asked yet.
    #[arg(long, value_name = "SERVER", value_parser = server)]
    pub server: Option<Version>,
}

/// Arguments of `checks`.
#[derive(Debug, Clone, Args)]
pub struct ChecksArguments {
    /// One host, or `all`.
    #[arg(default_value = "all")]
    pub host: String,
    /// One check, or `all`.
    #[arg(default_value = "all")]
    pub check: String,
}

/// Arguments of `switchover`.
#[derive(Debug, Clone, Args)]
pub struct SwitchoverArguments {
    /// The cluster.
    #[arg(value_name = "CLUSTER")]
    pub name: Option<String>,
    /// The host that becomes the writer; the peer of the writer when it is the only choice.
    #[arg(long, value_name = "HOST")]
    pub to: Option<String>,
    /// How long to wait for another operation to end.
    #[arg(long, value_name = "SPAN", default_value = "10s", value_parser = span)]
    pub lock_wait: Duration,
    /// For how long nobody may be able to write; what takes longer is undone [default: the inventory's].
    #[arg(long, value_name = "SPAN", value_parser = span)]
    pub write_refused_max: Option<Duration>,
}

/// Arguments of `failover`.
#[derive(Debug, Clone, Args)]
pub struct FailoverArguments {
    /// The cluster.
    #[arg(value_name = "CLUSTER")]
    pub name: Option<String>,
    /// The host that becomes the writer; the best candidate otherwise.
    #[arg(long, value_name = "HOST")]
    pub to: Option<String>,
    /// Go on although the old writer can neither be demoted nor fenced. If it still runs, there will be two writers
    /// and what it acknowledges will be lost.
    #[arg(long)]
    pub allow_unfenced: bool,
    /// Go on although transactions are known that the new writer has received and cannot apply, or that a replica has
    /// and cannot hand over. They will be lost; `mmm plan failover` says which.
    #[arg(long)]
    pub allow_loss: bool,
    /// For cron: do nothing while the writer serves. Fail over once it is proven dead, or has been silent for as long as
    /// a monitor would wait; exit code 10 then. Refused where a monitor watches, on this box or another.
    #[arg(long, conflicts_with_all = ["to", "allow_unfenced", "allow_loss"])]
    pub if_dead: bool,
}

/// Arguments of `move-role`.
#[derive(Debug, Clone, Args)]
pub struct MoveRoleArguments {
    /// The role.
    pub role: String,
    /// The host that takes it.
    pub host: String,
    /// Which address moves, of a balanced role.
    #[arg(long, value_name = "IP")]
    pub address: Option<IpAddr>,
    /// The writer role, to a host whose replication has stopped or lags: it is started, and clients go on writing while
    /// the host catches up, for at most a minute. If it cannot, nothing moves, and what it lacks is told.
    #[arg(long)]
    pub force: bool,
}

/// Arguments of `set-ip`.
#[derive(Debug, Clone, Args)]
pub struct SetIpArguments {
    /// The address.
    #[arg(value_name = "IP")]
    pub address: IpAddr,
    /// The host that it belongs to.
    pub host: String,
}

/// Arguments of `rejoin`.
#[derive(Debug, Clone, Args)]
pub struct RejoinArguments {
    /// The replaced writer.
    pub host: String,
    /// If it has transactions that the writer has not: rebuild it by the `rebuild` duty of the inventory, and lose them.
    /// Their rows are saved in a file before, as far as they can be decoded.
    #[arg(long)]
    pub discard: bool,
    /// It was rebuilt by other means after a rebuild of ours that did not come to its end.
    #[arg(long, conflicts_with = "discard")]
    pub rebuilt: bool,
}

/// Arguments of `explain`.
#[derive(Debug, Clone, Args)]
pub struct ExplainArguments {
    /// The number of a rule or a guard, for instance R03 or G21; all of them when left out.
    pub rule: Option<String>,
}

/// Arguments of `import`.
#[derive(Debug, Clone, Args)]
pub struct ImportArguments {
    /// MMM's files: `mmm_mon…`, and if wanted `mmm_common…`, `mmm_agent…` and `mmm_tools…`, which fill gaps.
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Where MMM's files are, instead of /etc, /etc/mmm and /etc/mysql-mmm.
    #[arg(long, value_name = "DIR")]
    pub from: Option<PathBuf>,
    /// What the cluster of `mmm_mon.conf` will be called [default: mmm]
    #[arg(long, value_name = "CLUSTER")]
    pub name: Option<String>,
    /// Write the inventory into a new file of mode 0600 instead of stdout.
    #[arg(long, value_name = "FILE")]
    pub to: Option<PathBuf>,
    /// Write each password into a new file of mode 0600 there, and name it in the inventory.
    #[arg(long, value_name = "DIR")]
    pub secrets_dir: Option<PathBuf>,
}

fn server(text: &str) -> Result<Version, String> {
    let known = text
        .split_once('-')
        .filter(|(_, version)| version.starts_with(|c: char| c.is_ascii_digit()));
    let read = match known {
        Some(("mysql", version)) => version::parse(version, "MySQL").ok(),
        Some(("mariadb", version)) => version::parse(version, "MariaDB").ok(),
        _ => None,
    };
    read.ok_or_else(|| "write it as `mysql-8.4` or `mariadb-11.8`".to_owned())
}

fn span(text: &str) -> Result<Duration, String> {
    let span: jiff::SignedDuration = text
        .parse()
        .map_err(|_| "write it with a unit, for instance `10s`".to_owned())?;
    Duration::try_from(span).map_err(|_| "it cannot be negative".to_owned())
}
