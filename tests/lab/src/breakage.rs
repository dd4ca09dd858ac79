//! Faults by name, as the command line gives them, faults between hosts, and healing everything.

use anyhow::{Context, Result, bail};

use crate::host::Host;
use crate::lab::Lab;
use crate::steps::Mishap;

type Work = fn(&Lab, &Host, Option<&str>) -> Result<()>;

/// A fault that has a name.
pub struct Fault {
    pub name: &'static str,
    /// What its argument is, when it takes one.
    pub argument: Option<&'static str>,
    pub effect: &'static str,
    work: Work,
}

const fn fault(
    name: &'static str,
    argument: Option<&'static str>,
    effect: &'static str,
    work: Work,
) -> Fault {
    Fault {
        name,
        argument,
        effect,
        work,
    }
}

/// Everything `cargo lab fault` knows.
pub const FAULTS: [Fault; 27] = [
    fault(
        "kill-mysqld",
        None,
        "kill -9 the database server",
        |_, host, _| host.kill_mysqld(),
    ),
    fault(
        "stop-mysqld",
        None,
        "SIGSTOP the database server",
        |_, host, _| host.stop_mysqld(),
    ),
    fault(
        "cont-mysqld",
        None,
        "let a stopped database server go on",
        |_, host, _| host.cont_mysqld(),
    ),
    fault(
        "power-off",
        None,
        "link down, then every process dies",
        |_, host, _| host.power_off(),
    ),
    fault("boot", None, "power the host on", |_, host, _| host.boot()),
    fault(
        "crash",
        None,
        "every process dies, the kernel still answers",
        |_, host, _| host.crash(),
    ),
    fault(
        "freeze",
        None,
        "freeze all processes, the kernel still answers",
        |_, host, _| host.freeze(),
    ),
    fault("thaw", None, "let a frozen host go on", |_, host, _| host.thaw()),
    fault("link-down", None, "pull the network cable", |_, host, _| {
        host.link_down()
    }),
    fault("link-up", None, "put the network cable back", |_, host, _| {
        host.link_up()
    }),
    fault(
        "partition",
        Some("HOSTS"),
        "cut off from other hosts (comma-separated), both ways",
        |lab, host, others| lab.partition(&[host.name()], &names(others)?),
    ),
    fault(
        "one-way",
        Some("HOSTS"),
        "nothing it sends reaches the others",
        |lab, host, others| lab.cut_one_way(&[host.name()], &names(others)?),
    ),
    fault(
        "drop-port",
        Some("PORT"),
        "packets to a TCP port vanish",
        |_, host, port| host.drop_port(number(port)?),
    ),
    fault(
        "reject-port",
        Some("PORT"),
        "a TCP port refuses",
        |_, host, port| host.reject_port(number(port)?),
    ),
    fault("sshd-stop", None, "sshd and its sessions end", |_, host, _| {
        host.stop_sshd()
    }),
    fault("sshd-start", None, "sshd runs again", |_, host, _| {
        host.start_sshd()
    }),
    fault(
        "disk-full",
        None,
        "fill the disk to the last block",
        |_, host, _| host.fill_disk(),
    ),
    fault("tmp-full", None, "fill /tmp", |_, host, _| host.fill_tmp()),
    fault("tmp-read-only", None, "make /tmp read-only", |_, host, _| {
        host.make_tmp_read_only()
    }),
    fault(
        "root-read-only",
        None,
        "the disk fails and becomes read-only",
        |_, host, _| host.make_root_read_only(),
    ),
    fault(
        "loss",
        Some("PERCENT"),
        "lose frames at random",
        |_, host, percent| host.lose(number(percent)?),
    ),
    fault(
        "slow",
        Some("KBITS"),
        "limit the link, in kilobits a second",
        |_, host, rate| host.slow(number(rate)?),
    ),
    fault(
        "restart-after",
        Some("MS"),
        "restart a crashed server after so many ms",
        |_, host, delay| {
            host.set_restart(crate::host::Restart::After(std::time::Duration::from_millis(
                number(delay)?,
            )))
        },
    ),
    fault(
        "restart-never",
        None,
        "leave a crashed server down",
        |_, host, _| host.set_restart(crate::host::Restart::Never),
    ),
    fault(
        Mishap::Fails.name(),
        Some("STEP"),
        "a step fails there, such as `switchover/deny-writes`",
        |lab, host, step| goes_wrong(lab, host, step, Mishap::Fails),
    ),
    fault(
        Mishap::TakesTooLong.name(),
        Some("STEP"),
        "a step takes longer than it may there",
        |lab, host, step| goes_wrong(lab, host, step, Mishap::TakesTooLong),
    ),
    fault(
        Mishap::LosesItsConnection.name(),
        Some("STEP"),
        "a step loses its connection there, in the middle",
        |lab, host, step| goes_wrong(lab, host, step, Mishap::LosesItsConnection),
    ),
];

impl Lab {
    /// Does a fault by its name.
    pub fn fault(&self, name: &str, host: &str, argument: Option<&str>) -> Result<()> {
        let known = FAULTS.iter().find(|fault| fault.name == name);
        let fault = known.with_context(|| format!("no fault is called `{name}`; there are:\n{}", list()))?;
        match (fault.argument, argument) {
            (Some(wanted), None) => bail!("`{name}` needs an argument: {wanted}"),
            (None, Some(given)) => bail!("`{name}` takes no argument, and `{given}` was given"),
            _ => (fault.work)(self, self.host(host)?, argument),
        }
    }

    /// Cuts two groups of hosts off from each other, both ways, ARP included.
    pub fn partition(&self, these: &[&str], those: &[&str]) -> Result<()> {
        self.cut_one_way(these, those)?;
        self.cut_one_way(those, these)
    }

    /// Lets nothing that these hosts send reach those.
    pub fn cut_one_way(&self, these: &[&str], those: &[&str]) -> Result<()> {
        for from in these {
            for to in those.iter().filter(|to| *to != from) {
                self.host(from)?.cut_towards(to)?;
            }
        }
        Ok(())
    }

    /// Takes every fault back: hosts on and thawed, links up, nothing blocked, filled or stopped by a fault, every step well.
    /// Which server is writable, and who has which address, is not touched.
    pub fn heal(&self) -> Result<()> {
        self.network.heal()?;
        self.each(self.hosts(), Host::heal)?;
        self.mend_steps()
    }
}

/// The faults, one a line, for people.
pub fn list() -> String {
    let line = |fault: &Fault| {
        format!(
            "  {:14} {:8} {}\n",
            fault.name,
            fault.argument.unwrap_or(""),
            fault.effect
        )
    };
    FAULTS.iter().map(line).collect()
}

fn goes_wrong(lab: &Lab, host: &Host, step: Option<&str>, mishap: Mishap) -> Result<()> {
    lab.step_goes_wrong(host.name(), step.context("which step?")?, mishap)
}

fn names(argument: Option<&str>) -> Result<Vec<&str>> {
    Ok(argument.context("which hosts?")?.split(',').collect())
}

fn number<N: std::str::FromStr>(argument: Option<&str>) -> Result<N> {
    let text = argument.context("a number is needed")?;
    text.parse()
        .ok()
        .with_context(|| format!("`{text}` is no number that fits here"))
}
