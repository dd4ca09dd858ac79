//! Commands of the site that tell people what happens. Each has a short queue and a worker of its own, so that one that
//! hangs keeps neither the others nor whoever acts from going on. What was left out or failed is said.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::config::inventory::ClusterEntry;
use crate::core::event::{Event, Told};
use crate::core::notice::{self, Notice};
use crate::core::printed::Printed;
use crate::io::command::{self, Order};
use crate::io::standing::StateDir;
use crate::io::teller::Teller;

/// As many events wait for a command at most.
const QUEUE: usize = 64;
/// Once nothing more will come, what still waits is told within this time.
const LAST_ONES_WITHIN: Duration = Duration::from_secs(10);

/// The words of an event, for a person; none for what only moves a progress bar.
pub type Words = fn(&Told) -> Option<String>;

/// Where the events of one cluster are offered.
#[derive(Debug, Clone)]
pub struct Notifier(Arc<Vec<Queue>>);

#[derive(Debug)]
struct Queue {
    notice: Notice,
    to: mpsc::Sender<Told>,
    /// How many were left out since the last that went through.
    left_out: Arc<AtomicU64>,
    /// Dropped with the last copy of the notifier: the worker then knows that nothing more will come.
    _open: watch::Sender<()>,
}

/// One command at work.
struct Worker {
    notice: Notice,
    hidden: Vec<String>,
    dir: StateDir,
    words: Words,
    left_out: Arc<AtomicU64>,
    /// Who is told when telling fails. As long as it lives, whoever reports waits.
    teller: Teller,
}

impl Notifier {
    /// Starts a worker for each command of a cluster's inventory. They end when no copy of this is left and their queues
    /// are empty, at most ten seconds later.
    pub fn start(entry: &ClusterEntry, dir: &StateDir, teller: &Teller, words: Words) -> Notifier {
        let queues = entry.notices.iter().map(|notice| {
            let (to, queue) = mpsc::channel(QUEUE);
            let left_out = Arc::new(AtomicU64::new(0));
            let (open, is_open) = watch::channel(());
            let worker = Worker {
                notice: notice.clone(),
                hidden: entry.secret_variables.clone(),
                dir: dir.clone(),
                words,
                left_out: left_out.clone(),
                teller: teller.clone(),
            };
            tokio::spawn(worker.work(queue, last_moment(is_open, LAST_ONES_WITHIN)));
            Queue {
                notice: notice.clone(),
                to,
                left_out,
                _open: open,
            }
        });
        Notifier(Arc::new(queues.collect()))
    }

    /// Offers an event to every command that wants it; never waits.
    pub fn offer(&self, told: &Told) {
        for queue in self.0.iter().filter(|queue| queue.notice.wants(&told.event)) {
            if queue.to.try_send(told.clone()).is_err() {
                let before = queue.left_out.fetch_add(1, Ordering::Relaxed);
                if before == 0 {
                    tracing::warn!("`notify.{}` is too slow: events are left out", queue.notice.name);
                }
            }
        }
    }
}

impl Worker {
    /// Tells what comes, one after the other, until nothing more will or the last moment has come. A command that is at
    /// work then is ended with all it started.
    async fn work(self, mut queue: mpsc::Receiver<Told>, last_moment: impl Future<Output = ()>) {
        let mut last_moment = std::pin::pin!(last_moment);
        let mut not_told = 0;
        while let Some(told) = queue.recv().await {
            tokio::select! {
                () = self.tell(&told) => {}
                () = &mut last_moment => {
                    not_told = 1 + queue.len();
                    break;
                }
            }
        }
        let left_out = self.left_out.load(Ordering::Relaxed);
        if not_told > 0 {
            self.say(format!(
                "{not_told} events were not told any more, because it was too slow"
            ));
        }
        if left_out > 0 {
            self.say(left_out_words(left_out));
        }
    }

    /// Tells one event, unless it is muted by now.
    async fn tell(&self, told: &Told) {
        match self.dir.load() {
            Ok(standing) if notice::is_muted(&told.event, &standing) => {
                return tracing::info!("`notify.{}` is not told in a downtime", self.notice.name);
            }
            Ok(_) => {}
            // Better told twice than never.
            Err(trouble) => tracing::debug!("whether there is a downtime is not known: {trouble}"),
        }
        let sentence = (self.words)(told)
            .map(|words| one_line(&words))
            .unwrap_or_default();
        let left_out = self.left_out.load(Ordering::Relaxed);
        let mut environment = notice::environment(told, &sentence);
        let as_json = serde_json::Value::from(sentence.as_str()).to_string();
        environment.insert("MMM_SENTENCE_JSON".to_owned(), as_json);
        environment.insert("MMM_LEFT_OUT".to_owned(), left_out.to_string());
        let input = match serde_json::to_value(Printed::of(told)) {
            Ok(mut value) => {
                value["sentence"] = sentence.into();
                value["left_out"] = left_out.into();
                format!("{value}\n")
            }
            Err(error) => return self.say(format!("an event is no JSON: {error}")),
        };
        let ran = command::run(Order {
            command: &self.notice.run,
            environment: &environment,
            hidden: &self.hidden,
            input: input.as_bytes(),
            within: self.notice.within,
        })
        .await;
        // More may have been left out meanwhile: those are counted with the next.
        self.left_out.fetch_sub(left_out, Ordering::Relaxed);
        if let Some(why) = ran.failed {
            let said = if ran.last_words.is_empty() {
                String::new()
            } else {
                format!(" ({})", ran.last_words)
            };
            self.say(format!("{why}{said}"));
        }
        if left_out > 0 {
            self.say(left_out_words(left_out));
        }
    }

    fn say(&self, what: String) {
        self.teller.tell(Event::Noted {
            what: format!("`notify.{}`: {what}", self.notice.name),
        });
    }
}

/// Comes so long after nothing more can be offered.
async fn last_moment(mut open: watch::Receiver<()>, later: Duration) {
    while open.changed().await.is_ok() {}
    tokio::time::sleep(later).await;
}

fn left_out_words(left_out: u64) -> String {
    format!("{left_out} events were left out before, because it was too slow")
}

/// The words of an event in one line.
fn one_line(words: &str) -> String {
    let lines = words.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::sync::mpsc::UnboundedReceiver;

    use super::*;
    use crate::core::notice::Topic;

    /// A notifier with a short queue and a short last moment; what its worker says comes out at the end in the middle.
    fn worker(
        dir: &std::path::Path,
        run: String,
        within: Duration,
    ) -> (Notifier, UnboundedReceiver<Told>, Told) {
        let (teller, events) = Teller::new("c");
        let notice = Notice {
            name: "test".into(),
            topics: [Topic::Alarm].into(),
            run,
            within,
        };
        let (to, queue) = mpsc::channel(2);
        let left_out = Arc::new(AtomicU64::new(0));
        let worker = Worker {
            notice: notice.clone(),
            hidden: Vec::new(),
            dir: StateDir::of(dir, "c"),
            words: |told| Some(format!("{:?}\n  twice \"quoted\"", told.event.loudness())),
            left_out: left_out.clone(),
            teller,
        };
        let (open, is_open) = watch::channel(());
        tokio::spawn(worker.work(queue, last_moment(is_open, Duration::from_millis(300))));
        let told = Told {
            at: crate::core::moment::Moment(7),
            cluster: "c".into(),
            event: Event::Alarm {
                what: "smoke".into(),
                hint: String::new(),
            },
        };
        let queue = Queue {
            notice,
            to,
            left_out,
            _open: open,
        };
        (Notifier(Arc::new(vec![queue])), events, told)
    }

    async fn lines(file: &std::path::Path, wanted: usize) -> Vec<String> {
        for _ in 0..400 {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            if text.lines().count() >= wanted {
                return text.lines().map(str::to_owned).collect();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{wanted} lines never came: {:?}", std::fs::read_to_string(file));
    }

    #[tokio::test]
    async fn a_command_gets_the_sentence_and_the_event() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("told");
        let run = format!(
            "{{ cat; printf '%s\\n' \"$MMM_SENTENCE\" \"$MMM_SENTENCE_JSON\" \"$MMM_TOPICS\"; }} >>{}",
            file.display()
        );
        let (notifier, _events, told) = worker(dir.path(), run, Duration::from_secs(5));
        notifier.offer(&told);
        let lines = lines(&file, 4).await;
        let event: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(event["what"], "smoke");
        assert_eq!((&event["event"], &event["version"]), (&"alarm".into(), &1.into()));
        assert_eq!(lines[1], "Alarm; twice \"quoted\"");
        assert_eq!(lines[2], r#""Alarm; twice \"quoted\"""#);
        assert_eq!(lines[3], "alarm");
    }

    #[tokio::test]
    async fn nobody_waits_for_a_slow_command_and_what_is_left_out_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("told");
        let run = format!("sleep 0.5; echo \"$MMM_LEFT_OUT\" >>{}", file.display());
        let (notifier, _events, told) = worker(dir.path(), run, Duration::from_secs(5));
        let began = Instant::now();
        for _ in 0..9 {
            notifier.offer(&told);
        }
        assert!(began.elapsed() < Duration::from_millis(300));
        let counted: Vec<u64> = lines(&file, 2)
            .await
            .iter()
            .map(|line| line.parse().unwrap())
            .collect();
        assert!(counted.iter().sum::<u64>() >= 6, "{counted:?}");
    }

    #[tokio::test]
    async fn whoever_ends_does_not_wait_for_a_command_that_may_take_minutes() {
        let dir = tempfile::tempdir().unwrap();
        let began_to = dir.path().join("began");
        let run = format!("echo began >>{}; sleep 60", began_to.display());
        let (notifier, mut events, told) = worker(dir.path(), run, Duration::from_secs(300));
        notifier.offer(&told);
        lines(&began_to, 1).await;
        notifier.offer(&told);
        let ending = Instant::now();
        drop(notifier);
        let mut said = Vec::new();
        // None once the worker is gone.
        while let Some(told) = events.recv().await {
            said.push(told.event);
        }
        assert!(
            ending.elapsed() < Duration::from_secs(3),
            "{:?}",
            ending.elapsed()
        );
        let what = "`notify.test`: 2 events were not told any more, because it was too slow".to_owned();
        assert_eq!(said, [Event::Noted { what }]);
    }
}
