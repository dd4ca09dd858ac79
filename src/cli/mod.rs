//! One file a verb. Arguments become a call, the result becomes words and an exit code.

mod apply;
mod args;
mod by_hand;
mod check;
mod checks;
mod ensure_writer;
mod explain;
mod failover;
mod grants;
mod history;
mod if_dead;
mod import;
mod known;
mod maintenance;
mod mode;
mod monitor;
mod move_role;
mod plan;
mod playbook;
mod readiness;
mod refused;
mod rejoin;
mod resume;
mod schema;
mod set_ip;
mod set_offline;
mod set_online;
mod setting;
mod show;
mod sudoers;
mod switchover;
mod validate;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;

use crate::core::settlement::Wish;
use crate::core::trouble::{Kind, Trouble};
use crate::report::reporter::{Output, out, talk};
use args::{Arguments, Form, Verb};

/// Runs the program: arguments in, exit code out. A panic is a bug and exits with 1.
pub fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    let arguments = match Arguments::try_parse_from(args::accept_mmm_spelling(words.clone())) {
        Ok(arguments) => arguments,
        Err(error) => {
            if let Some(trouble) = args::invalid_for_programs(&words, &error) {
                return fail(&trouble, Output::Json);
            }
            if let Some(said) = args::invalid(&words, &error) {
                talk(&said);
            }
            let code = u8::try_from(error.exit_code()).unwrap_or(Kind::Usage.exit_code());
            if let Err(unprinted) = error.print() {
                tracing::debug!("usage could not be printed: {unprinted}");
            }
            return ExitCode::from(code);
        }
    };
    // A monitor's log is what its inventory says.
    if !matches!(arguments.verb, Verb::Monitor) {
        setting::start_logging(arguments.settings.verbose);
    }
    let mut arguments = arguments;
    let output = match arguments.settings.form {
        Form::Json => Output::Json,
        Form::Text | Form::Junit => Output::Text,
    };
    arguments.settings.output = output;
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            return fail(
                &Trouble::new(Kind::Bug, "the program could not start", error),
                output,
            );
        }
    };
    let asked = refused::Asked::of(&words, &arguments);
    let performed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        runtime.block_on(perform_in_time(arguments))
    }));
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    match performed {
        Ok(Ok(code)) => ExitCode::from(code),
        Ok(Err(trouble)) => {
            asked.keep(&trouble);
            fail(&trouble, output)
        }
        Err(_already_told_by_the_panic_hook) => ExitCode::from(Kind::Bug.exit_code()),
    }
}

/// Performs the verb. One that only looks is given up when its time is over.
async fn perform_in_time(arguments: Arguments) -> Result<u8, Trouble> {
    let (Some(timeout), true) = (arguments.settings.timeout, arguments.verb.only_looks()) else {
        return perform(arguments).await;
    };
    tokio::time::timeout(timeout, perform(arguments))
        .await
        .unwrap_or_else(|_| {
            Err(Trouble::new(
                Kind::Wrong,
                "the look was given up",
                format!("it was not done within {} ms (`--timeout`)", timeout.as_millis()),
            )
            .hint("`mmm check` says which host is slow to answer"))
        })
}

/// Performs the verb; the answer is the exit code.
async fn perform(arguments: Arguments) -> Result<u8, Trouble> {
    let settings = arguments.settings;
    let reports = match &arguments.verb {
        Verb::Check(what) => !what.nagios,
        Verb::Plan(_) => true,
        _ => false,
    };
    if settings.form == Form::Junit && !reports {
        let what = "this command has no report in JUnit's form";
        return Err(Trouble::new(Kind::Usage, what, "`check` and `plan` have one")
            .hint("`--output json` says everything that every command knows"));
    }
    if matches!(
        arguments.verb,
        Verb::Check(_) | Verb::Checks(_) | Verb::Plan(_) | Verb::Mode(_)
    ) {
        resume::name_open_runs(&settings);
    }
    match arguments.verb {
        Verb::Validate => validate::run(&settings).await,
        Verb::Check(what) if what.readiness => {
            readiness::run(&settings, what.name.as_deref(), what.nagios).await
        }
        Verb::Check(what) => check::run(&settings, what.name.as_deref()).await,
        Verb::Grants(what) => grants::run(&settings, &what).await,
        Verb::Sudoers(what) => sudoers::run(&settings, &what).await,
        Verb::Show(which) => show::run(&settings, which.name.as_deref()).await,
        Verb::Checks(which) => checks::run(&settings, &which.host, &which.check).await,
        Verb::Plan(what) => plan::run(&settings, &what).await,
        Verb::Apply(what) => apply::run(&settings, &what).await,
        Verb::Playbook(what) => playbook::run(&settings, &what).await,
        Verb::Schema(what) => schema::run(&settings, what.name.as_deref()),
        Verb::Switchover(what) => {
            switchover::run(
                &settings,
                what.name.as_deref(),
                what.to.as_deref(),
                what.lock_wait,
                what.write_refused_max,
                false,
            )
            .await
        }
        Verb::EnsureWriter(what) => ensure_writer::run(&settings, &what).await,
        Verb::Failover(what) if what.if_dead => if_dead::run(&settings, &what).await,
        Verb::Failover(what) => failover::run(&settings, &what).await,
        Verb::MoveRole(what) => move_role::run(&settings, &what).await,
        Verb::SetOnline(what) => set_online::run(&settings, &what.host).await,
        Verb::SetOffline(what) => set_offline::run(&settings, &what.host).await,
        Verb::SetIp(what) => set_ip::run(&settings, what.address, &what.host).await,
        Verb::Rejoin(what) => rejoin::run(&settings, &what).await,
        Verb::Monitor => monitor::run(&settings).await,
        Verb::Ping => monitor::ping(&settings).await,
        Verb::SetActive(which) => {
            mode::set(
                &settings,
                which.name.as_deref(),
                crate::core::standing::Mode::Active,
            )
            .await
        }
        Verb::SetManual(which) => {
            mode::set(
                &settings,
                which.name.as_deref(),
                crate::core::standing::Mode::Manual,
            )
            .await
        }
        Verb::SetPassive(which) => {
            mode::set(
                &settings,
                which.name.as_deref(),
                crate::core::standing::Mode::Passive,
            )
            .await
        }
        Verb::Mode(which) => mode::show(&settings, which.name.as_deref()).await,
        Verb::Downtime(what) => maintenance::downtime(&settings, &what).await,
        Verb::Ack(what) => maintenance::ack(&settings, &what).await,
        Verb::Clear(which) => mode::clear(&settings, which.name.as_deref()).await,
        Verb::Resume(which) => resume::run(&settings, &which.run, Wish::GoOn).await,
        Verb::Undo(which) => resume::run(&settings, &which.run, Wish::TakeBack).await,
        Verb::History(what) => history::run(&settings, &what),
        Verb::Import(what) => import::run(&settings, &what),
        Verb::Explain(what) => explain::run(&settings, what.rule.as_deref()),
    }
}

/// Tells a trouble and turns it into its exit code.
fn fail(trouble: &Trouble, output: Output) -> ExitCode {
    match output {
        Output::Text => talk(&trouble.to_string()),
        Output::Json => out(&setting::json(&serde_json::json!({ "error": trouble }))),
    }
    ExitCode::from(trouble.kind.exit_code())
}
