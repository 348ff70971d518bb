//! Where the examples run: on the name server that `NAMESRV_ADDR` names, else on a cluster inside this process.

use rocketmq_testkit::Cluster;

/// Keeps the embedded cluster, if there is one, for as long as the example runs.
pub(crate) struct Servers {
    addr: String,
    cluster: Option<Cluster>,
}

impl Servers {
    pub(crate) async fn start() -> std::io::Result<Self> {
        if let Ok(addr) = std::env::var("NAMESRV_ADDR") {
            return Ok(Self {
                addr,
                cluster: None,
            });
        }
        let cluster = Cluster::builder().recall(true).start().await?;
        println!("NAMESRV_ADDR is not set: using a cluster inside this process");
        Ok(Self {
            addr: cluster.name_server_addr().to_owned(),
            cluster: Some(cluster),
        })
    }

    /// Lets time pass for the embedded cluster; another one takes its own.
    #[allow(dead_code, reason = "few examples need it")]
    pub(crate) fn pass(&self, time: std::time::Duration) {
        if let Some(cluster) = &self.cluster {
            cluster.clock().advance(time);
        }
    }

    pub(crate) fn name_server(&self) -> &str {
        &self.addr
    }
}
