//! Sends events to whoever reports them.

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::core::event::{Event, Told};
use crate::io::clock;
use crate::io::notify::Notifier;

/// Tells the events of one cluster.
#[derive(Debug, Clone)]
pub struct Teller {
    cluster: String,
    to: UnboundedSender<Told>,
    notifier: Option<Notifier>,
}

impl Teller {
    /// A teller and the end where its events come out.
    pub fn new(cluster: &str) -> (Teller, UnboundedReceiver<Told>) {
        let (to, events) = unbounded_channel();
        (
            Teller {
                cluster: cluster.to_owned(),
                to,
                notifier: None,
            },
            events,
        )
    }

    /// The same listener, for another cluster.
    pub fn about(&self, cluster: &str) -> Teller {
        Teller {
            cluster: cluster.to_owned(),
            to: self.to.clone(),
            notifier: None,
        }
    }

    /// The same, which tells the site's commands too.
    pub fn notifying(self, notifier: Notifier) -> Teller {
        Teller {
            notifier: Some(notifier),
            ..self
        }
    }

    /// Tells one event. Nobody listening is no reason to stop acting.
    pub fn tell(&self, event: Event) {
        let told = Told {
            at: clock::now(),
            cluster: self.cluster.clone(),
            event,
        };
        if let Some(notifier) = &self.notifier {
            notifier.offer(&told);
        }
        if let Err(unheard) = self.to.send(told) {
            tracing::warn!("nobody listens for events any more: {:?}", unheard.0.event);
        }
    }
}
