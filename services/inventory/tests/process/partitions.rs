//! A cluster of several partitions: tenants and leaders are spread, and a lost node costs nobody an answer. And reads that any node answers.

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;

use serde_json::json;

use crate::client::{Ask, Connection, number};
use crate::cluster::Cluster;
use crate::scratch::Scratch;
use crate::server::{Server, await_condition, command};
use crate::turn;

const TENANTS: usize = 12;
/// Writes of all tenants together, before and after a node is lost.
const WRITES: i64 = 600;

/// A tenant with one shelf and one product on it.
struct Tenant {
    name: String,
    on_hand: AtomicI64,
}

impl Tenant {
    fn new(connection: &mut Connection, number: usize) -> Tenant {
        let name = format!("tenant-{number}");
        connection.succeed(&Ask::post("/onebox/v1/tenants", &json!({ "name": name })));
        let tenant = Tenant { name, on_hand: AtomicI64::new(0) };
        // A tenant numbers what it has from 1 on.
        connection.succeed(&tenant.of(Ask::post("/v1/products", &json!({ "skus": ["GPU"] }))));
        connection.succeed(&tenant.of(Ask::post("/v1/locations", &json!({ "locations": [{"name": "shelf"}] }))));
        tenant
    }

    fn of(&self, ask: Ask) -> Ask {
        ask.with("Onebox-Tenant", self.name.clone())
    }

    fn put_one(&self, connection: &mut Connection) {
        let next = self.on_hand.load(Ordering::Relaxed) + 1;
        let put = Ask::post("/v1/locations/2/stock", &json!({ "product": "1", "change": "1" })).keyed(format!("put {next}"));
        assert_eq!(number(&connection.succeed(&self.of(put))["onHand"]), next, "{}", self.name);
        self.on_hand.store(next, Ordering::Relaxed);
    }

    fn stock(&self) -> Ask {
        self.of(Ask::get("/v1/locations/2/stock"))
    }
}

/// How many partitions each node leads, as the operator is shown.
fn led(cluster: &Cluster) -> Vec<usize> {
    let status = cluster.operate(&["status"]).expect("a node answers");
    let leaders: Vec<&str> = status.lines().filter(|line| line.contains(" leader ")).map(|line| &line[..16]).collect();
    let mut nodes = leaders.clone();
    nodes.sort_unstable();
    nodes.dedup();
    nodes.iter().map(|node| leaders.iter().filter(|leader| leader == &node).count()).collect()
}

#[test]
fn tenants_and_leaders_are_spread_and_a_lost_node_costs_no_tenant_an_answer() {
    let _turn = turn();
    let mut cluster = Cluster::start_partitioned("partitions", "4");
    let mut connection = cluster.server(0).connect();
    let tenants: Vec<Tenant> = (0..TENANTS).map(|number| Tenant::new(&mut connection, number)).collect();
    await_condition("every node leads its share", || {
        let led = led(&cluster);
        led.len() == 3 && led.iter().sum::<usize>() == 4
    });
    a_token_and_an_id_say_which_partition_they_are_of(&cluster, &tenants);
    let written = || tenants.iter().map(|tenant| tenant.on_hand.load(Ordering::Relaxed)).sum::<i64>();
    let enough = AtomicBool::new(false);
    thread::scope(|scope| {
        for (turn, tenant) in tenants.iter().enumerate() {
            let (mut connection, enough) = (cluster.server(1 + turn % 2).connect(), &enough);
            scope.spawn(move || {
                while !enough.load(Ordering::Relaxed) {
                    tenant.put_one(&mut connection);
                }
            });
        }
        await_condition("every tenant works", || written() >= WRITES);
        cluster.take(0).kill();
        let before = written();
        await_condition("every tenant goes on", || written() >= before + WRITES);
        enough.store(true, Ordering::Relaxed);
    });
    cluster.start_node(0);
    cluster.await_all_ready();
    for server in [0, 1, 2].map(|node| cluster.server(node)) {
        let mut connection = server.connect();
        for tenant in &tenants {
            let shown = connection.succeed(&tenant.stock());
            assert_eq!(number(&shown["items"][0]["onHand"]), tenant.on_hand.load(Ordering::Relaxed), "{}", tenant.name);
        }
    }
    await_condition("every node leads its share again", || led(&cluster).len() == 3);
    a_tenant_is_where_it_was_placed_and_every_node_finds_it(&cluster);
    the_number_of_partitions_stays(&mut cluster);
    data_of_its_own_joins_nothing(&cluster);
    a_node_that_leads_some_of_them_is_taken_out_of_all(&cluster);
}

fn a_token_and_an_id_say_which_partition_they_are_of(cluster: &Cluster, tenants: &[Tenant]) {
    let mut connection = cluster.server(2).connect();
    let mut partitions = Vec::new();
    for tenant in tenants {
        let reply = connection.ask(&tenant.of(Ask::post("/v1/products", &json!({ "skus": ["CPU"] }))));
        let token = reply.header("onebox-position").expect("every answer has a position").to_owned();
        let id = reply.header("onebox-request-id").expect("every answer has an id").to_owned();
        let outcome = connection.succeed(&Ask::get(format!("/onebox/v1/requests/{id}")));
        assert_eq!(outcome["outcome"], "TOOK_EFFECT", "{id}");
        partitions.push((token.split('-').nth(1).expect("a token names its partition").to_owned(), token));
    }
    let first = &partitions[0];
    let other = partitions.iter().position(|(partition, _)| *partition != first.0).expect("tenants are spread");
    for (tenant, status) in [(&tenants[0], 200), (&tenants[other], 400)] {
        let reply = connection.ask(&tenant.stock().with("Onebox-Read", format!("at-least {}", first.1)));
        assert_eq!(reply.status, status, "{reply}");
    }
    let unmet = connection.ask(&Ask::get("/v1/nothing"));
    let token = unmet.header("onebox-position").expect("every answer has a position").to_owned();
    for tenant in tenants {
        let reply = connection.ask(&tenant.stock().with("Onebox-Read", format!("at-least {token}")));
        assert_eq!(reply.status, 200, "what no partition answered holds up none: {reply}");
    }
    for id in ["p4-1-1-1", "1-1-1", "p0-1-1", "p00-1-1-1"] {
        assert_eq!(connection.ask(&Ask::get(format!("/onebox/v1/requests/{id}"))).code(), "INVALID_ARGUMENT", "{id}");
    }
}

/// Each node is asked by somebody who never asked it before, also with a position that another node gave.
fn a_tenant_is_where_it_was_placed_and_every_node_finds_it(cluster: &Cluster) {
    let create = |connection: &mut Connection, name: &str, partition: u32| {
        connection.ask(&Ask::post("/onebox/v1/tenants", &json!({ "name": name, "partition": partition })))
    };
    let partition_of = |token: &str| u32::from_str_radix(token.split('-').nth(1).expect("a token names its partition"), 16);
    for place in 0..4 {
        // By their names the first two would be of partitions 0 and 1.
        let (name, partition) = (format!("placed-{place}"), (place + 1) % 4);
        let mut connection = cluster.server(0).connect();
        assert_eq!(create(&mut connection, &name, partition).status, 201);
        let again = create(&mut connection, &name, partition);
        assert_eq!(again.code(), "ALREADY_EXISTS", "{again}");
        let elsewhere = create(&mut cluster.server(1).connect(), &name, (partition + 1) % 4);
        let why = elsewhere.code();
        assert!(why == "ALREADY_EXISTS" || why == "FAILED_PRECONDITION", "in its home it is, elsewhere it is placed: {elsewhere}");
        let tenant = Tenant { name, on_hand: AtomicI64::new(0) };
        connection.succeed(&tenant.of(Ask::post("/v1/products", &json!({ "skus": ["GPU"] }))));
        connection.succeed(&tenant.of(Ask::post("/v1/locations", &json!({ "locations": [{"name": "shelf"}] }))));
        tenant.put_one(&mut connection);
        let token = connection.ask(&tenant.stock()).header("onebox-position").expect("every answer has a position").to_owned();
        assert_eq!(partition_of(&token), Ok(partition), "{token}");
        let mut other = cluster.server(1).connect();
        let reply = other.ask(&tenant.stock().with("Onebox-Read", format!("at-least {token}")));
        assert!(reply.status == 200 && number(&reply.json()["items"][0]["onHand"]) == 1, "{reply}");
        tenant.put_one(&mut cluster.server(2).connect());
        let twice = other.ask(&Ask::post("/onebox/v1/tenants", &json!({ "name": tenant.name })));
        assert_eq!(twice.code(), "ALREADY_EXISTS", "{twice}");
    }
    let nowhere = create(&mut cluster.server(0).connect(), "nowhere", 4);
    assert!(nowhere.code() == "INVALID_ARGUMENT" && nowhere.to_string().contains("there is no partition 4"), "{nowhere}");
    for tenant in ["placed-0", "placed-1"] {
        let out = cluster.data(9).with_extension(tenant).display().to_string();
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("there is a port").to_string();
        cluster.operate(&["export", "--tenant", tenant, "--out", &out, "--peer-listen", &free]).expect("it is found in the data, too");
    }
}

fn the_number_of_partitions_stays(cluster: &mut Cluster) {
    let data = cluster.data(2);
    cluster.take(2).stop();
    let settings = [("ONEBOX_PEER_LISTEN", "127.0.0.1:0"), ("ONEBOX_PARTITIONS", "2")];
    let (code, log) = Server::spawn(&data, "127.0.0.1:0", &settings).exit();
    assert!(code == Some(1) && log.contains("the setting partitions is 2, and there are 4"), "{log}");
    cluster.start_node(2);
    cluster.await_all_ready();
}

fn data_of_its_own_joins_nothing(cluster: &Cluster) {
    let alone = cluster.data(7);
    Server::start(&alone, &[("ONEBOX_PARTITIONS", "4")]).stop();
    let peers = cluster.server(0).peer_address().to_string();
    let settings = [("ONEBOX_PEER_LISTEN", "127.0.0.1:0"), ("ONEBOX_JOIN", &peers)];
    let (code, log) = Server::spawn(&alone, "127.0.0.1:0", &settings).exit();
    assert!(code == Some(1) && log.contains("holds data already"), "{log}");
}

/// Begun before it serves, told again what it was, and never twice or otherwise.
#[test]
fn a_cluster_can_be_begun_before_its_first_node_serves() {
    let _turn = turn();
    let scratch = Scratch::new("init");
    let data = scratch.join("node").display().to_string();
    let init = |words: &[&str]| {
        let ran = command(&[]).args(["cluster", "init", "--data", &data]).args(words).output().expect("the binary can be started");
        let said = if ran.status.success() { ran.stdout } else { ran.stderr };
        (ran.status.success(), String::from_utf8_lossy(&said).into_owned())
    };
    let (done, too_many) = init(&["--partitions", "40"]);
    assert!(!done && too_many.contains("for each of the 40 partitions"), "{too_many}");
    let (done, first) = init(&["--partitions", "3"]);
    assert!(done && first.contains("with 3 partitions\n"), "{first}");
    let (done, again) = init(&[]);
    assert!(done && again.contains("with 3 partitions, as before\n"), "{again}");
    let (done, other) = init(&["--partitions", "2"]);
    assert!(!done && other.contains("the setting partitions is 2, and there are 3"), "{other}");
    let server = Server::start_node(&scratch.join("node"), &[("ONEBOX_PEER_LISTEN", "127.0.0.1:0")]);
    let (done, used) = init(&[]);
    assert!(!done && used.contains("is in use by"), "{used}");
    let ran = command(&[]).args(["cluster", "status", "--at", &server.peer_address().to_string()]).output();
    let status = String::from_utf8_lossy(&ran.expect("the binary can be started").stdout).into_owned();
    let cluster = first.split(' ').nth(1).expect("it is named");
    assert!(status.contains("partition 2 of 3") && status.contains(cluster), "{status}");
}

fn a_node_that_leads_some_of_them_is_taken_out_of_all(cluster: &Cluster) {
    await_condition("every node leads its share", || led(cluster).len() == 3);
    let name = cluster.name(2);
    cluster.operate(&["remove", &name]).expect("two of three are a majority");
    let status = cluster.operate(&["status"]).expect("a node answers");
    let votes = |line: &&str| line.contains(" voter ") || line.contains(" leader ");
    assert_eq!(status.lines().filter(votes).count(), 8, "two in each of four partitions: {status}");
    assert!(!status.lines().filter(votes).any(|line| line.starts_with(&name)), "{status}");
}

/// A node that has lost the others knows no more than it has, and says that to who asks for no more.
#[test]
fn a_node_that_is_alone_answers_stale_reads_and_those_of_a_position_that_it_has() {
    let _turn = turn();
    let mut cluster = Cluster::start_partitioned("reads", "1");
    let mut connection = cluster.server(2).connect();
    let tenant = Tenant::new(&mut connection, 1);
    tenant.put_one(&mut connection);
    let token = connection.ask(&tenant.stock()).header("onebox-position").expect("every answer has a position").to_owned();
    let (place, index) = token.rsplit_once('-').expect("a token has an index");
    let index = u64::from_str_radix(index, 16).expect("a token has an index, in hexadecimal");
    let ahead = format!("at-least {place}-{:x}", index + 1_000);
    let reached = format!("at-least {token}");
    assert_eq!(connection.ask(&tenant.stock().with("Onebox-Read", reached.clone())).status, 200, "it comes to have it");
    (0..2).for_each(|node| cluster.take(node).kill());
    for (read, status) in [("stale", 200), (reached.as_str(), 200), (ahead.as_str(), 504), ("linearizable", 504), ("newest", 400)] {
        let reply = connection.ask(&tenant.stock().with("Onebox-Read", read).with("Onebox-Timeout", "400ms"));
        assert_eq!(reply.status, status, "{read}: {reply}");
        if status == 200 {
            assert_eq!(number(&reply.json()["items"][0]["onHand"]), 1, "{read}");
        }
    }
}
