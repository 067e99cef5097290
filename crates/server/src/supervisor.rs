//! Supervises the tasks that a node needs. If one of them ends, the node has failed.

use std::{collections::HashMap, future, future::Future};

use tokio::task::{Id, JoinError, JoinSet};

/// The supervised tasks of a node.
#[derive(Debug, Default)]
pub(crate) struct Supervisor {
    tasks: JoinSet<()>,
    names: HashMap<Id, &'static str>,
}

/// A task ended that the server needs, so the server drained and stopped.
#[derive(Debug, thiserror::Error)]
#[error("the task `{task}` ended unexpectedly{}", .panic.as_ref().map(|panic| format!(": {panic}")).unwrap_or_default())]
pub struct TaskEnded {
    task: &'static str,
    panic: Option<JoinError>,
}

impl Supervisor {
    /// Starts a task under a name that the log shows.
    pub(crate) fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let id = self.tasks.spawn(task).id();
        self.names.insert(id, name);
    }

    /// Returns when one of the tasks has ended; never, if there are none.
    pub(crate) async fn failure(&mut self) -> TaskEnded {
        match self.tasks.join_next_with_id().await {
            Some(ended) => self.describe(ended),
            None => future::pending().await,
        }
    }

    /// Waits until all tasks have ended after they were told to. Logs those that panicked.
    pub(crate) async fn ended(&mut self) {
        while let Some(ended) = self.tasks.join_next_with_id().await {
            let ended = self.describe(ended);
            if ended.panic.is_some() {
                tracing::error!("{ended}");
            }
        }
    }

    /// Aborts all tasks and waits for them.
    pub(crate) async fn shutdown(mut self) {
        self.tasks.abort_all();
        while let Some(ended) = self.tasks.join_next_with_id().await {
            let ended = self.describe(ended);
            if ended.panic.as_ref().is_some_and(JoinError::is_panic) {
                tracing::error!("{ended}");
            }
        }
    }

    fn describe(&self, ended: Result<(Id, ()), JoinError>) -> TaskEnded {
        let (id, panic) = match ended {
            Ok((id, ())) => (id, None),
            Err(error) => (error.id(), Some(error)),
        };
        TaskEnded { task: self.names.get(&id).copied().unwrap_or_default(), panic }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_panicked_was_noticed_only_at_the_end() {
        let mut supervisor = Supervisor::default();
        supervisor.spawn("lives", future::pending());
        supervisor.spawn("fails", async {
            if true {
                panic!("a bug")
            }
        });
        let failure = supervisor.failure().await;
        assert_eq!(failure.task, "fails");
        assert!(failure.to_string().contains("a bug"), "{failure}");
        supervisor.shutdown().await;
    }

    #[tokio::test]
    async fn a_task_that_returns_has_failed_too() {
        let mut supervisor = Supervisor::default();
        supervisor.spawn("lives", future::pending());
        supervisor.spawn("returns", future::ready(()));
        let failure = supervisor.failure().await;
        assert_eq!(failure.to_string(), "the task `returns` ended unexpectedly");
    }
}
