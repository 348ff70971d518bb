//! Sends that want no answer.

use std::sync::Arc;

use super::{SendFuture, State, polled_before};
use crate::error::Result;
use crate::producer::OPERATION;
use crate::producer::rest::no_master;
use crate::producer::select::Avoid;

impl SendFuture {
    /// Sends the message without asking for an answer: resolves when it waits to be written on a connection. Whether it is stored
    /// is never known, and a broker in trouble drops it without a word. There is one attempt.
    ///
    /// # Errors
    /// As for the send itself, as far as they show before the message is written.
    ///
    /// # Cancel safety
    /// Dropping the future before it resolves means that the message is not sent.
    pub async fn oneway(mut self) -> Result<()> {
        let written = self.write_oneway().await;
        if let Some(watched) = self.watched.take() {
            watched.over(written.as_ref().map(|()| None));
        }
        written
    }

    async fn write_oneway(&mut self) -> Result<()> {
        self.admit()?;
        let State::New(draft) = self.state.take() else {
            return Err(polled_before());
        };
        let (mut job, mut target) = draft.into_job()?;
        job.find_room().await?;
        job.compress().await;
        let deadline = job.budget.deadline();
        let shared = Arc::clone(&job.shared);
        let queues = shared
            .queues(OPERATION, job.message().shared_topic(), deadline)
            .await?;
        let queue = job.pick(&mut target, &queues, &Avoid::nothing())?;
        // Nothing of the application's own is held while this waits.
        drop(target);
        let described = |error| job.describe(error, &queue, 1).attempt(1, 1);
        let addr = queues
            .master(&queue.broker_name)
            .ok_or_else(|| described(no_master()))?;
        let (header, body) = (job.header(&queue), job.message().body());
        let sent = shared
            .client
            .rpc()
            .send_oneway(addr, job.kind.carries(), &header, body, deadline)
            .await;
        sent.map_err(described)
    }
}
