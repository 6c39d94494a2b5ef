//! The other nodes: whom this one knows, and a connection to each, over which packets go in batches.
//!
//! Each node dials every other. What a node says to another, its questions included, goes over the connection that it
//! dialled; the answers come back on the same one. A connection that ends takes its unanswered questions with it.
//! Nothing here waits: a line that is full takes no more, and the consensus and the clients repeat what was not taken.

mod book;
mod line;
mod service;
pub(crate) mod tls;
pub(crate) mod wire;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prost::Message;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc};

pub(crate) use self::book::{Book, HOST_CHARS_MAX, is_address, is_host};
pub(crate) use self::line::{Asked, ask_stranger, join};
pub(crate) use self::service::serve;
use self::tls::Security;
use self::wire::{Ask, Hello, Packet, Said, ToReplica, Told};

/// The newest version of the protocol that this build speaks.
pub(crate) const PROTOCOL: u32 = 1;
/// The oldest that it understands.
pub(crate) const PROTOCOL_MIN: u32 = 1;
/// Packets that wait for one connection.
const PACKETS_WAITING_MAX: usize = 16_384;
/// Bytes that wait for one connection.
const BYTES_WAITING_MAX: usize = 64 << 20;
/// Bytes after which a batch takes no further packet.
const BATCH_BYTES_MAX: usize = 1 << 20;
/// Bytes of a batch that are received: one packet may be as large as an entry or a piece of a snapshot.
const RECEIVED_BYTES_MAX: usize = 256 << 20;
/// How long a connection may take to come about.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(2);
/// Between two pings on a connection that is quiet, and how long one may stay unanswered.
const PING_INTERVAL: Duration = Duration::from_secs(2);
/// The first and the longest wait between two tries to connect.
const DIAL_AGAIN: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(1000));

/// Who hears what peers say.
pub(crate) trait Ear: Send + Sync + 'static {
    /// A replica speaks to the one here.
    fn replica(&self, said: ToReplica);
    /// Somebody asks.
    fn ask(&self, responder: Responder, ask: Ask);
    /// A node answers.
    fn told(&self, node: u64, told: Told);
    /// A connection to a node has ended: what it was asked and has not answered, it will not answer.
    fn lost(&self, node: u64);
}

/// Why something was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotSent {
    /// There is no connection.
    Unreachable,
    /// Too much waits for the connection.
    Full,
}

/// This node, as others are told.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) service: &'static str,
    pub(crate) cluster: String,
    pub(crate) node: u64,
    pub(crate) partitions: u32,
}

/// The other nodes. See the module.
pub(crate) struct Peers {
    me: Identity,
    security: Security,
    book: Mutex<Book>,
    /// Where packets for each node wait; only while there is a connection.
    lines: Mutex<HashMap<u64, Outbox>>,
    /// Nodes that are dialled, and what has that done at once.
    dialled: Mutex<HashMap<u64, Arc<Notify>>>,
    /// Why somebody was turned away last: the same again and again is told once.
    turned_away: Mutex<String>,
    ear: Arc<dyn Ear>,
    runtime: tokio::runtime::Handle,
}

impl Peers {
    /// Knows whom the book in the data directory names, and dials them from now on.
    pub(crate) fn start(me: Identity, security: Security, book: Book, ear: Arc<dyn Ear>, runtime: tokio::runtime::Handle) -> Arc<Peers> {
        let peers = Arc::new(Peers {
            me,
            security,
            book: Mutex::new(book),
            lines: Mutex::default(),
            dialled: Mutex::default(),
            turned_away: Mutex::default(),
            ear,
            runtime,
        });
        peers.dial_all();
        peers
    }

    /// Hands a packet to the connection with a node.
    pub(crate) fn send(&self, to: u64, packet: Packet) -> Result<(), NotSent> {
        match lock(&self.lines).get(&to) {
            Some(line) => line.put(packet),
            None => Err(NotSent::Unreachable),
        }
    }

    /// Every node that is known, this one included, and whether there is a connection to it.
    pub(crate) fn known(&self) -> Vec<(u64, String, bool)> {
        let connected: HashSet<u64> = lock(&self.lines).keys().copied().collect();
        let reachable = |node: u64| node == self.me.node || connected.contains(&node);
        lock(&self.book).all().map(|(node, address)| (node, address.to_owned(), reachable(node))).collect()
    }

    /// Of these voters another that would be lost together with this node, and with what.
    pub(crate) fn on_the_same_host(&self, node: u64, voters: &[u64]) -> Option<(u64, String)> {
        lock(&self.book).on_the_same_host(node, voters).map(|(other, host)| (other, host.to_owned()))
    }

    /// Forgets a node that is a member no more.
    pub(crate) fn forget(&self, node: u64) {
        lock(&self.book).forget(node);
    }

    pub(crate) fn hello(&self) -> Hello {
        let known = lock(&self.book).known();
        let Identity { service, cluster, node, partitions } = &self.me;
        let (service, cluster) = ((*service).to_owned(), cluster.clone());
        Hello { protocol: PROTOCOL, service, cluster, node: *node, known, partitions: *partitions }
    }

    /// Somebody who connected is not to talk to this node.
    pub(crate) fn turned_away(&self, why: &str) {
        let mut told = lock(&self.turned_away);
        if *told != why {
            tracing::warn!(why, "whoever connected was turned away");
            why.clone_into(&mut told);
        }
    }

    /// Somebody said whom it knows.
    fn learn(self: &Arc<Peers>, hello: &Hello) {
        if lock(&self.book).learn(self.me.node, hello) {
            self.dial_all();
            self.tell_all();
        }
    }

    /// The book has changed: everybody with whom there is a connection is told.
    fn tell_all(&self) {
        let nodes: Vec<u64> = lock(&self.lines).keys().copied().collect();
        for node in nodes {
            // Whoever is not told now is told when it is connected to again.
            let _ = self.send(node, Packet::of(Said::Hello(self.hello())));
        }
    }

    /// Where a node was another is.
    fn replaced(self: &Arc<Peers>, before: u64, node: u64, address: &str) {
        lock(&self.book).replace(before, node, address);
        self.dial_all();
        self.tell_all();
    }

    fn dial_all(self: &Arc<Peers>) {
        let mut dialled = lock(&self.dialled);
        let nodes: Vec<u64> = lock(&self.book).all().map(|(node, _)| node).collect();
        for node in nodes {
            if node != self.me.node
                && let Entry::Vacant(vacant) = dialled.entry(node)
            {
                let there = Arc::clone(vacant.insert(Arc::default()));
                self.runtime.spawn(line::dial(Arc::clone(self), node, there));
            }
        }
    }

    /// A node has connected, so it is there: it is dialled now, and not when it is time to try again.
    ///
    /// Timeline to avoid: a follower comes back, and the leader goes; the other follower has the leader's vote, but no connection yet to
    /// the one that came back, and nothing can be committed.
    fn is_there(&self, node: u64) {
        if !lock(&self.lines).contains_key(&node)
            && let Some(there) = lock(&self.dialled).get(&node)
        {
            there.notify_one();
        }
    }

    /// Where a node is; nothing once it is to be forgotten.
    fn address(&self, node: u64) -> Option<String> {
        // Held for both, so that a node which is learned again meanwhile is dialled again.
        let mut dialled = lock(&self.dialled);
        let address = lock(&self.book).address(node).map(str::to_owned);
        if address.is_none() {
            dialled.remove(&node);
        }
        address
    }
}

/// Where packets wait for a connection: bounded in number and bytes.
#[derive(Debug, Clone)]
pub(crate) struct Outbox {
    packets: mpsc::Sender<Packet>,
    bytes: Arc<AtomicUsize>,
    /// Something that had to be sent did not fit: the connection ends, so that both sides know.
    broken: Arc<AtomicBool>,
}

impl Outbox {
    /// An outbox, and where its packets come out in batches.
    pub(crate) fn new() -> (Outbox, line::Batches) {
        let (packets, receiver) = mpsc::channel(PACKETS_WAITING_MAX);
        let (bytes, broken) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let batches = line::Batches::new(receiver, Arc::clone(&bytes), Arc::clone(&broken));
        (Outbox { packets, bytes, broken }, batches)
    }

    pub(crate) fn put(&self, packet: Packet) -> Result<(), NotSent> {
        let length = packet.encoded_len();
        if self.bytes.fetch_add(length, Ordering::Relaxed) > BYTES_WAITING_MAX {
            self.bytes.fetch_sub(length, Ordering::Relaxed);
            return Err(NotSent::Full);
        }
        self.packets.try_send(packet).map_err(|error| {
            self.bytes.fetch_sub(length, Ordering::Relaxed);
            match error {
                TrySendError::Full(_) => NotSent::Full,
                TrySendError::Closed(_) => NotSent::Unreachable,
            }
        })
    }
}

/// Takes the answer to one question back to whoever asked.
#[derive(Debug, Clone)]
pub(crate) struct Responder {
    pub(crate) outbox: Outbox,
    pub(crate) number: u64,
}

impl Responder {
    /// Answers. If the connection has ended, whoever asked knows that it gets no answer; if there is no room, it ends now.
    pub(crate) fn answer(&self, told: Told) {
        if self.outbox.put(Packet::of(Said::Answer(told))) == Err(NotSent::Full) {
            self.outbox.broken.store(true, Ordering::Relaxed);
        }
    }
}

/// Whether a node says that it is of this cluster and service; a sentence otherwise.
fn check(me: &Identity, hello: &Hello) -> Result<(), String> {
    // Either side may read it.
    let (it, here) =
        (if hello.node == 0 { "who asks".to_owned() } else { format!("node {:x}", hello.node) }, format!("node {:x}", me.node));
    if hello.protocol < PROTOCOL_MIN {
        return Err(format!("{it} speaks version {} of the protocol, and {here} understands {PROTOCOL_MIN} and newer", hello.protocol));
    }
    if hello.service != me.service {
        return Err(format!("{it} runs the service {}, and {here} runs {}", hello.service, me.service));
    }
    if hello.cluster != me.cluster {
        return Err(format!("{it} belongs to cluster {}, and {here} to cluster {}", hello.cluster, me.cluster));
    }
    if hello.partitions.max(1) != me.partitions {
        return Err(format!("the cluster of {it} has {} partitions, and that of {here} {}", hello.partitions.max(1), me.partitions));
    }
    Ok(())
}

/// Reads the book in a data directory.
///
/// # Errors
/// A sentence.
pub(crate) fn book(data: &Path, node: u64, address: &str, host: &str) -> Result<Book, String> {
    Book::open(&data.join("peers"), node, address, host)
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while the lock was held leaves maps that are whole: each is changed by single calls.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hears nothing.
    struct Deaf;

    impl Ear for Deaf {
        fn replica(&self, _: ToReplica) {}
        fn ask(&self, _: Responder, _: Ask) {}
        fn told(&self, _: u64, _: Told) {}
        fn lost(&self, _: u64) {}
    }

    #[test]
    fn who_waits_to_dial_a_node_is_told_that_it_is_there() {
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime can be made");
        // The dialler itself never runs: its turn is looked at from outside.
        let (runtime, diallers) = (runtime(), runtime());
        let folder = std::env::temp_dir().join(format!("onebox-peers-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder can be made");
        let mut known = book(&folder, 1, "127.0.0.1:1", "").expect("a new book can be made");
        known.replace(2, 2, "127.0.0.1:2");
        let me = Identity { service: "test", cluster: "c".to_owned(), node: 1, partitions: 1 };
        let peers = Peers::start(me, Security::ClearText, known, Arc::new(Deaf), diallers.handle().clone());
        std::fs::remove_dir_all(&folder).expect("a folder can be removed");
        let there = Arc::clone(&lock(&peers.dialled)[&2]);
        let waits = || {
            let pause = line::pause(Duration::from_secs(86_400), &there);
            !runtime.block_on(async { tokio::time::timeout(Duration::ZERO, pause).await.unwrap_or(false) })
        };
        peers.is_there(3);
        assert!(waits(), "another is there");
        peers.is_there(2);
        assert!(!waits(), "it is there");
        lock(&peers.lines).insert(2, Outbox::new().0);
        peers.is_there(2);
        assert!(waits(), "it is connected");
    }
}
