//! May a person have a single duty performed? An operation looks first whether another host writes; a duty by itself does
//! not, so what could make a second writer is left to operations.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::cluster::{Cluster, HostName};
use super::guard::{self, Guard};
use super::standing::Standing;
use super::trouble::Trouble;

/// What a duty's templates can name, as a person says it: `address=IP`, `source=HOST`, `with.NAME=…`, and what an earlier
/// duty would have registered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Values {
    /// The floating address it is about.
    pub address: Option<IpAddr>,
    /// The host it follows, waits for, or asks about.
    pub source: Option<HostName>,
    /// Values that a step of an operation would give.
    pub with: BTreeMap<String, String>,
    /// Values that an earlier duty would have registered.
    pub registered: BTreeMap<String, String>,
}

impl Values {
    /// Reads what was said.
    ///
    /// # Errors
    /// The address is none.
    pub fn read<'a>(said: impl IntoIterator<Item = (&'a String, &'a String)>) -> Result<Values, String> {
        let mut values = Values::default();
        for (name, value) in said {
            match (name.as_str(), name.strip_prefix("with.")) {
                ("address", _) => {
                    let address = value.parse();
                    values.address = Some(address.map_err(|_| format!("`{value}` is no IP address"))?);
                }
                ("source", _) => values.source = Some(HostName::from(value.as_str())),
                (_, Some(name)) => {
                    values.with.insert(name.to_owned(), value.clone());
                }
                (name, None) => {
                    values.registered.insert(name.to_owned(), value.clone());
                }
            }
        }
        Ok(values)
    }
}

/// A duty asked for.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Its name.
    pub duty: &'a str,
    /// Where.
    pub at: &'a HostName,
    /// It declares that it changes nothing.
    pub only_asks: bool,
    /// The step that lets a server take writes or run events, when it has one.
    pub opening_step: Option<&'a str>,
    /// The address it is about.
    pub address: Option<IpAddr>,
}

/// Whether it may be performed.
///
/// # Errors
/// Refused: a stuck run stands in the way, or only an operation may do that.
pub fn allowed(cluster: &Cluster, standing: &Standing, asked: &Asked<'_>) -> Result<(), Trouble> {
    if asked.only_asks {
        return Ok(());
    }
    guard::hands_off(cluster, standing)?;
    let because = match (asked.opening_step, asked.address) {
        (Some(step), _) => format!("its step `{step}` would let the server take writes, or run events"),
        (None, Some(address)) if cluster.writer_address() == Some(address) => {
            format!("{address} is the writer's address")
        }
        (None, _) => return Ok(()),
    };
    Err(Trouble::refused(
        Guard::G91,
        format!("duty `{}` was not performed at `{}`", asked.duty, asked.at),
        because,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::samples;

    #[test]
    fn what_could_make_a_second_writer_is_left_to_operations() {
        let at = HostName::from("db2");
        let writer_address = samples::WRITER_ADDRESS.parse().ok();
        let judge = |only_asks, opening_step, address, standing: &Standing| {
            let asked = Asked {
                duty: "d",
                at: &at,
                only_asks,
                opening_step,
                address,
            };
            allowed(&samples::cluster(), standing, &asked).map_err(|trouble| trouble.guard)
        };
        let fine = Standing::default();
        assert_eq!(judge(false, Some("s"), None, &fine), Err(Some(Guard::G91)));
        assert_eq!(judge(false, None, writer_address, &fine), Err(Some(Guard::G91)));
        assert_eq!(judge(false, None, "10.0.0.101".parse().ok(), &fine), Ok(()));
        assert_eq!(judge(false, None, None, &fine), Ok(()));
        assert_eq!(
            judge(true, None, writer_address, &fine),
            Ok(()),
            "a question harms nobody"
        );
        let mut stuck = Standing::default();
        stuck.get_stuck("x".to_owned(), &[]);
        assert_eq!(judge(false, None, None, &stuck), Err(Some(Guard::G01)));
        assert_eq!(judge(true, None, None, &stuck), Ok(()));
    }
}
