//! `cluster`: a whole cluster on this machine, and an operator's questions and orders to a real one.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use onebox_node::operate::{self, ClusterStatus, SameHost};
use onebox_node::{Begun, Settings};
use onebox_service::{Schema, Service};

mod export;

/// Nodes of a local cluster, at most.
const NODES_MAX: u16 = 9;
/// Between two looks whether a node still runs.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

pub(crate) fn command() -> Command {
    let at =
        || Arg::new("at").long("at").value_name("ADDR").default_value("127.0.0.1:7400").help("Peer address of any node of the cluster");
    let node = || Arg::new("node").value_name("NODE").required(true).help("The node, as status names it");
    Command::new("cluster")
        .about("Several nodes as one: a cluster on this machine to try, and how a real one is looked at and changed")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(local_command())
        .subcommand(init_command())
        .subcommand(Command::new("status").about("Shows the nodes, who leads, and how far each is").arg(at()))
        .subcommand(Command::new("transfer").about("Lets another voter lead; no request is lost").arg(node()).arg(at()))
        .subcommand(Command::new("add").about("Lets a node follow again that was removed, without a vote").arg(node()).arg(at()))
        .subcommand(
            Command::new("remove")
                .about("Takes a node out of the cluster, if the others are a majority that is well")
                .arg(node())
                .arg(at()),
        )
        .subcommand(
            Command::new("promote").about("Gives a node that follows a vote, once it has caught up").arg(node()).arg(at()).arg(
                Arg::new("same-host")
                    .long("same-host")
                    .action(ArgAction::SetTrue)
                    .help("Also if another voter is on the same host, so that both are lost together"),
            ),
        )
        .subcommand(
            Command::new("replace")
                .about("Takes a node out once another, which was started with --join, votes in its place")
                .arg(node())
                .arg(Arg::new("by").value_name("BY").required(true).help("The node in its place, as status names it"))
                .arg(at()),
        )
        .subcommand(Command::new("drain").about("Stops a node in order, as SIGTERM does on its machine").arg(node()).arg(at()))
        .subcommand(export::command().arg(at()))
        .subcommand(
            Command::new("activate").about("Puts the newest version of the service's apply in force, once every build runs it").arg(at()),
        )
}

fn init_command() -> Command {
    Command::new("init")
        .about("Begins a cluster in a data directory, without serving; the first serve with --peer-listen would do it too")
        .arg(
            Arg::new("data")
                .long("data")
                .value_name("DIR")
                .value_parser(value_parser!(PathBuf))
                .help("The data directory of its first node; the setting data, if it is not given"),
        )
        .arg(
            Arg::new("partitions")
                .long("partitions")
                .value_name("N")
                .value_parser(value_parser!(u32).range(1..))
                .help("How many partitions it has, for good; the setting partitions, if it is not given"),
        )
}

fn local_command() -> Command {
    Command::new("local")
        .about("Starts a cluster of several nodes on this machine, and stops them together")
        .arg(
            Arg::new("nodes")
                .long("nodes")
                .value_name("N")
                .default_value("3")
                .value_parser(value_parser!(u16).range(1..=i64::from(NODES_MAX))),
        )
        .arg(
            Arg::new("data")
                .long("data")
                .value_name("DIR")
                .default_value("./cluster-data")
                .value_parser(value_parser!(PathBuf))
                .help("A folder with a data directory for each node"),
        )
        .arg(
            Arg::new("port")
                .long("port")
                .value_name("PORT")
                .default_value("8080")
                .value_parser(value_parser!(u16))
                .help("Port of the first node for clients; the others follow"),
        )
        .arg(
            Arg::new("peer-port")
                .long("peer-port")
                .value_name("PORT")
                .default_value("7400")
                .value_parser(value_parser!(u16))
                .help("Port of the first node for other nodes; the others follow"),
        )
}

pub(crate) fn run(service: &Arc<dyn Service>, settings: &Settings, arguments: &ArgMatches) -> Result<ExitCode, String> {
    let (verb, arguments) = arguments.subcommand().expect("clap demands a verb");
    if verb == "local" {
        return local(arguments);
    }
    if verb == "init" {
        return init(settings, arguments);
    }
    let at = arguments.get_one::<String>("at").expect("it has a default");
    let schema = service.schema();
    let command = match verb {
        "status" => {
            print(&whole(schema, settings, at)?);
            return Ok(ExitCode::SUCCESS);
        }
        "replace" => return replace(schema, settings, at, node_of(arguments, "node")?, node_of(arguments, "by")?),
        "export" => return export::run(service, settings, at, arguments),
        "transfer" => operate::Command::Transfer(node_of(arguments, "node")?),
        "add" => operate::Command::Add(node_of(arguments, "node")?),
        "remove" => operate::Command::Remove(node_of(arguments, "node")?),
        "drain" => operate::Command::Drain(node_of(arguments, "node")?),
        "promote" => {
            let same_host = if arguments.get_flag("same-host") { SameHost::Allowed } else { SameHost::Refused };
            operate::Command::Promote(node_of(arguments, "node")?, same_host)
        }
        "activate" => operate::Command::Activate,
        verb => unreachable!("clap takes no verb {verb}"),
    };
    operate::command(schema, settings, at, command)?;
    print("done\n");
    Ok(ExitCode::SUCCESS)
}

fn init(settings: &Settings, arguments: &ArgMatches) -> Result<ExitCode, String> {
    let mut settings = settings.clone();
    if let Some(data) = arguments.get_one::<PathBuf>("data") {
        settings.data.clone_from(data);
    }
    if let Some(partitions) = arguments.get_one::<u32>("partitions") {
        settings.partitions = *partitions;
    }
    let Begun { cluster, node, partitions, is_new } = onebox_node::init(&settings)?;
    let (data, there) = (settings.data.display(), if is_new { "" } else { ", as before" });
    print(&format!(
        "cluster {cluster} begins with node {node} in {data}, with {partitions} partition{}{there}\nstart it: serve --data {data} --peer-listen \
         ADDR, and then the others, each with an empty --data and --join ADDR\n",
        if partitions == 1 { "" } else { "s" }
    ));
    Ok(ExitCode::SUCCESS)
}

fn print(words: &str) {
    // Whoever closed the output does not want to read it.
    let _ = std::io::stdout().write_all(words.as_bytes());
}

fn node_of(arguments: &ArgMatches, name: &str) -> Result<u64, String> {
    let given = arguments.get_one::<String>(name).expect("clap demands it");
    u64::from_str_radix(given, 16).map_err(|_| format!("{given:?} is not a node; cluster status names them"))
}

/// Waits until one votes, and takes the other out.
fn replace(schema: &Schema, settings: &Settings, at: &str, node: u64, by: u64) -> Result<ExitCode, String> {
    if node == by {
        return Err("a node cannot take its own place".to_owned());
    }
    // Of an even number one may be there to take another's place; and who is lost may go in any case.
    if let Some(ClusterStatus { voters, known, .. }) = operate::statuses(schema, settings, at)?.first()
        && known.iter().any(|known| known.node == node && known.is_reached)
        && voters.contains(&node)
        && voters.contains(&by)
        && voters.len() % 2 == 1
    {
        return Err(format!(
            "node {by:x} votes already, beside node {node:x}: {} would be left of {} voters. Start a new node with an empty --data and --join \
             {at}; or, to have so few: cluster remove {node:x}",
            voters.len() - 1,
            voters.len()
        ));
    }
    let mut told = String::new();
    loop {
        let statuses = operate::statuses(schema, settings, at)?;
        if statuses.iter().all(|status| status.voters.contains(&by)) {
            break;
        }
        if !statuses.iter().all(|status| status.takes_part(by)) {
            return Err(format!("node {by:x} is no member yet: start it with an empty --data and --join {at}, and look at the status"));
        }
        // The one whose place it takes may be on the same host, and it may not ask for a vote by itself.
        let asked = operate::command(schema, settings, at, operate::Command::Promote(by, SameHost::Allowed));
        let why = asked.err().unwrap_or_default();
        if why != told {
            print(&format!("waits until node {by:x} votes: {why}\n"));
            told = why;
        }
        thread::sleep(LOOK_AGAIN);
    }
    operate::command(schema, settings, at, operate::Command::Remove(node))?;
    print(&format!("done: node {by:x} votes in place of node {node:x}\n"));
    Ok(ExitCode::SUCCESS)
}

/// What every node says that can be asked.
fn whole(schema: &Schema, settings: &Settings, at: &str) -> Result<String, String> {
    let statuses = operate::statuses(schema, settings, at)?;
    let partitions = statuses.len();
    let shown = (0..).zip(statuses).map(|(partition, status)| {
        let title = if partitions == 1 { String::new() } else { format!("\npartition {partition} of {partitions}\n") };
        format!("{title}{}", of_partition(schema, settings, partition, &status))
    });
    Ok(shown.collect())
}

/// What every node says of a partition.
fn of_partition(schema: &Schema, settings: &Settings, partition: u32, first: &ClusterStatus) -> String {
    let mut text = format!("cluster {}, as node {:x} sees it: {}\n", first.cluster, first.node, first.health);
    if first.is_changing {
        text.push_str("the members are being changed\n");
    }
    text.push_str("node              is        address                state             entries applied/committed/in log\n");
    let mut nodes: Vec<u64> = first.voters.iter().chain(&first.learners).copied().collect();
    nodes.extend(first.known.iter().map(|known| known.node));
    nodes.sort_unstable();
    nodes.dedup();
    for node in nodes {
        let address = first.known.iter().find(|known| known.node == node).map(|known| known.address.clone());
        let status = if node == first.node {
            Some(first.clone())
        } else {
            address.as_ref().and_then(|at| operate::status(schema, settings, at, partition).ok())
        };
        let progress = match status.filter(|status| status.node == node) {
            Some(ClusterStatus { digest, applied, committed, last, .. }) => format!("{digest:016x}  {applied}/{committed}/{last}"),
            // An address that somebody passed on.
            None if !first.takes_part(node) => continue,
            None => "cannot be reached".to_owned(),
        };
        let is = if first.leader == Some(node) {
            "leader"
        } else if first.voters.contains(&node) {
            "voter"
        } else if first.learners.contains(&node) {
            "learner"
        } else {
            "no member"
        };
        text.push_str(&format!("{node:<16x}  {is:<9} {:<22} {progress}\n", address.unwrap_or_else(|| "not known".to_owned())));
    }
    text
}

struct Node {
    number: u16,
    child: Child,
    restart: String,
}

/// Starts the nodes, shows what they say, and stops them together.
fn local(arguments: &ArgMatches) -> Result<ExitCode, String> {
    let nodes = *arguments.get_one::<u16>("nodes").expect("it has a default");
    let data = arguments.get_one::<PathBuf>("data").expect("it has a default");
    let port = *arguments.get_one::<u16>("port").expect("it has a default");
    let peer_port = *arguments.get_one::<u16>("peer-port").expect("it has a default");
    let room = u16::MAX - NODES_MAX;
    if port > room || peer_port > room {
        return Err(format!("--port and --peer-port are at most {room}: the other nodes' ports follow"));
    }
    let this = std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let asked = Arc::new(AtomicBool::new(false));
    stop_when_asked(&asked)?;
    let (mut running, mut failed) = (Vec::new(), false);
    for number in 1..=nodes {
        let node = start(&this, data, (number, nodes), (port, peer_port)).inspect_err(|_| stop(&mut running))?;
        print(&format!("node-{number}  http://127.0.0.1:{}  (process {}; again: {})\n", port + number - 1, node.child.id(), node.restart));
        running.push(node);
    }
    print("Ctrl-C stops all. Try: kill -9 one of the processes, and ask the others.\n");
    while !asked.load(Ordering::Acquire) && !running.is_empty() {
        running.retain_mut(|node| match node.child.try_wait() {
            Ok(Some(status)) => {
                failed |= !status.success();
                print(&format!("node-{} ended: {status}. Start it again: {}\n", node.number, node.restart));
                false
            }
            Ok(None) | Err(_) => true,
        });
        thread::sleep(LOOK_AGAIN);
    }
    let all_ended = running.is_empty();
    stop(&mut running);
    Ok(if all_ended && failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn start(this: &Path, data: &Path, (number, nodes): (u16, u16), (port, peer_port): (u16, u16)) -> Result<Node, String> {
    let folder = data.join(format!("node-{number}"));
    let mut words = vec![
        "serve".to_owned(),
        "--data".to_owned(),
        folder.display().to_string(),
        "--listen".to_owned(),
        format!("127.0.0.1:{}", port + number - 1),
        "--peer-listen".to_owned(),
        format!("127.0.0.1:{}", peer_port + number - 1),
    ];
    if number > 1 {
        words.extend(["--join".to_owned(), format!("127.0.0.1:{peer_port}")]);
    }
    let mut restart = format!("{} {}", this.display(), words.join(" "));
    if number == 1 && nodes > 1 {
        // With its data gone it would begin another cluster.
        restart.push_str(&format!(" --join 127.0.0.1:{}", peer_port + 1));
    }
    let mut command = std::process::Command::new(this);
    // A node sees its input end when this process is gone, however it went, and stops.
    command.args(&words).arg("--stop-at-end-of-input").stdin(Stdio::piped()).stdout(Stdio::inherit()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("cannot start node-{number}: {error}"))?;
    if let Some(said) = child.stderr.take() {
        thread::spawn(move || {
            for line in BufReader::new(said).lines().map_while(Result::ok) {
                let _ = writeln!(std::io::stderr(), "node-{number} | {line}");
            }
        });
    }
    Ok(Node { number, child, restart })
}

/// Ends the input of each, so that all stop at once, and waits for them.
fn stop(running: &mut Vec<Node>) {
    running.iter_mut().for_each(|node| drop(node.child.stdin.take()));
    for node in running.iter_mut() {
        if let Ok(status) = node.child.wait() {
            print(&format!("node-{} ended: {status}\n", node.number));
        }
    }
    running.clear();
}

/// Notes SIGTERM and Ctrl-C.
fn stop_when_asked(asked: &Arc<AtomicBool>) -> Result<(), String> {
    let asked = Arc::clone(asked);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start a thread: {error}"))?;
    thread::spawn(move || {
        runtime.block_on(crate::binary::stop_signal());
        asked.store(true, Ordering::Release);
    });
    Ok(())
}
