//! `cluster export`: a node that joins without a vote, follows until it has everything there was, and leaves.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
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
    let targets: Vec<u64> = operate::statuses(schema, settings, at)?.iter().map(|status| status.committed).collect();
    let asked = Arc::new(AtomicBool::new(false));
    stop_when_asked(&asked)?;
    let this = std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let mut command = std::process::Command::new(this);
    command.arg("serve").arg("--data").arg(data).args(["--listen", "127.0.0.1:0", "--peer-listen", own, "--join", at]);
    // It sees its input end when this process is gone, however it went, and stops.
    // Ctrl-C is for this process, which first has the cluster forget the node.
    command.process_group(0).arg("--stop-at-end-of-input").env("ONEBOX_VOTE", "false").stdin(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("cannot start a node: {error}"))?;
    let followed = follow(schema, settings, (at, own), &targets, &mut child, &asked);
    drop(child.stdin.take());
    let ended = child.wait().map_err(|error| format!("cannot wait for the node: {error}"))?;
    followed?;
    if !ended.success() {
        return Err(format!("the node that followed ended with {ended}; what it said is above"));
    }
    print(&format!("follows no more; writes {}\n", out.display()));
    let looked = onebox_node::look(service, data, settings, tenant, |view, tenant| Ok((view.position().index, rows_of(view, tenant)?)));
    let (partition, (entry, rows)) = looked.map_err(|error| error.to_string())?;
    if targets.get(partition as usize).is_some_and(|target| entry.0 < *target) {
        return Err(format!(
            "the node stopped before all it had applied was flushed, at entry {entry}; remove {} and try again",
            data.display()
        ));
    }
    let tables = sqlite::tables(&Catalogue::new(schema), &rows)?;
    sqlite::write(out, &tables)?;
    std::fs::remove_dir_all(data).map_err(|error| format!("cannot remove {}: {error}", data.display()))?;
    print(&format!("done: {} rows as of entry {entry}\n", rows.len()));
    Ok(ExitCode::SUCCESS)
}

/// Waits until the node here has applied everything up to an entry of each partition, and has the cluster forget it.
fn follow(
    schema: &Schema,
    settings: &Settings,
    (at, own): (&str, &str),
    targets: &[u64],
    child: &mut Child,
    asked: &AtomicBool,
) -> Result<(), String> {
    let mut told = 0;
    let all: u64 = targets.iter().sum();
    loop {
        thread::sleep(LOOK_AGAIN);
        // It may be starting, or starting again with what it has fetched.
        let Ok(statuses) = operate::statuses(schema, settings, own) else {
            if let Ok(Some(ended)) = child.try_wait() {
                return Err(format!("the node that was to follow ended with {ended}; what it said is above"));
            }
            if asked.load(Ordering::Acquire) {
                return Err("interrupted; cluster status shows whether the node is to be removed".to_owned());
            }
            continue;
        };
        let applied: u64 = statuses.iter().zip(targets).map(|(status, target)| status.applied.min(*target)).sum();
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
