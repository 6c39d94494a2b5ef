//! Belonging to a cluster: which one stands in the file `cluster` of the data directory, written at the first start.
//!
//! A node begins a cluster, whose name is then its own identity, or joins one that is there: it learns the name from any
//! node of it, starts empty, and asks the leader to take it in, first to follow and then to vote.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use onebox_replica::{Membership, PeerId};
use onebox_service::attempt::Reply;
use onebox_store::names::NodeId;

use crate::folder::Folder;
use crate::identity::{self, write_durably};
use crate::link::Link;
use crate::peers::Book;
use crate::peers::tls::Security;
use crate::peers::wire::{Hello, Known, Order, OrderKind};
use crate::settings::Settings;
use crate::{claim, partitions, peers};

/// Between two tries to reach the node through which a cluster is joined.
const JOIN_AGAIN: Duration = Duration::from_secs(1);
/// How long the leader may take to take a node in.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
/// Between two looks whether this node is taken in.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// The cluster that a node belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cluster {
    /// The identity of the node that began it.
    pub(crate) first: NodeId,
    /// Whether this node joined it, instead of beginning it.
    pub(crate) joined: bool,
    /// How many partitions it has, if this node has just been told.
    pub(crate) partitions: Option<u32>,
}

impl Cluster {
    /// Its name.
    pub(crate) fn name(&self) -> String {
        self.first.to_string()
    }
}

/// The cluster that a data directory belongs to, if it does.
///
/// # Errors
/// A sentence.
pub(crate) fn of(data: &Path) -> Result<Option<Cluster>, String> {
    let path = data.join("cluster");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
    };
    let (first, how) = text.trim().split_once(' ').unwrap_or_default();
    match (u128::from_str_radix(first, 16), how) {
        (Ok(first), "begun" | "joined") => Ok(Some(Cluster { first: NodeId(first), joined: how == "joined", partitions: None })),
        (Ok(_) | Err(_), _) => Err(format!("{} does not name a cluster; restore it, or start with an empty --data", path.display())),
    }
}

/// Begins a cluster here.
///
/// # Errors
/// A sentence.
pub(crate) fn begin(data: &Path, node: NodeId) -> Result<Cluster, String> {
    let cluster = Cluster { first: node, joined: false, partitions: None };
    store(data, &cluster)?;
    Ok(cluster)
}

/// A cluster that was begun in a data directory, now or before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    /// Its name.
    pub cluster: String,
    /// The node there, as an operator calls it.
    pub node: String,
    /// How many partitions it has.
    pub partitions: u32,
    /// Whether it was begun now.
    pub is_new: bool,
}

/// Begins a cluster in the data directory, without serving; begun before, it stays as it is.
///
/// # Errors
/// A sentence: a process uses the directory, it is of a node that joined a cluster, or it has another number of partitions.
pub fn init(settings: &Settings) -> Result<Begun, String> {
    settings.check().map_err(|error| error.to_string())?;
    let data = &settings.data;
    Folder::open(data).map_err(|fault| fault.to_string())?;
    let _claim = claim::claim(data, "nothing: it begins a cluster")?;
    let node = identity::node_id(data)?;
    let known = of(data)?;
    if let Some(cluster) = known.as_ref().filter(|cluster| cluster.joined) {
        return Err(format!("the data directory {} is of a node that joined the cluster {}", data.display(), cluster.name()));
    }
    if !settings.join.is_empty() {
        return Err(format!("the setting join names the cluster at {}: to begin another, leave it out", settings.join));
    }
    let partitions = partitions::count_for(settings, None)?;
    let is_new = known.is_none();
    let cluster = known.map_or_else(|| begin(data, node), Ok)?;
    Ok(Begun { cluster: cluster.name(), node: PeerId::of(node).to_string(), partitions, is_new })
}

/// Learns from the node at an address which cluster it is of, and who else is. Tries until it is there. `asked` partitions are those
/// of the settings.
///
/// # Errors
/// A sentence: it is no node of a cluster that this one could join.
pub(crate) async fn join(
    data: &Path,
    node: NodeId,
    book: &mut Book,
    security: &Security,
    (service, asked): (&str, u32),
    at: &str,
) -> Result<Cluster, String> {
    let holds = |folder: PathBuf| fs::read_dir(folder.join("log")).is_ok_and(|mut entries| entries.next().is_some());
    if holds(data.to_owned()) || holds(partitions::folder_of(data, 0, 2)) {
        return Err(format!("the data directory {} holds data already; to join the cluster at {at}, give an empty --data", data.display()));
    }
    let me = PeerId::of(node).0;
    let mut told = String::new();
    let greeting = loop {
        match peers::join(security, at, Hello::of_stranger(service)).await {
            Ok(greeting) => break greeting,
            Err(why) if why != told => {
                tracing::warn!(address = at, why, "cannot reach the node to join; trying again");
                told = why;
            }
            Err(_) => {}
        }
        tokio::time::sleep(JOIN_AGAIN).await;
    };
    let first = u128::from_str_radix(&greeting.cluster, 16).map_err(|_| format!("{at} is not a node of a cluster"))?;
    // Reached at this address, whatever it calls itself.
    let mut known = greeting.known.clone();
    if !known.iter().any(|known| known.node == greeting.node) {
        known.push(Known { node: greeting.node, address: at.to_owned(), since: 0, host: String::new() });
    }
    let count = partitions::count(data, asked, Some(greeting.partitions.max(1)))?;
    book.learn(me, &Hello { known, ..greeting });
    let cluster = Cluster { first: NodeId(first), joined: true, partitions: Some(count) };
    store(data, &cluster)?;
    tracing::info!(cluster = cluster.name(), "joins a cluster");
    Ok(cluster)
}

/// Durable before anything is done in the cluster's name.
fn store(data: &Path, cluster: &Cluster) -> Result<(), String> {
    let how = if cluster.joined { "joined" } else { "begun" };
    let written = write_durably(data, "cluster", &format!("{} {how}\n", cluster.name()));
    written.map_err(|error| format!("cannot write {}: {error}", data.join("cluster").display()))
}

/// What a node that is not yet what it is to be, a voter or a follower, is to ask of the leader.
fn next_step(me: PeerId, members: &Membership, vote: bool) -> Option<Order> {
    let order = |kind: OrderKind| Order { kind: kind as i32, node: me.0, same_host: false };
    if members.is_empty() {
        return Some(order(OrderKind::AddLearner));
    }
    (vote && members.learners.contains(&me.0)).then(|| order(OrderKind::Promote))
}

/// Asks until this node is a voter, or follows if it is not to vote. One that was removed does not come back by itself.
pub(crate) async fn take_part(link: Arc<Link>, me: PeerId, vote: bool) {
    let mut told = String::new();
    loop {
        tokio::time::sleep(LOOK_AGAIN).await;
        let Some(standing) = link.standing() else { continue };
        if standing.members.votes(me) {
            return tracing::info!(node = %me, "is a voter of its cluster");
        }
        if !vote && standing.members.learners.contains(&me.0) {
            return tracing::info!(node = %me, "follows its cluster, without a vote");
        }
        let Some(order) = next_step(me, &standing.members, vote) else { continue };
        let said = match tokio::time::timeout(ANSWER_TIME_MAX, link.order(order)).await {
            Ok(Ok(Reply::Refused(refusal))) => refusal.message,
            Ok(Ok(_) | Err(_)) | Err(_) => continue,
        };
        if said != told {
            tracing::info!(said, "the cluster does not take this node in yet; asking again");
            told = said;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_node_follows_then_votes_and_one_that_was_removed_stays_out() {
        let me = PeerId(7);
        let step = |voters: &[u64], learners: &[u64]| {
            let members = Membership { voters: voters.to_vec(), learners: learners.to_vec(), ..Membership::default() };
            next_step(me, &members, true).map(|order| order.kind())
        };
        assert_eq!(step(&[], &[]), Some(OrderKind::AddLearner));
        assert_eq!(step(&[1, 2], &[7]), Some(OrderKind::Promote));
        assert_eq!(step(&[1, 2], &[]), None);
        assert_eq!(step(&[1, 2, 7], &[]), None);
        let follows = Membership { voters: vec![1, 2], learners: vec![7], ..Membership::default() };
        assert_eq!(next_step(me, &follows, false), None);
    }
}
