//! All partitions of a node: which one a tenant is of, and who of them is spoken to.
//!
//! A partition has a log, a state and a leader of its own, and threads of its own on every node. How many there are is said when a
//! node begins, and stays. A tenant is of the partition that its name hashes to, with all its rows and requests, unless that partition holds
//! a placement of it in another.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use onebox_client::placement;
use onebox_gateway::{Answer, Health};
use onebox_service::attempt::{Reply, RequestId};
use onebox_service::{Code, Service, Time};
use onebox_store::LogIndex;
use tokio::time::Instant;

use crate::identity::write_durably;
use crate::link::{Link, Standing};
use crate::peers::wire::{Ask, ToReplica, Told};
use crate::peers::{Ear, Peers, Responder, lock};
use crate::settings::Settings;
use crate::tokens::parse_request_id;

/// Partitions at most: each has five threads at least, and a log of its own, on every node.
pub(crate) const PARTITIONS_MAX: u32 = 64;
/// Placements that a node keeps in mind.
const PLACED_KNOWN_MAX: usize = 100_000;
/// Between two looks whether leaders are spread evenly.
const SPREAD_LOOK: Duration = Duration::from_secs(2);
/// How long a node that did not take over is not asked again.
const SPREAD_AGAIN: Duration = Duration::from_secs(60);

/// How many partitions there are, as [`count`] says, if the settings have room for them.
///
/// # Errors
/// A sentence.
pub(crate) fn count_for(settings: &Settings, told: Option<u32>) -> Result<u32, String> {
    let Settings { data, partitions, disk_free_min, segment_bytes, .. } = settings;
    let has_room = |count: u32| {
        let words =
            format!("disk_free_min ({disk_free_min}) must be at least a segment ({segment_bytes}) for each of the {count} partitions");
        if *disk_free_min < u64::from(count) * segment_bytes { Err(words) } else { Ok(count) }
    };
    // Before it is written down, for good.
    has_room(told.unwrap_or(*partitions).max(1))?;
    has_room(count(data, *partitions, told)?)
}

/// How many partitions there are, as the data directory says; said now, if it is new.
///
/// `asked` is what the settings say, 0 for nothing; `told` what the cluster says that is joined.
///
/// # Errors
/// A sentence.
pub(crate) fn count(data: &Path, asked: u32, told: Option<u32>) -> Result<u32, String> {
    let path = data.join("partitions");
    let shown = path.display();
    let known = match fs::read_to_string(&path) {
        Ok(text) => {
            let count = text.trim().parse().ok().filter(|count| (1..=PARTITIONS_MAX).contains(count));
            Some(count.ok_or_else(|| format!("{shown} does not hold a number of partitions; restore it, or start with an empty --data"))?)
        }
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(format!("cannot read {shown}: {error}")),
        // Before there were several, there was one.
        Err(_) if folder_of(data, 0, 2).exists() => {
            return Err(format!("{shown} is gone, and there is data of several partitions; restore it, or start with an empty --data"));
        }
        Err(_) => data.join("log").exists().then_some(1),
    };
    if let Some(told) = told.filter(|told| *told > PARTITIONS_MAX || known.is_some_and(|known| known != *told)) {
        let here = known.map_or_else(|| format!("at most {PARTITIONS_MAX} are possible"), |known| format!("there are {known} here"));
        return Err(format!("the cluster has {told} partitions: {here}; start with an empty --data"));
    }
    let count = known.or(told).unwrap_or(asked.max(1));
    if asked != 0 && asked != count {
        return Err(format!(
            "the setting partitions is {asked}, and there are {count}: how many there are is said once, when a cluster begins; leave \
             the setting out"
        ));
    }
    if known.is_none() {
        write_durably(data, "partitions", &format!("{count}\n")).map_err(|error| format!("cannot write {shown}: {error}"))?;
    }
    Ok(count)
}

/// Where there are several partitions, what is logged within says of which it is.
pub(crate) fn span_of(partition: u32, partitions: u32) -> tracing::Span {
    if partitions > 1 { tracing::error_span!("partition", number = partition) } else { tracing::Span::none() }
}

/// Where a partition's data is.
pub(crate) fn folder_of(data: &Path, partition: u32, partitions: u32) -> PathBuf {
    if partitions == 1 { data.to_owned() } else { data.join(format!("partition-{partition}")) }
}

/// The links of all partitions, in order.
pub(crate) struct Partitions {
    links: Vec<Arc<Link>>,
    /// Of tenants that were placed elsewhere than by their names, those of which this node has heard.
    placed: Mutex<HashMap<String, u32>>,
    peers: OnceLock<Arc<Peers>>,
}

impl Partitions {
    pub(crate) fn new(links: Vec<Arc<Link>>) -> Arc<Partitions> {
        Arc::new(Partitions { links, placed: Mutex::default(), peers: OnceLock::new() })
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Link>> {
        self.links.iter()
    }

    /// The one that speaks for the node where any will do.
    pub(crate) fn first(&self) -> &Arc<Link> {
        &self.links[0]
    }

    pub(crate) fn service(&self) -> &Arc<dyn Service> {
        self.first().service()
    }

    pub(crate) fn get(&self, partition: u32) -> Option<&Arc<Link>> {
        self.links.get(partition as usize)
    }

    /// The one that a tenant is of, as far as it is known here.
    pub(crate) fn of_tenant(&self, tenant: &str) -> Arc<Link> {
        let placed = if self.links.len() == 1 { None } else { lock(&self.placed).get(tenant).copied() };
        Arc::clone(placed.and_then(|partition| self.get(partition)).unwrap_or_else(|| self.home_of(tenant)))
    }

    /// The one that a tenant is of unless it was placed in another, which is said there.
    pub(crate) fn home_of(&self, tenant: &str) -> &Arc<Link> {
        &self.links[placement(tenant, self.links.len() as u32) as usize]
    }

    /// Learns where a tenant was placed, if an answer says so, and gives that partition. It stays there.
    pub(crate) fn note_placement(&self, tenant: &str, answer: &Answer) -> Option<Arc<Link>> {
        let partition = answer.outcome.as_ref().err()?.placed_in()?;
        let link = self.get(partition)?;
        let mut placed = lock(&self.placed);
        if placed.len() >= PLACED_KNOWN_MAX {
            // Each is learnt again when it is asked for.
            placed.clear();
        }
        placed.insert(tenant.to_owned(), partition);
        Some(Arc::clone(link))
    }

    /// The one that an id of a request names, and the request.
    pub(crate) fn of_request(&self, id: &str) -> Option<(&Arc<Link>, RequestId)> {
        let (partition, id) = parse_request_id(id, self.links.len() as u32)?;
        Some((self.get(partition)?, id))
    }

    pub(crate) fn set_peers(&self, peers: &Arc<Peers>) {
        assert!(self.peers.set(Arc::clone(peers)).is_ok(), "the other nodes are told once");
        self.all().for_each(|link| link.set_peers(Arc::clone(peers)));
    }

    /// Ready when each is; else why the first that is not is not.
    pub(crate) fn health(&self) -> Health {
        let unready = self.all().map(|link| (link.partition, link.health())).find(|(_, health)| !health.ready);
        match unready {
            None => self.first().health(),
            Some((_, health)) if self.links.len() == 1 => health,
            Some((partition, Health { reason, ready })) => Health { ready, reason: format!("partition {partition}: {reason}") },
        }
    }

    /// Those that fetch their state from another node.
    pub(crate) fn fetching(&self) -> Vec<u32> {
        let fetches = |link: &&Arc<Link>| link.standing().is_some_and(|standing| standing.status.fetched.is_some());
        self.all().filter(fetches).map(|link| link.partition).collect()
    }

    /// The node is stopping, and stays so.
    pub(crate) fn set_stopping(&self, reason: &str) {
        self.all().for_each(|link| link.set_stopping(reason.to_owned()));
    }

    /// Whether other nodes vote beside this one.
    pub(crate) fn is_among_others(&self) -> bool {
        self.all().any(|link| link.is_among_others())
    }

    /// Hands leaders over until each node leads as many partitions as the others, give or take one; and forgets nodes that are members of
    /// none any more. Runs as long as the node.
    pub(crate) async fn tend(self: Arc<Partitions>, me: u64) {
        let mut members = BTreeSet::new();
        let mut in_vain: HashMap<u64, Instant> = HashMap::new();
        let mut asked = None;
        let mut led_before = Vec::new();
        loop {
            tokio::time::sleep(SPREAD_LOOK).await;
            in_vain.retain(|_, until| *until > Instant::now());
            self.forget_who_left(me, &mut members);
            let seats: Vec<Seat> = self.all().filter_map(|link| Seat::of(link)).collect();
            let led: Vec<u32> = seats.iter().filter(|seat| seat.leader == me).map(|seat| seat.partition).collect();
            if let Some((partition, to)) = asked.take()
                && led.contains(&partition)
            {
                // While it is asked, writes wait.
                in_vain.insert(to, Instant::now() + SPREAD_AGAIN);
            }
            // What has just moved may move again by itself.
            let is_settled = led == led_before && seats.len() == self.links.len();
            led_before = led;
            let stopping = !self.first().health().ready;
            if let Some((partition, to)) = next_move(&seats, me, |node| in_vain.contains_key(&node))
                && is_settled
                && !stopping
                && let Some(link) = self.get(partition)
            {
                tracing::info!(partition, to = format!("{to:x}"), "hands a partition over: this node leads more than its share");
                link.hand_over(to);
                asked = Some((partition, to));
            }
        }
    }
}

impl Partitions {
    /// A node that one partition has taken out may still be needed to reach the others.
    fn forget_who_left(&self, me: u64, members: &mut BTreeSet<u64>) {
        let standings: Vec<Standing> = self.all().filter_map(|link| link.standing()).collect();
        if standings.len() < self.links.len() {
            return;
        }
        let now: BTreeSet<u64> = standings.iter().flat_map(|standing| standing.members.peers()).map(|peer| peer.0).collect();
        if let Some(peers) = self.peers.get() {
            members.difference(&now).filter(|node| **node != me).for_each(|node| peers.forget(*node));
        }
        *members = now;
    }
}

/// Who leads a partition, and who could.
#[derive(Debug, Clone)]
struct Seat {
    partition: u32,
    leader: u64,
    voters: Vec<u64>,
}

impl Seat {
    /// Nothing while nobody is known to lead, or the members change.
    fn of(link: &Link) -> Option<Seat> {
        let standing = link.standing().filter(|standing| !standing.members.is_joint())?;
        Some(Seat { partition: link.partition, leader: standing.status.leader?.0, voters: standing.members.voters })
    }
}

/// The partition that a node had better hand over, and to whom: to one that leads at least two fewer.
fn next_move(seats: &[Seat], me: u64, is_out: impl Fn(u64) -> bool) -> Option<(u32, u64)> {
    let leads = |node: u64| seats.iter().filter(|seat| seat.leader == node).count();
    let mine = leads(me);
    let moves = seats.iter().filter(|seat| seat.leader == me).flat_map(|seat| seat.voters.iter().map(|voter| (seat.partition, *voter)));
    moves.filter(|(_, to)| *to != me && !is_out(*to) && leads(*to) + 2 <= mine).min_by_key(|(partition, to)| (leads(*to), *partition, *to))
}

impl Ear for Partitions {
    fn replica(&self, said: ToReplica) {
        if let Some(message) = said.message
            && let Some(link) = self.get(said.partition)
        {
            link.hear(message);
        }
    }

    fn ask(&self, responder: Responder, ask: Ask) {
        match self.get(ask.partition) {
            Some(link) => link.ask(responder, ask),
            None => {
                let words = format!("there is no partition {}; there are {}", ask.partition, self.links.len());
                let reply = Reply::refused(Code::NotFound, words);
                responder.answer(Told::reply(responder.number, reply, LogIndex(0), Time(0)));
            }
        }
    }

    fn told(&self, node: u64, told: Told) {
        if let Some(link) = self.get((told.number % u64::from(PARTITIONS_MAX)) as u32) {
            link.told(node, told);
        }
    }

    fn lost(&self, node: u64) {
        self.all().for_each(|link| link.lost(node));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seats(leaders: &[u64], voters: &[u64]) -> Vec<Seat> {
        let seat = |(partition, leader): (u32, &u64)| Seat { partition, leader: *leader, voters: voters.to_vec() };
        (0..).zip(leaders).map(seat).collect()
    }

    #[test]
    fn leaders_move_until_each_node_has_its_share_and_no_further() {
        for partitions in 1..12 {
            let mut leaders = vec![1; partitions];
            let mut moves = 0;
            while let Some((node, (partition, to))) =
                [1, 2, 3].into_iter().find_map(|node| Some((node, next_move(&seats(&leaders, &[1, 2, 3]), node, |_| false)?)))
            {
                assert_eq!(leaders[partition as usize], node);
                leaders[partition as usize] = to;
                moves += 1;
            }
            let led = [1, 2, 3].map(|node| leaders.iter().filter(|leader| **leader == node).count());
            assert!(led.iter().max() <= led.iter().min().map(|least| least + 1).as_ref(), "{led:?}");
            assert_eq!(moves, partitions - led[0], "each moved once");
        }
    }

    #[test]
    fn who_did_not_take_over_is_left_alone_and_a_lone_partition_stays() {
        assert_eq!(next_move(&seats(&[1], &[1, 2, 3]), 1, |_| false), None);
        assert_eq!(next_move(&seats(&[1, 1, 1], &[1, 2, 3]), 1, |node| node == 2), Some((0, 3)));
        assert_eq!(next_move(&seats(&[1, 1, 1], &[1, 2, 3]), 2, |_| false), None, "it leads none");
    }
}
