//! `cluster export`: a node that joins without a vote, follows until it has everything there was, and leaves.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use clap::{Arg, ArgMatches, value_parser};
use onebox_node::Settings;
use onebox_node::operate::{self, ClusterStatus, Command};
use onebox_service::{Schema, Service};
use onebox_spec::Catalogue;
use onebox_spec::stage::rows_of;

use super::{LOOK_AGAIN, print, stop_when_asked};
use crate::verbs::sqlite;

pub(super) fn command() -> clap::Command {
    clap::Command::new("export")
        .about("Writes the state as of now as a SQLite database: a node joins without a vote, follows, leaves, and is looked into")
        .arg(
            Arg::new("out")
                .long("out")
                .value_name("FILE")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("The database; the node's data is beside it, in FILE.data, until it is done"),
        )
        .arg(Arg::new("tenant").long("tenant").value_name("NAME").default_value("default").help("Whose rows"))
        .arg(
            Arg::new("peer-listen")
                .long("peer-listen")
                .value_name("ADDR")
                .default_value("127.0.0.1:7499")
                .help("Where the cluster's nodes reach this machine meanwhile"),
        )
}

pub(super) fn run(service: &Arc<dyn Service>, settings: &Settings, at: &str, arguments: &ArgMatches) -> Result<ExitCode, String> {
    let schema = service.schema();
    let out = arguments.get_one::<PathBuf>("out").expect("clap demands it");
    let own = arguments.get_one::<String>("peer-listen").expect("it has a default");
    let tenant = arguments.get_one::<String>("tenant").expect("it has a default");
    let data = &PathBuf::from(format!("{}.data", out.display()));
    if data.exists() {
        return Err(format!("{} is there already; remove it, or give another --out", data.display()));
    }
    // Of every partition, for only the data says where a tenant was placed.
    let before = operate::statuses(schema, settings, at)?;
    let asked = Arc::new(AtomicBool::new(false));
    stop_when_asked(&asked)?;
    let this = std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let mut command = std::process::Command::new(this);
    command.arg("serve").arg("--data").arg(data).args(["--listen", "127.0.0.1:0", "--peer-listen", own, "--join", at]);
    // It sees its input end when this process is gone, however it went, and stops.
    // Ctrl-C is for this process, which first has the cluster forget the node.
    command
        .process_group(0)
        .arg("--stop-at-end-of-input")
        .env("ONEBOX_VOTE", "false")
        .env("ONEBOX_LOG_LEVEL", "warn")
        .stdin(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("cannot start a node: {error}"))?;
    let followed = follow(schema, settings, (at, own), &before, &mut child, &asked);
    drop(child.stdin.take());
    let ended = child.wait().map_err(|error| format!("cannot wait for the node: {error}"))?;
    let written = followed.and_then(|()| {
        if !ended.success() {
            return Err(format!("the node that followed ended with {ended}; what it said is above"));
        }
        print(&format!("follows no more; writes {}\n", out.display()));
        write(service, settings, &before, tenant, (data, out))
    });
    let removed = if data.exists() { std::fs::remove_dir_all(data) } else { Ok(()) };
    print(&format!("done: {}\n", written?));
    removed.map_err(|error| format!("cannot remove {}: {error}", data.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the tenant's rows as a database, and says how many there are.
fn write(
    service: &Arc<dyn Service>,
    settings: &Settings,
    before: &[ClusterStatus],
    tenant: &str,
    (data, out): (&Path, &Path),
) -> Result<String, String> {
    let looked = onebox_node::look(service, data, settings, tenant, |view, tenant| Ok((view.position().index, rows_of(view, tenant)?)));
    let (partition, (entry, rows)) = looked.map_err(|error| error.to_string())?;
    if before.get(partition as usize).is_some_and(|then| entry.0 < then.committed) {
        return Err(format!("the node stopped before all it had applied was flushed, at entry {entry}; try again"));
    }
    sqlite::write(out, &sqlite::tables(&Catalogue::new(service.schema()), &rows)?)?;
    Ok(format!("{} rows as of entry {entry}", rows.len()))
}

/// Waits until the node here has applied everything that each partition had committed before, and has the cluster forget it.
fn follow(
    schema: &Schema,
    settings: &Settings,
    (at, own): (&str, &str),
    before: &[ClusterStatus],
    child: &mut Child,
    asked: &AtomicBool,
) -> Result<(), String> {
    let mut told = 0;
    let all: u64 = before.iter().map(|then| then.committed).sum();
    // Timeline to avoid: another node is at this address, a voter, and it is the one that is removed.
    let was_there = |node: u64| {
        before.iter().any(|then| then.node == node || then.takes_part(node) || then.known.iter().any(|known| known.node == node))
    };
    loop {
        thread::sleep(LOOK_AGAIN);
        if let Ok(Some(ended)) = child.try_wait() {
            return Err(format!("the node that was to follow ended with {ended}; what it said is above"));
        }
        // It may be starting, or starting again with what it has fetched.
        let Ok(statuses) = operate::statuses(schema, settings, own) else {
            if asked.load(Ordering::Acquire) {
                return Err("interrupted; cluster status shows whether the node is to be removed".to_owned());
            }
            continue;
        };
        if statuses.iter().zip(before).any(|(status, then)| status.cluster != then.cluster || was_there(status.node)) {
            return Err(format!("another node is at {own}; give a --peer-listen that is free"));
        }
        let applied: u64 = statuses.iter().zip(before).map(|(status, then)| status.applied.min(then.committed)).sum();
        let percent = (applied * 100).checked_div(all).unwrap_or(100);
        if percent > told {
            told = percent;
            print(&format!("has applied {applied} of {all} entries\n"));
        }
        let has_left = asked.load(Ordering::Acquire);
        if let Some(ClusterStatus { node, .. }) = statuses.first()
            && (has_left || (applied >= all && statuses.iter().all(|status| status.learners.contains(node))))
        {
            operate::command(schema, settings, at, Command::Remove(*node))?;
            return if has_left { Err("interrupted; the node has left the cluster again".to_owned()) } else { Ok(()) };
        }
    }
}
