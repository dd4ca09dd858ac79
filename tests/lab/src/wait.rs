//! Waiting on conditions: every wait has a deadline and says what it waited for.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

const PAUSE: Duration = Duration::from_millis(10);

/// Waits until `condition` holds; the error names `what` and how long was waited.
pub fn until(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) -> Result<()> {
    until_some(limit, what, || Ok(condition().then_some(())))
}

/// Waits until `probe` gives a value. An error of the probe counts as "not yet" and is shown when time is up.
pub fn until_some<T>(limit: Duration, what: &str, mut probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        let last = probe();
        if let Ok(Some(value)) = last {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            match last {
                Err(error) => return Err(error.context(format!("waited {limit:?} for: {what}"))),
                Ok(_) => bail!("waited {limit:?} for: {what}"),
            }
        }
        std::thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_it_waited_for() {
        let error = until(Duration::from_millis(20), "the moon to rise", || false).unwrap_err();
        assert!(error.to_string().contains("the moon to rise"));
    }

    #[test]
    fn shows_the_last_error_of_the_probe() {
        let error = until_some::<()>(Duration::from_millis(20), "an answer", || {
            bail!("connection refused")
        })
        .unwrap_err();
        assert!(format!("{error:#}").contains("connection refused"));
    }
}
