//! A whole lab: bringing it up, finding its hosts, taking it down.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use crate::command::tool;
use crate::disk;
use crate::flavour::Flavour;
use crate::host::Host;
use crate::inventory;
use crate::leftovers;
use crate::machine;
use crate::network::Network;
use crate::place::{Disks, MachineLock, Place};
use crate::power;
use crate::process::{Group, Identity};
use crate::progress::Progress;
use crate::roster::{INTERFACE, ROSTER, SECOND_PAIR, SECOND_WRITER_ADDRESS, WRITER_ADDRESS, find};
use crate::seed;
use crate::stock;
use crate::wait;

/// The lab of people who do not name theirs.
pub const DEFAULT_NAME: &str = "mmm";
/// Names the lab's program for those who bring up a lab from another program, such as a test.
pub const PROGRAM_VARIABLE: &str = "MMM_LAB_PROGRAM";
const REPLICATION_LIMIT: Duration = Duration::from_secs(60);

/// How a lab is to be.
#[derive(Debug)]
pub struct Options {
    pub name: String,
    /// The lab is taken down when the handle is dropped; `down --all` leaves it alone while this process lives.
    pub owned: bool,
    pub progress: Progress,
    /// With two more masters, which are a cluster of their own.
    pub second_pair: bool,
    /// What its database hosts run.
    pub flavour: Flavour,
    /// Where its hosts' disks are.
    pub disks: Disks,
}

impl Options {
    /// The lab of a test: a name of its own, silent, gone when the test ends.
    pub fn for_test() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "t{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        Self {
            name,
            owned: true,
            progress: Progress::Silent,
            second_pair: false,
            flavour: Flavour::default(),
            disks: Disks::Usual,
        }
    }

    /// The lab of a person: it stays until it is taken down.
    pub fn for_people(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            owned: false,
            progress: Progress::shown(),
            second_pair: false,
            flavour: Flavour::default(),
            disks: Disks::Usual,
        }
    }
}

/// A lab that is up.
#[derive(Debug)]
pub struct Lab {
    pub(crate) place: Place,
    pub(crate) network: Network,
    hosts: BTreeMap<&'static str, Host>,
    owned: bool,
    flavour: Flavour,
}

impl Lab {
    /// Brings a lab up: all hosts on, replication running, `db1` writable and holding the writer address.
    /// When something fails, nothing is left behind.
    pub fn up(options: Options) -> Result<Self> {
        let started = Instant::now();
        let progress = options.progress;
        progress.step("looking at the machine");
        machine::prepare(&progress)?;
        for server in options.flavour.servers() {
            stock::provide(server, &progress)?;
        }
        let place = Place::new(&options.name)?;
        {
            // Not while another lab goes down, which removes the directories that labs share when they are empty.
            let _alone = one_at_a_time()?;
            place.create(options.disks)?;
            place.write_flavour(options.flavour)?;
            if options.second_pair {
                place.add_second_pair()?;
            }
            Group::new(place.name(), None)?.create()?;
        }
        let owner = Identity::of(std::process::id()).filter(|_| options.owned);
        place.write_owner(owner.as_ref())?;
        let mut lab = Self::at(place, true, options.flavour);
        lab.bring_up(&progress)?;
        lab.owned = options.owned;
        progress.done(&format!("`{}` is up", lab.place.name()), started);
        Ok(lab)
    }

    /// The lab of that name, which is up already.
    pub fn open(name: &str) -> Result<Self> {
        machine::require_root()?;
        let place = Place::new(name)?;
        if !place.exists() {
            let others: Vec<String> = leftovers::names()?
                .into_iter()
                .filter(|other| other != name)
                .collect();
            let others = if others.is_empty() {
                String::new()
            } else {
                format!("; there is {}", others.join(", "))
            };
            bail!("no lab called `{name}` is up (`cargo lab up --name {name}` brings one up){others}");
        }
        let flavour = place.flavour()?;
        Ok(Self::at(place, false, flavour))
    }

    fn at(place: Place, owned: bool, flavour: Flavour) -> Self {
        let hosts = place
            .roster()
            .map(|entry| (entry.name, Host::new(&place, entry, flavour)))
            .collect();
        Self {
            network: Network::new(&place),
            hosts,
            place,
            owned,
            flavour,
        }
    }

    fn bring_up(&self, progress: &Progress) -> Result<()> {
        progress.step("preparing disks (the first time takes a few seconds)");
        let plain = disk::template(None)?;
        for server in self.flavour.servers() {
            disk::template(Some(server))?;
        }
        // A copy: the program may be built anew while its hosts run.
        let program = self.place.program();
        tool(
            "install",
            [
                "-m",
                "0755",
                "--",
                &own_program()?.to_string_lossy(),
                &program.to_string_lossy(),
            ],
        )?;
        fs::write(self.place.boot_script(), include_str!("../hosts/boot.sh"))
            .context("cannot write `boot.sh`")?;
        seed::secrets(&self.place)?;
        progress.step("laying cables");
        self.network.create()?;
        power::start(&self.place)?;
        progress.step("booting hosts");
        self.each(self.hosts(), |host| {
            seed::plant(&self.place, host.entry)?;
            let template = if host.is_database() {
                disk::template(Some(host.server()))?
            } else {
                plain.clone()
            };
            disk::copy(&template, &self.place.image(host.name()))?;
            host.boot()?;
            if host.is_database() {
                host.make_accounts()?;
            }
            Ok(())
        })?;
        progress.step("starting replication");
        self.each(self.databases().chain(self.second_pair()), |host| {
            host.follow_roster()
        })?;
        let writers = [("db1", WRITER_ADDRESS), ("db4", SECOND_WRITER_ADDRESS)];
        for (writer, address) in writers {
            if let Some(writer) = self.hosts.get(writer) {
                writer.sql("SET GLOBAL read_only = OFF")?;
                writer
                    .sh(&format!("ip address replace {address}/32 dev {INTERFACE}"))?
                    .ok()?;
            }
        }
        wait::until(
            REPLICATION_LIMIT,
            "replication to run on all three servers",
            || self.replication_runs(),
        )?;
        fs::write(self.place.state().join("up"), "").context("cannot record that the lab is up")
    }

    /// Does something on several hosts at once; the first error counts.
    pub fn each<'a>(
        &self,
        hosts: impl IntoIterator<Item = &'a Host>,
        work: impl Fn(&Host) -> Result<()> + Sync,
    ) -> Result<()> {
        let work = &work;
        std::thread::scope(|scope| {
            let running: Vec<_> = hosts
                .into_iter()
                .map(|host| (host.name(), scope.spawn(move || work(host))))
                .collect();
            let mut outcome = Ok(());
            for (name, thread) in running {
                let done = thread.join().unwrap_or_else(|_| Err(anyhow!("the thread died")));
                outcome = outcome.and(done.with_context(|| format!("host `{name}`")));
            }
            outcome
        })
    }

    pub fn name(&self) -> &str {
        self.place.name()
    }

    /// A host by its name.
    pub fn host(&self, name: &str) -> Result<&Host> {
        let known = || self.hosts().map(Host::name).collect::<Vec<_>>().join(", ");
        self.hosts
            .get(name)
            .with_context(|| format!("no host is called `{name}`; there are {}", known()))
    }

    pub fn hosts(&self) -> impl Iterator<Item = &Host> {
        // In the order of the roster, which is the one people expect.
        let roster = ROSTER.iter().chain(&SECOND_PAIR);
        roster.filter_map(|entry| self.hosts.get(entry.name))
    }

    /// The database hosts of the lab's cluster.
    pub fn databases(&self) -> impl Iterator<Item = &Host> {
        self.hosts()
            .filter(|host| host.is_database() && !SECOND_PAIR.contains(host.entry))
    }

    /// The hosts of the second cluster; none in a lab without it.
    pub fn second_pair(&self) -> impl Iterator<Item = &Host> {
        self.hosts().filter(|host| SECOND_PAIR.contains(host.entry))
    }

    fn known(&self, name: &'static str) -> &Host {
        // Every name of the roster has its host from the start.
        &self.hosts[name]
    }

    pub fn db1(&self) -> &Host {
        self.known("db1")
    }

    pub fn db2(&self) -> &Host {
        self.known("db2")
    }

    pub fn db3(&self) -> &Host {
        self.known("db3")
    }

    pub fn box_(&self) -> &Host {
        self.known("box")
    }

    pub fn client(&self) -> &Host {
        self.known("client")
    }

    /// Copies the `mmm` to be tested onto the box.
    pub fn install_on_box(&self, program: &Path) -> Result<()> {
        self.box_().install(program, "mmm")
    }

    /// Writes the inventory on the box, as `/etc/mmm/inventory.yaml`.
    pub fn write_inventory(&self, yaml: &str) -> Result<()> {
        self.box_().write("/etc/mmm/inventory.yaml", yaml)
    }

    /// The inventory of the lab's cluster.
    pub fn inventory_yaml(&self) -> String {
        inventory::yaml_of(self.flavour)
    }

    /// What its database hosts run.
    pub fn flavour(&self) -> Flavour {
        self.flavour
    }

    /// Gives the box the duty for fencing by the lab's power strip (see [`inventory::POWER_FENCE`]).
    pub fn install_power_duty(&self) -> Result<()> {
        let directory = format!("{}/duties", inventory::PLAYBOOKS);
        fs::create_dir_all(self.box_().path(&directory)?).context("cannot make the box's playbooks")?;
        self.box_()
            .write(&format!("{directory}/cut-power.yaml"), inventory::POWER_DUTY)
    }

    /// The password of an account (`monitor`, `agent`, `replication`, `app`).
    pub fn password(&self, account: &str) -> Result<String> {
        seed::password(&self.place, account)
    }

    /// Whether every server replicates as the roster says, both threads running.
    pub fn replication_runs(&self) -> bool {
        self.databases().all(|host| {
            host.replication()
                .is_ok_and(|status| status.is_some_and(|it| it.is_running()))
        })
    }

    /// The hosts whose kernel holds an address, in the order of the roster; a host that is off can be among them.
    pub fn who_has(&self, address: &str) -> Result<Vec<&'static str>> {
        let mut holders = Vec::new();
        for host in self.hosts() {
            if host.addresses()?.iter().any(|held| held == address) {
                holders.push(host.name());
            }
        }
        Ok(holders)
    }

    /// The hosts whose database server runs and takes writes.
    pub fn writable_hosts(&self) -> Vec<&'static str> {
        self.databases()
            .filter(|host| host.is_writable().unwrap_or(false))
            .map(Host::name)
            .collect()
    }

    /// The checksums of a table on the given hosts, by host.
    pub fn checksums(&self, table: &str, hosts: &[&str]) -> Result<BTreeMap<String, String>> {
        hosts
            .iter()
            .map(|name| Ok(((*name).to_owned(), self.host(name)?.checksum(table)?)))
            .collect()
    }

    /// Waits until a table has the same checksum on all the given hosts.
    pub fn wait_for_equal_tables(&self, table: &str, hosts: &[&str], limit: Duration) -> Result<()> {
        wait::until_some(
            limit,
            &format!("`{table}` to be the same on {}", hosts.join(", ")),
            || {
                let sums = self.checksums(table, hosts)?;
                let mut values = sums.values();
                let first = values.next();
                if values.all(|value| Some(value) == first) {
                    return Ok(Some(()));
                }
                bail!("the checksums differ: {sums:?}")
            },
        )
    }

    /// Sends one ping from a host to an address; whether it was answered within `limit`.
    pub fn answers(&self, from: &str, address: &str, limit: Duration) -> Result<bool> {
        let seconds = format!("{:.3}", limit.as_secs_f64());
        let arguments = ["-n", "-c", "1", "-W", &seconds, address];
        Ok(self.network.inside(from, "ping", &arguments).is_ok())
    }

    /// The address of a host of the roster.
    pub fn address_of(&self, name: &str) -> Result<String> {
        Ok(find(name)
            .with_context(|| format!("no host is called `{name}`"))?
            .address())
    }

    /// Takes the lab down now and says what could not be removed; dropping does the same without a word.
    pub fn down(mut self) -> Result<()> {
        self.owned = false;
        leftovers::remove(self.place.name())
    }

    /// Lets the lab stay up when the handle is dropped.
    pub fn keep(mut self) -> Self {
        self.owned = false;
        self
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.owned
            && let Err(error) = leftovers::remove(self.place.name())
        {
            Progress::Lines.note(&format!(
                "`{}` left something behind: {error:#}",
                self.place.name()
            ));
        }
    }
}

/// The lab's own program: this one, or the one that `cargo lab` built beside it.
fn own_program() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(PROGRAM_VARIABLE) {
        return Ok(PathBuf::from(path));
    }
    let own = std::env::current_exe().context("cannot find this program's own file")?;
    let beside = own
        .ancestors()
        .skip(1)
        .take(2)
        .map(|directory| directory.join("lab"));
    let candidates = std::iter::once(own.clone())
        .filter(|path| path.ends_with("lab"))
        .chain(beside);
    let found = candidates.into_iter().find(|path| path.is_file());
    found.with_context(|| {
        format!("cannot find the lab's program: build it (`cargo build -p lab`) or name it in `{PROGRAM_VARIABLE}`")
    })
}

/// Held by whoever takes labs down, so that two do not race.
pub(crate) fn one_at_a_time() -> Result<MachineLock> {
    MachineLock::take("down")
}
