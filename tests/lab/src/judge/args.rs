//! The judge as a process: `mmm-lab judge …`, over files that were recorded earlier.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{Evidence, Expect, HostSamples, Table, WriterLog, judge};

/// Arguments of the hidden subcommand.
#[derive(clap::Args, Clone, Debug)]
pub struct JudgeArgs {
    /// A writer's log.
    #[arg(long)]
    pub log: Vec<PathBuf>,
    /// What a server's table holds: HOST:SERVER_ID=FILE, lines of id, writer, server id with tabs.
    #[arg(long)]
    pub rows: Vec<Named>,
    /// What a host's sampler saw: HOST=FILE.
    #[arg(long)]
    pub samples: Vec<Named>,
    /// How often the writer was handed over.
    #[arg(long, default_value_t = 1)]
    pub handovers: usize,
    /// `@@server_id` of the server that the others are compared with.
    #[arg(long)]
    pub reference: Option<u32>,
    /// How soon idle connections must notice; not judged when 0.
    #[arg(long, default_value_t = 1000)]
    pub idle_within_ms: u64,
    #[arg(long, default_value_t = 1000)]
    pub blind_at_most_ms: u64,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `NAME=FILE`.
#[derive(Clone, Debug)]
pub struct Named {
    name: String,
    file: PathBuf,
}

impl FromStr for Named {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Named> {
        let (name, file) = text.split_once('=').context("this should be NAME=FILE")?;
        Ok(Named {
            name: name.to_owned(),
            file: file.into(),
        })
    }
}

impl JudgeArgs {
    /// Prints the report; an error when something is wrong.
    pub fn run(self) -> Result<()> {
        let table = |named: &Named| {
            let (host, server) = named
                .name
                .split_once(':')
                .context("this should be HOST:SERVER_ID=FILE")?;
            Table::read(
                host,
                server.parse().context("a server id is a number")?,
                &text(&named.file)?,
            )
        };
        let evidence = Evidence {
            logs: self
                .log
                .iter()
                .map(|file| WriterLog::read(&text(file)?))
                .collect::<Result<_>>()?,
            tables: self.rows.iter().map(table).collect::<Result<_>>()?,
            samples: self
                .samples
                .iter()
                .map(|named| HostSamples::read(&named.name, &text(&named.file)?))
                .collect::<Result<_>>()?,
            expect: Expect {
                handovers: self.handovers,
                reference: self.reference,
                idle_within: (self.idle_within_ms > 0).then(|| Duration::from_millis(self.idle_within_ms)),
                blind_at_most: Duration::from_millis(self.blind_at_most_ms),
            },
        };
        let report = judge(&evidence);
        let mut out = std::io::stdout().lock();
        if self.json {
            serde_json::to_writer_pretty(&mut out, &report)?;
            writeln!(out)?;
        } else {
            write!(out, "{report}")?;
        }
        match report.verdict().len() {
            0 => Ok(()),
            wrong => bail!("the judge found {wrong} violation(s)"),
        }
    }
}

fn text(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read `{}`", file.display()))
}
