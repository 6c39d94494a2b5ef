//! A full disk: reads go on, writes are refused before it is quite full and resume by themselves, nothing is lost.
//!
//! The disk is a small tmpfs in a mount namespace of its own, so the test runs itself again inside one: whatever becomes
//! of it, the mount goes with the process.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::client::{Ask, Connection};
use crate::scratch::Scratch;
use crate::server::{Server, await_condition};
use crate::turn;
use crate::worker::{Step, Worker};

const MIB: u64 = 1024 * 1024;
/// Bytes of the disk: a segment and the next one, both 64 MiB, and room to fill.
const DISK: u64 = 400 * MIB;
/// What is left free when the ballast is in: below the bound, and above nothing.
const LEFT: u64 = 64 * MIB;
/// The server refuses writes below this.
const SETTINGS: [(&str, &str); 1] = [("ONEBOX_DISK_FREE_MIN", "100663296")];
/// Set for the run inside the namespace.
const INSIDE: &str = "FULL_DISK_DRILL_INSIDE";
const STEPS: u64 = 300;

#[test]
fn a_full_disk_refuses_writes_in_time_and_recovers_by_itself() {
    if std::env::var_os(INSIDE).is_some() {
        return drill();
    }
    let _turn = turn();
    let probe = Command::new("unshare").args(NAMESPACE).args(["sh", "-c", "mount -t tmpfs -o size=1m none /mnt"]).output();
    if !probe.as_ref().is_ok_and(|output| output.status.success()) {
        let why = probe.map_or_else(|error| error.to_string(), |output| String::from_utf8_lossy(&output.stderr).trim().to_owned());
        eprintln!("full disk: NOT RUN: it needs `unshare` and the right to mount a tmpfs (root, or user namespaces): {why}");
        return;
    }
    let this = std::env::current_exe().expect("a test knows its binary");
    let mut command = Command::new("unshare");
    command.args(NAMESPACE).arg(this).args([
        "--exact",
        "--nocapture",
        "full_disk::a_full_disk_refuses_writes_in_time_and_recovers_by_itself",
    ]);
    let output = command.env(INSIDE, "1").output().expect("unshare can be started");
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// In a namespace of its own, where this process may mount.
const NAMESPACE: [&str; 3] = ["--user", "--map-root-user", "--mount"];

fn drill() {
    let scratch = Scratch::new("full-disk");
    let disk = scratch.join("disk");
    fs::create_dir(&disk).expect("a folder can be made");
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={DISK}"), "none"]).arg(&disk).status();
    assert!(mounted.expect("mount can be started").success(), "a tmpfs can be mounted here");
    let (data, ballast) = (disk.join("data"), disk.join("ballast"));

    let server = Server::start(&data, &SETTINGS);
    let mut connection = server.connect();
    let mut worker = Worker::new(&mut connection, 1, 11);
    (0..STEPS).for_each(|_| assert_eq!(worker.step(&mut connection), Step::Answered));

    // Fill it to a little above full, from outside, and go on writing. The next segment is made in the background: it counts.
    await_condition("the next segment is made", || data.join("log/spare").exists());
    grow(&ballast, DISK - LEFT - bytes_in(&data));
    let mut taken = 0;
    await_condition("writes are refused", || {
        let step = worker.step(&mut connection);
        taken += u64::from(step == Step::Answered);
        step == Step::TurnedAway
    });
    server.await_line("the disk is nearly full");
    refuses_writes_and_answers_reads(&mut connection, &mut worker);
    let room = fill(&ballast);
    assert!(room > LEFT / 2, "writes were refused only when the disk was full but for {room} bytes");
    refuses_writes_and_answers_reads(&mut connection, &mut worker);

    // Killed on a disk without a free byte, it comes back and answers reads.
    server.kill();
    let server = Server::start(&data, &SETTINGS);
    let mut connection = server.connect();
    server.await_line("the disk is nearly full");
    refuses_writes_and_answers_reads(&mut connection, &mut worker);

    fs::remove_file(&ballast).expect("the ballast can be removed");
    await_condition("writes are taken again", || worker.step(&mut connection) == Step::Answered);
    server.await_line("the disk has room again");
    (0..STEPS).for_each(|_| assert_eq!(worker.step(&mut connection), Step::Answered));
    server.kill();
    let server = Server::start(&data, &SETTINGS);
    let reckoning = worker.reckon(&mut server.connect());
    eprintln!(
        "full disk: {} requests acknowledged, {taken} of them while it filled; refused with {} MiB free; {} first answers given again",
        worker.acknowledged,
        room / MIB,
        reckoning.repeated
    );
    server.stop();
    // The mount must go before the folder can.
    let unmounted = Command::new("umount").arg("--lazy").arg(&disk).status();
    assert!(unmounted.expect("umount can be started").success(), "the disk can be unmounted");
}

fn refuses_writes_and_answers_reads(connection: &mut Connection, worker: &mut Worker) {
    let reply = connection.ask(&Ask::post("/v1/products", &json!({"skus": ["does not fit"]})));
    assert!(reply.status == 429 && reply.code() == "RESOURCE_EXHAUSTED", "{reply}");
    assert!(reply.to_string().contains("disk"), "{reply}");
    assert_eq!(worker.corner.read(connection, None), worker.corner.books, "reads go on");
    await_condition("the probe tells of the disk", || {
        let ready = connection.ask(&Ask::get("/health/ready"));
        ready.status == 200 && ready.to_string().contains("disk")
    });
}

fn bytes_in(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).expect("a folder can be listed").map(|entry| entry.expect("an entry can be read"));
    entries
        .map(|entry| if entry.path().is_dir() { bytes_in(&entry.path()) } else { entry.metadata().expect("a file has a size").len() })
        .sum()
}

fn grow(file: &Path, bytes: u64) {
    let mut file = File::create(file).expect("the ballast can be made");
    let block = vec![1; usize::try_from(MIB).expect("a MiB fits")];
    (0..bytes / MIB).for_each(|_| file.write_all(&block).expect("the ballast has room"));
}

/// Writes until there is no room at all. Gives how much there was.
fn fill(file: &Path) -> u64 {
    let mut file = OpenOptions::new().append(true).open(file).expect("the ballast can be opened");
    let mut written = 0;
    for block in [64 * 1024, 4096] {
        let block = vec![1; block];
        while file.write_all(&block).is_ok() {
            written += block.len() as u64;
        }
    }
    written
}
