//! The programs `mqnamesrv` and `mqbroker`: their command lines, which are those of Apache's distribution where it has them.

use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::{BrokerBuilder, Listen, NameServerHandle};

type Outcome = Result<(), Box<dyn Error>>;

/// A RocketMQ name server for tests. It keeps everything in memory.
#[derive(Debug, Parser)]
#[command(name = "mqnamesrv", version)]
struct NameServerArgs {
    /// The port to listen on [default: 9876]
    #[arg(short = 'p', long)]
    port: Option<u16>,
    /// A file of properties, as Apache's: listenPort
    #[arg(short = 'c', long = "configFile", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Listen on this address, which others can reach, instead of the loopback address; there is no authentication
    #[arg(long, value_name = "IP")]
    expose_on: Option<IpAddr>,
}

/// A RocketMQ broker for tests. It keeps its messages in memory.
#[derive(Debug, Parser)]
#[command(name = "mqbroker", version)]
struct BrokerArgs {
    /// The name servers to register with, e.g. 127.0.0.1:9876;127.0.0.1:9877
    #[arg(
        short = 'n',
        long = "namesrvAddr",
        env = "NAMESRV_ADDR",
        value_name = "HOST:PORT"
    )]
    name_servers: Option<String>,
    /// The port to listen on [default: 10911]
    #[arg(short = 'p', long)]
    port: Option<u16>,
    /// A file of properties, as Apache's: brokerName, brokerClusterName, namesrvAddr, listenPort, autoCreateTopicEnable,
    /// defaultTopicQueueNums, maxMessageSize
    #[arg(short = 'c', long = "configFile", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Listen on this address, which others can reach, instead of the loopback address; there is no authentication
    #[arg(long, value_name = "IP")]
    expose_on: Option<IpAddr>,
}

/// Runs `mqnamesrv` until SIGINT or SIGTERM.
///
/// # Errors
/// The command line or the file cannot be read, or the address is taken.
pub async fn name_server() -> Outcome {
    let args = NameServerArgs::parse();
    log();
    let mut file = Properties::read(args.config.as_deref())?;
    let port = match args.port {
        Some(port) => port,
        None => file.take("listenPort")?.unwrap_or(9876),
    };
    file.warn_of_rest();
    let node = NameServerHandle::listen(listen(args.expose_on, port))?;
    println!(
        "The Name Server boot success. serializeType=as requested, address {}",
        node.addr()
    );
    until_signal().await?;
    node.stop().await;
    Ok(())
}

/// Runs `mqbroker` until SIGINT or SIGTERM.
///
/// # Errors
/// The command line or the file cannot be read, or the address is taken.
pub async fn broker() -> Outcome {
    let args = BrokerArgs::parse();
    log();
    let mut file = Properties::read(args.config.as_deref())?;
    let port = match args.port {
        Some(port) => port,
        None => file.take("listenPort")?.unwrap_or(10911),
    };
    let in_file: Option<String> = file.take("namesrvAddr")?;
    let name_servers = args.name_servers.or(in_file).unwrap_or_default();
    let mut builder = BrokerBuilder::default()
        .name_servers(&name_servers)
        .listen(listen(args.expose_on, port));
    if let Some(name) = file.take::<String>("brokerName")? {
        builder = builder.name(name);
    }
    if let Some(name) = file.take::<String>("brokerClusterName")? {
        builder = builder.cluster(name);
    }
    if let Some(yes) = file.take("autoCreateTopicEnable")? {
        builder = builder.auto_create(yes);
    }
    if let Some(queues) = file.take("defaultTopicQueueNums")? {
        builder = builder.default_queues(queues);
    }
    if let Some(bytes) = file.take("maxMessageSize")? {
        builder = builder.max_message(bytes);
    }
    if let Some(yes) = file.take("recallMessageEnable")? {
        builder = builder.recall(yes);
    }
    file.warn_of_rest();
    let node = builder.start().await?;
    print!(
        "The broker[{}, {}] boot success. serializeType=as requested",
        node.name(),
        node.addr()
    );
    if name_servers.is_empty() {
        println!();
    } else {
        println!(" and name server is {name_servers}");
    }
    until_signal().await?;
    node.stop().await;
    Ok(())
}

fn log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .init();
}

fn listen(exposed: Option<IpAddr>, port: u16) -> Listen {
    match exposed {
        None => Listen::loopback(port),
        Some(ip) => Listen::exposed_to_others(ip, port),
    }
}

async fn until_signal() -> io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted,
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}

/// A file of `name=value` lines.
#[derive(Debug, Default)]
struct Properties(BTreeMap<String, String>);

impl Properties {
    fn read(file: Option<&Path>) -> io::Result<Self> {
        let text = file.map(std::fs::read_to_string).transpose()?;
        Ok(Self::parse(&text.unwrap_or_default()))
    }

    fn parse(text: &str) -> Self {
        let entries = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.starts_with(['#', '!']))
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()));
        Self(entries.collect())
    }

    fn take<T: std::str::FromStr>(&mut self, name: &str) -> io::Result<Option<T>> {
        let Some(value) = self.0.remove(name) else {
            return Ok(None);
        };
        value.parse().map(Some).map_err(|_| {
            let reason = format!("{name}={value} is not what that property takes");
            io::Error::new(io::ErrorKind::InvalidInput, reason)
        })
    }

    fn warn_of_rest(&self) {
        for name in self.0.keys() {
            tracing::warn!(%name, "a property without effect here");
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_lines_are_sound() {
        NameServerArgs::command().debug_assert();
        BrokerArgs::command().debug_assert();
    }

    #[test]
    fn reads_files_of_properties() {
        let mut file = Properties::parse("# a comment\n listenPort = 7 \nbrokerName=b=c\n\nx");
        assert_eq!(file.take("listenPort").unwrap(), Some(7_u16));
        assert_eq!(file.take::<u16>("listenPort").unwrap(), None);
        assert!(file.take::<u16>("brokerName").is_err());
        assert!(file.0.is_empty());
    }
}
