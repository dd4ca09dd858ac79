//! When each host's replication last heard from the writer, as far as this monitor saw: what people ask first once the
//! writer is silent. It explains, and decides nothing.

use super::Engine;
use crate::core::cluster::HostName;
use crate::core::facts::HostFacts;
use crate::core::moment::Moment;
use crate::core::testimony::{Circumstances, Hearing};

impl Engine {
    /// Remembers that something was heard since the host was looked at before.
    pub(super) fn remember_what_was_heard(&mut self, now: Moment, host: &HostName, facts: &HostFacts) {
        let writer = self.standing.writer.as_ref();
        let Some(writer) = writer.and_then(|writer| self.cluster.host(writer)) else {
            return;
        };
        let before = self.facts.get(host).and_then(|facts| facts.mysql.up());
        if let (Some(before), Some(after)) = (before, facts.mysql.up())
            && Hearing::between(before, after, writer.address).is_some_and(Hearing::is_heard)
        {
            self.heard_at.insert(host.clone(), now);
        }
    }

    /// The circumstances of a suspected writer, with what this monitor remembers of each witness.
    pub(super) fn remembered(&self, mut circumstances: Circumstances) -> Circumstances {
        for testimony in &mut circumstances.testimonies {
            testimony.last_heard = self.heard_at.get(&testimony.host).copied();
        }
        circumstances
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::core::engine::Input;
    use crate::core::facts::Reach;
    use crate::core::gtid::BinlogPosition;
    use crate::core::samples;
    use crate::core::standing::Standing;
    use crate::core::testimony::Testimony;

    #[test]
    fn the_last_moment_at_which_something_came_is_remembered_until_the_writer_is_another() {
        let standing = Standing {
            writer: Some("db1".into()),
            ..Standing::default()
        };
        let mut engine = Engine::new(samples::cluster(), BTreeMap::new(), standing.clone());
        let look = |received| {
            let mut facts = samples::facts(false, &[]);
            if let Reach::Up(mysql) = &mut facts.mysql {
                mysql.replicas[0].received = BinlogPosition::new("bin.000001", received).ok();
            }
            Input::Looked("db2".into(), Box::new(facts))
        };
        for (at, received) in [(1, 10), (2, 11), (3, 11)] {
            engine.step(Moment(at), look(received));
        }
        let asked = Circumstances {
            signs: Vec::new(),
            testimonies: vec![Testimony {
                host: "db2".into(),
                reaches: None,
                hearing: None,
                last_heard: None,
            }],
        };
        let told = |engine: &Engine| engine.remembered(asked.clone()).testimonies[0].last_heard;
        assert_eq!(told(&engine), Some(Moment(2)));
        let moved = Standing {
            writer: Some("db2".into()),
            ..standing
        };
        engine.step(Moment(4), Input::Stands(moved));
        assert_eq!(told(&engine), None);
    }
}
