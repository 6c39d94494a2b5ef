//! Damage on the disk is reported by file and place, never cut away; a base that is gone is built again from the log.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::client::{Ask, Connection};
use crate::requests::{one_of, put};
use crate::scratch::{Scratch, names_in};
use crate::server::{Server, await_condition};

/// Bytes of a sector: every frame of the log starts on one.
const SECTOR: usize = 4096;
/// How a frame begins.
const FRAME: &[u8] = b"frm1";
/// Requests in the log: each a frame, since they are sent one after the other.
const REQUESTS: i64 = 60;

#[test]
fn damage_in_the_log_stops_the_start_and_names_file_and_offset() {
    let scratch = Scratch::new("log-damage");
    for stopped in [true, false] {
        let data = scratch.join(if stopped { "stopped" } else { "killed" });
        let server = filled(&data);
        if stopped {
            server.stop()
        } else {
            server.kill()
        }
        let segment = newest_segment(&data);
        let bytes = fs::read(&segment).expect("the segment can be read");
        let frames: Vec<usize> = (0..bytes.len()).step_by(SECTOR).filter(|&at| bytes[at..].starts_with(FRAME)).collect();
        assert!(frames.len() > 20, "only {} frames for {REQUESTS} requests", frames.len());
        let frame = frames[frames.len() / 2];
        flip(&segment, frame + 100, 8);
        let damaged = fs::read(&segment).expect("the segment can be read");

        for _ in 0..2 {
            let (code, words) = Server::spawn(&data, "127.0.0.1:0", &[]).exit();
            assert_eq!(code, Some(1), "{words}");
            let name = segment.file_name().expect("a segment has a name").to_string_lossy();
            for named in [&*name, &frame.to_string()] {
                assert!(words.contains(named), "{named} is not named: {words}");
            }
        }
        assert!(fs::read(&segment).expect("it is still there") == damaged, "a refused start changed the damaged file");
        // With the right bytes back it starts, and everything is there.
        flip(&segment, frame + 100, 8);
        let server = Server::start(&data, &[]);
        assert_eq!(stock(&mut server.connect()), REQUESTS);
        server.stop();
    }
}

#[test]
fn a_torn_end_of_the_log_is_cut_without_a_word_to_callers() {
    let scratch = Scratch::new("torn");
    let data = scratch.join("data");
    filled(&data).kill();
    let segment = newest_segment(&data);
    let bytes = fs::read(&segment).expect("the segment can be read");
    let end = bytes.iter().rposition(|&byte| byte != 0).expect("a segment is not empty") / SECTOR * SECTOR + SECTOR;
    // The beginning of a frame that never became whole.
    let mut torn = FRAME.to_vec();
    torn.extend_from_slice(&[0xa5; 2_000]);
    write(&segment, end, &torn);
    let server = Server::start(&data, &[]);
    assert_eq!(stock(&mut server.connect()), REQUESTS);
    server.stop();
}

#[test]
fn damage_in_the_base_is_named_at_the_start_or_by_the_read_that_meets_it() {
    let scratch = Scratch::new("base-damage");
    let data = scratch.join("data");
    filled(&data).stop();
    let base = data.join("base.redb");
    let bytes = fs::read(&base).expect("the base can be read");
    // The stock's row holds no text, but the location's does; wherever its name stands, it is damaged.
    let places: Vec<usize> = bytes.windows(6).enumerate().filter(|(_, window)| *window == b"filled").map(|(at, _)| at).collect();
    assert!(!places.is_empty(), "the name of the location is in the base");
    places.iter().for_each(|&at| flip(&base, at, 2));

    let server = Server::spawn(&data, "127.0.0.1:0", &[]);
    let words = match server.serving() {
        None => {
            let (code, words) = server.exit();
            assert_eq!(code, Some(1), "{words}");
            words
        }
        Some(mut connection) => {
            let reply = connection.send(&Ask::get("/v1/locations/0"));
            if let Ok(reply) = reply {
                // The scrub may have met the damage first; then the read only hears that the node has stopped.
                assert!(reply.status >= 500, "a damaged row was read: {reply}");
            }
            let (code, words) = server.exit();
            assert_eq!(code, Some(1), "{words}");
            words
        }
    };
    assert!(words.contains("base.redb") && words.contains("move it aside"), "{words}");
    eprintln!("damage in the base: {}", words.lines().last().unwrap_or_default());
}

#[test]
fn a_base_that_is_gone_is_built_again_from_history_and_log() {
    let scratch = Scratch::new("rebuild");
    let data = scratch.join("data");
    let flushing = [("ONEBOX_FLUSH_BYTES", "65536"), ("ONEBOX_LOG_REPLAY_BYTES_MAX", "4194304")];
    let server = Server::start(&data, &flushing);
    let mut connection = server.connect();
    fill(&mut connection);
    // Tags are logged with the request and stored in no row: they make the log long, and the base stays small.
    let long = "x".repeat(900_000);
    let mut filler = 0;
    while names_in(&data.join("history")).is_empty() {
        filler += 1;
        assert!(filler < 400, "no segment was moved to history: {:?}", names_in(&data.join("log")));
        let lines = json!([{"sku": "filled", "quantity": "1"}]);
        let reserve = Ask::post("/v1/reservations", &json!({"code": format!("filler {filler}"), "lines": lines, "tags": {"long": long}}));
        let reserved = connection.succeed(&reserve);
        let reservation = reserved["reservation"].as_str().expect("a reservation has an id");
        connection.succeed(&Ask::post(format!("/v1/reservations/{reservation}:cancel"), &json!({})).keyed(format!("cancel {filler}")));
    }
    let reads = [Ask::get("/v1/locations/0/stock"), Ask::get("/v1/locations/0")];
    let before: Vec<Vec<u8>> = reads.iter().map(|read| connection.ask(read).body).collect();
    server.stop();

    let base = data.join("base.redb");
    fs::rename(&base, data.join("base.aside")).expect("the base can be moved aside");
    let server = Server::start(&data, &[]);
    let opened = server.await_line("\"to_apply\"");
    assert!(opened.contains("\"base\":0"), "the log is applied from its beginning: {opened}");
    let mut connection = server.connect();
    let after: Vec<Vec<u8>> = reads.iter().map(|read| connection.ask(read).body).collect();
    assert!(before == after, "the state built again differs");
    let again = connection.ask(&put_ask(1).keyed("put 1"));
    assert!(again.repeated() && again.json() == json!({"onHand": "1"}), "keys are built again too: {again}");
    eprintln!(
        "rebuilt from {} segments of history: ready after {:.0} ms",
        names_in(&data.join("history")).len(),
        server.ready_after.as_secs_f64() * 1000.0
    );
    server.stop();
}

/// A server that has taken [`REQUESTS`] requests, one after the other.
fn filled(data: &Path) -> Server {
    let server = Server::start(data, &[]);
    fill(&mut server.connect());
    server
}

fn fill(connection: &mut Connection) {
    let (product, location) = one_of(connection, "filled");
    assert_eq!((product, location), (1, 2), "a new server gives ids from 1");
    connection.succeed(&put_ask(1).keyed("put 1"));
    (1..REQUESTS).for_each(|_| drop(put(connection, location, product, 1)));
}

fn put_ask(change: i64) -> Ask {
    Ask::post("/v1/locations/2/stock", &json!({"product": "1", "change": change.to_string()}))
}

fn stock(connection: &mut Connection) -> i64 {
    let stock = connection.succeed(&Ask::get("/v1/locations/2/stock"));
    crate::client::number(&stock["items"][0]["onHand"])
}

fn newest_segment(data: &Path) -> PathBuf {
    let names = names_in(&data.join("log"));
    let newest = names.iter().rev().find(|name| name.ends_with(".seg")).expect("a log has a segment");
    data.join("log").join(newest)
}

/// Inverts some bytes of a file.
fn flip(file: &Path, at: usize, count: usize) {
    let bytes = fs::read(file).expect("the file can be read");
    let flipped: Vec<u8> = bytes[at..at + count].iter().map(|byte| !byte).collect();
    write(file, at, &flipped);
}

fn write(file: &Path, at: usize, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(file).expect("the file can be opened");
    file.write_all_at(bytes, at as u64).expect("the file can be written");
}

impl Server {
    /// A connection, once it serves; `None` if it stops before that.
    fn serving(&self) -> Option<Connection> {
        let address = self.await_address()?;
        let mut connection = None;
        await_condition("the server is ready or gone", || {
            connection = Connection::open(address).ok();
            let ready = connection.as_mut().map(|connection| connection.send(&Ask::get("/health/ready")));
            match ready {
                Some(Ok(reply)) => reply.status == 200,
                Some(Err(_)) | None => {
                    connection = None;
                    true
                }
            }
        });
        connection
    }
}
