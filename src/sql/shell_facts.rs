//! What the duty `facts` registered → what the host holds. Strings in, values out.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::core::facts::{AddressFact, ShellFacts};
use crate::core::sign::Sign;

/// Reads the registered values `addresses` (`ip -o address show`), `uptime` (seconds), and `signs` if it is there.
///
/// # Errors
/// Which of them is missing or cannot be read.
pub fn parse(registered: &BTreeMap<String, String>) -> Result<ShellFacts, String> {
    let value = |name: &str| {
        registered
            .get(name)
            .ok_or_else(|| format!("the host did not tell its {name}"))
    };
    let uptime = value("uptime")?;
    let seconds: f64 = uptime
        .trim()
        .parse()
        .map_err(|_| format!("its uptime `{uptime}` is not a number of seconds"))?;
    let addresses = value("addresses")?.lines().filter_map(address).collect();
    Ok(ShellFacts {
        addresses,
        uptime: Duration::try_from_secs_f64(seconds).unwrap_or_default(),
        signs: registered
            .get("signs")
            .map(|text| Sign::read(text))
            .unwrap_or_default(),
    })
}

/// One line of `ip -o address show`: `2: eth0    inet 10.0.0.1/24 … valid_lft forever …`.
fn address(line: &str) -> Option<AddressFact> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let after = |word: &str| {
        words
            .iter()
            .position(|w| *w == word)
            .and_then(|at| words.get(at + 1))
            .copied()
    };
    let (ip, prefix) = after("inet").or_else(|| after("inet6"))?.split_once('/')?;
    let ip: IpAddr = ip.parse().ok()?;
    let expires_in = after("valid_lft")
        .and_then(|lifetime| lifetime.strip_suffix("sec"))
        .and_then(|seconds| seconds.parse().ok())
        .map(Duration::from_secs);
    // A veth shows as `eth0@if7`; the device's name is what stands before the `@`.
    let device = words.get(1)?.split('@').next()?.to_owned();
    Some(AddressFact {
        ip,
        prefix: prefix.parse().ok()?,
        device,
        expires_in,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_ip_prints() {
        let addresses = "\
1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever preferred_lft forever
2: eth0    inet 10.77.0.11/24 scope global eth0\\       valid_lft forever preferred_lft forever
2: eth0    inet 10.77.0.100/32 scope global eth0\\       valid_lft 58sec preferred_lft 58sec
2: eth0    inet6 fe80::1/64 scope link \\       valid_lft forever preferred_lft forever";
        let registered = BTreeMap::from([
            ("addresses".to_owned(), addresses.to_owned()),
            ("uptime".to_owned(), "351.07".to_owned()),
            ("signs".to_owned(), "disk_full\n".to_owned()),
        ]);
        let facts = parse(&registered).unwrap();
        assert_eq!(facts.addresses.len(), 4);
        assert!(facts.holds("10.77.0.100".parse().unwrap()));
        assert_eq!(facts.addresses[2].expires_in, Some(Duration::from_secs(58)));
        assert_eq!(facts.uptime.as_millis(), 351_070);
        assert_eq!(facts.signs, [Sign::DiskFull]);
    }
}
