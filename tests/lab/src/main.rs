//! The lab's command line.

use clap::Parser;

/// Several real database hosts on one machine.
#[derive(Parser)]
enum Command {
    /// Write rows and record what became of each.
    #[command(hide = true)]
    Writer(lab::writer::WriterArgs),
    /// Record when the server of this host can be written.
    #[command(hide = true)]
    Sampler(lab::sampler::SamplerArgs),
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Writer(args) => args.run(),
        Command::Sampler(args) => args.run(),
    }
}
