//! Three nodes on a network of their own, under a load whose history is judged, while something befalls them.
//!
//! `cargo xtask drill NAME`. After each drill: no request got an error, every location's history is linearizable, and all nodes show the
//! same state.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::balancers::{BALANCERS, Balancer};
use crate::client::{Ask, Connection, text};
use crate::history::{DEADLINE, Load, Summary};
use crate::network::{Network, address};
use crate::next;
use crate::number_from;
use crate::random::Random;
use crate::scratch::{Scratch, names_in};
use crate::server::{Server, await_condition, await_condition_within, command, command_of};

/// Machines there are: three nodes, and one for a node that comes and goes.
const MACHINES: usize = 4;
const NODES: usize = 3;
/// How long the load runs before something happens, how long that lasts, and how long it runs when that is over.
const BEFORE: Duration = Duration::from_secs(3);
const LASTS: Duration = Duration::from_secs(5);
const AFTER: Duration = Duration::from_secs(3);
/// Until a base that is damaged is read: it is looked through every 12,000 heartbeats, which are 20 ms here. A log is every 4,800, and a
/// segment when it moves to the history.
const NOTICED_WITHIN: Duration = Duration::from_secs(300);
/// What the disk that becomes full has beside the data, in MiB: more than a node needs to take writes.
const ROOM_MIB: u64 = 1_000;
/// Set for the run inside the namespaces.
const INSIDE: &str = "ONEBOX_DRILL_INSIDE";
/// Set to the service's next build.
const NEXT: &str = "ONEBOX_DRILL_NEXT";
const NAMESPACES: [&str; 4] = ["--user", "--map-root-user", "--net", "--mount"];

type Happens = fn(&mut Machines);

const DRILLS: [(&str, &str, Happens); 16] = [
    ("kill", "the leader is killed (kill -9) and starts again", kill),
    ("stop", "the leader stops in order (SIGTERM) and starts again", stop),
    ("pause", "the leader stands still (SIGSTOP) and wakes up", pause),
    ("cut", "the leader is cut off from both others", cut),
    ("one-way", "what the leader says to the others is lost", cut_one_way),
    ("other-way", "what the others say to the leader is lost", cut_other_way),
    ("slow", "200 ms more on every way from and to the leader", slow),
    ("lossy", "5 % of all packets are lost", lossy),
    ("full-disk", "the leader's disk is full", full_disk),
    ("rolling", "all nodes stop in order and start again, one after the other", rolling),
    ("damaged-log", "a follower's log is damaged while it is stopped; it says where, and a new node takes its place", damaged_log),
    ("damaged-log-running", "the same while it runs; it says where and goes on, and a new node takes its place", damaged_log_running),
    ("damaged-base", "a follower's base is damaged while it is stopped; it is made anew", damaged_base),
    ("damaged-running", "a follower's base is damaged while it runs; it is made anew", damaged_running),
    ("replace", "a follower's disk is lost, and a new node takes its place", replace),
    ("members", "a fourth node joins, votes, and is removed", members),
];

/// The first so many are also run while a fourth node comes and goes; the others change who is there themselves, or take longer.
const MIXED: usize = 10;

/// The machines, and the nodes on them; counted from 1.
struct Machines {
    nodes: Vec<Option<Server>>,
    /// What each runs.
    binaries: Vec<String>,
    network: Network,
    scratch: Scratch,
    random: Random,
}

impl Machines {
    fn start() -> Machines {
        let network = Network::start(MACHINES).unwrap_or_else(|why| panic!("{why}"));
        let nodes = (0..=MACHINES).map(|_| None).collect();
        let binaries = vec![env!("CARGO_BIN_EXE_inventory").to_owned(); MACHINES + 1];
        let random = Random::new(number_from("ONEBOX_DRILL_SEED", 1));
        let mut machines = Machines { nodes, binaries, network, scratch: Scratch::new("drills"), random };
        (1..=NODES).for_each(|machine| machines.start_node(machine));
        (2..=NODES).for_each(|machine| drop(machines.node(machine).await_line("is a voter of its cluster")));
        machines.await_calm();
        machines
    }

    fn data(&self, machine: usize) -> PathBuf {
        self.scratch.join(&format!("node-{machine}"))
    }

    /// Starts a node on what is on its disk; with nothing there it joins the first that runs.
    fn start_node(&mut self, machine: usize) {
        self.nodes[machine] = Some(Server::run_until_it_listens(self.node_command(machine)));
    }

    fn node_command(&self, machine: usize) -> Command {
        let there = (1..=MACHINES).find(|other| self.nodes[*other].is_some());
        let join = there.map(|other| format!("{}:7400", address(other))).unwrap_or_default();
        let settings = [("ONEBOX_PEER_CLEAR_TEXT", "true"), ("ONEBOX_JOIN", &join), ("ONEBOX_HEARTBEAT_MS", "20")];
        let mut command = command_of(&self.network.on(machine), &self.binaries[machine], &settings);
        command.arg("serve").arg("--data").arg(self.data(machine));
        command.args(["--listen", &format!("{}:8080", address(machine)), "--peer-listen", &format!("{}:7400", address(machine))]);
        command
    }

    fn node(&self, machine: usize) -> &Server {
        self.nodes[machine].as_ref().expect("the node runs")
    }

    fn take(&mut self, machine: usize) -> Server {
        self.nodes[machine].take().expect("the node runs")
    }

    /// What an operator is told.
    fn operate(&self, words: &[&str]) -> String {
        self.operate_at((1..=MACHINES).find(|machine| self.nodes[*machine].is_some()).expect("a node runs"), words)
    }

    fn operate_at(&self, at: usize, words: &[&str]) -> String {
        let ran = command(&[]).arg("cluster").args(words).args(["--at", &format!("{}:7400", address(at))]).output();
        let ran = ran.expect("the binary can be started");
        assert!(ran.status.success(), "cluster {words:?}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8_lossy(&ran.stdout).into_owned()
    }

    /// The lines of the status, one for each node, in words.
    fn status(&self) -> Vec<Vec<String>> {
        lines_of(&self.operate(&["status"]))
    }

    /// The node of a machine, as the operator calls it, and what it is.
    fn of_machine(&self, machine: usize) -> Option<(String, String)> {
        let at = format!("{}:7400", address(machine));
        self.status().into_iter().find(|words| words[2] == at).map(|words| (words[0].clone(), words[1].clone()))
    }

    fn leader(&self) -> usize {
        let mut leader = None;
        await_condition("a node leads", || {
            leader = (1..=MACHINES).find(|machine| self.of_machine(*machine).is_some_and(|(_, is)| is == "leader"));
            leader.is_some()
        });
        leader.expect("it was waited for")
    }

    fn follower(&mut self) -> usize {
        let leader = self.leader();
        let others: Vec<usize> = (1..=NODES).filter(|machine| *machine != leader).collect();
        others[self.random.place(others.len())]
    }

    /// All nodes are ready, voters, and show the same state.
    fn await_calm(&self) {
        for server in self.nodes.iter().flatten() {
            await_condition("the node is ready", || server.is_ready());
        }
        let running = self.nodes.iter().flatten().count();
        await_condition("all nodes vote and show the same state", || {
            let status = self.status();
            let same = |words: &Vec<String>| words[3..] == status[0][3..] && (words[1] == "voter" || words[1] == "leader");
            status.len() == running && status.iter().all(same)
        });
    }

    /// A node joins, votes, and is removed.
    fn come_and_go(&mut self, meanwhile: impl FnOnce(&mut Machines)) {
        self.start_node(MACHINES);
        meanwhile(self);
        self.node(MACHINES).await_line("is a voter of its cluster");
        let mut known = None;
        // Whoever is asked may just be coming back, and learn it a moment later.
        await_condition("the others know it", || {
            known = self.of_machine(MACHINES);
            known.is_some()
        });
        let (node, _) = known.expect("it was waited for");
        self.operate(&["remove", &node]);
        self.take(MACHINES).kill();
        fs::remove_dir_all(self.data(MACHINES)).expect("its data can be removed");
    }
}

fn lines_of(status: &str) -> Vec<Vec<String>> {
    let lines = status.lines().filter(|line| line.contains(":7400"));
    lines.map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

fn kill(machines: &mut Machines) {
    let leader = machines.leader();
    machines.take(leader).kill();
    thread::sleep(LASTS);
    machines.start_node(leader);
}

fn stop(machines: &mut Machines) {
    let leader = machines.leader();
    machines.take(leader).stop();
    thread::sleep(LASTS);
    machines.start_node(leader);
}

fn pause(machines: &mut Machines) {
    let leader = machines.leader();
    machines.node(leader).signal("STOP");
    thread::sleep(LASTS);
    machines.node(leader).signal("CONT");
}

fn cut_links(machines: &mut Machines, to_others: bool, from_others: bool) {
    let leader = machines.leader();
    for other in (1..=MACHINES).filter(|other| *other != leader) {
        if to_others {
            machines.network.cut(leader, other);
        }
        if from_others {
            machines.network.cut(other, leader);
        }
    }
    thread::sleep(LASTS);
    let witness = (1..=NODES).find(|machine| *machine != leader).expect("there are three");
    let seen = lines_of(&machines.operate_at(witness, &["status"]));
    let old = format!("{}:7400", address(leader));
    assert!(
        seen.iter().any(|words| words[1] == "leader" && words[2] != old),
        "one leads that the others hear, and that hears them: {seen:?}"
    );
    machines.network.heal();
}

fn cut(machines: &mut Machines) {
    cut_links(machines, true, true);
}

fn cut_one_way(machines: &mut Machines) {
    cut_links(machines, true, false);
}

fn cut_other_way(machines: &mut Machines) {
    cut_links(machines, false, true);
}

fn slow(machines: &mut Machines) {
    let leader = machines.leader();
    machines.network.slow(leader, 200);
    thread::sleep(LASTS);
    machines.network.heal();
}

fn lossy(machines: &mut Machines) {
    (1..=MACHINES).for_each(|machine| machines.network.lossy(machine, 5));
    thread::sleep(LASTS);
    machines.network.heal();
}

/// The leader's data moves to a small disk first, which is then filled.
fn full_disk(machines: &mut Machines) {
    let leader = machines.leader();
    let (data, moved) = (machines.data(leader), machines.scratch.join("moved"));
    machines.take(leader).stop();
    fs::rename(&data, &moved).expect("a folder can be moved");
    fs::create_dir(&data).expect("a folder can be made");
    let run = |program: &str, words: &[&str]| {
        let status = Command::new(program).args(words).status().unwrap_or_else(|error| panic!("{program}: {error}"));
        assert!(status.success(), "{program} {words:?}");
    };
    let (data_path, moved_path) = (data.display().to_string(), moved.display().to_string());
    let used = Command::new("du").args(["-sm", &moved_path]).output().expect("du can be started");
    let used = String::from_utf8_lossy(&used.stdout).split_whitespace().next().and_then(|words| words.parse::<u64>().ok());
    let size = format!("size={}m", used.expect("du tells a size") + ROOM_MIB);
    run("mount", &["-t", "tmpfs", "-o", &size, "none", &data_path]);
    run("cp", &["-a", &format!("{moved_path}/."), &data_path]);
    machines.start_node(leader);
    machines.await_ready(leader);
    let (node, _) = machines.of_machine(leader).expect("it is a member");
    machines.operate(&["transfer", &node]);
    let ballast = data.join("ballast");
    // Until there is no room: that it ends with an error is what is wanted.
    let _ = Command::new("dd").args(["if=/dev/zero", &format!("of={}", ballast.display()), "bs=1M", "status=none"]).output();
    thread::sleep(LASTS);
    assert_ne!(machines.leader(), leader, "one leads that has room");
    machines.node(leader).await_line("the disk is nearly full");
    fs::remove_file(&ballast).expect("what filled the disk can be removed");
    machines.await_ready(leader);
    machines.take(leader).stop();
    fs::remove_dir_all(&moved).expect("what was there before can be removed");
    run("cp", &["-a", &data_path, &moved_path]);
    run("umount", &[&data_path]);
    fs::remove_dir(&data).expect("an empty folder can be removed");
    fs::rename(&moved, &data).expect("a folder can be moved");
    machines.start_node(leader);
}

/// Writes noise over a part of a file, as a disk might.
fn damage(file: &Path, block_bytes: u64, first: u64, blocks: u64) {
    let of = format!("of={}", file.display());
    let words = [format!("bs={block_bytes}"), format!("seek={first}"), format!("count={blocks}")];
    let status = Command::new("dd").args(["if=/dev/urandom", &of, "conv=notrunc", "status=none"]).args(words).status();
    assert!(status.expect("dd can be started").success(), "{} can be written", file.display());
}

fn damaged_log(machines: &mut Machines) {
    let follower = machines.follower();
    let (node, _) = machines.of_machine(follower).expect("it is a member");
    machines.take(follower).kill();
    let segment = damage_log(machines, follower);
    another_in_place_of_the_damaged(machines, follower, (&node, &segment));
}

/// The node says it, and goes on.
fn damaged_log_running(machines: &mut Machines) {
    let follower = machines.follower();
    let (node, _) = machines.of_machine(follower).expect("it is a member");
    noticed_while_running(machines, follower, "the log is damaged", damage_log);
    machines.take(follower).stop();
    put_in_its_place(machines, follower, &node);
}

/// What is not read is not missed: at the latest the next look at the whole finds it, and names the file.
fn noticed_while_running(machines: &Machines, machine: usize, words: &str, damage: fn(&Machines, usize) -> String) {
    // The process may have met damage before.
    let lines = || machines.node(machine).log().lines().filter(|line| line.contains(words)).map(str::to_owned).collect::<Vec<_>>();
    let before = lines().len();
    let file = damage(machines, machine);
    let began = Instant::now();
    await_condition_within(NOTICED_WITHIN, "the damage is met", || lines().len() > before);
    eprintln!("the damage was met after {:.0} s", began.elapsed().as_secs_f64());
    let line = lines().swap_remove(before);
    assert!(line.contains(&file), "{line}");
}

/// The middle of what is written of the newest segment, whose name is given.
fn damage_log(machines: &Machines, machine: usize) -> String {
    let log = machines.data(machine).join("log");
    let newest = names_in(&log).into_iter().rfind(|name| name.ends_with(".seg")).expect("a log has a segment");
    let segment = fs::read(log.join(&newest)).expect("a segment can be read");
    let written = segment.iter().rposition(|byte| *byte != 0).expect("something is in it") as u64;
    damage(&log.join(&newest), 512, written / 1_024, 4);
    newest
}

/// The node says at its start which segment is damaged, and another takes its place.
fn another_in_place_of_the_damaged(machines: &mut Machines, machine: usize, (node, segment): (&str, &str)) {
    let (code, words) = Server::run(machines.node_command(machine)).exit();
    assert!(code == Some(1) && words.contains(segment), "{words}");
    put_in_its_place(machines, machine, node);
}

/// The whole base, whose name is given, but its first page, which is read at every start.
fn damage_base(machines: &Machines, machine: usize) -> String {
    let name = "base.redb";
    let base = machines.data(machine).join(name);
    let bytes = fs::metadata(&base).expect("there is a base").len();
    damage(&base, 4096, 1, bytes / 4096 - 1);
    name.to_owned()
}

fn damaged_base(machines: &mut Machines) {
    let follower = machines.follower();
    machines.take(follower).stop();
    damage_base(machines, follower);
    machines.nodes[follower] = Some(Server::run(machines.node_command(follower)));
    heal_base(machines, follower);
}

/// The node makes a new base from its log, or fetches one if its log begins later, and starts again by itself.
fn heal_base(machines: &mut Machines, machine: usize) {
    machines.node(machine).await_line("the base is damaged");
    await_condition("the node serves again", || {
        let log = machines.node(machine).log();
        log.rsplit("the base is damaged").next().unwrap_or_default().contains("serving ")
    });
    machines.await_ready(machine);
}

fn damaged_running(machines: &mut Machines) {
    let follower = machines.follower();
    noticed_while_running(machines, follower, "the base is damaged", damage_base);
    heal_base(machines, follower);
}

fn replace(machines: &mut Machines) {
    let lost = machines.follower();
    let (node, _) = machines.of_machine(lost).expect("it is a member");
    machines.take(lost).kill();
    put_in_its_place(machines, lost, &node);
}

/// A new node on an empty disk, in place of the one that was there.
fn put_in_its_place(machines: &mut Machines, lost: usize, node: &str) {
    fs::remove_dir_all(machines.data(lost)).expect("a disk can be lost");
    machines.operate(&["remove", node]);
    machines.start_node(lost);
    machines.node(lost).await_line("is a voter of its cluster");
}

/// The next build comes, goes, and comes for good: its version is put in force, after which the build before refuses the data.
fn upgrade(machines: &mut Machines) {
    let before = machines.binaries[1].clone();
    let next = std::env::var(NEXT).expect("it was built");
    roll(machines, &next);
    assert_eq!(machines.supplier_of("early", 1), "", "nobody may record the new event yet");
    roll(machines, &before);
    roll(machines, &next);
    machines.operate(&["activate"]);
    assert_eq!(machines.supplier_of("late", 2), "ACME", "the new event is recorded, and every node knows it");
    machines.take(3).stop();
    machines.binaries[3] = before;
    let (code, log) = Server::run(machines.node_command(3)).exit();
    assert!(code == Some(1) && log.contains("version"), "{log}");
    machines.binaries[3] = next;
    machines.start_node(3);
}

/// Puts a build on every node, one after the other.
fn roll(machines: &mut Machines, binary: &str) {
    machines.binaries.fill(binary.to_owned());
    rolling(machines);
}

fn rolling(machines: &mut Machines) {
    for machine in 1..=NODES {
        machines.take(machine).stop();
        machines.start_node(machine);
        machines.await_ready(machine);
        // A load balancer needs a moment, too, until it knows.
        thread::sleep(Duration::from_secs(2));
    }
}

fn members(machines: &mut Machines) {
    machines.come_and_go(|_| {});
}

impl Machines {
    /// Adds a product with a supplier on one node, and gives what another shows of it.
    fn supplier_of(&self, name: &str, machine: usize) -> String {
        let mut connection = Connection::open(nodes()[machine - 1]).expect("a node that is ready takes connections");
        let products = json!({ "skus": [name], "supplier": "ACME" });
        let product = connection.succeed(&Ask::post("/v1/products", &products))["products"][0].clone();
        let location = connection.succeed(&Ask::post("/v1/locations", &json!({ "locations": [{ "name": name }] })));
        let stock = format!("/v1/locations/{}/stock", text(&location["locations"][0]["id"]));
        connection.succeed(&Ask::post(&stock, &json!({ "product": product, "change": "1" })));
        let mut other = Connection::open(nodes()[machine]).expect("a node that is ready takes connections");
        text(&other.succeed(&Ask::get(&stock))["items"][0]["supplier"]).to_owned()
    }

    fn await_ready(&self, machine: usize) {
        await_condition("the node is ready", || self.node(machine).is_ready());
    }
}

/// Where clients reach the nodes.
fn nodes() -> Vec<SocketAddr> {
    (1..=NODES).map(|machine| format!("{}:8080", address(machine)).parse().expect("it is an address")).collect()
}

/// Runs a load while something happens, and judges it.
fn through(machines: &mut Machines, load: &Load, at: &[SocketAddr], stock: &mut Vec<i64>, happens: impl FnOnce(&mut Machines)) -> Summary {
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let running = scope.spawn(|| load.run(at, &ended));
        let happening = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            thread::sleep(BEFORE);
            happens(machines);
            for server in machines.nodes.iter().flatten() {
                await_condition("the node is ready", || server.is_ready());
            }
            thread::sleep(AFTER);
        }));
        ended.store(true, Ordering::Relaxed);
        running.join().expect("no client panics");
        if let Err(panic) = happening {
            std::panic::resume_unwind(panic);
        }
    });
    machines.await_calm();
    nodes().iter().for_each(|node| load.read_all(*node));
    load.judge(stock)
}

pub(crate) fn print_head(per_second: u64) {
    eprintln!("{per_second} requests/s; each may be asked again, under its key, at another node, within {} s", DEADLINE.as_secs());
    eprintln!(
        "| drill | what happens | requests | asked again | errors | median ms | p99 ms | max ms |\n|---|---|---|---|---|---|---|---|"
    );
}

pub(crate) fn told(name: &str, what: &str, summary: &Summary) {
    let Summary { requests, asked_again, why, errors, waits } = summary;
    let [median, most, longest] = waits.map(|wait| wait.as_secs_f64() * 1e3);
    eprintln!("| {name} | {what} | {requests} | {asked_again} | {} | {median:.1} | {most:.0} | {longest:.0} |", errors.len());
    for error in errors.iter().take(3).chain(why.as_ref().filter(|_| std::env::var_os("ONEBOX_DRILL_WHY").is_some())) {
        eprintln!("{error}");
    }
}

#[test]
#[ignore = "it loads the machine and needs namespaces: cargo xtask drill"]
fn drills_on_a_network() {
    let wanted = std::env::var("ONEBOX_DRILL").unwrap_or_else(|_| "all".to_owned());
    if std::env::var_os(INSIDE).is_none() {
        let this = std::env::current_exe().expect("a test knows its binary");
        let mut command = Command::new("unshare");
        if wanted == "upgrade" {
            command.env(NEXT, next::build());
        }
        command.args(NAMESPACES).arg(this).args(["--exact", "--ignored", "--nocapture", "drills::drills_on_a_network"]);
        let status = command.env(INSIDE, "1").status().expect("unshare can be started");
        assert!(status.success(), "a drill failed; the reason is above");
        return;
    }
    let known: Vec<&str> = DRILLS.iter().map(|(name, ..)| *name).chain(["all", "mixed", "balancers", "upgrade"]).chain(BALANCERS).collect();
    assert!(known.contains(&wanted.as_str()), "there is no drill {wanted:?}; there are: {}", known.join(", "));
    let mut machines = Machines::start();
    let per_second = number_from("ONEBOX_DRILL_RATE", 2_000);
    let load = Load::prepare(machines.node(1).address(), per_second);
    let mut stock = Vec::new();
    let mut errors = 0;
    print_head(per_second);
    for (name, what, happens) in DRILLS.iter().filter(|(name, ..)| wanted == "all" || wanted == *name) {
        let summary = through(&mut machines, &load, &nodes(), &mut stock, happens);
        told(name, what, &summary);
        errors += summary.errors.len();
    }
    if wanted == "upgrade" {
        let summary = through(&mut machines, &load, &nodes(), &mut stock, upgrade);
        told(&wanted, "the next build comes node by node, goes, comes again, and its version is put in force", &summary);
        errors += summary.errors.len();
    }
    for name in BALANCERS.into_iter().filter(|name| wanted == "all" || wanted == "balancers" || wanted == *name) {
        let _balancer = match Balancer::start(name, &machines.scratch) {
            Ok(balancer) => balancer,
            Err(why) if wanted == "all" => {
                eprintln!("NOT RUN: {why}");
                continue;
            }
            Err(why) => panic!("{why}"),
        };
        for (_, what, happens) in DRILLS.into_iter().filter(|(drill, ..)| ["rolling", "kill"].contains(drill)) {
            let summary = through(&mut machines, &load, &[Balancer::address()], &mut stock, happens);
            told(name, &format!("as clients of {name} see it: {what}"), &summary);
            errors += summary.errors.len();
        }
    }
    if wanted == "all" || wanted == "mixed" {
        let mut left = Vec::new();
        for round in 1..=number_from("ONEBOX_DRILL_ROUNDS", 10) {
            if left.is_empty() {
                left = DRILLS[..MIXED].to_vec();
            }
            let (name, what, happens) = left.swap_remove(machines.random.place(left.len()));
            let summary = through(&mut machines, &load, &nodes(), &mut stock, |machines| machines.come_and_go(happens));
            told(&format!("mixed {round}: {name}"), &format!("{what}, while a fourth node comes and goes"), &summary);
            errors += summary.errors.len();
        }
    }
    assert_eq!(errors, 0, "requests that got an error");
    eprintln!("no error; every location's history is linearizable; the nodes' states are the same after each");
}
