//! What a client can be told: name servers, times, limits and its name.

use std::env;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::protocol::command::Serialization;

pub(crate) use namespace::{DEFAULT_TOPIC, Namespace};

mod namespace;

/// The longest time that can be set: the clock cannot reach any that a [`Duration`] can say.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// The configuration of a [`Client`](crate::Client).
///
/// Every builder of a producer or consumer starts from [`from_env`](Self::from_env) and can be given another. The defaults are the
/// Java client's. It can be read from a file with any serde format; times are in milliseconds there.
///
/// ```
/// use std::time::Duration;
/// use rocketmq_sdk::ClientConfig;
///
/// let config = ClientConfig::from_env().name_server("10.0.0.1:9876;10.0.0.2:9876").request_timeout(Duration::from_secs(1));
/// # let _ = config;
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[must_use]
pub struct ClientConfig {
    pub(crate) name_servers: Vec<String>,
    pub(crate) instance_name: String,
    pub(crate) client_ip: Option<IpAddr>,
    #[serde(with = "millis")]
    pub(crate) request_timeout: Duration,
    #[serde(with = "millis")]
    pub(crate) connect_timeout: Duration,
    #[serde(with = "millis")]
    pub(crate) heartbeat_interval: Duration,
    #[serde(with = "millis")]
    pub(crate) route_interval: Duration,
    #[serde(with = "millis")]
    pub(crate) idle_timeout: Duration,
    pub(crate) serialization: Serialization,
    pub(crate) max_buffered_bytes: usize,
    pub(crate) namespace: Option<String>,
    pub(crate) namespace_v2: Option<String>,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            name_servers: Vec::new(),
            instance_name: "DEFAULT".to_owned(),
            client_ip: None,
            request_timeout: Duration::from_secs(3),
            connect_timeout: Duration::from_secs(3),
            heartbeat_interval: Duration::from_secs(30),
            route_interval: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(120),
            serialization: Serialization::default(),
            max_buffered_bytes: 256 * 1024 * 1024,
            namespace: None,
            namespace_v2: None,
        }
    }
}

impl ClientConfig {
    /// The defaults, with what the environment says: `NAMESRV_ADDR` for the name servers, and `ROCKETMQ_SERIALIZE_TYPE` (`JSON` or
    /// `ROCKETMQ`), as the Java client reads them.
    pub fn from_env() -> Self {
        let mut config = Self::default();
        if let Ok(addrs) = env::var("NAMESRV_ADDR") {
            config = config.name_server(&addrs);
        }
        match env::var("ROCKETMQ_SERIALIZE_TYPE").as_deref() {
            Ok("JSON") => config.serialization = Serialization::Json,
            Ok("ROCKETMQ") => config.serialization = Serialization::Binary,
            _ => {}
        }
        config
    }

    /// The name servers, instead of those named before: `host:port`, several separated by `;`. A host may be a name, an IPv4
    /// address, or an IPv6 address in brackets; without a port it is 9876. One that does not answer is passed over.
    pub fn name_server(mut self, addrs: impl AsRef<str>) -> Self {
        self.name_servers = split_addrs(addrs.as_ref()).collect();
        self
    }

    /// A name that tells clients on one machine apart to a human eye. Default `DEFAULT`. Clients are different without it: their
    /// identity also has a random part.
    pub fn instance_name(mut self, name: impl Into<String>) -> Self {
        self.instance_name = name.into();
        self
    }

    /// The address that stands in the client's identity and in message ids. By default the one from which the name server
    /// is reached.
    pub fn client_ip(mut self, ip: IpAddr) -> Self {
        self.client_ip = Some(ip);
        self
    }

    /// How long a request that is not a send or a pull may take. Default 3 s.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// How long connecting to one address may take. Default 3 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How often brokers hear that the client lives. Default 30 s; brokers forget a client after 120 s.
    pub fn heartbeat_interval(mut self, interval: Duration) -> Self {
        self.heartbeat_interval = interval;
        self
    }

    /// How often routes are looked up again. Default 30 s.
    pub fn route_interval(mut self, interval: Duration) -> Self {
        self.route_interval = interval;
        self
    }

    /// When a connection without traffic is closed. Default 120 s, as brokers do.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// How request headers are written. Default [`Serialization::Binary`]; requests whose code does not fit it go in JSON.
    pub fn serialization(mut self, serialization: Serialization) -> Self {
        self.serialization = serialization;
        self
    }

    /// How many bytes of received messages all consumers of the client together may hold for their listeners. Default 256 MiB.
    ///
    /// Consumers stop pulling when it is used up. Each may have one pull beyond it, with what it brought until that is consumed, so
    /// that none starves behind another: its queues take turns then, and look for messages instead of waiting for them at their
    /// brokers. A pull asks for as many bytes as are reserved for it, and a message that is larger than that comes alone: each queue may
    /// pass the limit by one, and as much is reserved for its next pull. What a batch inflates to passes it in the same way. A broker of
    /// version 4.9 does not heed the number and gives what it gives to others, 256 KiB by default. A pull that waits at its broker
    /// counts as 16 KiB, so that many are needed for each queue, or queues have to take turns.
    pub fn max_buffered_bytes(mut self, bytes: usize) -> Self {
        self.max_buffered_bytes = bytes;
        self
    }

    /// Puts a namespace before the names of all topics and groups: `orders` is `namespace%orders` for brokers and name servers. The
    /// application sees and gives names without it; those of the broker's own topics have none. Clients of other namespaces do not meet.
    /// Default: none. It is what Java's clients call `setNamespace`.
    pub fn namespace(mut self, name: impl Into<String>) -> Self {
        self.namespace = Some(name.into());
        self
    }

    /// Names a namespace in every request, in the fields `ns` and `nsd` of its header, and leaves names as they are. It is for servers from
    /// 5.0 on that tell namespaces apart in this way; others take no notice of it. Default: none. It is what Java's clients call
    /// `setNamespaceV2`.
    pub fn namespace_v2(mut self, name: impl Into<String>) -> Self {
        self.namespace_v2 = Some(name.into());
        self
    }

    /// The name servers that are set, each as `host:port`.
    pub fn name_servers(&self) -> &[String] {
        &self.name_servers
    }

    pub(crate) fn check(&self) -> Result<()> {
        const OPERATION: &str = "start a client";
        if self.name_servers.is_empty() {
            return Err(Error::invalid(
                OPERATION,
                "no name server: set one on the builder or in NAMESRV_ADDR",
            ));
        }
        check_name_servers(OPERATION, &self.name_servers)?;
        if self.instance_name.contains(['@', '#']) || self.instance_name.is_empty() {
            return Err(Error::invalid(
                OPERATION,
                format!(
                    "instance name {:?} is empty or contains '@' or '#'",
                    self.instance_name
                ),
            ));
        }
        let namespaces = [
            ("namespace", &self.namespace),
            ("namespace_v2", &self.namespace_v2),
        ];
        for (what, name) in namespaces {
            if let Some(name) = name {
                check_namespace(name)
                    .map_err(|why| Error::invalid(OPERATION, format!("{what} {name:?} {why}")))?;
            }
        }
        let times = [
            ("request_timeout", self.request_timeout),
            ("connect_timeout", self.connect_timeout),
            ("heartbeat_interval", self.heartbeat_interval),
            ("route_interval", self.route_interval),
            ("idle_timeout", self.idle_timeout),
        ];
        times
            .iter()
            .try_for_each(|(name, time)| check_time(OPERATION, name, *time))
    }
}

/// Whether a time that was set can be waited for: it is over zero and at most a year.
pub(crate) fn check_time(operation: &'static str, name: &str, time: Duration) -> Result<()> {
    if time.is_zero() {
        return Err(Error::invalid(operation, format!("{name} is zero")));
    }
    if time > LONGEST {
        let detail = format!("{name} is {time:?}, the limit is a year");
        return Err(Error::invalid(operation, detail));
    }
    Ok(())
}

/// The addresses in a list as Java writes it, each with a port. `http://` is let go: other clients ask for it before host names.
fn split_addrs(addrs: &str) -> impl Iterator<Item = String> {
    addrs
        .split([';', ','])
        .map(str::trim)
        .filter(|addr| !addr.is_empty())
        .map(|addr| {
            let addr = addr.strip_prefix("http://").unwrap_or(addr);
            let has_port = match addr.rfind(']') {
                Some(end) => addr[end..].contains(':'),
                None => addr.contains(':'),
            };
            if has_port {
                addr.to_owned()
            } else {
                format!("{addr}:9876")
            }
        })
}

/// Splits a list of name servers, which may not be empty, and checks each.
pub(crate) fn parse_name_servers(operation: &'static str, addrs: &str) -> Result<Vec<String>> {
    let split: Vec<_> = split_addrs(addrs).collect();
    if split.is_empty() {
        return Err(Error::invalid(
            operation,
            format!("{addrs:?} names no name server"),
        ));
    }
    check_name_servers(operation, &split)?;
    Ok(split)
}

fn check_name_servers(operation: &'static str, addrs: &[String]) -> Result<()> {
    for addr in addrs {
        check_addr(addr)
            .map_err(|why| Error::invalid(operation, format!("name server {addr:?}: {why}")))?;
    }
    Ok(())
}

fn check_addr(addr: &str) -> Result<(), &'static str> {
    let (host, port) = addr.rsplit_once(':').ok_or("the port is missing")?;
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c == '/') {
        return Err("the host is not a name or an address");
    }
    if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
        return Err("an IPv6 address needs brackets");
    }
    match port.parse::<u16>() {
        Ok(1..) => Ok(()),
        _ => Err("the port is not a number from 1 to 65535"),
    }
}

fn check_namespace(name: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if name.is_empty() {
        return Err("is empty".to_owned());
    }
    match name.chars().find(|c| !allowed(*c)) {
        Some(wrong) => Err(format!(
            "contains {wrong:?}; allowed are letters, digits and _ -"
        )),
        None => Ok(()),
    }
}

mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        time: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_split_and_get_a_port() {
        let config = ClientConfig::default().name_server(" a:1 ;http://b;;[::1]:3,[::1] ");
        assert_eq!(
            config.name_servers(),
            ["a:1", "b:9876", "[::1]:3", "[::1]:9876"]
        );
        assert!(config.check().is_ok());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let text = |config: ClientConfig| config.check().unwrap_err().to_string();
        assert!(text(ClientConfig::default()).contains("NAMESRV_ADDR"));
        for addr in ["a:0", "a:x", ":9876", "::1:9876", "a b:1"] {
            assert!(
                text(ClientConfig::default().name_server(addr)).contains(addr),
                "{addr}"
            );
        }
        let config = ClientConfig::default().name_server("a:1");
        assert!(text(config.clone().request_timeout(Duration::ZERO)).contains("request_timeout"));
        assert!(text(config.clone().idle_timeout(Duration::MAX)).contains("idle_timeout"));
        assert!(text(config.clone().instance_name("a@b")).contains("a@b"));
        assert!(text(config.clone().namespace("a%b")).contains("namespace \"a%b\" contains '%'"));
        assert!(text(config.clone().namespace_v2("")).contains("namespace_v2 \"\" is empty"));
        assert!(config.namespace("n_1").namespace_v2("n-2").check().is_ok());
    }

    #[test]
    fn it_is_read_from_a_file() {
        let text = r#"{"name_servers":["a:1"],"request_timeout":500,"serialization":"JSON"}"#;
        let config: ClientConfig = serde_json::from_str(text).unwrap();
        assert_eq!(config.request_timeout, Duration::from_millis(500));
        assert_eq!(config.serialization, Serialization::Json);
        assert!(serde_json::from_str::<ClientConfig>(r#"{"name_server":[]}"#).is_err());
    }
}
