//! The tasks of a monitor that have ended, and those of them that must not end unseen.

use tokio::task::{JoinError, JoinSet};

/// Lets go of the tasks that have ended.
pub fn reap(tasks: &mut JoinSet<()>) {
    while let Some(ended) = tasks.try_join_next() {
        pass_on(ended);
    }
}

/// A task that panicked takes the cluster's loop with it, and that the monitor: without it a check would never speak again,
/// or an operation never end. Whoever supervises the monitor starts it anew.
pub fn pass_on(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_ends_the_loop_that_started_it_and_one_that_ends_or_is_stopped_does_not() {
        let mut tasks = JoinSet::new();
        tasks.spawn(async {});
        tasks.spawn(std::future::pending()).abort();
        while !tasks.is_empty() {
            reap(&mut tasks);
            tokio::task::yield_now().await;
        }
        tasks.spawn(async { panic!("a bug") });
        let watching = tokio::spawn(async move {
            while !tasks.is_empty() {
                reap(&mut tasks);
                tokio::task::yield_now().await;
            }
        });
        assert!(watching.await.unwrap_err().is_panic());
    }
}
