//! `kill -9` under load, again and again on the same data: nothing acknowledged is lost, nothing is done twice or by half.
//!
//! `ONEBOX_KILL_ROUNDS` sets the number of rounds, `ONEBOX_KILL_SEED` repeats a run's requests.

use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::load::Load;
use crate::random::Random;
use crate::scratch::Scratch;
use crate::server::Server;
use crate::worker::Reckoning;
use crate::{number_from, turn};

const WORKERS: usize = 24;
/// Answers after which a round's kill comes, at most.
const ANSWERS_MAX: u64 = 4_000;

/// Settings with which the base is written often, so that kills hit that too.
const FLUSHING: [(&str, &str); 2] = [("ONEBOX_FLUSH_BYTES", "262144"), ("ONEBOX_LOG_REPLAY_BYTES_MAX", "1048576")];

#[test]
fn what_was_acknowledged_survives_kill_9_and_happened_once() {
    let _turn = turn();
    let rounds = number_from("ONEBOX_KILL_ROUNDS", 5);
    let seed = number_from("ONEBOX_KILL_SEED", SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| u64::from(now.subsec_nanos())));
    eprintln!("kill -9: seed {seed}; again with ONEBOX_KILL_SEED={seed} cargo test -p inventory --test process -- kill::");
    let scratch = Scratch::new("kill");
    let data = scratch.join("data");
    let mut random = Random::new(seed);

    let mut server = Server::start(&data, &[]);
    let mut load = Load::new(&server, WORKERS, seed);
    let (mut sum, mut restarts, mut false_starts) = (Reckoning::default(), Vec::new(), 0);
    for round in 0..rounds {
        load.run(server, 1 + random.below(ANSWERS_MAX), |server| {
            // Anywhere between two answers, not always right after one.
            thread::sleep(Duration::from_micros(random.below(3_000)));
            server.kill();
        });
        let settings: &[(&str, &str)] = if round % 2 == 0 { &FLUSHING } else { &[] };
        for _ in 0..random.below(3) {
            // A start may be killed as well, at any point.
            let starting = Server::spawn(&data, "127.0.0.1:0", settings);
            thread::sleep(Duration::from_micros(random.below(40_000)));
            starting.kill();
            false_starts += 1;
        }
        server = Server::start(&data, settings);
        restarts.push(server.ready_after);
        sum.add(load.reckon(server.address()));
    }
    let (longest, all) = (restarts.iter().max().copied().unwrap_or_default(), restarts.iter().sum::<Duration>());
    eprintln!(
        "kill -9: {rounds} rounds, {false_starts} more kills during a start; {} requests acknowledged; {} open when killed, of which {} had taken effect, \
         {} retried by key; {} first answers given again; restart {:.0} ms on average, {:.0} ms at most",
        load.acknowledged(),
        sum.open,
        sum.took_effect,
        sum.retried,
        sum.repeated,
        all.as_secs_f64() * 1000.0 / f64::from(u32::try_from(restarts.len().max(1)).expect("rounds are few")),
        longest.as_secs_f64() * 1000.0,
    );
    server.stop();
    let server = Server::start(&data, &[]);
    load.reckon(server.address());
    assert!(sum.open > 0, "no kill hit a request; the test shows nothing");
    assert!(sum.repeated > 0, "no key was sent again; the test shows nothing");
}
