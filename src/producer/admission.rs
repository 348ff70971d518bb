//! Who may send: nobody after a shutdown, and no more at once than there is room for.

use tokio::time::{Instant, timeout_at};
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::error::{Error, ErrorKind, Result};
use crate::producer::room::{NoPlace, Place};
use crate::producer::{OPERATION, Shared};

/// What a send adds to what is in flight.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) messages: usize,
    pub(super) bytes: usize,
}

/// Keeps a shutdown waiting for a send.
#[derive(Debug)]
pub(super) enum Ticket {
    Place(Place),
    /// There was no room.
    Waiting {
        load: Load,
        _in_flight: TaskTrackerToken,
    },
}

impl Shared {
    /// Lets a shutdown wait until the token is dropped; `None` after one.
    pub(super) fn enter(&self) -> Option<TaskTrackerToken> {
        // Taken before the look, so that a shutdown either is seen or waits.
        let in_flight = self.in_flight.token();
        (!self.in_flight.is_closed()).then_some(in_flight)
    }

    /// How many messages, and what else, a shutdown would have to wait for.
    pub(super) fn unfinished(&self) -> usize {
        self.in_flight.len() + self.room.messages()
    }

    /// The ticket of a send; `None` after a shutdown.
    pub(super) fn admit(&self, load: Load) -> Option<Ticket> {
        match self.room.take(load.messages, load.bytes) {
            Ok(place) => Some(Ticket::Place(place)),
            Err(NoPlace::Closed) => None,
            Err(NoPlace::Full) => self
                .enter()
                .map(|_in_flight| Ticket::Waiting { load, _in_flight }),
        }
    }

    /// Turns a ticket into a place, as soon as there is room.
    ///
    /// Cancel safe: the ticket is given back with the future.
    pub(super) async fn find_room(
        &self,
        ticket: Ticket,
        topic: &str,
        deadline: Instant,
    ) -> Result<Place> {
        let (load, _in_flight) = match ticket {
            Ticket::Place(place) => return Ok(place),
            Ticket::Waiting { load, _in_flight } => (load, _in_flight),
        };
        let found = async {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => Err(closed(topic)),
                place = self.room.wait(load.messages, load.bytes) => Ok(place),
            }
        };
        let found = timeout_at(deadline, found).await;
        found.unwrap_or_else(|_| Err(self.room.overloaded(topic, "and no room came in time")))
    }
}

/// The error of a send after a shutdown.
pub(super) fn closed(topic: &str) -> Error {
    Error::new(ErrorKind::Closed, OPERATION).topic_of(topic)
}
