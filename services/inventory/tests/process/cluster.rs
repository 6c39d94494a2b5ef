//! Three nodes as one: a leader that is killed or stopped under load costs nobody an answer, and a lost node is replaced.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::json;

use crate::client::{Ask, Connection};
use crate::scratch::Scratch;
use crate::server::{Server, await_condition, command};
use crate::turn;
use crate::worker::{Step, Worker};

/// Answers that are given before, and again after, what happens to a node.
const ANSWERS: u64 = 1_500;
/// Workers at each of the nodes that nothing happens to.
const WORKERS: usize = 6;

/// A flag that is raised when this is dropped.
pub(crate) struct Raised<'a>(pub(crate) &'a AtomicBool);

impl Drop for Raised<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Three nodes, and where their data is.
pub(crate) struct Cluster {
    scratch: Scratch,
    nodes: Vec<Option<Server>>,
    heartbeat_ms: &'static str,
    partitions: &'static str,
}

impl Cluster {
    /// Starts three nodes, the first of which begins the cluster and leads it.
    fn start(name: &str) -> Cluster {
        Cluster::start_with(name, "50")
    }

    /// The same, with so many milliseconds between two heartbeats.
    pub(crate) fn start_with(name: &str, heartbeat_ms: &'static str) -> Cluster {
        Cluster::started(name, heartbeat_ms, "1")
    }

    /// The same, with so many partitions.
    pub(crate) fn start_partitioned(name: &str, partitions: &'static str) -> Cluster {
        Cluster::started(name, "50", partitions)
    }

    fn started(name: &str, heartbeat_ms: &'static str, partitions: &'static str) -> Cluster {
        let mut cluster = Cluster { scratch: Scratch::new(name), nodes: vec![None, None, None], heartbeat_ms, partitions };
        (0..3).for_each(|number| cluster.start_node(number));
        for number in 1..3 {
            cluster.server(number).await_line("is a voter of its cluster");
        }
        cluster.await_all_ready();
        cluster
    }

    pub(crate) fn data(&self, number: usize) -> PathBuf {
        self.scratch.join(&format!("node-{number}"))
    }

    /// Starts a node on what is in its folder; with nothing there it joins through any node that runs.
    pub(crate) fn start_node(&mut self, number: usize) {
        self.start_node_on(number, "");
    }

    /// The same, on a host.
    fn start_node_on(&mut self, number: usize, host: &str) {
        let running = self.nodes.iter().flatten().map(|server| server.peer_address().to_string()).next().unwrap_or_default();
        let settings = [
            ("ONEBOX_PEER_LISTEN", "127.0.0.1:0"),
            ("ONEBOX_JOIN", &running),
            ("ONEBOX_HEARTBEAT_MS", self.heartbeat_ms),
            ("ONEBOX_HOST", host),
            ("ONEBOX_PARTITIONS", self.partitions),
            ("ONEBOX_CONFIRM", if self.partitions == "1" { "replicated" } else { "executed" }),
        ];
        self.nodes[number] = Some(Server::start_node(&self.data(number), &settings));
    }

    /// Starts one node more, which joins. Gives its number.
    pub(crate) fn grow(&mut self) -> usize {
        self.nodes.push(None);
        let number = self.nodes.len() - 1;
        self.start_node(number);
        number
    }

    /// A node, as the operator calls it.
    pub(crate) fn name(&self, number: usize) -> String {
        let at = format!(" {} ", self.server(number).peer_address());
        let status = self.operate(&["status"]).expect("a node answers");
        let line = status.lines().find(|line| line.contains(&at)).unwrap_or_else(|| panic!("{at} is not there:\n{status}"));
        line.split(' ').next().expect("a line has words").to_owned()
    }

    pub(crate) fn server(&self, number: usize) -> &Server {
        self.nodes[number].as_ref().expect("the node runs")
    }

    pub(crate) fn take(&mut self, number: usize) -> Server {
        self.nodes[number].take().expect("the node runs")
    }

    pub(crate) fn await_all_ready(&self) {
        for server in self.nodes.iter().flatten() {
            await_condition("the node is ready", || server.is_ready());
        }
    }

    /// What an operator is shown, or told: standard output, and standard error if it failed.
    pub(crate) fn operate(&self, words: &[&str]) -> Result<String, String> {
        let at = self.nodes.iter().flatten().next().expect("a node runs").peer_address().to_string();
        let ran = command(&[]).arg("cluster").args(words).args(["--at", &at]).output().expect("the binary can be started");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        if ran.status.success() { Ok(text(ran.stdout)) } else { Err(text(ran.stderr)) }
    }

    /// The node that the operator is told leads.
    fn leader(&self) -> String {
        let status = self.operate(&["status"]).expect("a node answers");
        let leads = status.lines().find(|line| line.contains(" leader "));
        leads.and_then(|line| line.split(' ').next()).unwrap_or_else(|| panic!("nobody leads:\n{status}")).to_owned()
    }

    /// The number of the node that leads, as the others see it.
    pub(crate) fn leading(&self) -> usize {
        let status = self.operate(&["status"]).expect("a node answers");
        let leads = status.lines().find(|line| line.contains(" leader ")).unwrap_or_else(|| panic!("nobody leads:\n{status}"));
        let is_there = |server: &Server| leads.contains(&format!(" {} ", server.peer_address()));
        self.nodes.iter().position(|node| node.as_ref().is_some_and(is_there)).expect("a node that runs leads")
    }

    /// Has workers work at the nodes 1 and 2 while something happens, none of which may see an error; then compares what
    /// every node that runs shows with what they were told.
    fn work_through(&mut self, turn: usize, happens: impl FnOnce(&mut Cluster)) {
        let addresses: Vec<SocketAddr> = [1, 2].map(|number| self.server(number).address()).to_vec();
        let mut connection = Connection::open(addresses[0]).expect("a node that is ready takes connections");
        let mut workers: Vec<Worker> =
            (0..2 * WORKERS).map(|number| Worker::new(&mut connection, 100 * turn + number, turn as u64)).collect();
        let (answers, enough) = (AtomicU64::new(0), AtomicBool::new(false));
        thread::scope(|scope| {
            for (number, worker) in workers.iter_mut().enumerate() {
                let (address, answers, enough) = (addresses[number % 2], &answers, &enough);
                scope.spawn(move || {
                    let mut connection = Connection::open(address).expect("a node that is ready takes connections");
                    while !enough.load(Ordering::Relaxed) {
                        let step = worker.step(&mut connection);
                        assert_ne!(step, Step::Ended, "at a node that runs: {}", worker.ended_by);
                        answers.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            // Also when something fails here: the workers' end is waited for.
            let _end = Raised(&enough);
            await_condition("the load has begun", || answers.load(Ordering::Relaxed) >= ANSWERS);
            happens(self);
            let before = answers.load(Ordering::Relaxed);
            await_condition("the load goes on", || answers.load(Ordering::Relaxed) >= before + ANSWERS);
        });
        for server in self.nodes.iter().flatten() {
            await_condition("the node is ready", || server.is_ready());
            let mut connection = server.connect();
            for worker in &mut workers {
                worker.reckon(&mut connection);
            }
        }
    }
}

#[test]
fn a_leader_that_is_killed_costs_nobody_an_answer() {
    let _turn = turn();
    let mut cluster = Cluster::start("cluster-kill");
    cluster.work_through(1, |cluster| cluster.take(0).kill());
    cluster.start_node(0);
    cluster.work_through(2, |_| {});
    cluster.await_all_ready();
}

#[test]
fn a_leader_that_is_stopped_costs_nobody_an_answer_and_may_come_back() {
    let _turn = turn();
    let mut cluster = Cluster::start("cluster-stop");
    cluster.work_through(1, |cluster| {
        cluster.take(0).stop();
        cluster.start_node(0);
    });
    let leader = cluster.leader();
    let others: Vec<String> = cluster
        .operate(&["status"])
        .expect("a node answers")
        .lines()
        .filter(|line| line.contains(" voter "))
        .map(|line| line[..16].trim().to_owned())
        .collect();
    assert_eq!(others.len(), 2);
    cluster.work_through(2, |cluster| {
        cluster.operate(&["transfer", &others[0]]).expect("a voter that is there can lead");
        assert_eq!(cluster.leader(), others[0], "the order is carried out when it comes back");
    });
    assert_ne!(cluster.leader(), leader);
}

#[test]
fn a_node_whose_disk_is_lost_is_replaced_under_load() {
    let _turn = turn();
    let mut cluster = Cluster::start("cluster-replace");
    cluster.work_through(1, |cluster| {
        let lost = cluster.operate(&["status"]).expect("a node answers");
        cluster.take(0).kill();
        std::fs::remove_dir_all(cluster.data(0)).expect("the data can be removed");
        await_condition("another leads", || cluster.server(1).is_ready());
        let known = cluster.operate(&["status"]).expect("a node answers");
        let gone = known.lines().find(|line| line.contains("cannot be reached")).unwrap_or_else(|| panic!("{lost}{known}"));
        let gone = gone[..16].trim().to_owned();
        cluster.operate(&["remove", &gone]).expect("two of three are a majority");
        cluster.start_node(0);
        cluster.server(0).await_line("is a voter of its cluster");
        let status = cluster.operate(&["status"]).expect("a node answers");
        assert!(!status.lines().any(|line| line.starts_with(&gone)), "{status}");
        assert_eq!(status.matches(" voter ").count() + status.matches(" leader ").count(), 3, "{status}");
    });
}

#[test]
fn a_node_that_was_removed_comes_back_under_load_where_an_operator_adds_it() {
    let _turn = turn();
    let mut cluster = Cluster::start("cluster-again");
    // One that leads, and is not the one that the operator asks.
    let node = cluster.name(1);
    cluster.operate(&["transfer", &node]).expect("a voter that is there can lead");
    let is = |cluster: &Cluster, what: &str| {
        let status = cluster.operate(&["status"]).expect("a node answers");
        status.lines().any(|line| line.starts_with(&node) && line.contains(what))
    };
    cluster.work_through(1, |cluster| {
        cluster.operate(&["remove", &node]).expect("two of three are a majority");
        assert!(is(cluster, " no member "));
        await_condition("it knows, and is not ready any more", || {
            let reply = cluster.server(1).connect().ask(&Ask::get("/health/ready"));
            reply.status == 503 && reply.to_string().contains("removed from its cluster")
        });
        for _ in 0..2 {
            cluster.operate(&["add", &node]).expect("a node that runs can follow, and may do so already");
            assert!(is(cluster, " learner "));
        }
        await_condition("it has caught up", || cluster.operate(&["promote", &node]).is_ok());
        assert!(is(cluster, " voter "));
    });
    cluster.await_all_ready();
}

/// Timeline to avoid: it comes back as a new node under its old name, has lost what it acknowledged, and votes.
#[test]
fn a_node_whose_log_is_gone_does_not_start() {
    let _turn = turn();
    let mut cluster = Cluster::start_partitioned("cluster-gone", "2");
    cluster.take(2).stop();
    let part = cluster.data(2).join("partition-1");
    std::fs::remove_dir_all(&part).expect("the data can be removed");
    let peers = cluster.server(0).peer_address().to_string();
    let settings = [("ONEBOX_PEER_LISTEN", "127.0.0.1:0"), ("ONEBOX_JOIN", peers.as_str())];
    for _ in 0..2 {
        let (code, log) = Server::spawn(&cluster.data(2), "127.0.0.1:0", &settings).exit();
        assert!(code == Some(1) && log.contains("partition-1/log") && log.contains("must not vote"), "{log}");
    }
    // Its base was not yet written to, so that it looks like that of a new node.
    let alone = cluster.scratch.join("alone");
    for _ in 0..2 {
        Server::start(&alone, &[]).kill();
    }
    std::fs::remove_dir_all(alone.join("log")).expect("it can be removed");
    let (code, log) = Server::spawn(&alone, "127.0.0.1:0", &[]).exit();
    assert!(code == Some(1) && log.contains("put it back"), "{log}");
}

#[test]
fn what_would_harm_a_cluster_is_refused_with_the_reason() {
    let _turn = turn();
    let mut cluster = Cluster::start("cluster-refuse");
    let words = cluster.operate(&["remove", "1234"]).expect_err("nobody has that name");
    assert!(words.contains("1234"), "{words}");
    let words = cluster.operate(&["add", "1234"]).expect_err("nobody has that name");
    assert!(words.contains("node 1234 is not heard of"), "{words}");
    // A voter in another's place leaves one less.
    let (one, other) = (cluster.name(1), cluster.name(2));
    let words = cluster.operate(&["replace", &one, &other]).expect_err("both vote");
    assert!(words.contains("votes already") && words.contains("2 would be left of 3"), "{words}");
    // What exports leaves the cluster when it is done; where another node is, that one must not.
    let taken = cluster.server(1).peer_address().to_string();
    let path = cluster.scratch.join("export.db").display().to_string();
    let words = cluster.operate(&["export", "--out", &path, "--peer-listen", &taken]).expect_err("another node is there");
    assert!(words.contains("cannot listen for other nodes") || words.contains("another node is at"), "{words}");
    let status = cluster.operate(&["status"]).expect("a node answers");
    assert_eq!(status.matches(" voter ").count() + status.matches(" leader ").count(), 3, "{status}");
    assert!(!std::path::Path::new(&format!("{path}.data")).exists());
    // Data of its own, and told to join: neither may be lost.
    let alone = cluster.scratch.join("alone");
    Server::start(&alone, &[]).stop();
    let peers = cluster.server(0).peer_address().to_string();
    let settings = [("ONEBOX_PEER_LISTEN", "127.0.0.1:0"), ("ONEBOX_JOIN", &peers)];
    let (code, log) = Server::spawn(&alone, "127.0.0.1:0", &settings).exit();
    assert!(code == Some(1) && log.contains("holds data already"), "{log}");
    // A node of a cluster, started as if it were alone, could only fork it.
    let node = cluster.data(2);
    cluster.take(2).stop();
    let (code, log) = Server::spawn(&node, "127.0.0.1:0", &[]).exit();
    assert!(code == Some(1) && log.contains("is of a node in a cluster"), "{log}");
    // Told to join what is not there: nodes do not listen there, it is the node itself, or it has a cluster already.
    let new = cluster.scratch.join("new");
    let callers = cluster.server(0).address().to_string();
    let settings = [("ONEBOX_PEER_LISTEN", "127.0.0.1:0"), ("ONEBOX_JOIN", &callers)];
    Server::spawn(&new, "127.0.0.1:0", &settings).await_line("is not for nodes, but perhaps for callers");
    let settings = [("ONEBOX_PEER_LISTEN", "127.0.0.1:0"), ("ONEBOX_PEER_ADDRESS", "127.0.0.1:7400"), ("ONEBOX_JOIN", "127.0.0.1:7400")];
    let (code, log) = Server::spawn(&new, "127.0.0.1:0", &settings).exit();
    assert!(code == Some(1) && log.contains("names this node itself"), "{log}");
    let settings = [("ONEBOX_PEER_LISTEN", "127.0.0.1:0"), ("ONEBOX_JOIN", "127.0.0.1:7400")];
    Server::spawn(&node, "127.0.0.1:0", &settings).await_line("which knows of no node at 127.0.0.1:7400");
}

#[test]
fn an_operator_exports_the_state_replaces_a_node_and_drains_one() {
    let _turn = turn();
    let mut cluster = Cluster::start("cluster-operate");
    let mut connection = cluster.server(1).connect();
    for number in 0..40 {
        connection.succeed(&Ask::post("/v1/products", &json!({ "skus": [format!("sku {number}")] })));
    }
    let mut states = Vec::new();
    await_condition("all nodes show the same state", || {
        let status = cluster.operate(&["status"]).expect("a node answers");
        let of_nodes = status.lines().skip(2).map(|line| line.split_whitespace().nth(3).unwrap_or_default().to_owned());
        states = of_nodes.collect::<Vec<_>>();
        states.len() == 3 && states.iter().all(|state| *state == states[0])
    });
    assert_ne!(u64::from_str_radix(&states[0], 16), Ok(0), "it is a digest of something");
    // The whole state, without a vote.
    let exported = cluster.scratch.join("export.db");
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("there is a port");
    let path = exported.display().to_string();
    cluster.operate(&["export", "--out", &path, "--peer-listen", &free.to_string()]).expect("a node can follow");
    let database = rusqlite::Connection::open(&exported).expect("it is a database");
    let products: i64 = database.query_row("select count(*) from products", [], |row| row.get(0)).expect("it has products");
    assert_eq!(products, 40);
    let status = cluster.operate(&["status"]).expect("a node answers");
    assert_eq!(status.lines().filter(|line| line.contains(" leader ") || line.contains(" voter ")).count(), 3, "{status}");
    assert!(!status.contains(" learner "), "{status}");

    // Two on one host do not both vote, unless that is said.
    let host = cluster.name(0);
    cluster.take(0).stop();
    cluster.start_node_on(0, "rack-1");
    cluster.await_all_ready();
    assert_eq!(cluster.name(0), host);
    cluster.nodes.push(None);
    cluster.start_node_on(3, "rack-1");
    cluster.server(3).await_line("as the voter");
    let new = cluster.name(3);
    let words = cluster.operate(&["promote", &new]).expect_err("it shares a host with a voter");
    assert!(words.contains("rack-1") && words.contains("--same-host"), "{words}");
    let words = cluster.operate(&["replace", &new, &new]).expect_err("that is nonsense");
    assert!(words.contains("its own place"), "{words}");
    cluster.operate(&["promote", &new, "--same-host"]).expect("it was said");

    // One node in another's place, and an orderly stop from afar.
    let old = cluster.name(1);
    cluster.operate(&["replace", &old, &new]).expect("the others are a majority");
    cluster.take(1).kill();
    let status = cluster.operate(&["status"]).expect("a node answers");
    assert!(!status.contains(&old), "{old}:\n{status}");
    let leaving = cluster.name(2);
    cluster.operate(&["drain", &leaving]).expect("it stops");
    let (code, log) = cluster.take(2).exit();
    assert!(code == Some(0) && log.contains("an operator has it stop"), "{log}");
    cluster.await_all_ready();
}

/// Makes an authority and a certificate for each of so many nodes on loopback; gives the settings of each.
fn certificates(folder: &Scratch, nodes: usize) -> Vec<[(&'static str, String); 3]> {
    let write = |name: String, text: String| {
        let path = folder.join(&name);
        std::fs::write(&path, text).expect("a file can be written");
        path.display().to_string()
    };
    let key = KeyPair::generate().expect("a key");
    let mut authority = CertificateParams::new(Vec::new()).expect("no names");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let signed = authority.self_signed(&key).expect("signs itself").pem();
    let issuer = Issuer::new(authority, key);
    let of_node = |node: usize| {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("an address");
        let certificate = params.signed_by(&key, &issuer).expect("is signed").pem();
        [
            ("ONEBOX_PEER_TLS_AUTHORITY", write(format!("authority-{node}.pem"), signed.clone())),
            ("ONEBOX_PEER_TLS_CERTIFICATE", write(format!("node-{node}.pem"), certificate)),
            ("ONEBOX_PEER_TLS_KEY", write(format!("node-{node}.key"), key.serialize_pem())),
        ]
    };
    (0..nodes).map(of_node).collect()
}

#[test]
fn nodes_with_certificates_talk_to_each_other_and_to_nobody_else() {
    let _turn = turn();
    let scratch = Scratch::new("cluster-tls");
    let ours = certificates(&scratch, 2);
    let settings = |tls: &[(&'static str, String)], join: &str| {
        let mut settings: Vec<(&'static str, String)> = tls.to_vec();
        settings.extend([("ONEBOX_PEER_LISTEN", "127.0.0.1:0".to_owned()), ("ONEBOX_JOIN", join.to_owned())]);
        settings
    };
    let start = |name: &str, settings: &[(&'static str, String)]| {
        let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, &value[..])).collect();
        Server::spawn(&scratch.join(name), "127.0.0.1:0", &settings)
    };
    let first = start("first", &settings(&ours[0], ""));
    first.await_line("serving ");
    let at = first.peer_address().to_string();
    let second = start("second", &settings(&ours[1], &at));
    second.await_line("is a voter of its cluster");
    let clear = start("clear", &settings(&[], &at));
    clear.await_line("this node speaks clear text, the other may want TLS");
    let others = Scratch::new("cluster-tls-others");
    let stranger = start("stranger", &settings(&certificates(&others, 1)[0], &at));
    stranger.await_line("its certificate is of another authority");
    await_condition("both are ready", || first.is_ready() && second.is_ready());
}
