//! What an operator may set: defaults, then a TOML file, then `ONEBOX_*` variables, then flags; the later wins.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use onebox_gateway::GatewaySettings;
use onebox_replica::{Confirm, Limits};
use serde::{Deserialize, Serialize};

use crate::partitions::PARTITIONS_MAX;
use crate::peers::tls::PeerTls;
use crate::peers::{HOST_CHARS_MAX, is_address, is_host};

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Readable on a terminal, JSON otherwise.
    Auto,
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What a write is answered on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConfirmSetting {
    /// A majority has it on its disks.
    Replicated,
    /// A majority has also carried it out, and come to the same state.
    Executed,
}

impl From<ConfirmSetting> for Confirm {
    fn from(setting: ConfirmSetting) -> Confirm {
        match setting {
            ConfirmSetting::Replicated => Confirm::Replicated,
            ConfirmSetting::Executed => Confirm::Executed,
        }
    }
}

/// The bounds of `heartbeat_ms`.
const HEARTBEAT_MS_MIN: u64 = 5;
const HEARTBEAT_MS_MAX: u64 = 1_000;

/// The settings of a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The data directory.
    pub data: PathBuf,
    /// The address of the one port.
    pub listen: SocketAddr,
    /// Where other nodes reach this one; empty for a node that runs alone.
    pub peer_listen: String,
    /// Where other nodes are told to reach this one; empty for `peer_listen`.
    pub peer_address: String,
    /// What it shares with nodes that are lost together with it; empty if that is nobody's business.
    pub host: String,
    /// Whether it is to vote; otherwise it follows.
    pub vote: bool,
    /// Partitions of a node or a cluster that begins; 0 for as many as there are, and for one where there are none yet.
    pub partitions: u32,
    /// At the first start: a node of the cluster to join, at its `peer_listen`; empty to begin a cluster.
    pub join: String,
    /// Whether nodes may talk in clear text over a network.
    pub peer_clear_text: bool,
    /// Milliseconds between two heartbeats; an election begins after 5 to 10 of them without a leader.
    pub heartbeat_ms: u64,
    /// What a write is answered on, as long as this node leads.
    pub confirm: ConfirmSetting,
    /// How log lines are written.
    pub log_format: LogFormat,
    /// What is logged.
    pub log_level: String,
    /// Threads that read and write the network.
    pub network_threads: usize,
    /// Threads that answer read-only requests.
    pub query_threads: usize,
    /// Bytes of a log segment.
    pub segment_bytes: u64,
    /// Bytes of the base's cache.
    pub cache_bytes: usize,
    /// Bytes of changed rows at which they are written to the base.
    pub flush_bytes: usize,
    /// Bytes of changed rows at which writes wait for the base.
    pub dirty_bytes_max: usize,
    /// Bytes of log after the base at which the base is brought up to date.
    pub log_replay_bytes_max: u64,
    /// Free bytes of the disk below which writes are refused.
    pub disk_free_min: u64,
    /// Requests that wait for execution.
    pub queue_requests_max: usize,
    /// Bytes of requests that wait for execution.
    pub queue_bytes_max: usize,
    /// Tenants.
    pub tenants_max: u64,
    /// Idempotency keys retained for one tenant.
    pub idempotency_keys_max: u64,
    /// Seconds for which an idempotency key is retained.
    pub idempotency_retention_seconds: u64,
    /// How connections between nodes are secured.
    pub peer_tls: PeerTls,
    /// The gateway's bounds.
    pub gateway: GatewaySettings,
}

impl Default for Settings {
    fn default() -> Settings {
        let limits = Limits::default();
        Settings {
            data: PathBuf::from("./data"),
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            peer_listen: String::new(),
            peer_address: String::new(),
            host: String::new(),
            vote: true,
            partitions: 0,
            join: String::new(),
            peer_clear_text: false,
            heartbeat_ms: 50,
            confirm: ConfirmSetting::Replicated,
            log_format: LogFormat::Auto,
            log_level: "info".to_owned(),
            network_threads: 2,
            query_threads: 2,
            segment_bytes: 64 << 20,
            cache_bytes: 256 << 20,
            flush_bytes: 64 << 20,
            dirty_bytes_max: limits.dirty_bytes_max,
            log_replay_bytes_max: limits.log_replay_bytes_max,
            disk_free_min: limits.disk_free_min,
            queue_requests_max: limits.queue_requests_max,
            queue_bytes_max: limits.queue_bytes_max,
            tenants_max: limits.tenants_max,
            idempotency_keys_max: limits.idempotency_keys_max,
            idempotency_retention_seconds: limits.idempotency_retention / 1_000_000,
            peer_tls: PeerTls::default(),
            gateway: GatewaySettings::default(),
        }
    }
}

/// One setting, explained.
#[derive(Debug, Clone, Copy)]
pub struct SettingDoc {
    /// Its name in the file; `gateway.` stands before those of the gateway.
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
}

impl SettingDoc {
    /// Its default, as it would stand in the file.
    pub fn default_value(&self) -> String {
        let defaults = toml::Table::try_from(Settings::default()).expect("the defaults can be written as TOML");
        let value = match self.name.split_once('.') {
            None => defaults.get(self.name),
            Some((group, field)) => defaults.get(group).and_then(|group| group.get(field)),
        };
        value.map_or_else(String::new, |value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    }
}

const fn doc(name: &'static str, about: &'static str) -> SettingDoc {
    SettingDoc { name, about }
}

/// Every setting, in the order of `--help`.
pub const SETTINGS: &[SettingDoc] = &[
    doc("data", "the data directory: log, base, history"),
    doc("listen", "address of the one port for HTTP and gRPC"),
    doc("peer_listen", "address for the other nodes of a cluster, like 10.0.0.7:7400; empty for a node that runs alone"),
    doc("peer_address", "where other nodes are told to reach this one, if not at peer_listen: a host that its certificate names"),
    doc("host", "what is lost together with this node: a machine, rack or room; a node on the host of a voter does not become one"),
    doc("vote", "false for a node that joins only to follow"),
    doc("partitions", "at the first start: parts with a log, a thread and a leader each, among which tenants are placed; 0 for one"),
    doc("join", "at the first start: peer address of any node of the cluster to join; empty to begin a cluster"),
    doc("peer_clear_text", "true lets nodes talk in clear text, which anybody on the network can read and forge"),
    doc("heartbeat_ms", "milliseconds between two heartbeats; after 5 to 10 without one another node leads; 20 suits a LAN"),
    doc(
        "confirm",
        "what a write is answered on: replicated (most nodes have it on disk) or executed (they have also come to the same state)",
    ),
    doc("log_format", "auto (text on a terminal, JSON otherwise), text or json"),
    doc("log_level", "error, warn, info, debug, or per module: info,onebox_gateway=debug"),
    doc("network_threads", "threads that read and write the network"),
    doc("query_threads", "threads that answer read-only requests"),
    doc("segment_bytes", "bytes of a log segment"),
    doc("cache_bytes", "bytes of the base's page cache"),
    doc("flush_bytes", "bytes of changed rows at which they are written to the base"),
    doc("dirty_bytes_max", "bytes of changed rows at which writes wait for the base"),
    doc("log_replay_bytes_max", "bytes of log after the base at which the base is brought up to date: bounds a restart"),
    doc("disk_free_min", "free bytes of the disk below which writes are refused"),
    doc("queue_requests_max", "requests that may wait for execution"),
    doc("queue_bytes_max", "bytes of requests that may wait for execution"),
    doc("tenants_max", "tenants of this node"),
    doc("idempotency_keys_max", "idempotency keys retained for one tenant"),
    doc("idempotency_retention_seconds", "seconds for which an idempotency key and its answer are retained"),
    doc("peer_tls.authority", "file with the certificate that signs the certificates of all nodes (PEM)"),
    doc("peer_tls.certificate", "file with this node's certificate, for the host in its peer address (PEM)"),
    doc("peer_tls.key", "file with its private key (PEM)"),
    doc("gateway.body_bytes_max", "bytes of one request body"),
    doc("gateway.bodies_in_flight_bytes_max", "bytes of all bodies being received or carried out"),
    doc("gateway.answers_in_flight_bytes_max", "bytes of all answers that their clients have not taken in"),
    doc("gateway.calls_in_flight_max", "calls being carried out or answered"),
    doc("gateway.connections_max", "connections"),
    doc("gateway.streams_per_connection_max", "calls at once on one HTTP/2 connection"),
    doc("gateway.request_timeout_default_ms", "milliseconds that a caller waits who gives no Onebox-Timeout"),
    doc("gateway.request_timeout_max_ms", "milliseconds that a caller may ask to wait"),
    doc("gateway.connection_idle_ms_max", "milliseconds that a connection may wait for its next request"),
    doc("gateway.drain_ms_max", "milliseconds that a stop waits for calls under way"),
];

/// A setting that cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub struct SettingsError(pub String);

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SettingsError {}

impl From<SettingsError> for crate::StartError {
    fn from(error: SettingsError) -> crate::StartError {
        crate::StartError::Other(error.0)
    }
}

impl Settings {
    /// Reads a settings file, if one is given, and lays `ONEBOX_*` variables over it.
    ///
    /// # Errors
    /// Which setting, and what is wrong with it.
    pub fn read(file: Option<&Path>, variables: impl IntoIterator<Item = (String, String)>) -> Result<Settings, SettingsError> {
        let of = |table: toml::Table, source: &dyn fmt::Display| {
            Settings::deserialize(table).map_err(|error| SettingsError(format!("{source}: {}", error.to_string().trim_end())))
        };
        let mut table = toml::Table::new();
        if let Some(path) = file {
            let text = std::fs::read_to_string(path).map_err(|error| SettingsError(format!("cannot read {}: {error}", path.display())))?;
            table = text.parse().map_err(|error| SettingsError(format!("{}: {error}", path.display())))?;
            of(table.clone(), &path.display())?;
        }
        for (name, value) in variables {
            lay_over(&mut table, &name, &value)?;
            // Alone, so that an error is of this one.
            let mut alone = toml::Table::new();
            lay_over(&mut alone, &name, &value)?;
            of(alone, &name)?;
        }
        of(table, &"settings")
    }

    /// Whether the numbers make sense together.
    ///
    /// # Errors
    /// Which do not.
    pub fn check(&self) -> Result<(), SettingsError> {
        let refuse = |words: String| Err(SettingsError(words));
        if self.flush_bytes > self.dirty_bytes_max / 2 {
            return refuse(format!(
                "flush_bytes ({}) must be at most half of dirty_bytes_max ({})",
                self.flush_bytes, self.dirty_bytes_max
            ));
        }
        if self.segment_bytes < 64 << 20 || self.segment_bytes > 1 << 30 || !self.segment_bytes.is_multiple_of(4096) {
            return refuse(format!("segment_bytes is {}; it must be a multiple of 4096 from 67108864 to 1073741824", self.segment_bytes));
        }
        let entry_max = self.limits().entry_bytes_at_most();
        // Two entries may share a frame, and a frame fits a segment; a page is for its headers.
        if 2 * entry_max as u64 + 8192 > self.segment_bytes {
            return refuse(format!(
                "gateway.body_bytes_max ({}) is too large for segment_bytes ({}): two entries of up to {entry_max} bytes must fit a segment",
                self.gateway.body_bytes_max, self.segment_bytes
            ));
        }
        if self.partitions > PARTITIONS_MAX {
            return refuse(format!("partitions is {}; it must be at most {PARTITIONS_MAX}", self.partitions));
        }
        if self.disk_free_min < self.segment_bytes {
            return refuse(format!("disk_free_min ({}) must be at least a segment ({})", self.disk_free_min, self.segment_bytes));
        }
        self.check_peers()?;
        self.gateway.check().map_err(SettingsError)
    }

    fn check_peers(&self) -> Result<(), SettingsError> {
        let refuse = |words: String| Err(SettingsError(words));
        if !(HEARTBEAT_MS_MIN..=HEARTBEAT_MS_MAX).contains(&self.heartbeat_ms) {
            return refuse(format!("heartbeat_ms is {}; it must be from {HEARTBEAT_MS_MIN} to {HEARTBEAT_MS_MAX}", self.heartbeat_ms));
        }
        let Some(address) = self.peers_at()? else {
            if !self.join.is_empty() || self.peer_tls.is_set() {
                return refuse("a node of a cluster needs peer_listen: the address where other nodes reach it".to_owned());
            }
            return Ok(());
        };
        let tls = [&self.peer_tls.authority, &self.peer_tls.certificate, &self.peer_tls.key];
        if self.peer_tls.is_set() && tls.iter().any(|file| file.is_empty()) {
            return refuse("peer_tls needs all three files: authority, certificate and key".to_owned());
        }
        if !self.peer_tls.is_set() && !self.peer_clear_text && !address.ip().is_loopback() {
            return refuse(format!(
                "nodes at {address} would talk in clear text, which anybody on the network can read and forge: give peer_tls, or say \
                 peer_clear_text = true if the network is yours alone"
            ));
        }
        if !is_host(&self.host) {
            return refuse(format!("host is {:?}; it must be one word of at most {HOST_CHARS_MAX} characters", self.host));
        }
        for (name, given) in [("peer_address", &self.peer_address), ("join", &self.join)] {
            if !given.is_empty() && !is_address(given) {
                return refuse(format!("{name} is {given:?}; it must be a host and a port, like 10.0.0.7:7400"));
            }
        }
        if address.ip().is_unspecified() && self.peer_address.is_empty() {
            return refuse(format!("other nodes cannot reach {address}: give peer_address, the host and port at which they do"));
        }
        Ok(())
    }

    /// Where other nodes reach this one, if it is to be of a cluster.
    ///
    /// # Errors
    /// The setting is no address.
    pub fn peers_at(&self) -> Result<Option<SocketAddr>, SettingsError> {
        if self.peer_listen.is_empty() {
            return Ok(None);
        }
        let parsed = self.peer_listen.parse().map(Some);
        parsed.map_err(|_| SettingsError(format!("peer_listen {:?} is not an address like 10.0.0.7:7400", self.peer_listen)))
    }

    /// The replica's bounds as set here.
    pub fn limits(&self) -> Limits {
        Limits {
            dirty_bytes_max: self.dirty_bytes_max,
            log_replay_bytes_max: self.log_replay_bytes_max,
            disk_free_min: self.disk_free_min,
            queue_requests_max: self.queue_requests_max,
            queue_bytes_max: self.queue_bytes_max,
            tenants_max: self.tenants_max,
            idempotency_keys_max: self.idempotency_keys_max,
            idempotency_retention: self.idempotency_retention_seconds.saturating_mul(1_000_000),
            body_bytes_max: self.gateway.body_bytes_max,
            ..Limits::default()
        }
    }
}

/// The variable of a setting: `ONEBOX_SEGMENT_BYTES`, `ONEBOX_GATEWAY_CONNECTIONS_MAX`.
pub(crate) fn variable(setting: &str) -> String {
    format!("ONEBOX_{}", setting.replace('.', "_").to_uppercase())
}

fn lay_over(table: &mut toml::Table, name: &str, value: &str) -> Result<(), SettingsError> {
    if !name.starts_with("ONEBOX_") || name == "ONEBOX_SETTINGS" {
        return Ok(());
    }
    let Some(setting) = SETTINGS.iter().find(|setting| variable(setting.name) == name) else {
        return Err(SettingsError(format!("{name} is not a setting; --help lists them")));
    };
    let number = value.parse::<i64>().ok().map(toml::Value::Integer);
    let value =
        number.or_else(|| value.parse::<bool>().ok().map(toml::Value::Boolean)).unwrap_or_else(|| toml::Value::String(value.to_owned()));
    match setting.name.split_once('.') {
        None => table.insert(setting.name.to_owned(), value),
        Some((group, field)) => {
            let group = table.entry(group).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            let Some(group) = group.as_table_mut() else {
                return Err(SettingsError(format!("{} is set, but its group is not a table in the settings file", setting.name)));
            };
            group.insert(field.to_owned(), value)
        }
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(variables: &[(&str, &str)], expected: Result<(), &str>) {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let read = Settings::read(None, variables).and_then(|settings| settings.check());
        match (read, expected) {
            (Ok(()), Ok(())) => {}
            (Err(error), Err(words)) => assert!(error.0.contains(words), "{error}"),
            (read, expected) => panic!("{read:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn every_setting_is_explained_and_every_explanation_is_of_a_setting() {
        let table = toml::Table::try_from(Settings::default()).unwrap();
        let mut names: Vec<String> = Vec::new();
        for (name, value) in &table {
            match value {
                toml::Value::Table(group) => names.extend(group.keys().map(|field| format!("{name}.{field}"))),
                _ => names.push(name.clone()),
            }
        }
        let mut explained: Vec<&str> = SETTINGS.iter().map(|setting| setting.name).collect();
        names.sort();
        explained.sort_unstable();
        assert_eq!(names, explained);
    }

    #[test]
    fn variables_are_read_and_wrong_ones_are_named() {
        check(&[("ONEBOX_LISTEN", "127.0.0.1:9"), ("ONEBOX_GATEWAY_CONNECTIONS_MAX", "7"), ("PATH", "/bin")], Ok(()));
        check(&[("ONEBOX_LISTEN", "everywhere")], Err("ONEBOX_LISTEN: "));
        check(&[("ONEBOX_DATA", "here"), ("ONEBOX_CONFIRM", "exec")], Err("ONEBOX_CONFIRM: unknown variant"));
        check(&[("ONEBOX_COLOUR", "red")], Err("ONEBOX_COLOUR is not a setting"));
        check(&[("ONEBOX_SEGMENT_BYTES", "100")], Err("segment_bytes is 100"));
        check(&[("ONEBOX_GATEWAY_BODY_BYTES_MAX", "33554432")], Err("gateway.body_bytes_max (33554432)"));
        check(&[("ONEBOX_DISK_FREE_MIN", "1")], Err("disk_free_min (1)"));
        check(&[("ONEBOX_FLUSH_BYTES", "999999999")], Err("flush_bytes (999999999)"));
        check(&[("ONEBOX_HEARTBEAT_MS", "4")], Err("heartbeat_ms is 4"));
        check(&[("ONEBOX_PARTITIONS", "65")], Err("partitions is 65"));
    }

    #[test]
    fn nodes_talk_in_clear_text_only_where_nobody_listens_or_in_so_many_words() {
        check(&[("ONEBOX_PEER_LISTEN", "127.0.0.1:7400"), ("ONEBOX_JOIN", "127.0.0.1:7401")], Ok(()));
        check(&[("ONEBOX_PEER_LISTEN", "10.0.0.7:7400")], Err("would talk in clear text"));
        check(&[("ONEBOX_PEER_LISTEN", "10.0.0.7:7400"), ("ONEBOX_PEER_CLEAR_TEXT", "true")], Ok(()));
        check(&[("ONEBOX_PEER_LISTEN", "0.0.0.0:7400"), ("ONEBOX_PEER_CLEAR_TEXT", "true")], Err("give peer_address"));
        check(&[("ONEBOX_PEER_LISTEN", "somewhere")], Err("peer_listen \"somewhere\" is not an address"));
        check(&[("ONEBOX_PEER_LISTEN", "127.0.0.1:1"), ("ONEBOX_PEER_ADDRESS", "db 1:7400")], Err("peer_address is \"db 1:7400\""));
        check(&[("ONEBOX_JOIN", "10.0.0.7:7400")], Err("needs peer_listen"));
        check(&[("ONEBOX_PEER_LISTEN", "127.0.0.1:1"), ("ONEBOX_PEER_TLS_KEY", "key.pem")], Err("all three files"));
    }
}
