//! `mmm` keeps one writer address and any number of reader addresses on healthy MySQL and MariaDB hosts, and moves them:
//! on command, from cron or CI, or by itself when the writer dies. It is installed on one box; the database hosts run
//! nothing of ours.
//!
//! # Bird's eye
//!
//! The box looks at servers over the MySQL protocol and acts on hosts over SSH. What is done on a host stands in YAML step
//! lists ([`core::playbook`], shipped in `playbooks/`), never in Rust. Data flows one way:
//!
//! ```text
//! probes, facts ─► assess ─► decide ─► operation ─► duties rendered for a dialect ─► SSH
//!       ▲          (latch)   (rule,     (plan)       (script)                        │
//!       │                    evidence)                                               │
//!       └──────────── outcome back in as an input, and an event out ◄────────────────┘
//! ```
//!
//! # Laws, in the order in which they win
//!
//! 1. **Never two writers.** No host is opened for writes before the previous writer is verified demoted or verified
//!    fenced. The one declared exception is `failover.unfenced: if_silent_to_all`.
//! 2. **Never lose an acknowledged transaction without saying so**, before and after.
//! 3. **Every step is checked, acted, verified, bounded in time, and undoable or declared not to be.** It ends done, failed
//!    or *unknown*; an unknown is settled only after the old shell and its SQL connection are verified gone.
//! 4. **Decide in one place, purely.** The core never touches a socket, a file or a clock.
//! 5. **What is shown is what runs.** A plan is rendered by the code that runs it, through types that can only look.
//! 6. **Desired against observed.** Each round reads what hosts really have and repairs the difference, never opening a
//!    host for writes.
//! 7. **A returning writer is guilty until compared.**
//!
//! # Code map
//!
//! - [`core`] decides; std and serde's derives only.
//!   - [`core::cluster`] what a cluster is · [`core::facts`] what a host really has · [`core::gtid`] positions as values
//!   - [`core::latch`] from single probes to verdicts · [`core::checks`] from one probe's outcome to what the check says
//!   - [`core::rule`] the monitor's table of rules · [`core::evidence`] is the writer dead, and what may be done about it
//!   - [`core::testimony`] what the other hosts say of a suspect
//!   - [`core::engine`] one cluster's monitor as a value: inputs in, effects out
//!   - [`core::guard`] what must hold before an operation touches anything · [`core::election`], [`core::electorate`] who could take over, by what is seen and remembered
//!   - [`core::foreign`] replication channels that are not managed
//!   - [`core::readiness`] would a failover work now · [`core::losses`] what it would lose, and what it has lost
//!   - [`core::site`] the site's own steps around an operation · [`core::notice`] who is told of what
//!   - [`core::maintenance`] downtimes, and failovers that wait for an acknowledgement
//!   - [`core::release`] out of service and back in, on a person's word · [`core::clearing`] what leaves a host then
//!   - [`core::chore`] such work by hand, and what becomes of it when it is cut off
//!   - [`core::plan`] an operation with its seats filled · [`core::run`] a run as a fold over what came of its stages
//!   - [`core::proposal`] a plan as it is shown and kept · [`core::basis`] what it rests on · [`core::by_hand`] single duties
//!   - [`core::settlement`] what becomes of a run that was cut off · [`core::history`] how a run went
//!   - [`core::semi_sync`] do commits wait for replicas
//!   - [`core::repair`], [`core::roles`] desired against observed · [`core::mending`] the duties of each fix · [`core::standing`] what stands until an operation changes it
//!   - [`core::script`], [`core::wire`] a duty made ready, and what is sent for it
//!   - [`core::view`] what `show` and `checks` tell · [`core::event`] what happens, told as values
//!   - [`core::printed`] the version that all JSON for programs carries
//! - [`config`] text in, valid values out: inventory, playbooks, templates; carets on errors.
//!   - [`config::import`] MMM's own configuration in, an inventory out
//! - [`sql`] read-only probes of a server and the parsing of their answers; strings only.
//! - [`io`] acts; the only async, clock and sockets.
//!   - [`io::ssh`] connections · [`io::shell`] a warm shell on a host · [`io::mysql`] servers over the MySQL protocol
//!   - [`io::fleet`] a cluster's hosts within reach · [`io::inquest`] gathers evidence
//!   - [`io::sights`] a cluster seen and never touched: what plans are made through
//!   - [`io::operation`] an operation from lock to memory, and its plan · [`io::conductor`] performs a run through one small trait
//!   - [`io::settle`] ends runs that were cut off, [`io::resume`] as a person wants it · [`io::tending`] repairs, and the return of replaced writers
//!   - [`io::surplus`] what only a replaced writer has: saved, and discarded on a person's word
//!   - [`io::release`] a host out of service and back in
//!   - [`io::catching_up`] lets a host catch up before a forced move · [`io::doubles`] asks who else answers for an address
//!   - [`io::command`] a command of the site on this box · [`io::notify`] those that tell people
//!   - [`io::monitor`] the daemon, [`io::reaping`] its tasks · [`io::socket`] its door for other commands · [`io::watch_sign`] shows that it watches
//!   - [`io::standing`], [`io::journal`], [`io::lock`], [`io::hold`] what is kept on disk, and who may act
//! - [`report`] events into words, JSON and progress bars · [`cli`] one file a verb.
//!
//! # What is not there
//!
//! `core` imports nothing of the other rooms. `io` never prints: it sends events. `report` never acts. No statement or
//! command that changes a host is written in Rust. A test holds these directions (`tests/tidy.rs`).

pub mod cli;
pub mod config;
pub mod core;
pub mod io;
pub mod report;
pub mod sql;
