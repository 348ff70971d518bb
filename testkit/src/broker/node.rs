//! A running broker: its state, its server, and the tasks that belong to them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::broker::assignments::answer_questions;
use crate::broker::registrar::Registrar;
use crate::broker::{BrokerConfig, SharedBroker, names};
use crate::fault::Faults;
use crate::net::gate::Gate;
use crate::net::network::Network;
use crate::net::server::{Bound, Server};
use crate::node::Site;

/// How many connections a broker takes.
const MAX_CONNECTIONS: usize = 10_000;

/// A broker that can be started, stopped, killed and started again. What it stored, its topics and the committed offsets stay.
#[derive(Debug)]
pub(crate) struct BrokerNode {
    name: Arc<str>,
    faults: Faults,
    name_servers: usize,
    network: Network,
    service: Arc<SharedBroker>,
    server: Arc<Server>,
    runtime: Handle,
    running: Mutex<Option<Running>>,
    /// It starts or ends, one after the other.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Running {
    /// Ends the tasks in order.
    stopped: CancellationToken,
    /// Ends them at once; so does dropping this.
    killed: DropGuard,
    tasks: TaskTracker,
}

impl BrokerNode {
    /// A broker that is not yet started. Its tasks run where this is called.
    pub(crate) fn new(config: BrokerConfig, addr: SocketAddr, site: &Site) -> io::Result<Self> {
        for name in [&config.name, &config.cluster] {
            names::check_topic(name)
                .map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, why.to_string()))?;
        }
        let bound = Bound::new(site.network.clone(), addr)?;
        let name = Arc::from(&*config.name);
        let name_servers = config.name_servers.len();
        let clock = site.clock.of_node();
        let tap = site.tap(&name, &clock);
        let gate = Arc::new(Gate::default());
        let service = SharedBroker::new(config, bound.addr(), clock, Arc::clone(&gate));
        Ok(Self {
            faults: site.faults(&name),
            name,
            name_servers,
            network: site.network.clone(),
            server: Server::new(bound, service.clone(), tap, gate, MAX_CONNECTIONS),
            service,
            runtime: Handle::current(),
            running: Mutex::new(None),
            turn: tokio::sync::Mutex::default(),
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) const fn faults(&self) -> &Faults {
        &self.faults
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    pub(crate) fn is_running(&self) -> bool {
        self.server.is_running()
    }

    pub(crate) const fn service(&self) -> &Arc<SharedBroker> {
        &self.service
    }

    /// Starts the broker and waits until it has tried to register with each of its name servers. Does nothing if it runs.
    pub(crate) async fn start(&self) -> io::Result<()> {
        let started = {
            let _turn = self.turn.lock().await;
            self.start_tasks()?
        };
        if let Some(tried) = started {
            for mut tried in tried {
                // It fails only if the task has ended, and then there is nothing to wait for.
                let _ = tried.wait_for(|tried| *tried).await;
            }
        }
        Ok(())
    }

    /// Lets nothing pass any more, as if the process were suspended; connections stay.
    pub(crate) fn pause(&self) {
        self.server.gate().close();
    }

    /// Goes on, and does what came due in the meantime.
    pub(crate) fn resume(&self) {
        self.server.gate().open();
    }

    pub(crate) fn connections(&self) -> usize {
        self.server.connections()
    }

    pub(crate) const fn runtime(&self) -> &Handle {
        &self.runtime
    }

    fn start_tasks(&self) -> io::Result<Option<Vec<watch::Receiver<bool>>>> {
        let mut running = self.running.lock();
        if running.is_some() {
            return Ok(None);
        }
        self.server.start()?;
        let killed = CancellationToken::new();
        let stopped = CancellationToken::new();
        let tasks = TaskTracker::new();
        let work = {
            let (service, stopped) = (Arc::clone(&self.service), stopped.clone());
            let network = self.network.clone();
            async move {
                tokio::select! {
                    () = stopped.cancelled() => {}
                    () = service.run_timers() => {}
                    () = answer_questions(Arc::clone(&service), network) => {}
                }
            }
        };
        tasks.spawn_on(or_killed(killed.clone(), work), &self.runtime);
        let mut tried = Vec::new();
        for name_server in 0..self.name_servers {
            let registrar = Registrar {
                service: Arc::clone(&self.service),
                network: self.network.clone(),
                name_server,
                stopped: stopped.clone(),
                tried: watch::Sender::new(false),
            };
            tried.push(registrar.tried.subscribe());
            tasks.spawn_on(or_killed(killed.clone(), registrar.run()), &self.runtime);
        }
        tasks.close();
        *running = Some(Running {
            stopped,
            killed: killed.drop_guard(),
            tasks,
        });
        Ok(Some(tried))
    }

    /// Unregisters the broker, then closes its connections in order.
    ///
    /// # Cancel safety
    /// Dropping the future ends the broker as [`kill`](Self::kill) does.
    pub(crate) async fn stop(&self) {
        let _turn = self.turn.lock().await;
        let _killed_if_dropped = KillOnDrop(&self.server);
        // What is paused cannot end in order.
        self.resume();
        let running = self.running.lock().take();
        if let Some(running) = running {
            running.stopped.cancel();
            running.tasks.wait().await;
        }
        self.server.stop().await;
    }

    /// Ends the broker as a crash would: its connections are reset, nobody is told.
    ///
    /// # Cancel safety
    /// Dropping the future does not stop the broker from ending.
    pub(crate) async fn kill(&self) {
        let _turn = self.turn.lock().await;
        let _killed_if_dropped = KillOnDrop(&self.server);
        let running = self.running.lock().take();
        if let Some(Running { killed, tasks, .. }) = running {
            drop(killed);
            tasks.wait().await;
        }
        self.server.kill().await;
        self.resume();
    }
}

/// Ends a server if a future that was to end it is dropped.
struct KillOnDrop<'a>(&'a Server);

impl Drop for KillOnDrop<'_> {
    fn drop(&mut self) {
        self.0.kill_now();
    }
}

async fn or_killed(killed: CancellationToken, work: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        () = killed.cancelled() => {}
        () = work => {}
    }
}
