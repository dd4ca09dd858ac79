//! The power strip: answers at the switch's own address and cuts a host's power when the box asks it to, as a managed
//! one in a rack would. With it a `fence` duty has something real to call.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::host::Host;
use crate::place::{Place, SWITCH};
use crate::process::Group;
use crate::roster::{SWITCH_ADDRESS, find};
use crate::wait;

const PORT: u16 = 9;
const LIMIT: Duration = Duration::from_secs(10);

/// Starts the power strip of a lab; it lives in the lab's control group and ends with it.
pub(crate) fn start(place: &Place) -> Result<()> {
    let group = Group::new(place.name(), Some(SWITCH))?;
    group.create()?;
    let log =
        fs::File::create(place.console(SWITCH)).context("cannot make the console file of the switch")?;
    // `nsenter` and not `ip netns exec`, which hides the machine's control groups.
    let mut command = Command::new("sh");
    command
        .args(["-c", "echo $$ > \"$0\" && exec setsid nsenter \"$@\""])
        .arg(group.procs_file());
    command
        .arg(format!("--net={}", place.namespace_path(SWITCH).display()))
        .arg(place.program());
    command
        .args(["serve-power", place.name()])
        .current_dir("/")
        .stdin(Stdio::null());
    command
        .stdout(log.try_clone().context("cannot share the console file")?)
        .stderr(log);
    let mut child = command.spawn().context("cannot start the power strip")?;
    std::thread::spawn(move || child.wait());
    wait::until(LIMIT, "the power strip of the lab", || {
        place.state().join("power-strip").exists()
    })
}

/// Serves for ever; runs in the switch's network.
pub fn serve(name: &str) -> Result<()> {
    let place = Place::new(name)?;
    let listener =
        TcpListener::bind((SWITCH_ADDRESS, PORT)).context("cannot listen at the switch's address")?;
    fs::write(place.state().join("power-strip"), "").context("cannot say that the power strip is there")?;
    for connection in listener.incoming().flatten() {
        let place = place.clone();
        std::thread::spawn(move || answer(&place, &connection));
    }
    Ok(())
}

fn answer(place: &Place, connection: &TcpStream) -> Result<()> {
    connection
        .set_read_timeout(Some(LIMIT))
        .context("cannot bound the wait for a request")?;
    let mut line = String::new();
    BufReader::new(connection)
        .read_line(&mut line)
        .context("no request")?;
    let mut stream = connection;
    let reply = match perform(place, line.trim()) {
        Ok(words) => format!("ok {words}\n"),
        Err(error) => format!("error {error:#}\n"),
    };
    stream.write_all(reply.as_bytes()).context("cannot answer")
}

fn perform(place: &Place, request: &str) -> Result<String> {
    let Some((verb, name)) = request.split_once(' ') else {
        bail!("say `off HOST`, `on HOST` or `status HOST`")
    };
    let host = Host::new(
        place,
        find(name).with_context(|| format!("no host is called `{name}`"))?,
        place.flavour()?,
    );
    match verb {
        "off" => host.power_off()?,
        "on" if !host.is_on() => host.boot()?,
        "on" | "status" => {}
        _ => bail!("the power strip does not know `{verb}`"),
    }
    Ok(if host.is_on() { "on" } else { "off" }.to_owned())
}

/// The command for the box: asks the power strip and gives its answer. An error when it did not do as asked.
pub fn ask(verb: &str, host: &str) -> Result<String> {
    let address = format!("{SWITCH_ADDRESS}:{PORT}")
        .parse()
        .context("the power strip's address")?;
    let mut stream = TcpStream::connect_timeout(&address, LIMIT).context("cannot reach the power strip")?;
    stream
        .set_read_timeout(Some(LIMIT))
        .context("cannot bound the wait for an answer")?;
    writeln!(stream, "{verb} {host}").context("cannot ask the power strip")?;
    let mut line = String::new();
    BufReader::new(&stream)
        .read_line(&mut line)
        .context("the power strip did not answer")?;
    match line.trim().split_once(' ') {
        Some(("ok", state)) => Ok(state.to_owned()),
        _ => bail!("the power strip says: {}", line.trim()),
    }
}
