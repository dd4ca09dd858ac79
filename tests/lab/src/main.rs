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
    /// Say what writers, tables and samplers prove.
    #[command(hide = true)]
    Judge(lab::judge::JudgeArgs),
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Writer(args) => args.run(),
        Command::Sampler(args) => args.run(),
        Command::Judge(args) => args.run(),
    }
}
