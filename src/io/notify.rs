//! Commands of the site that tell people what happens. Each has a short queue and a worker of its own, so that one that
//! hangs keeps neither the others nor whoever acts from going on. What was left out or failed is said.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::config::inventory::ClusterEntry;
use crate::core::event::{Event, Told};
use crate::core::notice::{self, Notice};
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
            let worker = Worker {
                notice: notice.clone(),
                hidden: entry.secret_variables(),
                dir: dir.clone(),
                words,
                left_out: left_out.clone(),
                teller: teller.clone(),
            };
            tokio::spawn(worker.work(queue));
            Queue {
                notice: notice.clone(),
                to,
                left_out,
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
    async fn work(self, mut queue: mpsc::Receiver<Told>) {
        let mut last_ones_until = None;
        while let Some(told) = queue.recv().await {
            if queue.is_closed() {
                last_ones_until.get_or_insert(Instant::now() + LAST_ONES_WITHIN);
            }
            let left = last_ones_until.map(|until| until.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                self.left_out.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let within = left.map_or(self.notice.within, |left| left.min(self.notice.within));
            self.tell(&told, within).await;
        }
        let left_out = self.left_out.load(Ordering::Relaxed);
        if left_out > 0 {
            self.say(format!("{left_out} events were not told any more"));
        }
    }

    /// Tells one event, unless it is muted by now.
    async fn tell(&self, told: &Told, within: Duration) {
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
        let left_out = self.left_out.swap(0, Ordering::Relaxed);
        let mut environment = notice::environment(told, &sentence);
        let as_json = serde_json::Value::from(sentence.as_str()).to_string();
        environment.insert("MMM_SENTENCE_JSON".to_owned(), as_json);
        environment.insert("MMM_LEFT_OUT".to_owned(), left_out.to_string());
        let input = match serde_json::to_value(told) {
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
            within,
        })
        .await;
        if let Some(why) = ran.failed {
            let said = if ran.last_words.is_empty() {
                String::new()
            } else {
                format!(" ({})", ran.last_words)
            };
            self.say(format!("{why}{said}"));
        }
        if left_out > 0 {
            self.say(format!(
                "{left_out} events were left out before, because it was too slow"
            ));
        }
    }

    fn say(&self, what: String) {
        self.teller.tell(Event::Noted {
            what: format!("`notify.{}`: {what}", self.notice.name),
        });
    }
}

/// The words of an event in one line.
fn one_line(words: &str) -> String {
    let lines = words.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::notice::Topic;

    fn worker(dir: &std::path::Path, run: String, within: Duration) -> (Notifier, Teller, Told) {
        let (teller, events) = Teller::new("c");
        // The listener of this test is the command.
        std::mem::forget(events);
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
            teller: teller.clone(),
        };
        tokio::spawn(worker.work(queue));
        let told = Told {
            at: crate::core::moment::Moment(7),
            cluster: "c".into(),
            event: Event::Alarm {
                what: "smoke".into(),
                hint: String::new(),
            },
        };
        let queue = Queue { notice, to, left_out };
        (Notifier(Arc::new(vec![queue])), teller, told)
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
        let (notifier, _teller, told) = worker(dir.path(), run, Duration::from_secs(5));
        notifier.offer(&told);
        let lines = lines(&file, 4).await;
        let event: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(event["what"], "smoke");
        assert_eq!(event["event"], "alarm");
        assert_eq!(lines[1], "Alarm; twice \"quoted\"");
        assert_eq!(lines[2], r#""Alarm; twice \"quoted\"""#);
        assert_eq!(lines[3], "alarm");
    }

    #[tokio::test]
    async fn nobody_waits_for_a_slow_command_and_what_is_left_out_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("told");
        let run = format!("sleep 0.5; echo \"$MMM_LEFT_OUT\" >>{}", file.display());
        let (notifier, _teller, told) = worker(dir.path(), run, Duration::from_secs(5));
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
}
