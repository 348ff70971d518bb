//! Futures that are dropped before they are ready.

use futures::FutureExt;
use tokio::task::yield_now;

/// Polls a future so often, or until it is ready, and drops it then.
pub async fn poll<T>(future: impl Future<Output = T>, times: usize) -> Option<T> {
    let mut future = Box::pin(future);
    for _ in 0..times {
        if let Some(ready) = (&mut future).now_or_never() {
            return Some(ready);
        }
        yield_now().await;
    }
    None
}
