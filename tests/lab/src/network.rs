//! The lab's network: a bridge in a namespace of its own, to which the machine has no route, and one port per host.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::command::{run, tool};
use crate::place::{Place, SWITCH};
use crate::roster::{Entry, INTERFACE, SWITCH_ADDRESS};
use crate::wait;

const BRIDGE: &str = "br0";
/// The state of a bridge's port that lets frames pass.
const FORWARDING: &str = "3";
/// The table with the lab's faults, in the switch and in hosts.
const TABLE: &str = "lab_faults";
const LIMIT: Duration = Duration::from_secs(10);

/// The network of one lab.
#[derive(Debug, Clone)]
pub struct Network {
    place: Place,
}

impl Network {
    pub fn new(place: &Place) -> Self {
        Self { place: place.clone() }
    }

    /// Makes the switch, every host's namespace, and the cables between them.
    pub fn create(&self) -> Result<()> {
        let switch = self.place.namespace(SWITCH);
        tool("ip", ["netns", "add", &switch])?;
        self.quiet_ipv6(SWITCH)?;
        let bridge = format!(
            "link set lo up\nlink add {BRIDGE} type bridge forward_delay 0 stp_state 0\n\
             address add {SWITCH_ADDRESS}/24 dev {BRIDGE}\nlink set {BRIDGE} up\n"
        );
        self.ip_batch(SWITCH, &bridge)?;
        for entry in self.place.roster() {
            let name = entry.name;
            let namespace = self.place.namespace(name);
            tool("ip", ["netns", "add", &namespace])?;
            self.quiet_ipv6(name)?;
            self.ip_batch(
                SWITCH,
                &format!(
                    "link add {name} type veth peer name {INTERFACE} netns {namespace} address {}\n\
                     link set {name} master {BRIDGE}\nlink set {name} up\n",
                    entry.mac()
                ),
            )?;
            self.configure_host(entry)?;
        }
        Ok(())
    }

    /// Brings a host's interface into the state of a host that has just booted: its own address and nothing else.
    pub fn configure_host(&self, entry: &Entry) -> Result<()> {
        self.forget_host_faults(entry.name)?;
        self.ip_batch(
            entry.name,
            &format!(
                "link set lo up\naddress flush dev {INTERFACE}\nneighbour flush dev {INTERFACE}\n\
                 address add {}/24 broadcast 10.77.0.255 dev {INTERFACE}\nlink set {INTERFACE} up\n",
                entry.address()
            ),
        )
    }

    /// Sets the host's port at the switch up or down, and waits until the host sees its carrier so.
    pub fn set_port(&self, host: &str, up: bool) -> Result<()> {
        let state = if up { "up" } else { "down" };
        self.ip_batch(SWITCH, &format!("link set {host} {state}\n"))?;
        wait::until(LIMIT, &format!("the link of `{host}` to go {state}"), || {
            let carrier = self.reads(host, &format!("/sys/class/net/{INTERFACE}/carrier"), "1");
            let forwards = self.reads(
                SWITCH,
                &format!("/sys/class/net/{BRIDGE}/brif/{host}/state"),
                FORWARDING,
            );
            self.port_is_up(host) == up && carrier == up && forwards == up
        })
    }

    fn reads(&self, part: &str, file: &str, value: &str) -> bool {
        self.inside(part, "cat", &[file])
            .is_ok_and(|text| text.trim() == value)
    }

    /// Whether the switch's side of the host's cable is up.
    pub fn port_is_up(&self, host: &str) -> bool {
        let shown = self.inside(SWITCH, "ip", &["-o", "link", "show", "dev", host]);
        shown.is_ok_and(|text| text.contains(",UP") || text.contains("<UP"))
    }

    /// The addresses that the host's kernel holds, without their prefix lengths. Works while the host is off, too.
    pub fn addresses(&self, host: &str) -> Result<Vec<String>> {
        let text = self.inside(host, "ip", &["-o", "address", "show", "dev", INTERFACE])?;
        let address = |line: &str| {
            let mut words = line
                .split_whitespace()
                .skip_while(|word| !["inet", "inet6"].contains(word));
            words
                .nth(1)
                .and_then(|word| word.split('/').next())
                .map(str::to_owned)
        };
        Ok(text.lines().filter_map(address).collect())
    }

    /// Drops every frame, ARP included, that comes from one host and would go to the other.
    pub fn cut(&self, from: &str, to: &str) -> Result<()> {
        self.switch_rule(&format!("iifname \"{from}\" oifname \"{to}\" counter drop"))
    }

    /// Drops frames of the host at random, in both directions.
    pub fn lose(&self, host: &str, percent: u8) -> Result<()> {
        let chance = match percent {
            0..=99 => format!("numgen random mod 100 < {percent} counter drop"),
            100.. => "counter drop".to_owned(),
        };
        self.switch_rule(&format!("iifname \"{host}\" {chance}"))?;
        self.switch_rule(&format!("oifname \"{host}\" {chance}"))
    }

    /// Limits what the host receives and sends to so many kilobits a second.
    pub fn slow(&self, host: &str, kilobits: u32) -> Result<()> {
        let rate = format!("{kilobits}kbit");
        for (part, device) in [(SWITCH, host), (host, INTERFACE)] {
            let arguments = [
                "qdisc", "replace", "dev", device, "root", "tbf", "rate", &rate, "burst", "4kb", "latency",
                "2s",
            ];
            self.inside(part, "tc", &arguments)?;
        }
        Ok(())
    }

    /// Drops or rejects (with a reset) what arrives at a TCP port of the host.
    pub fn block_port(&self, host: &str, port: u16, reject: bool) -> Result<()> {
        let verdict = if reject { "reject with tcp reset" } else { "drop" };
        self.nft(
            host,
            &format!(
                "add table inet {TABLE}\n\
                 add chain inet {TABLE} input {{ type filter hook input priority 0; policy accept; }}\n\
                 add rule inet {TABLE} input tcp dport {port} counter {verdict}\n"
            ),
        )
    }

    /// Drops what comes from an address to some TCP ports of the host; everything else of it passes.
    pub fn block_ports_from(&self, host: &str, source: &str, ports: &[u16]) -> Result<()> {
        let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
        self.nft(
            host,
            &format!(
                "add table inet {TABLE}\n\
                 add chain inet {TABLE} input {{ type filter hook input priority 0; policy accept; }}\n\
                 add rule inet {TABLE} input ip saddr {source} tcp dport {{ {} }} counter drop\n",
                ports.join(", ")
            ),
        )
    }

    /// The frames that the rules between two hosts have dropped so far.
    pub fn dropped(&self, from: &str, to: &str) -> Result<u64> {
        let rules = self.inside(SWITCH, "nft", &["list", "table", "bridge", TABLE])?;
        let rule = format!("iifname \"{from}\" oifname \"{to}\" counter packets ");
        let counts = rules.lines().filter_map(|line| line.trim().strip_prefix(&rule));
        Ok(counts
            .filter_map(|rest| rest.split(' ').next()?.parse::<u64>().ok())
            .sum())
    }

    /// Takes every fault of the network back.
    pub fn heal(&self) -> Result<()> {
        self.forget(SWITCH, "bridge")?;
        for entry in self.place.roster() {
            self.forget_host_faults(entry.name)?;
            for (part, device) in [(SWITCH, entry.name), (entry.name, INTERFACE)] {
                let shown = self.inside(part, "tc", &["qdisc", "show", "dev", device])?;
                if shown.contains("tbf") {
                    self.inside(part, "tc", &["qdisc", "del", "dev", device, "root"])?;
                }
            }
            if !self.port_is_up(entry.name) {
                self.set_port(entry.name, true)?;
            }
        }
        Ok(())
    }

    fn forget_host_faults(&self, host: &str) -> Result<()> {
        self.forget(host, "inet")
    }

    fn forget(&self, part: &str, family: &str) -> Result<()> {
        // Adding first makes deleting a table that is not there no error.
        self.nft(
            part,
            &format!("add table {family} {TABLE}\ndelete table {family} {TABLE}\n"),
        )
    }

    fn switch_rule(&self, rule: &str) -> Result<()> {
        self.nft(
            SWITCH,
            &format!(
                "add table bridge {TABLE}\n\
                 add chain bridge {TABLE} forward {{ type filter hook forward priority 0; policy accept; }}\n\
                 add rule bridge {TABLE} forward {rule}\n"
            ),
        )
    }

    fn nft(&self, part: &str, script: &str) -> Result<()> {
        let mut command = self.enter(part, "nft");
        command.args(["-f", "-"]);
        run(&mut command, Some(script.as_bytes()), LIMIT)?
            .ok()
            .context("`nft` refused a rule of the lab")?;
        Ok(())
    }

    fn ip_batch(&self, part: &str, script: &str) -> Result<()> {
        let mut command = self.enter(part, "ip");
        command.args(["-batch", "-"]);
        run(&mut command, Some(script.as_bytes()), LIMIT)?
            .ok()
            .with_context(|| format!("`ip` in `{part}`"))?;
        Ok(())
    }

    /// Runs a tool of the machine in the network of a host or the switch and gives what it printed.
    pub fn inside(&self, part: &str, program: &str, arguments: &[&str]) -> Result<String> {
        let mut command = self.enter(part, program);
        command.args(arguments);
        Ok(run(&mut command, None, LIMIT)?
            .ok()
            .with_context(|| format!("`{program}` in `{part}`"))?
            .stdout)
    }

    /// A program of the machine, to be run in the network of a host or the switch.
    pub fn enter(&self, part: &str, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.place.namespace(part), program]);
        command
    }

    /// The lab has no use for IPv6 and its chatter.
    fn quiet_ipv6(&self, part: &str) -> Result<()> {
        let mut command = self.enter(part, "tee");
        command
            .arg("/proc/sys/net/ipv6/conf/all/disable_ipv6")
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        command.stderr(Stdio::null());
        let mut child = command.spawn().context("cannot run `ip netns exec`")?;
        let Some(mut pipe) = child.stdin.take() else {
            bail!("no pipe to `tee`")
        };
        // A kernel without IPv6 has no such file, and nothing to quiet.
        let _absent = pipe.write_all(b"1");
        drop(pipe);
        child.wait().context("cannot wait for `tee`")?;
        Ok(())
    }
}
