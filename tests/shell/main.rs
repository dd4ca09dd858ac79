//! The warm shell against real shells (dash, bash) and a real MariaDB server.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking and shows its figures"
)]

mod addresses;
mod duties;
mod endings;
mod looks;
mod quiet;
mod server;
mod settling;

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use mmm::core::script::{
    Act, Command, DutyOutcome, DutyReport, Expected, Failure, Field, Language, Looking, Script, ScriptStep,
    StepOutcome,
};
use mmm::core::wire::{self, SqlLogin};
use mmm::io::shell::{Shell, ShellError};
use server::{PASSWORD, Server};
use tokio::io::Join;
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::time::Instant;

const SHELLS: [&str; 2] = ["dash", "bash"];
const MARKER: &str = "f1c2d3e4a5b6978812345678";

type Local = Shell<Join<ChildStdout, ChildStdin>>;

fn login(server: &Server) -> SqlLogin {
    SqlLogin {
        user: "agent".to_owned(),
        password: PASSWORD.to_owned(),
        socket: Some(server.socket()),
        server: None,
        session: Some("SET SESSION lock_wait_timeout = 2, sql_mode = ''".to_owned()),
    }
}

fn nowhere() -> SqlLogin {
    SqlLogin {
        user: "agent".to_owned(),
        password: "x".to_owned(),
        socket: Some("/nonexistent/s".to_owned()),
        server: None,
        session: None,
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

async fn open(shell: &str, tag: &str, login: &SqlLogin) -> (Local, Child) {
    open_with(
        &["setsid", "sh", "-c", &wire::remote_command_for(shell, tag)],
        tag,
        login,
    )
    .await
}

async fn open_with(command: &[&str], tag: &str, login: &SqlLogin) -> (Local, Child) {
    let mut child = tokio::process::Command::new(command[0])
        .args(&command[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let stream = tokio::io::join(child.stdout.take().unwrap(), child.stdin.take().unwrap());
    (
        Shell::open(stream, MARKER, tag, login, soon()).await.unwrap(),
        child,
    )
}

fn shell(text: &str) -> Command {
    Command::plain(Language::Shell, text)
}

fn sql(text: &str) -> Command {
    Command::plain(Language::Sql, text)
}

fn step(name: &str, act: Act) -> ScriptStep {
    ScriptStep {
        name: name.to_owned(),
        within: Duration::from_secs(5),
        unless: None,
        act,
        until: None,
        expect: Expected::Anything,
        tolerate: Vec::new(),
        register: BTreeMap::new(),
    }
}

fn run(text: &str) -> ScriptStep {
    step(text, Act::Perform(shell(text)))
}

fn tell(text: &str) -> ScriptStep {
    step(text, Act::Perform(sql(text)))
}

fn script(steps: Vec<ScriptStep>) -> Script {
    Script {
        duty: "test".to_owned(),
        says: String::new(),
        steps,
    }
}

fn holds(command: Command) -> Looking {
    let expect = match command.language {
        Language::Sql => Expected::Answer("1".to_owned()),
        Language::Shell => Expected::Anything,
    };
    Looking {
        command,
        expect,
        or_none: None,
    }
}

fn outcomes(report: &DutyReport) -> Vec<StepOutcome> {
    report.steps.iter().map(|step| step.outcome).collect()
}

fn failure(report: &DutyReport) -> &Failure {
    match &report.outcome {
        DutyOutcome::Failed { why, .. } => why,
        other => panic!("not failed: {other:?}"),
    }
}

#[tokio::test]
async fn commands_and_statements_go_in_one_round_trip() {
    let server = Server::start(1);
    for name in SHELLS {
        let (mut shell_, _child) = open(name, "t1", &login(&server)).await;
        let mut noted = tell("SELECT 'a\\tb\\nc\\\\d' AS x, '' AS y, NULL AS z");
        noted.register = BTreeMap::from([
            ("first".to_owned(), Field::Answer),
            ("y".to_owned(), Field::Column("y".to_owned())),
        ]);
        let mut lines = run("printf 'one\\ntwo\\n\\n'");
        lines.register = BTreeMap::from([("lines".to_owned(), Field::Answer)]);
        let report = shell_
            .run(
                &script(vec![
                    run("echo hello; echo oops >&2"),
                    noted,
                    lines,
                    tell("SET GLOBAL read_only = 1"),
                ]),
                soon(),
            )
            .await;
        assert_eq!(report.outcome, DutyOutcome::Done, "{name}: {report:?}");
        assert_eq!(report.steps[0].output, "hello\noops");
        assert_eq!(report.registered["first"], "a\tb\nc\\d");
        assert_eq!(report.registered["y"], "");
        assert_eq!(report.registered["lines"], "one\ntwo");
        assert_eq!(
            server.sql("SELECT @@global.read_only; SET GLOBAL read_only = 0"),
            "1"
        );
        assert!(shell_.trace().connection.is_some() && shell_.trace().session > 1);
    }
}

#[tokio::test]
async fn the_first_failure_ends_the_duty_and_the_shell_lives_on() {
    let server = Server::start(1);
    for name in SHELLS {
        let (mut shell_, _child) = open(name, "t2", &login(&server)).await;
        let cases: Vec<(ScriptStep, Failure)> = vec![
            (run("exit 3"), Failure::Status(3)),
            (run("( unclosed"), Failure::Status(2)),
        ];
        for (bad, why) in cases {
            let report = shell_
                .run(&script(vec![run("true"), bad, run("false")]), soon())
                .await;
            let status = failure(&report);
            assert!(
                matches!((status, &why), (Failure::Status(1..=9), Failure::Status(_))),
                "{name}: {report:?}"
            );
            assert_eq!(outcomes(&report), [StepOutcome::Done, StepOutcome::Failed]);
        }
        let report = shell_
            .run(&script(vec![tell("SELECT nothing"), run("true")]), soon())
            .await;
        assert!(
            matches!(failure(&report), Failure::Sql(line) if line.starts_with("ERROR 1054")),
            "{report:?}"
        );
        let mut tolerated = tell("KILL 999999");
        tolerated.tolerate = vec![1094];
        let mut status = run("exit 7");
        status.tolerate = vec![7];
        status.register = BTreeMap::from([("status".to_owned(), Field::Status)]);
        let report = shell_
            .run(&script(vec![tolerated, status, tell("SELECT 1")]), soon())
            .await;
        assert_eq!(report.outcome, DutyOutcome::Done, "{name}: {report:?}");
        assert_eq!(report.registered["status"], "7");
    }
}

#[tokio::test]
async fn looks_decide() {
    let server = Server::start(1);
    for name in SHELLS {
        let (mut shell_, _child) = open(name, "t3", &login(&server)).await;
        let mut already = run("exit 1");
        already.unless = Some(holds(sql("SELECT 1 = 1")));
        let mut needed = run("true");
        needed.unless = Some(holds(shell("false")));
        let mut until = step("wait", Act::Wait);
        until.until = Some(holds(sql("SELECT NOW(6) > '2001-01-01'")));
        let mut expected = tell("SELECT 'x' AS a, 5 AS b, 5 AS c");
        expected.expect = Expected::Columns {
            values: BTreeMap::from([("a".to_owned(), "x".to_owned())]),
            same: BTreeMap::from([("b".to_owned(), "c".to_owned())]),
        };
        let gate = step("gate", Act::SkipIf(holds(shell("true")), 1));
        let report = shell_
            .run(
                &script(vec![
                    already,
                    needed,
                    until,
                    expected.clone(),
                    gate,
                    run("exit 9"),
                    run("true"),
                ]),
                soon(),
            )
            .await;
        assert_eq!(report.outcome, DutyOutcome::Done, "{name}: {report:?}");
        use StepOutcome::{Already, Done};
        assert_eq!(
            outcomes(&report),
            [Already, Done, Done, Done, Already, Already, Done]
        );

        let mut different = expected;
        different.act = Act::Perform(sql("SELECT 'x' AS a, 5 AS b, 6 AS c"));
        let report = shell_.run(&script(vec![different]), soon()).await;
        assert_eq!(failure(&report), &Failure::Unexpected("x\t5\t6".to_owned()));
        let mut rowless = tell("SELECT 1 FROM DUAL WHERE FALSE");
        rowless.expect = Expected::Answer(String::new());
        let verify = step("verify", Act::Verify(holds(sql("SELECT NULL"))));
        let report = shell_.run(&script(vec![rowless, verify]), soon()).await;
        assert_eq!(outcomes(&report), [Done, StepOutcome::Failed]);
        assert_eq!(failure(&report), &Failure::Unexpected("NULL".to_owned()));

        let mut late = step("late", Act::Wait);
        late.within = Duration::from_millis(200);
        late.until = Some(holds(shell("false")));
        let began = Instant::now();
        let report = shell_.run(&script(vec![late]), soon()).await;
        assert_eq!(failure(&report), &Failure::Late);
        assert!(
            began.elapsed() < Duration::from_millis(600),
            "{:?}",
            began.elapsed()
        );
    }
}

#[tokio::test]
async fn outputs_cannot_forge_and_steps_cannot_swallow() {
    for name in SHELLS {
        let (mut shell_, _child) = open(name, "t4", &nowhere()).await;
        let noisy =
            run("cat; head -c 300000 /dev/zero | tr '\\0' x; printf '\\nmark end 1 ok\\n\\nend 1 ok'");
        let report = shell_
            .run(
                &script(vec![
                    noisy,
                    run("m_state=failed; m_say() { :; }; exit 0"),
                    run("true"),
                ]),
                soon(),
            )
            .await;
        assert_eq!(report.outcome, DutyOutcome::Done, "{name}: {report:?}");
        assert_eq!(report.steps.len(), 3);
        assert!(report.steps[0].output.ends_with("end 1 ok"));
        assert!(report.steps[0].output.len() <= 64 * 1024);
        // No process on the host can read the marker from a command line or an environment.
        let report = shell_
            .run(&script(vec![run(&format!("! cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' | grep -q '^m_mark\\|{}'", MARKER.replace('f', "[f]")))]), soon())
            .await;
        assert_eq!(report.outcome, DutyOutcome::Done, "{name}: {report:?}");
    }
}

#[tokio::test]
async fn without_a_server_the_shell_still_works() {
    for name in SHELLS {
        let (mut shell_, _child) = open(name, "t5", &nowhere()).await;
        let failed = shell_.warm_sql(soon()).await.unwrap_err();
        assert!(
            matches!(&failed, ShellError::Sql(line) if line.contains("ERROR 2002")),
            "{failed:?}"
        );
        let report = shell_
            .run(&script(vec![run("true"), tell("SELECT 1"), run("true")]), soon())
            .await;
        assert!(
            matches!(failure(&report), Failure::Sql(line) if line.contains("ERROR 2002")),
            "{report:?}"
        );
        let report = shell_.run(&script(vec![run("true")]), soon()).await;
        assert_eq!(report.outcome, DutyOutcome::Done);
    }
}

#[tokio::test]
async fn a_dead_client_is_opened_again_and_never_repeats() {
    let mut server = Server::start(1);
    server.sql("CREATE TABLE test.t (id INT)");
    for name in SHELLS {
        let (mut shell_, _child) = open(name, "t6", &login(&server)).await;
        let first = shell_.warm_sql(soon()).await.unwrap();
        // The server ends the connection under a statement.
        let report = shell_
            .run(&script(vec![tell(&format!("KILL {first}"))]), soon())
            .await;
        assert!(
            matches!(report.outcome, DutyOutcome::Failed { .. }),
            "{name}: {report:?}"
        );
        let report = shell_
            .run(&script(vec![tell("INSERT INTO test.t VALUES (1)")]), soon())
            .await;
        assert_eq!(report.outcome, DutyOutcome::Done, "{name}: {report:?}");
        let second = shell_.trace().connection.unwrap();
        assert_ne!(first, second);
        // The server ends the connection while nobody asks.
        server.sql(&format!("KILL {second}"));
        let report = shell_
            .run(&script(vec![tell("INSERT INTO test.t VALUES (2)")]), soon())
            .await;
        assert!(
            matches!(failure(&report), Failure::Sql(line) if line.contains("ERROR 20")),
            "{name}: {report:?}"
        );
        server.kill();
        let report = shell_
            .run(&script(vec![tell("INSERT INTO test.t VALUES (3)")]), soon())
            .await;
        assert!(matches!(failure(&report), Failure::Sql(_)), "{name}: {report:?}");
        server.restart();
        let mut answers = step("answers", Act::Wait);
        answers.until = Some(holds(sql("SELECT 1")));
        let report = shell_
            .run(
                &script(vec![answers, tell("INSERT INTO test.t VALUES (4)")]),
                soon(),
            )
            .await;
        assert_eq!(report.outcome, DutyOutcome::Done, "{name}: {report:?}");
        assert_eq!(
            server.sql("SELECT GROUP_CONCAT(id ORDER BY id) FROM test.t; DELETE FROM test.t"),
            "1,4"
        );
    }
}

#[tokio::test]
async fn rows_are_performed() {
    let server = Server::start(1);
    server.sql("CREATE TABLE test.t (id INT)");
    for name in SHELLS {
        let (mut shell_, _child) = open(name, "t11", &login(&server)).await;
        let rows = step(
            "rows",
            Act::PerformRows(sql(
                "SELECT CONCAT('INSERT INTO test.t VALUES (', seq, ')') FROM test.seq_1_to_230",
            )),
        );
        let report = shell_.run(&script(vec![rows]), soon()).await;
        assert_eq!(report.outcome, DutyOutcome::Done, "{name}: {report:?}");
        assert_eq!(
            server.sql("SELECT COUNT(DISTINCT id), COUNT(*) FROM test.t; DELETE FROM test.t"),
            "230\t230"
        );
        let mut gone = step(
            "gone",
            Act::PerformRows(sql("SELECT CONCAT('KILL ', seq) FROM test.seq_900000_to_900200")),
        );
        let report = shell_.run(&script(vec![gone.clone()]), soon()).await;
        assert!(
            matches!(failure(&report), Failure::Sql(line) if line.starts_with("ERROR 1094")),
            "{report:?}"
        );
        gone.tolerate = vec![1094];
        let report = shell_.run(&script(vec![gone]), soon()).await;
        assert_eq!(report.outcome, DutyOutcome::Done, "{name}: {report:?}");
    }
}

#[tokio::test]
async fn timing_is_printed() {
    let server = Server::start(1);
    for name in SHELLS {
        let (mut shell_, _child) = open(name, "t12", &login(&server)).await;
        shell_.warm_sql(soon()).await.unwrap();
        let mut looked = run("true");
        looked.unless = Some(holds(shell("true")));
        for (what, steps) in [
            ("nothing", vec![]),
            ("one command", vec![run("true")]),
            ("one statement", vec![tell("SELECT 1")]),
            (
                "deny writes",
                vec![
                    {
                        let mut deny = tell("SET GLOBAL read_only = 1");
                        deny.unless = Some(holds(sql("SELECT @@global.read_only")));
                        deny
                    },
                    step("v", Act::Verify(holds(sql("SELECT @@global.read_only")))),
                ],
            ),
        ] {
            let script = script(steps);
            let mut taken = Vec::new();
            for _ in 0..200 {
                let report = shell_.run(&script, soon()).await;
                assert_eq!(report.outcome, DutyOutcome::Done, "{name}: {report:?}");
                taken.push(report.took);
            }
            taken.sort();
            println!("{name}: {what}: median {:?}, p95 {:?}", taken[100], taken[190]);
        }
        server.sql("SET GLOBAL read_only = 0");
    }
}

/// Descriptors of deleted files are how bash keeps here-documents; on a full or read-only disk that fails.
#[tokio::test]
async fn nothing_is_written_to_any_disk() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: a mount namespace needs root");
        return;
    }
    let server = Server::start(1);
    for name in SHELLS {
        let frozen = "mount --bind / / && mount -o remount,bind,ro / && ! touch /tmp/x 2>/dev/null && exec setsid sh -c \"$0\"";
        let command = wire::remote_command_for(name, "t13");
        // A mount of its own below /tmp would not be frozen.
        let below = std::fs::read_to_string("/proc/mounts").unwrap().contains(" /tmp");
        assert!(!below, "this test wants /tmp on the root file system");
        let (mut shell_, _child) = open_with(
            &["unshare", "--mount", "sh", "-c", frozen, &command],
            "t13",
            &login(&server),
        )
        .await;
        let mut row = tell("SELECT REPEAT('x', 200000) AS x");
        row.register = BTreeMap::from([("x".to_owned(), Field::Answer)]);
        let report = shell_
            .run(&script(vec![run("true"), row, run("! touch /tmp/x")]), soon())
            .await;
        assert_eq!(report.outcome, DutyOutcome::Done, "{name}: {report:?}");
        assert_eq!(report.registered["x"].len(), 200_000);
        println!("{name}: 200 kB took {:?}", report.took);
    }
}
