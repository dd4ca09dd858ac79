//! What a person has done to one host beside the operations: out of service and back in, rebuilt, or a single duty. Each is
//! written down like a run; what becomes of one that was cut off is decided here, from its record and from what stands.

use std::collections::BTreeSet;

use super::cluster::HostName;
use super::playbook::Undo;
use super::proposal::Wish as Wanted;
use super::run::{Happening, Outcome};
use super::settlement::Wish;

/// What its record is called by, which is what a person typed; none for an operation of the playbooks.
pub fn name(wanted: &Wanted) -> Option<&str> {
    match wanted {
        Wanted::SetOffline { .. } => Some("set-offline"),
        Wanted::SetOnline { .. } => Some("set-online"),
        Wanted::Rejoin {
            discards: Some(_), ..
        } => Some("rebuild"),
        Wanted::Duty { duty, .. } => Some(duty),
        Wanted::Switchover { .. }
        | Wanted::Failover { .. }
        | Wanted::Reopen
        | Wanted::Rejoin { discards: None, .. }
        | Wanted::MoveAddress { .. } => None,
    }
}

/// The host it is about.
pub fn host(wanted: &Wanted) -> Option<&HostName> {
    match wanted {
        Wanted::SetOffline { host } | Wanted::SetOnline { host } | Wanted::Rejoin { host, .. } => Some(host),
        Wanted::Duty { at, .. } => Some(at),
        Wanted::Switchover { .. } | Wanted::Failover { .. } | Wanted::Reopen | Wanted::MoveAddress { .. } => {
            None
        }
    }
}

/// What is known of one that was cut off, once nothing of it runs any more.
#[derive(Debug, Clone, Copy)]
pub struct CutOff<'a> {
    /// What it was for.
    pub wanted: &'a Wanted,
    /// Its name.
    pub run: &'a str,
    /// How far it came.
    pub reached: Reached,
    /// Whether its host stands as out of service.
    pub is_offline: bool,
    /// What takes its duty back, as the playbook in use declares it.
    pub undo: Option<&'a Undo>,
    /// What is wanted of it.
    pub wish: Wish,
}

/// How far it came by its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// No step was begun.
    Nothing,
    /// Some were.
    Some,
    /// All of them have ended well.
    All,
}

impl Reached {
    /// By what happened to its stages.
    pub fn of<'h>(stages: usize, happenings: impl IntoIterator<Item = &'h Happening>) -> Reached {
        let mut begun = BTreeSet::new();
        let mut done = BTreeSet::new();
        for happening in happenings {
            match happening {
                Happening::Doing(stage) => {
                    begun.insert(*stage);
                    done.remove(stage);
                }
                Happening::Did(stage, Outcome::Done) => {
                    done.insert(*stage);
                }
                _ => {}
            }
        }
        match (begun.len(), done.len()) {
            (0, _) => Reached::Nothing,
            (_, done) if done == stages => Reached::All,
            _ => Reached::Some,
        }
    }
}

/// What is done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// Nothing: nothing had been touched, or nothing needs taking back. It is over, and taken back.
    Nothing(String),
    /// Nothing: it has done what it was for. It is over.
    Done,
    /// The replication of its host is stopped again: taken back.
    StopAgain,
    /// That duty takes it back.
    Undo(String),
    /// Nothing: what was done of it stays, and why. It is over.
    GiveUp(String),
    /// It cannot be taken back: why, and what leads on. It stays open.
    Irrevocable {
        /// Why.
        because: String,
        /// What can be done.
        hint: String,
    },
}

/// What to do about it. Unless a person wants it taken back nothing is done to any host: nobody knows who has been at work
/// there since. A person who wants it to go on has it done anew afterwards.
pub fn settle(cut: CutOff<'_>) -> Way {
    let back = cut.wish == Wish::TakeBack;
    let run = cut.run;
    let irrevocable = |because: String, hint: String| Way::Irrevocable { because, hint };
    match cut.wanted {
        Wanted::SetOffline { host } => match cut.reached {
            _ if cut.is_offline && back => irrevocable(
                format!("`{host}` is out of service by it already"),
                format!("`mmm resume {run}` brings it to its end; `mmm set-online {host}` leads back"),
            ),
            Reached::All if cut.is_offline => Way::Done,
            _ if cut.is_offline => Way::GiveUp(format!(
                "it was cut off: {host} is out of service, and `mmm set-offline {host}` clears away what may be left on it"
            )),
            Reached::Nothing => not_begun(),
            _ => Way::Nothing(format!("{host} was let back in since")),
        },
        _ if cut.reached == Reached::Nothing => not_begun(),
        Wanted::SetOnline { host } => match (cut.is_offline, back) {
            (true, true) => Way::StopAgain,
            (true, false) => Way::GiveUp(format!(
                "it was cut off: {host} is still out of service, though its replication may run; `mmm set-online {host}` \
                 lets it back in"
            )),
            (false, true) => irrevocable(
                format!("`{host}` is in service by it already"),
                format!("`mmm set-offline {host}` leads back"),
            ),
            (false, false) => Way::Done,
        },
        Wanted::Rejoin { host, .. } if back => irrevocable(
            format!("what only `{host}` had may be gone by it already"),
            format!("`mmm resume {run}` rebuilds it anew"),
        ),
        Wanted::Duty { duty, .. } if back => match cut.undo {
            Some(Undo::Duty(undo)) => Way::Undo(undo.clone()),
            Some(Undo::Nothing) => Way::Nothing(format!(
                "it was cut off, and nothing of `{duty}` needs taking back"
            )),
            None => irrevocable(
                format!("duty `{duty}` declares nothing that takes it back"),
                format!("`mmm resume {run}` performs it again; `mmm playbook show {duty}` says what it does"),
            ),
        },
        _ if cut.reached == Reached::All => Way::Done,
        Wanted::Rejoin { host, .. } => Way::GiveUp(format!(
            "it was cut off: {host} stays out until `mmm rejoin {host} --discard` has rebuilt it"
        )),
        _ => Way::GiveUp("it was cut off; what its steps did stays".to_owned()),
    }
}

fn not_begun() -> Way {
    Way::Nothing("it was cut off before its first step".to_owned())
}

/// What a person can do about one that was cut off, in words.
pub fn ways_out(run: &str, wanted: &Wanted) -> String {
    match wanted {
        Wanted::SetOffline { host } => {
            format!("`mmm resume {run}` brings it to its end, `mmm set-online {host}` leads back")
        }
        Wanted::Rejoin { host, .. } => {
            format!("`mmm resume {run}` rebuilds {host} anew; it cannot be taken back")
        }
        Wanted::Duty { .. } => {
            format!(
                "`mmm resume {run}` performs it again, `mmm undo {run}` takes it back where its duty says how"
            )
        }
        _ => format!("`mmm resume {run}` does it anew, `mmm undo {run}` takes it back"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn all() -> [Wanted; 4] {
        let host = HostName::from("db3");
        [
            Wanted::SetOffline { host: host.clone() },
            Wanted::SetOnline { host: host.clone() },
            Wanted::Rejoin {
                host: host.clone(),
                discards: Some("0-1-7".to_owned()),
            },
            Wanted::Duty {
                duty: "stop-replication".to_owned(),
                at: host,
                on_box: false,
                set: BTreeMap::new(),
                within_ms: 1,
            },
        ]
    }

    #[test]
    fn what_becomes_of_work_that_was_cut_off() {
        let undo = Undo::Duty("start-replication".to_owned());
        let mut text = String::new();
        for wanted in &all() {
            let name = name(wanted).unwrap();
            text.push_str(&format!("{name}: {}\n", ways_out("RUN", wanted)));
            for undo in [Some(&undo), Some(&Undo::Nothing), None] {
                let is_duty = matches!(wanted, Wanted::Duty { .. });
                if !is_duty && undo.is_some() {
                    continue;
                }
                for reached in [Reached::Nothing, Reached::Some, Reached::All] {
                    for is_offline in [false, true] {
                        let changes_service =
                            matches!(wanted, Wanted::SetOffline { .. } | Wanted::SetOnline { .. });
                        if is_offline && !changes_service {
                            continue;
                        }
                        for wish in [Wish::Settle, Wish::GoOn, Wish::TakeBack] {
                            let way = settle(CutOff {
                                wanted,
                                run: "RUN",
                                reached,
                                is_offline,
                                undo,
                                wish,
                            });
                            let undone = if is_duty {
                                format!(", undo {undo:?}")
                            } else {
                                String::new()
                            };
                            text.push_str(&format!(
                                "  begun {reached:?}, offline {is_offline}{undone}, {wish:?}: {way:?}\n"
                            ));
                        }
                    }
                }
            }
        }
        crate::core::golden::check("tests/golden/chores.txt", &text);
    }

    #[test]
    fn how_far_it_came_is_read_from_its_steps() {
        let (doing, done) = (Happening::Doing, |stage| Happening::Did(stage, Outcome::Done));
        let failed = Happening::Did(0, Outcome::Failed("x".to_owned()));
        for (happenings, reached) in [
            (vec![], Reached::Nothing),
            (vec![failed.clone()], Reached::Nothing),
            (vec![doing(0)], Reached::Some),
            (vec![doing(0), failed], Reached::Some),
            (vec![doing(0), done(0)], Reached::Some),
            (vec![doing(0), done(0), doing(1), done(1)], Reached::All),
            (
                vec![doing(0), done(0), doing(1), done(1), doing(1)],
                Reached::Some,
            ),
        ] {
            assert_eq!(Reached::of(2, &happenings), reached, "{happenings:?}");
        }
    }

    #[test]
    fn only_work_by_hand_has_such_a_record() {
        assert!(
            all()
                .iter()
                .all(|wanted| name(wanted).is_some() && host(wanted).is_some())
        );
        assert_eq!(name(&Wanted::Reopen), None);
        let compared = Wanted::Rejoin {
            host: "db1".into(),
            discards: None,
        };
        assert_eq!(name(&compared), None, "an operation of the playbooks");
    }
}
