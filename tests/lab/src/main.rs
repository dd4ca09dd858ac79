//! The command line of the lab: `cargo lab up`, `cargo lab shell db1`, `cargo lab fault …`, `cargo lab down`.

use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use lab::machine::{Refusal, require_root};
use lab::place::Place;
use lab::progress::Progress;
use lab::{Flavour, Lab, Options, breakage, inventory, leftovers, power, service, systemctl};

mod built;
mod demo;
mod stories;
mod table;
mod test;

/// Several real database hosts on one machine, for trying and testing mmm.
#[derive(Parser)]
#[command(name = "cargo lab", version, max_term_width = 110)]
struct Arguments {
    /// The lab's name, when there is more than one.
    #[arg(long, global = true, default_value = lab::lab::DEFAULT_NAME, env = "MMM_LAB_NAME")]
    name: String,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Bring the lab up: db1 and db2 (masters of each other), db3 (slave of db1), box with mmm, client.
    Up {
        /// Which database servers: `mariadb-10.11`, `mariadb-11.8`, `mysql-5.6`, `mysql-9.7`, or `mixed` (masters 10.11,
        /// slave 11.8), each also with `-by-position` behind it. What the machine has not is fetched once.
        #[arg(long, default_value_t)]
        flavor: Flavour,
    },
    /// Show the hosts, their servers, replication and addresses.
    Status,
    /// Open a root shell on a host, or run a command there.
    Shell {
        host: String,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Cut a host's power.
    Kill { host: String },
    /// Power a host on.
    Boot { host: String },
    /// Break something, also a single step of an operation; without a host, list what can be broken.
    Fault {
        fault: Option<String>,
        host: Option<String>,
        argument: Option<String>,
    },
    /// Take every fault back.
    Heal,
    /// Print the inventory of the lab's cluster.
    Inventory,
    /// Take the lab down; nothing is left behind.
    Down {
        /// Take down every lab and what dead ones have left; a lab that a running test uses stays.
        #[arg(long)]
        all: bool,
    },
    /// Show what mmm does: a hand-over and a failover under load, in a lab of its own.
    Demo,
    /// Play every scenario of the table of faults, each in a lab of its own, and write the table.
    Faults(table::FaultsArgs),
    /// Run every test of the project, those in labs included.
    Test(test::TestArgs),
    /// Inside a host: run its services.
    #[command(hide = true)]
    ServeHost,
    /// Inside the switch: serve its power strip.
    #[command(hide = true)]
    ServePower { lab: String },
    /// On the box: ask the power strip (`off HOST`, `on HOST`, `status HOST`).
    #[command(hide = true)]
    Power { verb: String, host: String },
    /// Inside the client host: write rows and record what became of each.
    #[command(hide = true)]
    Writer(lab::writer::WriterArgs),
    /// Inside a database host: record when its server can be written.
    #[command(hide = true)]
    Sampler(lab::sampler::SamplerArgs),
    /// Say what the records of writers and samplers and the servers' tables prove.
    #[command(hide = true)]
    Judge(lab::judge::JudgeArgs),
    /// Inside a host: what its `systemctl` calls.
    #[command(hide = true)]
    Systemctl {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
}

fn main() -> ExitCode {
    // `systemctl` has options that look like ours; they are not to be taken for them.
    let mut words = std::env::args().skip(1);
    let outcome = match words.next().as_deref() {
        Some("systemctl") => call_systemctl(&words.collect::<Vec<_>>()),
        _ => perform(Arguments::parse()),
    };
    outcome.unwrap_or_else(|error| {
        // Nobody can be told that standard error is closed.
        let _closed = writeln!(std::io::stderr(), "error: {error:#}");
        ExitCode::from(if error.downcast_ref::<Refusal>().is_some() {
            2
        } else {
            1
        })
    })
}

fn perform(arguments: Arguments) -> Result<ExitCode> {
    let name = arguments.name.as_str();
    match arguments.verb {
        Verb::Up { flavor } => up(name, flavor)?,
        Verb::Status => print(&lab::status::text(&Lab::open(name)?))?,
        Verb::Shell { host, command } => Lab::open(name)?.host(&host)?.become_shell(&command)?,
        Verb::Kill { host } => Lab::open(name)?.host(&host)?.power_off()?,
        Verb::Boot { host } => Lab::open(name)?.host(&host)?.boot()?,
        Verb::Fault {
            fault: Some(fault),
            host: Some(host),
            argument,
        } => {
            Lab::open(name)?.fault(&fault, &host, argument.as_deref())?;
        }
        Verb::Fault { .. } => print(&format!(
            "cargo lab fault NAME HOST [ARGUMENT], with one of:\n{}",
            breakage::list()
        ))?,
        Verb::Heal => Lab::open(name)?.heal()?,
        Verb::Inventory => print(&inventory_of(name)?)?,
        Verb::Down { all } => down(name, all)?,
        Verb::Demo => return demo::run(),
        Verb::Faults(arguments) => return arguments.run(),
        Verb::Test(arguments) => return arguments.run(),
        Verb::ServeHost => service::serve()?,
        Verb::ServePower { lab } => power::serve(&lab)?,
        Verb::Power { verb, host } => print(&format!("{}\n", power::ask(&verb, &host)?))?,
        Verb::Writer(arguments) => arguments.run()?,
        Verb::Sampler(arguments) => arguments.run()?,
        Verb::Judge(arguments) => arguments.run()?,
        Verb::Systemctl { words } => return call_systemctl(&words),
    }
    Ok(ExitCode::SUCCESS)
}

/// The inventory of the lab of that name, or of the usual one while none is up.
fn inventory_of(name: &str) -> Result<String> {
    Ok(if Place::new(name)?.exists() {
        Lab::open(name)?.inventory_yaml()
    } else {
        inventory::yaml()
    })
}

fn up(name: &str, flavour: Flavour) -> Result<()> {
    require_root()?;
    let mmm = built::mmm()?;
    let lab = Lab::up(Options {
        flavour,
        ..Options::for_people(name)
    })?;
    lab.install_on_box(&mmm)?;
    lab.write_inventory(&lab.inventory_yaml())?;
    print(&lab::status::text(&lab))
}

fn down(name: &str, all: bool) -> Result<()> {
    require_root()?;
    let started = Instant::now();
    let progress = Progress::shown();
    if all {
        for line in leftovers::remove_all(|_| true)? {
            progress.note(&line);
        }
        progress.done("no lab is left over", started);
    } else if !leftovers::names()?.contains(name) {
        progress.done(
            &format!("no lab is called `{name}`: nothing to take down"),
            started,
        );
    } else {
        leftovers::remove(name)?;
        progress.done(&format!("`{name}` is down"), started);
    }
    Ok(())
}

fn call_systemctl(words: &[String]) -> Result<ExitCode> {
    let reply = systemctl::ask(words)?;
    print(&reply.stdout)?;
    std::io::stderr()
        .write_all(reply.stderr.as_bytes())
        .context("cannot write to standard error")?;
    Ok(ExitCode::from(u8::try_from(reply.code).unwrap_or(1)))
}

fn print(text: &str) -> Result<()> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("cannot write to standard output")
}
